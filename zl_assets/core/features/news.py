"""News of the bean's trade: how often published titles speak of a topic, and for how many days running.

What is stored are the titles of government notices and the like (raw_intelligence.policy_events); wires, broadcasters
and the trade press have no stored feed, and the sentiment of a text is in no table. So attention is measured and
nothing else: counts, their pace against the quarter before, and persistence (signal rule 3).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from zl_assets.core.features.documents import TOPICS, WINDOWS, documents, in_window, is_alive, published
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.readings import finished

COUNTED = (*TOPICS, "agriculture")
FOLLOWED = ("tariff", "china")
"""Topics with a pace and a persistence."""

_WEEK_OF_90_DAYS = 7 / 90


def _features() -> Iterator[Feature]:
    for topic in COUNTED:
        for n in WINDOWS:
            yield Feature(f"news_{topic}_count_{n}", "1", f"Documents on {topic} in {n} days", "sentiment", "count")
    for topic in FOLLOWED:
        pace = f"Documents on {topic} in 7 days over a week's share of 90 days"
        yield Feature(f"news_{topic}_pace", "1", pace, "sentiment", "persistence")
        days = f"Sessions of the last three before which documents on {topic} came"
        yield Feature(f"news_{topic}_sessions_3", "1", days, "sentiment", "persistence")


FEATURES = tuple(_features())


def build(inputs: Inputs) -> pl.DataFrame:
    """The columns of `FEATURES`."""
    return finished(
        inputs, [f.name for f in FEATURES], [_counts(inputs.decisions, documents(inputs.series["policy_events"]))]
    )


def _counts(decisions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    times = decisions["decision_time"]
    columns: dict[str, pl.Series] = {}
    for topic in COUNTED:
        chosen = events.filter(f"is_{topic}")
        columns |= {f"news_{topic}_count_{n}": in_window(times, chosen, n, events) for n in WINDOWS}
    paces: list[pl.Expr] = []
    for topic in FOLLOWED:
        week, season = pl.col(f"news_{topic}_count_7"), pl.col(f"news_{topic}_count_90")
        total = pl.Series("total", published(events.filter(f"is_{topic}"), times))
        came = (total.diff() > 0).cast(pl.Float64).rolling_sum(3)
        paces.append((week / (season * _WEEK_OF_90_DAYS)).alias(f"news_{topic}_pace"))
        paces.append(pl.when(week.is_not_null()).then(pl.lit(came)).alias(f"news_{topic}_sessions_3"))
    return pl.DataFrame(columns).with_columns(paces).with_columns(pl.when(is_alive(times, events)).then(pl.all()))


FAMILY = Family(
    name="news",
    version="v3",
    description="Attention of published documents to the bean's topics: counts, pace, persistence",
    inputs=("policy_events",),
    look_back=10,
    features=FEATURES,
    build=build,
    rules=(3,),
)

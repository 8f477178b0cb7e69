"""Policy documents: how many of which kind, and the fields of the STRUCT policy.

What the stored data cannot tell stays null. No table holds the sentiment of a document, so no score that multiplies by
it exists (DOMAIN section 5), nor any probability, expected move or alert made from such a score. What is computed comes
from titles, categories, sources, the vendor's keyword scores and the moment of publication.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import polars as pl

from zl_assets.core.features.documents import MAX_SILENCE, TOPICS, WINDOWS, documents, in_window, is_alive
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.readings import SIMULATED, finished

TERMS = ((date(2017, 1, 20), date(2021, 1, 19)), (date(2025, 1, 20), date(2029, 1, 19)))
"""First and last whole day of the terms whose documents the trump_* fields speak of."""

CATEGORIES = ("executive_order", "proclamation", "rule", "notice", "social_media")
_MARKET_STRUCTURE = r"(?i)\b(futures|swaps?|exchanges?|position limits?|commodity pools?|clearing)\b"
TOPIC_MULTIPLIERS: dict[str, float] = {TOPICS["tariff"]: 1.0, _MARKET_STRUCTURE: 0.5}
"""Pattern -> weight; only the two ends of DOMAIN's scale are named there, and only they are used."""

CONFIDENCE = {"government": 1.0, "unknown": 0.5}
"""Trust in a source (DOMAIN section 5); wires, broadcasters and trade press have no stored feed."""
_GOVERNMENT = "federal_register"
_DECAY_SECONDS = 24.0 * 3600

_NULL = "null: no stored series has the sentiment it is made of"
STRUCT: dict[str, tuple[pl.DataType, str]] = {
    "trump_action_prob": (pl.Float64(), _NULL),
    "trump_expected_zl_move": (pl.Float64(), _NULL),
    "trump_score": (pl.Float64(), _NULL),
    "trump_score_signed": (pl.Float64(), _NULL),
    "trump_confidence": (pl.Float64(), "Mean trust in the sources of the documents of 7 days"),
    "trump_sentiment_7d": (pl.Float64(), _NULL),
    "trump_tariff_intensity": (pl.Float64(), _NULL),
    "trump_procurement_alert": (pl.Boolean(), _NULL),
    "trump_mentions": (pl.Int64(), "Documents of 7 days"),
    "trumpxi_china_mentions": (pl.Int64(), "Documents of 7 days whose title names China"),
    "trumpxi_sentiment_volatility": (pl.Float64(), _NULL),
    "trumpxi_policy_impact": (pl.Float64(), "Highest agricultural score of the vendor, China, 30 days"),
    "trumpxi_volatility_30d_ma": (pl.Float64(), _NULL),
    "trump_soybean_sentiment_7d": (pl.Float64(), _NULL),
    "policy_trump_topic_multiplier": (pl.Float64(), "Highest topic weight of the documents of 7 days"),
    "policy_trump_recency_decay": (pl.Float64(), "exp(-hours/24) since the newest document with a topic weight"),
}
"""Fields of features.daily_ml_matrix.policy: type and meaning."""


def _features() -> Iterator[Feature]:
    for name, (_, description) in STRUCT.items():
        is_count = name.endswith("mentions")
        yield Feature(f"policy.{name}", "1", description, "sentiment", "count" if is_count else "level")
    for kind in CATEGORIES:
        for n in WINDOWS:
            what = f"Documents of the kind {kind} in {n} days"
            yield Feature(f"policy_{kind}_count_{n}", "1", what, "sentiment", "count")


FEATURES = tuple(_features())


def build(inputs: Inputs) -> pl.DataFrame:
    """`policy`, a STRUCT of the fields of `STRUCT`, and the flat columns; see `FEATURES`."""
    events = _events(inputs.series["policy_events"])
    flat = [feature.name for feature in FEATURES if "." not in feature.name]
    counts = finished(inputs, flat, [_counts(inputs.decisions, events)])
    return pl.concat([counts, _struct(inputs.decisions, events)], how="horizontal")


def _events(table: pl.DataFrame) -> pl.DataFrame:
    """Each document once, as first published, in the order of publication, with what the fields need."""
    title = pl.col("title")
    weight = pl.max_horizontal(
        pl.when(title.str.contains(pattern)).then(value) for pattern, value in TOPIC_MULTIPLIERS.items()
    )
    is_government = pl.col("source").str.strip_prefix(SIMULATED).str.starts_with(_GOVERNMENT)
    in_term = pl.any_horizontal(pl.col("observed_date").is_between(*term) for term in TERMS)
    return documents(table).with_columns(
        is_trump=in_term,
        weight=weight,
        trust=pl.when(is_government).then(CONFIDENCE["government"]).otherwise(CONFIDENCE["unknown"]),
    )


def _counts(decisions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    times = decisions["decision_time"]
    columns: dict[str, pl.Series] = {}
    for kind in CATEGORIES:
        chosen = events.filter(pl.col("category") == kind)
        columns |= {f"policy_{kind}_count_{n}": in_window(times, chosen, n) for n in WINDOWS}
    return pl.DataFrame(columns).with_columns(pl.when(is_alive(times, events)).then(pl.all()))


def _struct(decisions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The column `policy`, one row per decision."""
    theirs = events.filter("is_trump")
    times = decisions["decision_time"]
    week = (
        _within(decisions, theirs, 7)
        .group_by("data_date")
        .agg(trump_confidence=pl.col("trust").mean(), policy_trump_topic_multiplier=pl.col("weight").max())
    )
    china = theirs.filter("is_china")
    month = (
        _within(decisions, china, 30)
        .group_by("data_date")
        .agg(trumpxi_policy_impact=pl.col("agricultural_impact").max())
    )
    weighty = theirs.filter(pl.col("weight").is_not_null()).select("available_at", came="available_at")
    newest = decisions.select("data_date", "decision_time").join_asof(
        weighty, left_on="decision_time", right_on="available_at", check_sortedness=False
    )
    age = (pl.col("decision_time") - pl.col("came")).dt.total_seconds()
    known = newest.join(week, on="data_date", how="left", maintain_order="left").join(
        month, on="data_date", how="left", maintain_order="left"
    )
    columns = known.with_columns(
        trump_mentions=in_window(times, theirs, 7, events),
        trumpxi_china_mentions=in_window(times, china, 7, events),
        policy_trump_recency_decay=(-age * (1 / _DECAY_SECONDS)).exp(),
    ).with_columns(pl.when(is_alive(times, events)).then(pl.all()))
    fields = [
        (pl.col(name) if name in columns.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, (dtype, _) in STRUCT.items()
    ]
    return columns.select(pl.struct(fields).alias("policy"))


def _within(decisions: pl.DataFrame, events: pl.DataFrame, days: int) -> pl.DataFrame:
    """Every pair of a decision and a document of the days before it."""
    since = pl.col("decision_time").dt.offset_by(f"-{days}d").alias("since")
    return decisions.select("data_date", "decision_time", since).join_where(
        events, pl.col("available_at") <= pl.col("decision_time"), pl.col("available_at") > pl.col("since")
    )


FAMILY = Family(
    name="policy",
    version="v3",
    description="Policy documents as published: counts by kind, and the STRUCT policy",
    inputs=("policy_events",),
    look_back=10,
    features=FEATURES,
    build=build,
    rules=(3,),
    stands={"policy": MAX_SILENCE},
)

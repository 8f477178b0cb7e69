"""Positions of traders as the CFTC reports them: shares of open interest, ranked among the reports of five years.

Counts of contracts grow with the market and say nothing alone; every column is a share, a rank or a change (DOMAIN
section 7, rule 9). Ranks and changes go from report to report, as the reports were known at the decision. A change is
null where the report it needs is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl

from zl_assets.core.features.family import Family, Feature, Inputs, Treatment
from zl_assets.core.features.readings import RawSeries, finished, over_history

MAX_AGE = timedelta(days=16)
"""Tuesday's positions are replaced on the Friday of the week after, or the Monday after a holiday."""

FIVE_YEARS = timedelta(days=5 * 365 + 1)
FEWEST_REPORTS = 150
"""Reports that a rank needs; five whole years hold 261."""

CONTRACTS: dict[str, str] = {"zl": "007601", "zs": "005602", "zm": "026603", "zc": "002602", "cl": "067651"}
"""CFTC contract market codes."""

_LEGACY = ("legacy_combined", "legacy_futures")
REPORTS: dict[str, tuple[str, ...]] = {
    "commercial": _LEGACY,
    "noncommercial": _LEGACY,
    "managed_money": ("disaggregated_combined",),
}
"""Group of traders -> reports that have it, in order of preference; no rank mixes two reports."""

EXTREMES = (10.0, 90.0)
CROWDED = 80.0
"""Ranks in percent (DOMAIN section 7, rule 9)."""

_OTHERS = ("zs", "zm", "zc", "cl")


def _group(contract: str, group: str) -> tuple[RawSeries, ...]:
    return tuple(
        RawSeries(
            "cftc_positioning",
            {"contract_code": CONTRACTS[contract], "report": report},
            MAX_AGE,
            {"long": f"{group}_long", "short": f"{group}_short", "open_interest": "open_interest"},
        )
        for report in REPORTS[group]
    )


def _net_share() -> pl.Expr:
    """Net position of the group a series is of, in percent of open interest, one value a report."""
    net = pl.col("long") - pl.col("short")
    return pl.when(pl.col("open_interest") > 0).then(100 * net / pl.col("open_interest"))


def _before(values: pl.Expr, weeks: int) -> pl.Expr:
    """The newest report's value less that of the report so many weeks before it, two days of slack."""
    back = pl.col("days_back").is_between(7 * weeks - 2, 7 * weeks + 2)
    return values.last() - values.filter(back).last()


def _rank(values: pl.Expr) -> pl.Expr:
    """Percent of the reports whose value is not above the newest one."""
    count = values.count()
    below = (values <= values.last()).sum()
    return pl.when(values.last().is_not_null() & (count >= FEWEST_REPORTS)).then(100 * below / count)


def _of_oil(inputs: Inputs, group: str) -> pl.DataFrame:
    share = _net_share()
    name = f"cot_{group}"
    columns = {
        f"{name}_percentile_5y": _rank(share),
        f"{name}_share_change_1w": _before(share, 1),
        f"{name}_share_change_4w": _before(share, 4),
        f"{name}_z_1y": _recent_score(share),
    }
    return over_history(inputs, _group("zl", group), FIVE_YEARS, columns)


def _recent_score(values: pl.Expr) -> pl.Expr:
    """The newest report against those of a year, where at least 40 of its 52 are there."""
    recent = values.filter(pl.col("days_back") < 364)
    score = (values.last() - recent.mean()) / recent.std()
    return pl.when(recent.count() >= 40).then(score)


def oil_net_share(inputs: Inputs) -> pl.DataFrame:
    """Net position of the commercials in soybean oil, percent of open interest, one row per decision: `net_share`."""
    span = timedelta(days=8)
    return over_history(inputs, _group("zl", "commercial"), span, {"net_share": _net_share().last()})


def _features() -> Iterator[Feature]:
    def feature(name: str, unit: str, description: str, treatment: Treatment) -> Feature:
        return Feature(f"cot_{name}", unit, description, "positioning", treatment)

    for group in REPORTS:
        who = group.replace("_", " ")
        rank = f"Rank of the net share of {who} in the reports of 5 years"
        yield feature(f"{group}_percentile_5y", "%", rank, "percentile")
        for weeks in (1, 4):
            since = f"Change of the net share of {who} since the report {weeks} weeks before"
            yield feature(f"{group}_share_change_{weeks}w", "% of open interest", since, "change")
        yield feature(f"{group}_z_1y", "1", f"Net share of {who} against the reports of a year", "z")
    yield feature("commercial_extreme", "1", "1 where the commercials rank at 90 or more, -1 at 10 or less", "flag")
    yield feature("speculator_percentile_5y", "%", "Rank of managed money, else of non-commercials", "percentile")
    yield feature("speculator_extreme", "1", "1 where the speculators rank at 90 or more, -1 at 10 or less", "flag")
    yield feature("speculator_crowded", "1", "1 where the speculators rank above 80", "flag")
    yield feature("divergence", "%", "Rank of the speculators less that of the commercials", "spread")
    yield feature("open_interest_change_4w", "1", "Relative change of open interest in four reports", "return")
    for name in _OTHERS:
        other = f"Rank of the speculators in {name.upper()} in the reports of 5 years"
        yield feature(f"{name}_speculator_percentile_5y", "%", other, "percentile")


FEATURES = tuple(_features())


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    frames = [_of_oil(inputs, group) for group in REPORTS]
    open_interest = pl.col("open_interest")
    growth = {"cot_open_interest_change_4w": _before(open_interest.log(), 4).exp() - 1}
    frames.append(over_history(inputs, _group("zl", "commercial"), timedelta(days=40), growth))
    for name in _OTHERS:
        either = (*_group(name, "managed_money"), *_group(name, "noncommercial"))
        columns = {f"cot_{name}_speculator_percentile_5y": _rank(_net_share())}
        frames.append(over_history(inputs, either, FIVE_YEARS, columns))
    return finished(inputs, [feature.name for feature in FEATURES], [*frames, _compared(frames)])


def _compared(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Columns that compare ranks."""
    ranks = pl.concat(frames, how="horizontal")
    speculator = pl.coalesce("cot_managed_money_percentile_5y", "cot_noncommercial_percentile_5y")
    commercial = pl.col("cot_commercial_percentile_5y")
    return ranks.select(
        _extreme(commercial).alias("cot_commercial_extreme"),
        speculator.alias("cot_speculator_percentile_5y"),
        _extreme(speculator).alias("cot_speculator_extreme"),
        (speculator > CROWDED).cast(pl.Float64).alias("cot_speculator_crowded"),
        (speculator - commercial).alias("cot_divergence"),
    )


def _extreme(rank: pl.Expr) -> pl.Expr:
    low, high = EXTREMES
    return (rank >= high).cast(pl.Float64) - (rank <= low).cast(pl.Float64)


FAMILY = Family(
    name="positioning",
    version="v2.5",
    description="Who holds ZL: net shares ranked in five years of reports, their changes and extremes",
    inputs=("cftc_positioning",),
    look_back=0,
    features=FEATURES,
    build=build,
    rules=(9,),
    stands={"": MAX_AGE},
)

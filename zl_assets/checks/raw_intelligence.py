"""Checks of the raw series: where they come from, when they were known, whether they still come."""

from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.market_data import BARS_1D, QUARANTINE
from zl_assets.assets.raw_intelligence import SERIES_TABLES
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.checks.market_data import evaluate_lineage, evaluate_unique
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract

if TYPE_CHECKING:
    import polars as pl

RHYTHMS: tuple[tuple[float, int, int], ...] = (
    (4, 10, 20),
    (10, 21, 40),
    (45, 70, 110),
    (130, 200, 330),
    (400, 800, 800),
)
"""Median days between observations up to which a rhythm goes, the longest gap in it, the age at which it is stale."""

LEAST_OBSERVATIONS = 5
"""A series with fewer of them has no rhythm."""

SERIES_OF = {
    "policy_events": ("source",),
    "brazil_soy_crop": ("source",),
    "usda_export_sales": ("commodity", "country", "source"),
}
"""What a series is where each row of the table's key is one of its own."""

PAUSES = {"usda_crop_progress": 366, "policy_events": 366}
"""Days for which the reports of a table may cease: nothing is planted in winter, and events have no rhythm."""

_EXPIRING = r"^[A-Z]+[FGHJKMNQUVXZ]\d{2}$"
"""A single contract month ends on the day it expires."""


def series_columns(table: str) -> tuple[str, ...]:
    """Columns that tell the series of a table apart."""
    from zl_assets.core.raw_series import SHAPES

    return SERIES_OF.get(table, SHAPES[table].series)


def evaluate_known_in_time(rows: "pl.DataFrame", table: str) -> Verdict:
    """No row was public before the day it is about, or stored before it was public."""
    import polars as pl

    from zl_assets.core.release_rules import NEW_YORK, published_ahead

    day = pl.col("available_at").dt.convert_time_zone(NEW_YORK).dt.date()
    early = (day < pl.col("observed_date")) & ~published_ahead(table)
    late = pl.col("available_at") > pl.col("ingest_timestamp")
    shown = [*series_columns(table), "observed_date", "available_at", "ingest_timestamp"]
    return no_offender(
        rows.filter((early | late).fill_null(value=True)).select(shown),
        before_its_day=rows.filter(early).height,
        after_ingestion=rows.filter(late).height,
    )


def evaluate_fresh(rows: "pl.DataFrame", table: str, as_of: date) -> Verdict:
    """The newest observation of no series is older than its rhythm allows, at the newest stored bar.

    Args:
        rows: the series and `observed_date`.
        table: raw_intelligence table without the dataset.
        as_of: day of the newest bar. A market that ends there needs no younger series.
    """
    import polars as pl

    paced = _paces(rows, table)
    age = (pl.lit(as_of) - pl.col("newest")).dt.total_days()
    stale = paced.with_columns(age_days=age).filter(pl.col("age_days") > pl.col("stale_days"))
    if table == "vendor_prices_daily":
        stale = stale.filter(~pl.col("symbol").str.contains(_EXPIRING))
    return no_offender(stale.drop("gap_days").sort("age_days", descending=True), series=paced.height)


def evaluate_no_gap(rows: "pl.DataFrame", table: str) -> Verdict:
    """No two observations of a series lie further apart than its rhythm allows."""
    import polars as pl

    series = list(series_columns(table))
    observed = pl.col("observed_date")
    gaps = (
        rows.select(*series, "observed_date")
        .unique()
        .sort(*series, "observed_date")
        .with_columns(since=observed.shift(1).over(series))
        .with_columns(days=(observed - pl.col("since")).dt.total_days())
    )
    beyond = gaps.join(_paces(rows, table), on=series).filter(pl.col("days") > pl.col("gap_days"))
    return no_offender(beyond.select(*series, "since", "observed_date", "days").sort("days", descending=True))


def _paces(rows: "pl.DataFrame", table: str) -> "pl.DataFrame":
    """Of each series that has a rhythm: its `newest` day, `gap_days` and `stale_days`."""
    import polars as pl

    series = list(series_columns(table))
    days = rows.select(*series, "observed_date").unique().sort(*series, "observed_date")
    median = pl.col("observed_date").diff().dt.total_days().median()
    paced = days.group_by(series, maintain_order=True).agg(
        newest=pl.col("observed_date").max(), n=pl.len(), pace=median
    )
    gap, stale = pl.lit(None, pl.Int64), pl.lit(None, pl.Int64)
    for up_to, longest, oldest in reversed(RHYTHMS):
        gap = pl.when(pl.col("pace") <= up_to).then(PAUSES.get(table, longest)).otherwise(gap)
        stale = pl.when(pl.col("pace") <= up_to).then(PAUSES.get(table, oldest)).otherwise(stale)
    with_limits = paced.with_columns(gap_days=gap, stale_days=stale)
    return with_limits.filter((pl.col("n") >= LEAST_OBSERVATIONS) & pl.col("gap_days").is_not_null()).drop("n", "pace")


_MEND_A_SOURCE = "the rows came with a wrong moment: mend their source, delete them, and run again"
_ASK_A_SOURCE = (
    "add newer files of the series or set up their source; features of a stale series are missing, not filled"
)
_FILL_A_GAP = "the source has a hole there; it stays one until somebody delivers the missing days"


def checks_of(table: str) -> tuple[Check, ...]:
    """Checks of one table, by its name without the dataset.

    They share its rows, the day of the newest bar, and the rows of it that are in quarantine.
    """
    keys = list(contract(f"raw_intelligence.{table}").keys)
    return (
        Check(
            "lineage_complete",
            "Lineage columns are filled in every row",
            lambda rows, _day, _rejected: evaluate_lineage(rows),
        ),
        Check(
            "unique", "One row per series, day and moment", lambda rows, _day, _rejected: evaluate_unique(rows, keys)
        ),
        Check(
            "known_in_time",
            "No value is public before the day it is about, or stored before it is public",
            lambda rows, _day, _rejected: evaluate_known_in_time(rows, table),
            action=_MEND_A_SOURCE,
        ),
        Check(
            "fresh",
            "No series is older than its rhythm allows, at the newest bar",
            partial(_fresh_at, table),
            blocking=False,
            action=_ASK_A_SOURCE,
        ),
        Check(
            "no_gap",
            "No gap in a series is longer than its rhythm allows",
            lambda rows, _day, _rejected: evaluate_no_gap(rows, table),
            blocking=False,
            action=_FILL_A_GAP,
        ),
        Check(
            "nothing_rejected",
            "No row of the series is in quarantine",
            lambda _rows, _day, rejected: no_offender(rejected),
            blocking=False,
            action="raw_intelligence.quarantine has each with its reason and its original; it is a hole in the series",
        ),
    )


def _fresh_at(table: str, rows: "pl.DataFrame", as_of: date | None, _rejected: "pl.DataFrame") -> Verdict:
    return Verdict(passed=True) if as_of is None else evaluate_fresh(rows, table, as_of)


_REJECTED = f"""
SELECT reason, symbol, observed_date, source_file FROM {QUARANTINE}
WHERE stage = 'series' ORDER BY observed_date DESC, quarantine_id
"""
SERIES_CHECKS = {table: checks_of(table.split(".")[1]) for table in SERIES_TABLES}


@dg.multi_asset_check(name="raw_series_checks", specs=[s for t, c in SERIES_CHECKS.items() for s in specs(t, c)])
def raw_series_checks(warehouse: dg.ResourceParam[Warehouse]):
    """Check every table of raw series."""
    lineage = ("ingest_timestamp", "provenance_uuid")
    columns = {t: ", ".join((*contract(t).keys, *lineage)) for t in SERIES_TABLES}
    newest = f"SELECT MAX(bar_date) AS day FROM {BARS_1D}"
    stored = {t: f"SELECT {c} FROM {t}" for t, c in columns.items()}
    read = warehouse.read_all({**stored, BARS_1D: newest, QUARANTINE: _REJECTED})
    as_of, rejected = read[BARS_1D]["day"].item(), read[QUARANTINE]
    for table, checks in SERIES_CHECKS.items():
        of_it = rejected.filter(rejected["source_file"].str.ends_with(f": {table.split('.')[1]}"))
        yield from evaluated(table, checks, read[table], as_of, of_it)

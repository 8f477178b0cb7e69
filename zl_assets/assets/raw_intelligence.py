"""Raw series: what their sources deliver, stored with the moment at which the public could know it."""

from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, counts, merged, node, utc_now
from zl_assets.assets.market_data import BARS_1D, QUARANTINE
from zl_assets.errors import ZlError
from zl_assets.sources.series_choice import SeriesSources
from zl_assets.warehouse.base import MergeResult, Warehouse
from zl_assets.warehouse.contracts import contracts

if TYPE_CHECKING:
    from zl_assets.sources.stored_series import StoredSeries, TableOutcome

SERIES_TABLES = tuple(n for n in contracts() if n.startswith("raw_intelligence.") and n != QUARANTINE)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(**node(table, group="raw", kind="polars"), deps=[BARS_1D.split(".")]) for table in SERIES_TABLES
    ],
    name="raw_series",
    pool=WAREHOUSE_POOL,
    can_subset=True,
)
def raw_series(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    series_sources: dg.ResourceParam[SeriesSources],
):
    """Ask every configured source, reject what breaks a rule, store what is new.

    A source that is not configured is left out. One that is and fails ends the step once the others are stored: the
    rows of a vendor that somebody has set up are not missed in silence.
    """
    from zl_assets.sources.stored_bars import StoredBars
    from zl_assets.sources.stored_series import StoredSeries

    chosen = {key.path[-1] for key in context.selected_asset_keys}
    stored = StoredSeries.read(warehouse, sorted(chosen))
    real = StoredBars(warehouse).has_real_bars()
    asked = [s for s in series_sources.of_the_market(real=real) if chosen & set(s.tables)]
    configured = [s for s in asked if s.state() == "configured"]
    failed: list[ZlError] = []
    quarantined = MergeResult(0, 0, 0)
    for source in configured:
        try:
            delivery = source.fetch(stored.newest(source.name), context.log.info)
            quarantined += stored.store(delivery, source.name, utc_now(), real=real)
        except ZlError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    if quarantined.inserted:
        count = {"rows_inserted": quarantined.inserted}
        context.log_event(dg.AssetObservation(QUARANTINE.split("."), metadata=count))
    reasons = [f"{s.name} {s.state()}" for s in asked if s not in configured]
    for table in (t for t in SERIES_TABLES if t.split(".")[1] in chosen):
        yield _result(table, stored, reasons)


def _result(table: str, stored: "StoredSeries", reasons: list[str]) -> dg.MaterializeResult:
    """Metadata of one table."""
    outcome = stored.tables[table.split(".")[1]]
    return dg.MaterializeResult(
        asset_key=table.split("."),
        metadata={
            **merged(outcome.merged, outcome.rows.height),
            **_span(outcome),
            "sources": ", ".join(outcome.sources) or "; ".join(["no source configured", *reasons]),
            "rejected": counts(outcome.rejected),
            "left_alone": counts(outcome.left_alone),
        },
    )


def _span(outcome: "TableOutcome") -> dict[str, str | int]:
    """First and last day, number of series and age in days of the newest row; nothing for an empty table."""
    from datetime import date

    if outcome.rows.is_empty():
        return {}
    first, last = outcome.rows["observed_date"].min(), outcome.rows["observed_date"].max()
    assert isinstance(last, date)
    names = outcome.rows.columns[: outcome.rows.columns.index("observed_date")]
    return {
        "first_observed": str(first),
        "last_observed": str(last),
        "series": outcome.rows.select(names).unique().height,
        "age_days": (utc_now().date() - last).days,
    }

"""Vendor bars as delivered, and the trading sessions made from them."""

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, counts, merged, node, picture, utc_now
from zl_assets.sources.bar_source import BarSource
from zl_assets.warehouse.base import Warehouse

BARS_1D = "market_data.databento_futures_ohlcv_1d"
BARS_1H = "market_data.databento_futures_ohlcv_1h"
SESSIONS = "market_data.futures_sessions_1d"
QUARANTINE = "raw_intelligence.quarantine"


def _spec(table: str, kind: str) -> dg.AssetSpec:
    return dg.AssetSpec(**node(table, group="raw", kind=kind))


@dg.multi_asset(
    specs=[_spec(BARS_1D, "databento"), _spec(BARS_1H, "databento"), _spec(QUARANTINE, "polars")],
    name="vendor_bars",
    pool=WAREHOUSE_POOL,
)
def vendor_bars(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    bar_source: dg.ResourceParam[BarSource],
):
    """Read what the bar source delivers, reject what breaks a rule, store the rest."""
    from zl_assets.core import bars as rules
    from zl_assets.sources.stored_bars import StoredBars

    now = utc_now()
    stored = StoredBars(warehouse)
    real = stored.has_real_bars()
    delivery = bar_source.deliver(stored.newest, context.log.info, has_real_bars=real)
    outcome = stored.store(
        rules.sort_out(delivery.bars, now) if delivery else None,
        now,
        accept_corrections=bar_source.settings.accept_corrections,
    )
    yield dg.MaterializeResult(
        asset_key=BARS_1D.split("."),
        metadata={
            **merged(outcome.daily, warehouse.row_count(BARS_1D)),
            "source": bar_source.kind(has_real_bars=real),
            "vendor_files": len(delivery.files) if delivery else 0,
            "files_left_alone": dg.MetadataValue.json(
                {p.name: why for p, why in delivery.skipped.items()} if delivery else {}
            ),
            "not_followed": counts(outcome.not_followed),
        },
    )
    yield dg.MaterializeResult(
        asset_key=BARS_1H.split("."),
        metadata=merged(outcome.hourly, warehouse.row_count(BARS_1H)),
    )
    yield dg.MaterializeResult(
        asset_key=QUARANTINE.split("."),
        metadata={**merged(outcome.quarantine, warehouse.row_count(QUARANTINE)), "rejected": counts(outcome.rejected)},
    )


@dg.asset(
    **node(SESSIONS, group="raw", kind="polars"),
    deps=[BARS_1D.split("."), BARS_1H.split(".")],
    pool=WAREHOUSE_POOL,
)
def futures_sessions_1d(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Fold the stored bars into trading sessions."""
    import polars as pl

    from zl_assets.core.bars import quarantine_rows
    from zl_assets.core.figures import price_figure
    from zl_assets.core.sessions import build_sessions, known_by
    from zl_assets.sources.stored_bars import StoredBars

    now = utc_now()
    stored = StoredBars(warehouse)
    build = build_sessions(stored.hourly(), stored.daily())
    sessions = known_by(build.sessions, now).with_columns(ingest_timestamp=pl.lit(now))
    result = warehouse.merge(SESSIONS, sessions)
    rejected = quarantine_rows(build.bad_prints, "sessions", now)
    found = merged(warehouse.merge(QUARANTINE, rejected), warehouse.row_count(QUARANTINE))
    context.log_event(dg.AssetObservation(QUARANTINE.split("."), metadata={**found, "bad_prints": rejected.height}))
    zl = sessions.filter(pl.col("symbol") == "ZL")
    return dg.MaterializeResult(
        metadata={
            **merged(result, sessions.height),
            "zl_sessions": zl.height,
            "zl_rolls": int(zl["is_roll"].sum()),
            "zl_suspect": int(zl["is_suspect"].sum()),
            "bad_prints_left_out": rejected.height,
            "bars_of_another_month_left_out": counts(build.other_month_bars),
            "price": picture(price_figure(zl)),
        }
    )

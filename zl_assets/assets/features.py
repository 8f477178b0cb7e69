"""The feature matrix."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, counts, node
from zl_assets.assets.incremental import begin
from zl_assets.assets.market_data import SESSIONS
from zl_assets.assets.raw_intelligence import SERIES_TABLES
from zl_assets.assets.regimes import WEIGHTS
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract

if TYPE_CHECKING:
    import polars as pl

MATRIX = "features.daily_ml_matrix"
_INPUTS = {name: f"SELECT * FROM {name}" for name in (SESSIONS, *SERIES_TABLES)}


def sessions_and_series(warehouse: Warehouse) -> "tuple[pl.DataFrame, dict[str, pl.DataFrame]]":
    """What families read: every session, and every raw series by table name without the dataset."""
    everything = warehouse.read_all(_INPUTS)
    return everything[SESSIONS], _series(everything)


@dg.asset(
    **node(MATRIX, group="features", kind="polars"),
    deps=[table.split(".") for table in (SESSIONS, WEIGHTS, *SERIES_TABLES)],
    pool=WAREHOUSE_POOL,
)
def daily_ml_matrix(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
):
    """Build the rows that can have changed since the last build, and merge what did."""
    from zl_assets.core.features.matrix import build_matrix

    run = begin(context, warehouse, MATRIX, _INPUTS, {"decision_time": str(settings.decision_time)})
    sessions, series = run.inputs[SESSIONS], _series(run.inputs)
    schema = contract(MATRIX).polars_schema()
    rows = (
        schema.to_frame()
        if run.plan.nothing
        else build_matrix(sessions, schema, run.moment, series=series, at=settings.decision_time, since=run.plan.since)
    )
    result = warehouse.merge(MATRIX, rows)
    return dg.MaterializeResult(metadata={**run.metadata(result), **_described(warehouse.read(_description_sql()))})


def _series(tables: "Mapping[str, pl.DataFrame]") -> "dict[str, pl.DataFrame]":
    """The raw series among the inputs, by table name without the dataset."""
    return {name.split(".")[1]: tables[name] for name in SERIES_TABLES}


def _description_sql() -> str:
    """By instrument: rows, first and last day, suspect rows, and in how many each column of a family has a value."""
    from zl_assets.core.features.registry import FAMILIES

    computed = {column for family in FAMILIES for column in family.columns()}
    filled = ", ".join(f"COUNTIF({c} IS NOT NULL) AS {c}" for c in contract(MATRIX).types if c in computed)
    return (
        "SELECT symbol, COUNT(*) AS row_count, MIN(data_date) AS first_date, MAX(data_date) AS last_date, "
        f"COUNTIF(is_suspect) AS suspect_rows, {filled} FROM {MATRIX} GROUP BY symbol ORDER BY symbol"
    )


def _described(instruments: "pl.DataFrame") -> dict[str, Any]:
    """Metadata about the whole table, from the rows of `_description_sql`.

    By family, it tells how many of its columns in the table hold a value for the instrument that is forecast.
    """
    import polars as pl

    from zl_assets.core.features.registry import FAMILIES

    own = instruments.filter(pl.col("symbol") == FORECAST_SYMBOL)
    filled = own.to_dicts()[0] if own.height else {}
    families = {f.name: sum(filled.get(c.column, 0) > 0 for c in f.features) for f in FAMILIES}
    return {
        "first_date": str(instruments["first_date"].min()),
        "last_date": str(instruments["last_date"].max()),
        "suspect_rows": int(instruments["suspect_rows"].sum()),
        "rows_by_symbol": counts(dict(instruments.select("symbol", "row_count").iter_rows())),
        "families": counts(families),
    }

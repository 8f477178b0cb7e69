"""What `zl families` tells: each feature family with its columns, coverage, age and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from zl_assets.assets.features import MATRIX
from zl_assets.assets.monitoring import IMPACT
from zl_assets.core.evaluation.family_impact import summary
from zl_assets.core.features.registry import FAMILIES
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.surfaces import listed_features

if TYPE_CHECKING:
    import polars as pl

    from zl_assets.core.features.family import Family

NOT_MEASURED = "not measured: zl gate"
NOT_LISTED = "on no surface: sql/surfaces/prod.csv lists none of its columns"


@dataclass(frozen=True)
class FamilyState:
    """One family as it is stored for the instrument that is forecast.

    Attributes:
        family: its name.
        version: its place in the roadmap.
        columns: how many it declares.
        listed: how many of them the production surface holds.
        filled: how many of those hold a value anywhere.
        coverage: share of values that are there, over the listed columns and all sessions.
        since: first session with a value.
        newest: latest session with a value.
        age_days: days from the oldest of its inputs' newest observations to the newest session; None for bars alone.
        state: available, or which of its tables hold no row.
        verdict: what `zl gate` found last, over the horizons; a family that is on no surface is not judged.
    """

    family: str
    version: str
    columns: int
    listed: int
    filled: int
    coverage: float
    since: date | None
    newest: date | None
    age_days: int | None
    state: str
    verdict: str


def collect_families(warehouse: Warehouse) -> list[FamilyState]:
    """The families of the registry, in its order.

    Raises:
        QueryRefused: nothing has been built yet.
    """
    needed = sorted({table for family in FAMILIES for table in family.inputs})
    observed = {t: f"SELECT MAX(observed_date) AS newest FROM raw_intelligence.{t}" for t in needed}
    matrix = f"SELECT * FROM {MATRIX} WHERE symbol = '{FORECAST_SYMBOL}' ORDER BY data_date"
    read = warehouse.read_all({MATRIX: matrix, IMPACT: f"SELECT * FROM {IMPACT} WHERE surface = 'prod'", **observed})
    rows, evidence = read.pop(MATRIX), summary(read.pop(IMPACT))
    verdicts = dict(evidence.select("family", "verdict").iter_rows())
    newest = {table: frame["newest"].item() for table, frame in read.items()}
    return [_state(family, rows, newest, verdicts.get(family.name)) for family in FAMILIES]


def _state(family: Family, rows: pl.DataFrame, newest: dict[str, date | None], verdict: str | None) -> FamilyState:
    import numpy as np

    names = [line.feature for line in listed_features() if line.family == family.name]
    columns = rows.select(_column(name).is_not_null().alias(name) for name in names).to_numpy()
    there = columns if names else np.zeros((rows.height, 0), dtype=bool)
    days: list[date] = rows["data_date"].to_list()
    with_value = [day for day, any_there in zip(days, np.any(there, axis=1).tolist(), strict=True) if any_there]
    missing = [table for table in family.inputs if newest[table] is None]
    observed = [day for table in family.inputs if (day := newest[table])]
    return FamilyState(
        family=family.name,
        version=family.version,
        columns=len(family.features),
        listed=len(names),
        filled=int(np.any(there, axis=0).sum()),
        coverage=round(float(there.mean()), 3) if there.size else 0.0,
        since=with_value[0] if with_value else None,
        newest=with_value[-1] if with_value else None,
        age_days=max(0, (days[-1] - min(observed)).days) if days and observed and not missing else None,
        state=f"no row in {', '.join(missing)}" if missing else "available",
        verdict=verdict or (NOT_MEASURED if names else NOT_LISTED),
    )


def _column(name: str) -> pl.Expr:
    """A feature in the matrix, where those with a dot are fields of a STRUCT."""
    import polars as pl

    struct, _, field = name.partition(".")
    return pl.col(struct).struct.field(field) if field else pl.col(struct)

"""`zl upload`: forecasts from the model store into a warehouse, and the views over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zl_assets.artifacts import FORECASTS as STORED
from zl_assets.artifacts import horizon_directory
from zl_assets.assets.predictions import FORECASTS, LATEST, latest_name
from zl_assets.errors import InputError
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.comparison import refuse_mixture
from zl_assets.warehouse.contracts import contract, view_sql

if TYPE_CHECKING:
    import polars as pl

_OF_MODEL = "predictions.vw_zl_model_latest"


@dataclass(frozen=True)
class Uploaded:
    """Forecast files found, forecasts that were not in the warehouse yet, and the views made."""

    files: int
    forecasts: int
    views: tuple[str, ...]


def upload(
    home: Path,
    target: Warehouse,
    horizons: Sequence[str],
    report: Callable[[str], None],
    *,
    allow_simulated: bool = False,
) -> Uploaded:
    """Store every forecast of the model store that the warehouse lacks; what it holds is not sent again.

    Args:
        home: directory that holds `Models`.
        target: where the forecasts go.
        horizons: codes of the horizons.
        report: told in one line what is found.
        allow_simulated: whether forecasts of a simulated market may be stored.

    Raises:
        InputError: there is no forecast, or a simulated one that is not allowed, or the warehouse holds rows of the
            other world, real or simulated.
    """
    files = [p for h in horizons for p in sorted(horizon_directory(home, h).glob(_PATTERN))]
    if not files:
        raise InputError("there is no forecast to upload", where=str(home / "Models"), action="run `zl run` first")
    rows = _forecasts(files)
    simulated = bool(rows["is_simulated"].any())
    if simulated and not allow_simulated:
        raise InputError(
            "the forecasts are of a SIMULATED market",
            where=str(home / "Models"),
            action="upload with --allow-simulated into a project that holds nothing real",
        )
    target.ensure()
    refuse_mixture(target, str(home / "Models"), simulated=simulated, action="upload into another project")
    keys = list(contract(FORECASTS).keys)
    stored = target.read(f"SELECT {', '.join(keys)} FROM {FORECASTS}")
    missing = rows.join(stored, on=keys, how="anti")
    report(f"{len(files)} files hold {rows.height} forecasts, {missing.height} of them new")
    target.merge(FORECASTS, missing)
    models = sorted({*rows.select("horizon", "model").iter_rows()})
    views = {latest_name(h): view_sql(LATEST, h) for h in horizons}
    views |= {f"predictions.vw_zl_{h}_{m}_latest": view_sql(_OF_MODEL, h, model=m) for h, m in models}
    for statement in views.values():
        target.create_view(statement)
    return Uploaded(len(files), missing.height, tuple(views))


_PATTERN = f"*/{STORED}/[!.]*.parquet"
"""Below a horizon: the surface, and a file per set of training rows; one being written has a leading dot."""


def _forecasts(files: Sequence[Path]) -> pl.DataFrame:
    """Every forecast once; of one that several files hold, the newest."""
    import polars as pl

    keys = list(contract(FORECASTS).keys)
    rows = pl.concat([contract(FORECASTS).validated(pl.read_parquet(p)) for p in files])
    return rows.sort("created_at").unique(keys, keep="last", maintain_order=True)

"""`zl export`: training tables as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zl_assets.assets.training import table_name
from zl_assets.build import build_warehouse
from zl_assets.errors import InputError, StorageFull
from zl_assets.settings import Settings


def export_training_tables(settings: Settings, horizons: Sequence[str], surface: str, file_format: str) -> list[Path]:
    """Write the training table of each horizon under its own name into the home's exports.

    Args:
        settings: where the warehouse and the exports are.
        horizons: codes of the horizons.
        surface: only prod is built in this version.
        file_format: parquet or csv.

    Returns:
        The files, each written whole or not at all. A file of simulated rows says SIMULATED in its name.

    Raises:
        InputError: the surface is not built, or a table has no row yet.
        StorageFull: no space left.
    """
    if surface != "prod":
        raise InputError(
            "the full surface is not built in this version",
            where="features.daily_ml_matrix_full",
            action="export --surface prod",
        )
    warehouse = build_warehouse(settings)
    return [
        _export(warehouse.read(f"SELECT * FROM {table_name(h)} ORDER BY data_date"), h, file_format, settings)
        for h in horizons
    ]


def _export(rows, horizon: str, file_format: str, settings: Settings) -> Path:
    name = table_name(horizon)
    if rows.is_empty():
        raise InputError(f"{name} holds no row yet", action=f"run `zl run --horizon {horizon}` first")
    simulated = rows["source"].eq("simulated").any()
    stem = f"{name.split('.')[1]}{'.SIMULATED' if simulated else ''}"
    path = settings.exports / f"{stem}.{file_format}"
    partial = path.with_name(f".{path.name}.partial")
    try:
        settings.exports.mkdir(parents=True, exist_ok=True)
        if file_format == "parquet":
            rows.write_parquet(partial)
        else:
            rows.write_csv(partial)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageFull(
            f"the export cannot be written: {error}", where=str(path), action="free space or choose another --home"
        ) from error
    return path

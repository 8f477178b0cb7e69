"""`zl export`: training tables as files."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zl_assets.assets.training import table_name
from zl_assets.build import build_warehouse
from zl_assets.errors import ConfigurationError, InputError, StorageFull
from zl_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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
        ConfigurationError: the file cannot be written for another reason.
    """
    if surface != "prod":
        raise InputError(
            "the full surface is not built in this version",
            where="features.daily_ml_matrix_full",
            action="export --surface prod",
        )
    warehouse = build_warehouse(settings)
    tables = {h: warehouse.read(f"SELECT * FROM {table_name(h)} ORDER BY data_date") for h in horizons}
    for horizon, rows in tables.items():
        if rows.is_empty():
            raise InputError(
                f"{table_name(horizon)} holds no row yet", action=f"run `zl run --horizon {horizon}` first"
            )
    return [_export(rows, table_name(horizon), file_format, settings) for horizon, rows in tables.items()]


def _export(rows: pl.DataFrame, name: str, file_format: str, settings: Settings) -> Path:
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
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        kind = StorageFull if error.errno in _DISK_FULL else ConfigurationError
        raise kind(
            f"the export cannot be written: {error.strerror or error}",
            where=str(path),
            action="free space, mend the permissions or choose another --home",
        ) from error
    return path

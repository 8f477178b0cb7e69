"""Empty warehouses for tests, each a copy of one that was created once."""

import tempfile
from functools import cache
from pathlib import Path

from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        store = DuckDBWarehouse(Path(directory) / "empty.duckdb")
        store.ensure()
        return store.path.read_bytes()


def empty_warehouse(path: Path, lock_timeout: float = 30.0) -> DuckDBWarehouse:
    """A warehouse with every table and no row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_empty())
    return DuckDBWarehouse(path, lock_timeout)

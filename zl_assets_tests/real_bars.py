"""ZL's real bars, sessions and matrix, read in place and built once per test session."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import polars as pl

from zl_assets.core.bars import daily_bars, sort_out
from zl_assets.core.features.matrix import build_matrix
from zl_assets.core.sessions import SessionBuild, build_sessions
from zl_assets.sources.files import read_directory
from zl_assets.warehouse.contracts import contract

NOW = datetime(2025, 9, 1, tzinfo=UTC)
MATRIX_SCHEMA = contract("features.daily_ml_matrix").polars_schema()


@dataclass(frozen=True)
class RealZl:
    """Accepted bars of ZL and what is built from them: from daily bars alone, and with the hourly ones."""

    daily: pl.DataFrame
    hourly: pl.DataFrame
    from_daily: SessionBuild
    from_hourly: SessionBuild

    @property
    def matrix(self) -> pl.DataFrame:
        """The feature matrix from the hourly bars."""
        return build_matrix(self.from_hourly.sessions, MATRIX_SCHEMA, NOW)


@cache
def real_zl(data: Path) -> RealZl:
    """ZL of the licensed files."""
    daily = daily_bars(_bars(data / "databento"))
    hourly = _bars(data / "databento_1h")
    return RealZl(daily, hourly, build_sessions(hourly.clear(), daily), build_sessions(hourly, daily))


def _bars(directory: Path) -> pl.DataFrame:
    """Accepted bars of ZL's file, through a directory that holds a link to it and nothing else."""
    with tempfile.TemporaryDirectory() as alone:
        for path in directory.glob("*.ZL.v.0.csv*"):
            (Path(alone) / path.name).symlink_to(path)
        sorted_out = sort_out(read_directory(Path(alone)).bars, NOW)
    assert sorted_out.rejected.is_empty()
    return sorted_out.bars

"""Writes a simulated market as vendor files, whole or not at all.

Belongs here: arguments, layout, formats, the marker file. The market itself is in the modules beside it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from zl_assets.core.exchange_calendar import FIRST_DAY, LAST_DAY
from zl_assets.core.instruments import ROLL_RULE
from zl_assets.errors import InputError
from zl_assets.sources.simulated.fundamentals import FUNDAMENTAL_SERIES
from zl_assets.sources.simulated.intraday import hourly_bars, vendor_frames
from zl_assets.sources.simulated.macro import MACRO_SERIES
from zl_assets.sources.simulated.market import SymbolPath, symbol_paths
from zl_assets.sources.simulated.parameters import (
    HOURLY_SYMBOLS,
    KAPPA,
    MEMORY,
    MES_FIRST_DAY,
    MES_MODEL,
    WORLDS,
    World,
)
from zl_assets.sources.simulated.setting import Setting
from zl_assets.sources.simulated.vendor_prices import VENDOR_SERIES

if TYPE_CHECKING:
    import polars as pl

MARKER = "SIMULATED.json"
SERIES = MACRO_SERIES | VENDOR_SERIES | FUNDAMENTAL_SERIES
"""File stem in series/ -> the function that makes its table."""
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.9fZ"
_STATEMENT = (
    "Every price and every series in this directory is simulated by a random generator; "
    "none of it was ever traded or published."
)


@dataclass(frozen=True)
class SimulatedMarket:
    """A written market.

    Attributes:
        directory: where it stands, absolute.
        world: martingale or planted.
        seed: of the generators.
        start: first calendar day.
        end: last calendar day.
        files: every file written, relative to the directory, sorted.
    """

    directory: Path
    world: World
    seed: int
    start: date
    end: date
    files: tuple[Path, ...]


def simulate(
    directory: Path,
    *,
    world: World = "martingale",
    seed: int = 7,
    start: date = date(2010, 6, 6),
    end: date,
    on_progress: Callable[[str], None] | None = None,
) -> SimulatedMarket:
    """Write a simulated market in the vendors' layout. Same seed and start: same bytes; a later end only appends rows.

    Args:
        directory: created whole; replaced if it already holds a simulated market.
        world: martingale or planted.
        seed: not negative.
        start: bars begin at 00:00 UTC of the first session on or after it.
        end: last UTC day with bars.
        on_progress: called with a sentence before each step.

    Returns:
        What was written.

    Raises:
        InputError: the arguments are unusable, or the directory holds something else.
    """
    _refuse_arguments(world, seed, start, end)
    _refuse_foreign(directory)
    directory = directory.resolve()
    say = on_progress or (lambda _: None)
    say("drawing the sessions")
    paths = _paths(world, seed, start, end)
    with _whole_directory(directory) as building:
        say("writing bars")
        _write_bars(building, paths, seed, start, end)
        say("writing series")
        _write_series(building, Setting.of(paths, seed, start, end))
        _write_marker(building / MARKER, world, seed, start, end)
        files = tuple(sorted(p.relative_to(building) for p in building.rglob("*") if p.is_file()))
    say(f"{len(files)} files in {directory}")
    return SimulatedMarket(directory, world, seed, start, end, files)


def _refuse_arguments(world: str, seed: int, start: date, end: date) -> None:
    """Raise InputError for arguments that no market can be made of."""
    if world not in WORLDS:
        raise InputError("unknown world", where=repr(world), action=f"choose one of {', '.join(WORLDS)}")
    if seed < 0:
        raise InputError("negative seed", where=str(seed), action="choose a seed of 0 or more")
    if start >= end:
        raise InputError(
            "start is not before end", where=f"{start}..{end}", action="choose an earlier start or a later end"
        )
    if start < FIRST_DAY:
        raise InputError(
            "start is before the calendar begins", where=str(start), action=f"start on {FIRST_DAY} or later"
        )
    if end > LAST_DAY:
        raise InputError("end is after the calendar ends", where=str(end), action=f"end on {LAST_DAY} or earlier")


def _refuse_foreign(directory: Path) -> None:
    """Raise InputError for a path that holds anything but an earlier simulation."""
    try:
        is_there = directory.exists() or directory.is_symlink()
        if is_there and (directory.is_symlink() or not directory.is_dir()):
            raise InputError("not a directory", where=str(directory), action="name a directory that does not exist yet")
        foreign = is_there and any(directory.iterdir()) and not (directory / MARKER).is_file()
    except OSError as error:
        raise InputError("cannot look into the directory", where=str(directory), action=f"{error.strerror}") from error
    if foreign:
        raise InputError(
            "the directory holds files that no simulation wrote",
            where=str(directory),
            action="name an empty or new directory; only a simulated market is replaced",
        )


def _paths(world: World, seed: int, start: date, end: date) -> dict[str, SymbolPath]:
    """Session paths; raises InputError where ZL has no session in the range."""
    paths = symbol_paths(world, seed, start, end)
    if "ZL" not in paths or paths["ZL"].sessions[0].astype(object) > end:
        raise InputError("no trading session in the range", where=f"{start}..{end}", action="choose a longer range")
    return paths


def _write_marker(path: Path, world: World, seed: int, start: date, end: date) -> None:
    """Write the file by which a directory is known to be simulated."""
    marker = {"simulated": True, "statement": _STATEMENT, "world": world, "seed": seed}
    marker |= {"start": start.isoformat(), "end": end.isoformat(), "planted_rule": _planted_rule(world)}
    path.write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def _planted_rule(world: World) -> dict[str, object] | None:
    if world == "martingale":
        return None
    return {
        "symbol": "ZL",
        "rule": "E[close[t+1]/close[t] - 1] = -kappa * (close[t]/close[t-memory] - 1) / memory",
        "kappa": KAPPA,
        "memory_sessions": MEMORY,
        "closes": "session closes, roll gaps included, wrong-month price offsets left out",
        "from_session": MEMORY + 2,
    }


def _write_bars(building: Path, paths: dict[str, SymbolPath], seed: int, start: date, end: date) -> None:
    """Write the daily file of every symbol and the hourly file of HOURLY_SYMBOLS."""
    span = f"simulated-{start:%Y%m%d}-{end:%Y%m%d}"
    for symbol, hourly, daily in _bar_frames(paths, seed, end):
        name = f"{symbol}.{ROLL_RULE}.0.csv"
        _write_csv(daily, building / "databento" / f"{span}.ohlcv-1d.{name}")
        if symbol in HOURLY_SYMBOLS:
            _write_csv(hourly, building / "databento_1h" / f"{span}.ohlcv-1h.{name}.zst")


def _bar_frames(paths: dict[str, SymbolPath], seed: int, end: date) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """Symbol, hourly bars, daily bars; symbols without a bar in the range are left out."""
    for symbol, path in paths.items():
        first = path.sessions[0].astype(object)
        bars = hourly_bars(path, path.model, seed, first, end)
        if bars.hours.size:
            yield symbol, *vendor_frames(bars, symbol)
        if symbol == "ES" and end >= MES_FIRST_DAY:
            micro = hourly_bars(path, MES_MODEL, seed, max(first, MES_FIRST_DAY), end)
            if micro.hours.size:
                yield "MES", *vendor_frames(micro, "MES")


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    text = frame.write_csv(float_precision=9, datetime_format=_TIME_FORMAT).encode()
    if path.suffix == ".zst":
        import zstandard

        text = zstandard.ZstdCompressor(level=3).compress(text)
    path.write_bytes(text)


def _write_series(building: Path, setting: Setting) -> None:
    """Write every table of SERIES, marked as simulated in the file's metadata."""
    import pyarrow.parquet as pq

    (building / "series").mkdir()
    for stem, make in SERIES.items():
        table = make(setting).to_arrow()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), "simulated": "true"})
        pq.write_table(table, building / "series" / f"{stem}.parquet")


@contextmanager
def _whole_directory(directory: Path) -> Iterator[Path]:
    """A hidden directory beside the target that takes its name when the block ends well, and is removed otherwise."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            yield building
            _put_in_place(building, directory)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise InputError(
            "the simulated market cannot be written",
            where=str(directory),
            action=f"check the path, its permissions and the free space ({error.strerror})",
        ) from error


def _put_in_place(building: Path, directory: Path) -> None:
    """Rename the finished directory to its name; an earlier simulation there is moved aside first and then removed."""
    building.chmod(0o755)
    if not directory.exists():
        building.rename(directory)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.old.", dir=directory.parent))
    directory.rename(aside / "old")
    try:
        building.rename(directory)
    except OSError:
        (aside / "old").rename(directory)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)

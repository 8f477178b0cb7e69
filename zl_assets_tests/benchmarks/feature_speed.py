"""Time of the feature columns in Polars, beside plain pandas and TA-Lib computing the same ones, in one run.

python -m zl_assets_tests.benchmarks.feature_speed DIR|HOME

DIR holds vendor files, HOME a warehouse. The indicator table runs over every market; pandas and TA-Lib take one market
after the other. The values are compared before anything is timed: a column that differs ends the run. The verdict is
on pandas. Families (of a HOME those of raw series, too), the production surface and the full one have no counterpart
and are timed alone, whole and for the last session, and together as a run computes them that finds one new session:
with all of the history, and with about half of it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from zl_assets.assets.features import MATRIX, sessions_and_series
from zl_assets.core.bars import DAILY, HOURLY, daily_bars, sort_out
from zl_assets.core.features.bar_windows import roll_adjusted
from zl_assets.core.features.changes import digests, first_session
from zl_assets.core.features.family import BLOCK_SESSIONS, Family, Inputs, build_family, needed_since
from zl_assets.core.features.full_surface import available_symbols, full_family, usable_columns
from zl_assets.core.features.indicators import INDICATORS, with_indicators
from zl_assets.core.features.matrix import inputs_of, instrument_rows
from zl_assets.core.features.registry import FAMILIES
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.core.sessions import build_sessions
from zl_assets.settings import Settings
from zl_assets.sources.files import read_directory
from zl_assets.warehouse.contracts import contract
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.benchmarks.measuring import Spread
from zl_assets_tests.benchmarks.pandas_indicators import mean_deviation, pandas_indicators
from zl_assets_tests.benchmarks.talib_indicators import talib_indicators

SETTLED_ROWS = 300
"""Rows after which TA-Lib's other beginnings of an exponential mean are forgotten."""
TIES = ("mfi_14", "volatility_percentile_252")
"""Indicators that compare what may be equal, typical prices or volatilities: rounding decides such ties elsewhere, in
fewer than one row in fifty."""

Loop = Callable[[pd.DataFrame], pd.DataFrame]


def main() -> None:
    """Compare, time, print; exit 1 where values differ or the ratio over pandas is below the limit."""
    parser = argparse.ArgumentParser(description="Feature columns in Polars, pandas and TA-Lib")
    parser.add_argument(
        "place", type=Path, metavar="DIR|HOME", help="directory of vendor files, or home of a warehouse"
    )
    parser.add_argument("--repeats", type=int, default=3, help="how often each runs; default 3")
    parser.add_argument("--limit", type=float, default=5.0, help="lowest ratio over pandas that passes; default 5")
    asked = parser.parse_args()
    inputs = inputs_at(asked.place)
    symbols = available_symbols(inputs)
    sessions = inputs.sessions.filter(pl.col("symbol").is_in(list(symbols)))
    print(f"{sessions.height} sessions of {len(symbols)} markets, {pl.thread_pool_size()} threads for Polars")
    differing = [*compare(sessions, pandas_indicators), *compare(sessions, talib_indicators)]
    if differing:
        sys.exit("values differ: " + ", ".join(differing))
    passed = table_times(sessions, asked.repeats, asked.limit)
    family_times(inputs, symbols, asked.repeats)
    new_session_times(inputs, symbols, asked.repeats)
    sys.exit(0 if passed else 1)


def inputs_at(place: Path) -> Inputs:
    """Sessions and raw series of a home's warehouse, or sessions built from vendor files, as soybean oil reads them."""
    home = Settings(home=place)
    if home.warehouse_file.is_file():
        frame, series = sessions_and_series(DuckDBWarehouse(home.warehouse_file, home.warehouse_lock_seconds))
    else:
        bars = sort_out(read_directory(place).bars, datetime.now(UTC)).bars
        daily = daily_bars(bars).with_columns(rtype=pl.lit(DAILY, pl.Int64))
        frame, series = build_sessions(bars.filter(pl.col("rtype") == HOURLY), daily).sessions, {}
    [inputs] = inputs_of(frame, series, Settings().decision_time, [FORECAST_SYMBOL])
    return inputs


def markets(sessions: pl.DataFrame) -> dict[str, pd.DataFrame]:
    """Roll-adjusted bars by market, as pandas frames."""
    return {
        str(key[0]): part.to_pandas() for key, part in roll_adjusted(sessions).group_by("symbol", maintain_order=True)
    }


def one_after_the_other(bars: dict[str, pd.DataFrame], loop: Loop) -> pd.DataFrame:
    """A loop's columns, market after market."""
    return pd.concat([loop(frame) for frame in bars.values()], ignore_index=True)


def compare(sessions: pl.DataFrame, loop: Loop) -> list[str]:
    """Columns of a loop that differ from ours by more than a millionth of their spread, or in what is missing."""
    bars = markets(sessions)
    theirs = one_after_the_other(bars, loop)
    ours = with_indicators(sessions, list(theirs.columns))
    row = ours.select(row=pl.int_range(pl.len()).over("symbol"))["row"].to_numpy()
    counted = row >= (SETTLED_ROWS if loop is talib_indicators else 0)
    differing: list[str] = []
    for name in theirs.columns:
        got, expected = ours[name].fill_null(np.nan).to_numpy(), theirs[name].to_numpy(dtype=float)
        # What has no value, 0/0 in a market that stood still, is null here and whatever the other library made of it.
        both = counted & np.isfinite(got) & np.isfinite(expected)
        missing = np.isnan(got[counted]) != ~np.isfinite(expected[counted])
        spread = np.std(expected[both]) if both.any() else 0.0
        near = np.abs(got[both] - expected[both]) <= 1e-6 * spread
        agreed = near.sum() >= 0.98 * near.size if name in TIES else near.all()
        if not agreed or (loop is pandas_indicators and missing.any()):
            differing.append(f"{loop.__name__}.{name}")
    return differing


def timed(name: str, repeats: int, work: Callable[[], object]) -> Spread:
    """Repeats of a call, after one that does not count."""
    work()
    seconds: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return Spread(name, tuple(seconds))


def table_times(sessions: pl.DataFrame, repeats: int, limit: float) -> bool:
    """The indicator table three ways; whether the ratio over pandas reaches the limit."""
    bars = markets(sessions)
    shared = list(talib_indicators(next(iter(bars.values()))).columns)
    ours = timed(f"Polars, {len(INDICATORS)} columns", repeats, lambda: with_indicators(sessions))
    pandas = timed(f"pandas, {len(INDICATORS)} columns", repeats, lambda: one_after_the_other(bars, pandas_indicators))
    applied = timed("  of which one rolling.apply (cci_20)", repeats, lambda: one_after_the_other(bars, _applied))
    some = timed(f"Polars, {len(shared)} columns", repeats, lambda: with_indicators(sessions, shared))
    talib = timed(f"TA-Lib, {len(shared)} columns", repeats, lambda: one_after_the_other(bars, talib_indicators))
    for spread, base in ((ours, ours), (pandas, ours), (applied, ours), (some, some), (talib, some)):
        print(f"{spread.line()}   {spread.median / base.median:6.2f} x")
    ratio = pandas.median / ours.median
    print(f"pandas over Polars {ratio:.1f}, {'at least' if ratio >= limit else 'BELOW'} {limit}")
    return ratio >= limit


def _applied(bars: pd.DataFrame) -> pd.DataFrame:
    return mean_deviation((bars.h + bars.l + bars.c) / 3, 20).to_frame()


def family_times(inputs: Inputs, symbols: tuple[str, ...], repeats: int) -> None:
    """Families and the full surface: the whole history, and the last session alone."""
    last = int(inputs.decisions["session_number"][-1])
    everything = (*available(inputs), full_family(symbols))
    for family in everything:
        whole = timed(
            f"{family.name}, {len(family.features)} columns", repeats, lambda f=family: build_family(f, inputs)
        )
        alone = timed("  last session", repeats, lambda f=family: build_family(f, inputs, last))
        print(f"{whole.line()}\n{alone.line()}")
    schema, now = contract(MATRIX).polars_schema(), datetime.now(UTC)
    matrix = timed("production surface, whole", repeats, lambda: instrument_rows(inputs, schema, now))
    row = timed("  last session", repeats, lambda: instrument_rows(inputs, schema, now, since=last))
    print(f"{matrix.line()}\n{row.line()}")
    print(f"usable columns of the full surface: {len(usable_columns(build_family(everything[-1], inputs)))}")
    print(f"highest resident memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def new_session_times(inputs: Inputs, symbols: tuple[str, ...], repeats: int) -> None:
    """What a run computes that finds a new session, beside a build of everything, at two lengths of the history.

    The shorter history ends as far into a block as the longer one: what is computed depends on that.
    """
    families = (*available(inputs), full_family(symbols))
    last, count = int(inputs.decisions["session_number"][-1]), inputs.decisions.height
    for left_out in (count // (2 * BLOCK_SESSIONS) * BLOCK_SESSIONS, 0):
        known = ended(inputs, last - left_out)
        day = known.decisions["data_date"][-1]
        since = first_session(known.decisions, day.replace(day=1))
        whole = timed(f"{known.decisions.height} sessions", repeats, lambda k=known: build_all(families, k))
        again = timed("  a new session", repeats, lambda k=known, s=since: build_all(families, k, s))
        seen = timed("  digests of all inputs", repeats, lambda k=known: digests({"sessions": k.sessions, **k.series}))
        for spread in (whole, again, seen):
            print(f"{spread.line()}   {spread.median / whole.median:6.3f} x")


def ended(inputs: Inputs, last: int) -> Inputs:
    """The inputs up to a session."""
    decisions = inputs.decisions.filter(pl.col("session_number") <= last)
    known = pl.col("available_at") <= decisions["decision_time"][-1]
    series = {name: rows.filter(known) for name, rows in inputs.series.items()}
    return Inputs(decisions, inputs.sessions.filter(known), series)


def available(inputs: Inputs) -> tuple[Family, ...]:
    """The families that can be built of these inputs."""
    return tuple(family for family in FAMILIES if family.available(inputs))


def build_all(families: Sequence[Family], inputs: Inputs, since: int | None = None) -> list[pl.DataFrame]:
    """The columns of several families, as a run computes them."""
    read = inputs if since is None else needed_since(families, inputs, since)
    return [build_family(family, read, since) for family in families]


if __name__ == "__main__":
    main()

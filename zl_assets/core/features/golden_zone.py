"""The golden zone: where the close stands in the retracement of the last confirmed leg.

A zigzag with a reversal of 6 % over the last 126 sound closes names the swings. A swing exists from the session whose
close confirms it, and is looked for anew in each window: the state of a session is a function of its own 126 closes
and of nothing before them. The window's first close is no swing, since what came before it is not seen. Prices are
raw closes of the traded months.

An up-leg runs from a low to a later high, fib_50 = H - 0.5 (H - L), fib_618 = H - 0.618 (H - L); a down-leg is its
mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from zl_assets.core.features.bar_windows import slope
from zl_assets.core.features.family import SESSIONS_A_WEEK, Family, Feature, Inputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REVERSAL = 0.06
WINDOW_SESSIONS = 126
DECAY_SESSIONS = 5
VOLUME_SESSIONS = 20
VOLUME_FACTOR = 1.5
LOOK_BACK = 150


@dataclass(frozen=True)
class Swings:
    """Last confirmed swings by window, NaN where there is none.

    Attributes:
        high: last confirmed swing high.
        low: last confirmed swing low.
        up: whether the high is the later one, so that the leg between them rose.
    """

    high: NDArray[np.float64]
    low: NDArray[np.float64]
    up: NDArray[np.bool_]


def confirmed_swings(windows: NDArray[np.float64]) -> Swings:
    """Zigzag of every window at once.

    A zigzag is sequential, so it has no closed expression: the loop runs along the window, one step for all windows.

    Args:
        windows: closes, one window a row, oldest first.

    Returns:
        The last confirmed swings of each window.
    """
    import numpy as np

    first = windows[:, 0]
    top, bottom = first.copy(), first.copy()
    direction = np.zeros(len(windows), dtype=np.int8)
    high, low = np.full(len(windows), np.nan), np.full(len(windows), np.nan)
    up = np.zeros(len(windows), dtype=np.bool_)
    for step in range(1, windows.shape[1]):
        close = windows[:, step]
        top, bottom = np.maximum(top, close), np.minimum(bottom, close)
        turned_down = (direction >= 0) & (close <= top * (1 - REVERSAL))
        turned_up = (direction <= 0) & (close >= bottom * (1 + REVERSAL))
        # Before the first turn the extreme may be the window's edge, which is no swing.
        edge = direction == 0
        high = np.where(turned_down & ~(edge & (top == first)), top, high)
        low = np.where(turned_up & ~(edge & (bottom == first)), bottom, low)
        up = np.where(turned_down, True, np.where(turned_up, False, up))
        direction = np.where(turned_down, -1, np.where(turned_up, 1, direction)).astype(np.int8)
        top, bottom = np.where(turned_up, close, top), np.where(turned_down, close, bottom)
    return Swings(high, low, up)


def with_golden_zone(sessions: pl.DataFrame) -> pl.DataFrame:
    """Add the golden zone.

    Args:
        sessions: symbol, trade_date, close, volume, is_suspect of one instrument, ascending.

    Returns:
        symbol, trade_date and the struct `golden_zone`, one row per sound session. Levels and state are null until the
        window is whole and holds a confirmed swing of each kind.
    """
    sound = sessions.filter(~pl.col("is_suspect"))
    leg = sound.select("symbol", "trade_date", "close", volume=pl.col("volume").cast(pl.Float64)).with_columns(
        **_swing_columns(sound["close"])
    )
    span = pl.col("swing_high") - pl.col("swing_low")
    levels = leg.with_columns(
        fib_50=pl.when("up").then(pl.col("swing_high") - 0.5 * span).otherwise(pl.col("swing_low") + 0.5 * span),
        fib_618=pl.when("up").then(pl.col("swing_high") - 0.618 * span).otherwise(pl.col("swing_low") + 0.618 * span),
        vol_decay_slope=slope(pl.col("volume"), DECAY_SESSIONS),
    )
    price = pl.col("close")
    beyond = pl.when("up").then(price < pl.col("fib_618")).otherwise(price > pl.col("fib_618"))
    inside = price.is_between(pl.min_horizontal("fib_50", "fib_618"), pl.max_horizontal("fib_50", "fib_618"))
    back_above = (price.shift(1) <= pl.col("fib_50")) & (price > pl.col("fib_50"))
    busy = pl.col("volume") >= VOLUME_FACTOR * pl.col("volume").rolling_mean(VOLUME_SESSIONS)
    decayed = pl.col("vol_decay_slope").shift(1) < 0
    state = pl.when(beyond).then(2).when(inside).then(1).when(pl.col("fib_50").is_not_null()).then(0)
    return levels.select(
        "symbol",
        "trade_date",
        pl.struct(
            state.cast(pl.Int64).alias("state"),
            "swing_high",
            "swing_low",
            "fib_50",
            "fib_618",
            "vol_decay_slope",
            pl.when(pl.col("fib_50").is_not_null()).then(back_above & busy & decayed).alias("qualified_trigger"),
        ).alias("golden_zone"),
    )


def _swing_columns(closes: pl.Series) -> dict[str, pl.Series]:
    """swing_high, swing_low and up, null where the window is not whole or lacks one of the swings."""
    import numpy as np

    whole = len(closes) - WINDOW_SESSIONS + 1
    high, low = np.full(len(closes), np.nan), np.full(len(closes), np.nan)
    up = np.zeros(len(closes), dtype=np.bool_)
    if whole > 0:
        swings = confirmed_swings(np.lib.stride_tricks.sliding_window_view(closes.to_numpy(), WINDOW_SESSIONS))
        missing = np.isnan(swings.high) | np.isnan(swings.low)
        high[-whole:] = np.where(missing, np.nan, swings.high)
        low[-whole:] = np.where(missing, np.nan, swings.low)
        up[-whole:] = swings.up
    return {
        "swing_high": pl.Series(high).fill_nan(None),
        "swing_low": pl.Series(low).fill_nan(None),
        "up": pl.Series(up),
    }


def build(inputs: Inputs) -> pl.DataFrame:
    """The columns of FAMILY, one row per sound session."""
    return with_golden_zone(inputs.own_sessions()).rename({"trade_date": "data_date"})


_PRICE = "unit of the price"

FAMILY = Family(
    name="golden_zone",
    version="v1",
    description="Retracement of the last confirmed leg, with the volume that came with it",
    inputs=(),
    look_back=LOOK_BACK,
    features=(
        Feature("golden_zone.state", "1", "0 outside, 1 between the levels, 2 beyond 61.8 %", "price", "band"),
        Feature("golden_zone.swing_high", _PRICE, "Last confirmed swing high", "price", "level"),
        Feature("golden_zone.swing_low", _PRICE, "Last confirmed swing low", "price", "level"),
        Feature("golden_zone.fib_50", _PRICE, "50 % retracement", "price", "level"),
        Feature("golden_zone.fib_618", _PRICE, "61.8 % retracement", "price", "level"),
        Feature(
            "golden_zone.vol_decay_slope", "contracts per session", "Slope of volume, five sessions", "price", "change"
        ),
        Feature("golden_zone.qualified_trigger", "true or false", "Close back above 50 % on volume", "price", "flag"),
    ),
    build=build,
    stands={"golden_zone": timedelta(days=WINDOW_SESSIONS / SESSIONS_A_WEEK * 7)},
    universal=True,
)

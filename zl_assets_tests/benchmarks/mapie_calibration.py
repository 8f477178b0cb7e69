"""Calibrated intervals beside those of MAPIE's time series regressor, on the same forecasts with the same delay.

python -m zl_assets_tests.benchmarks.mapie_calibration HOME
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.artifacts import read_shelf
from zl_assets.core.evaluation.calibration import STEP, calibrated
from zl_assets.core.evaluation.scores import interval_score
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import NO_CHANGE, models

Floats = NDArray[np.float64]

KNOWN = 252
"""Outcomes that MAPIE is calibrated on: the latest ones that are known, a year of them."""

INTERVALS = {0.8: ("q10", "q90"), 0.9: ("q05", "q95")}


@dataclass(frozen=True)
class Held:
    """How often intervals held, and what they cost.

    Attributes:
        horizon: code.
        level: nominal coverage.
        method: `as forecast`, `calibrated` or `mapie`.
        rows: forecasts judged, the same for each method.
        coverage: share of outcomes within the interval.
        width: mean width, as a fraction of the price.
        winkler: mean interval score; lower is better.
    """

    horizon: str
    level: float
    method: str
    rows: int
    coverage: float
    width: float
    winkler: float

    def line(self) -> str:
        """One line of the table."""
        return (
            f"{self.horizon:<5} {self.level:>5.0%}  {self.method:<12} {self.rows:>6} "
            f"{self.coverage:>9.3f} {self.width:>8.4f} {self.winkler:>8.4f}"
        )


HEADING = f"{'':<5} {'level':>5}  {'intervals':<12} {'rows':>6} {'coverage':>9} {'width':>8} {'winkler':>8}"


def compared(oof: pl.DataFrame, horizon: str, sessions: int) -> list[Held]:
    """The three kinds of interval on the rows that MAPIE can tell, two levels each.

    Args:
        oof: rows of OOF_SCHEMA of one model.
        horizon: code, told in the result.
        sessions: h.
    """
    ours = calibrated(oof, sessions)
    actual = oof["actual_return"].to_numpy()
    found: list[Held] = []
    for level, (low, high) in INTERVALS.items():
        factor, judged = mapie_factors(oof, sessions, level)
        median = oof["q50"].to_numpy()
        below, above = median - oof[low].to_numpy(), oof[high].to_numpy() - median
        bounds = {
            "as forecast": (oof[low].to_numpy(), oof[high].to_numpy()),
            "calibrated": (ours[low].to_numpy(), ours[high].to_numpy()),
            "mapie": (median - factor * below, median + factor * above),
        }
        for method, (left, right) in bounds.items():
            a, b, c = left[judged], right[judged], actual[judged]
            inside, score = ((a <= c) & (c <= b)).mean(), interval_score(c, a, b, level).mean()
            found.append(Held(horizon, level, method, c.size, float(inside), float((b - a).mean()), float(score)))
    return found


def mapie_factors(oof: pl.DataFrame, sessions: int, level: float) -> tuple[Floats, NDArray[np.intp]]:
    """How many times as wide MAPIE makes each interval, and the rows for which it can tell.

    What it is asked for is the interval of the scaled miss, how many half-widths an outcome lay away from the median,
    by adaptive conformal inference about a forecast of zero. An outcome reaches it h sessions after its forecast.

    Returns:
        The factors, shape (rows,), NaN before KNOWN outcomes are known; and positions of the other rows.
    """
    from mapie.regression import TimeSeriesRegressor
    from sklearn.dummy import DummyRegressor

    number = oof["session_number"].to_numpy()
    low, high = INTERVALS[level]
    median = oof["q50"].to_numpy()
    miss = oof["actual_return"].to_numpy() - median
    missed = np.where(miss < 0, miss / (median - oof[low].to_numpy()), miss / (oof[high].to_numpy() - median))
    known = np.searchsorted(number, number - sessions, side="right")
    judged = np.flatnonzero(known >= KNOWN)
    factors = np.full(number.size, np.nan)
    if not judged.size:
        return factors, judged
    nothing = np.zeros((number.size, 1))
    zero = DummyRegressor(strategy="constant", constant=0.0).fit(nothing[:2], [0.0, 0.0])
    regressor = TimeSeriesRegressor(zero, method="aci", cv="prefit")
    learnt = int(known[judged[0]])
    regressor.fit(nothing[learnt - KNOWN : learnt], missed[learnt - KNOWN : learnt])
    for row in judged:
        if known[row] > learnt:
            news = slice(learnt, int(known[row]))
            regressor.adapt_conformal_inference(
                nothing[news], missed[news], gamma=STEP / sessions, confidence_level=level
            )
            with warnings.catch_warnings():
                # It announces two arguments that are not given here.
                warnings.filterwarnings("ignore", message=r"\s*This function behavior has been changed")
                regressor.update(nothing[news], missed[news])
            learnt = int(known[row])
        _, bounds = regressor.predict(nothing[row : row + 1], confidence_level=level, allow_infinite_bounds=True)
        factors[row] = float(bounds[0, 1, 0] - bounds[0, 0, 0]) / 2
    return factors, judged


def main() -> None:
    """Print a line per horizon, level and kind of interval."""
    parser = argparse.ArgumentParser(description="Calibrated intervals beside MAPIE's")
    parser.add_argument("home", type=Path, help="home with a run")
    parser.add_argument("--model", default=NO_CHANGE, choices=list(models()))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if not asked.json:
        print(HEADING)
    for horizon in HORIZONS.values():
        artifact = read_shelf(asked.home, horizon.code)[asked.model]
        for held in compared(artifact.oof, horizon.code, horizon.sessions):
            print(json.dumps(asdict(held)) if asked.json else held.line(), flush=True)


if __name__ == "__main__":
    main()

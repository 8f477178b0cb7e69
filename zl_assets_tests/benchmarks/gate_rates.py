"""How often the gate errs where the truth is known: many simulated markets of both worlds.

python -m zl_assets_tests.benchmarks.gate_rates
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import comb

from zl_assets.core.evaluation.family_gate import Evidence, GateConfig, gate
from zl_assets.core.horizons import HORIZONS
from zl_assets.sources.simulated import World
from zl_assets_tests.world_frames import world_frames

FAMILIES = {
    "momentum": ("return_5d", "return_21d"),
    "volatility": ("volatility_21d", "vol_percentile", "k_vol"),
    "rsi": ("rsi_14",),
}
BASE = ("return_1d",)
CARRIERS = ("momentum", "rsi")
"""Families that hold the planted rule: written in return_21d, which the index of a month's moves nearly repeats."""

_UNLIKELY = 0.01


@dataclass(frozen=True)
class Rate:
    """How many of some gates came to a verdict.

    Attributes:
        world: which market.
        horizon: code.
        gates: markets judged, every family of each.
        false_verdicts: gates in which any family without a signal got another verdict than 'no effect'.
        kept: gates in which every family that holds the signal was kept.
    """

    world: World
    horizon: str
    gates: int
    false_verdicts: int
    kept: int

    def too_many(self, stated: float) -> bool:
        """Whether so many false verdicts or more have a probability below 1 % at the stated rate."""
        n = self.gates
        tail = sum(comb(n, k) * stated**k * (1 - stated) ** (n - k) for k in range(self.false_verdicts, n + 1))
        return tail < _UNLIKELY


def measured(world: World, horizon: str, seeds: Sequence[int], config: GateConfig) -> Rate:
    """Judge the families in one market per seed."""
    signal = CARRIERS if world == "planted" else ()
    wrong = kept = 0
    for seed, frame in zip(seeds, world_frames(world, horizon, seeds), strict=True):
        found = gate(frame, HORIZONS[horizon], FAMILIES, BASE, seed=seed, config=config)
        wrong += _wrong(found, signal)
        kept += bool(signal) and all(e.verdict == "keep" for e in found if e.family in signal)
    return Rate(world, horizon, len(seeds), wrong, kept)


def _wrong(found: Sequence[Evidence], signal: Sequence[str]) -> bool:
    return any(e.verdict not in ("no effect", "not testable") for e in found if e.family not in signal)


def main() -> None:
    """Print a line per world and horizon; exit 1 where false verdicts are more frequent than stated."""
    parser = argparse.ArgumentParser(description="Rate of false verdicts of the gate in simulated markets")
    parser.add_argument("--seeds", type=int, default=200, help="markets of each world")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--horizon", action="append", choices=list(HORIZONS), help="default: 1w, 1m and 3m")
    parser.add_argument("--noise-draws", type=int, default=GateConfig().noise_draws)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    config = GateConfig(noise_draws=asked.noise_draws)
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    worlds: tuple[World, World] = ("martingale", "planted")
    failed = False
    for world, horizon in product(worlds, asked.horizon or ("1w", "1m", "3m")):
        rate = measured(world, horizon, seeds, config)
        print(json.dumps(vars(rate)) if asked.json else _line(rate, config.family_wise_error), flush=True)
        failed |= rate.too_many(config.family_wise_error)
    sys.exit(failed)


def _line(rate: Rate, stated: float) -> str:
    kept = f", planted families kept in {rate.kept}" if rate.world == "planted" else ""
    share = rate.false_verdicts / rate.gates
    return (
        f"{rate.world:<10} {rate.horizon:<3} {rate.false_verdicts:>3} of {rate.gates} gates with a false verdict "
        f"({share:.1%}, stated {stated:.0%}){kept}"
    )


if __name__ == "__main__":
    main()

"""How often anything but no-change is published where the truth is known: simulated markets of both worlds.

python -m zl_assets_tests.benchmarks.two_worlds
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import comb

import numpy as np
import polars as pl

from zl_assets.core.evaluation.judgement import SIGNIFICANCE, Judgement
from zl_assets.core.forecasts import ModelForecast, judged
from zl_assets.core.horizons import HORIZONS, Horizon
from zl_assets.core.models.blending import train_ensemble
from zl_assets.core.models.regime_training import train_classifier
from zl_assets.core.models.shelf import ENSEMBLE, NO_CHANGE, ModelSpec, chosen_models
from zl_assets.core.models.training import TrainedModel, train
from zl_assets.sources.simulated import World
from zl_assets_tests.world_frames import world_frames

WORLDS: tuple[World, World] = ("martingale", "planted")
_UNLIKELY = 0.01


@dataclass(frozen=True)
class Published:
    """What was published in some markets of one world.

    Attributes:
        world: which market.
        horizon: code.
        champions: name of what was published, one a market.
        ratios: CRPS of the champion over that of no-change out of fold, one a market.
        drivers: most important feature of LightGBM, one a market in which it was trained.
    """

    world: World
    horizon: str
    champions: tuple[str, ...]
    ratios: tuple[float, ...]
    drivers: tuple[str, ...]

    @property
    def found(self) -> int:
        """Markets in which anything but no-change was published."""
        return sum(champion != NO_CHANGE for champion in self.champions)

    @property
    def too_many(self) -> bool:
        """Whether nothing can be found, and so much was that chance gives as much in less than 1 % of cases."""
        n, p = len(self.champions), SIGNIFICANCE
        tail = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(self.found, n + 1))
        return self.world == "martingale" and tail < _UNLIKELY

    def line(self) -> str:
        """One line of the table."""
        named = ", ".join(f"{model} {n}" for model, n in Counter(self.champions).most_common())
        leading = ", ".join(f"{feature} {n}" for feature, n in Counter(self.drivers).most_common())
        return (
            f"{self.world:<10} {self.horizon:<4} {len(self.champions):>6} {self.found:>16} "
            f"{np.mean(self.ratios):>12.3f}   {named:<28} {leading}"
        )


HEADING = f"{'world':<10} {'hor.':<4} {'seeds':>6} {'not no-change':>16} {'CRPS ratio':>12}   {'published':<28} led by"


def published(world: World, horizon: str, seeds: Sequence[int], chosen: Sequence[ModelSpec]) -> Published:
    """Train and judge models in one market per seed."""
    champions: list[str] = []
    ratios: list[float] = []
    drivers: list[str] = []
    for frame in world_frames(world, horizon, seeds):
        trained = trained_on(frame, HORIZONS[horizon], chosen)
        judgement = judgement_of(trained, HORIZONS[horizon])
        champions.append(judgement.champion)
        ratios.append(judgement.of(judgement.champion).scores.crps_vs_no_change or 1.0)
        drivers += [t.feature_importance["feature"][0] for t in trained if t.spec.name == "lightgbm"]
    return Published(world, horizon, tuple(champions), tuple(ratios), tuple(drivers))


def trained_on(
    frame: pl.DataFrame, horizon: Horizon, chosen: Sequence[ModelSpec], states: pl.DataFrame | None = None
) -> list[TrainedModel]:
    """Each of the models, trained on a frame; the ensemble of the others where it is among them.

    Args:
        frame: what they learn from.
        horizon: what they forecast.
        chosen: the models.
        states: probabilities of the market states, which the ensemble reads; computed if None.
    """
    found = [train(spec, frame, horizon) for spec in chosen if spec.name != ENSEMBLE]
    if any(spec.name == ENSEMBLE for spec in chosen):
        told = train_classifier(frame, horizon).probabilities if states is None else states
        found.append(train_ensemble({t.spec.name: (t.oof, t.newest) for t in found}, told, frame, horizon))
    return found


def judgement_of(trained: Sequence[TrainedModel], horizon: Horizon) -> Judgement:
    """The judgement on trained models."""
    said = [ModelForecast(t.spec.name, t.model_version, "run", t.oof, t.newest, t.drivers) for t in trained]
    return judged(said, horizon)[0]


def main() -> None:
    """Print a line per world and horizon; exit 1 where too much is found in the world that holds nothing."""
    parser = argparse.ArgumentParser(description="What is published in simulated markets")
    parser.add_argument("--seeds", type=int, default=5, help="markets of each world")
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--horizon", action="append", choices=list(HORIZONS), help="default: all")
    parser.add_argument("--models", default=f"{NO_CHANGE},lightgbm", help="as of `zl run`")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    failed = False
    if not asked.json:
        print(HEADING)
    for world, horizon in product(WORLDS, asked.horizon or list(HORIZONS)):
        found = published(world, horizon, seeds, chosen_models(asked.models))
        print(json.dumps(vars(found)) if asked.json else found.line(), flush=True)
        failed |= found.too_many
    sys.exit(failed)


if __name__ == "__main__":
    main()

"""One net, from its first weights to those that forecast best.

Belongs here: the loss, the epochs, when to stop. What the numbers mean and where they come from do not.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.evaluation.scores import LEVEL_WEIGHTS
from zl_assets.core.models.base import Floats
from zl_assets.core.models.neural import checkpoint
from zl_assets.core.models.neural.architectures import build
from zl_assets.core.models.neural.checkpoint import Arrays, Progress
from zl_assets.core.models.neural.runtime import load_keras, release, versions
from zl_assets.core.models.neural.windows import Panel

METHOD = 1
"""Revision of how a net is trained: raise it when that changes, and older checkpoints are no longer gone on from."""

FORECAST_BATCH = 256
"""Windows a net is asked for at a time, always as many: sums may be taken in another order for another number."""

Profile = Literal["quick", "full"]


@dataclass(frozen=True)
class Steps:
    """How weights are moved: by AdamW (Loshchilov and Hutter 2019).

    Attributes:
        batch: windows a step learns from.
        learning_rate: by how much a step moves a weight, about.
        weight_decay: share of the learning rate by which a step pulls every weight towards 0, and so the departures.
    """

    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.05


@dataclass(frozen=True)
class Settings:
    """How thoroughly a net is trained.

    Attributes:
        window: sessions a net reads.
        n_nets: nets that differ in their first weights; their mean forecasts.
        epochs: at most.
        patience: epochs without a lower loss after which training stops.
        steps: of an epoch.
        seed: of the first net; each further one has the next.
    """

    window: int
    n_nets: int
    epochs: int
    patience: int
    steps: Steps = Steps()
    seed: int = 20100607


PROFILES: dict[Profile, Settings] = {
    "quick": Settings(window=42, n_nets=1, epochs=15, patience=3),
    "full": Settings(window=63, n_nets=3, epochs=60, patience=8),
}
"""quick for a first look and for tests, full for a run that is stored."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Windows with what should come out.

    Attributes:
        windows: shape (examples, window, channels).
        departures: of the outcome from each unconditional quantile, shape (examples, 7).
        weights: shape (examples,), mean about 1.
    """

    windows: Panel
    departures: Panel
    weights: Panel

    def __getitem__(self, part: slice) -> Examples:
        """Some of the examples in a row, as views."""
        return Examples(self.windows[part], self.departures[part], self.weights[part])


def pinball(departures: Floats | Panel, forecast: Floats | Panel, weights: Floats | Panel) -> float:
    """Weighted mean of the pinball losses (Koenker and Bassett 1978), summed over the levels by LEVEL_WEIGHTS.

    Twice this approximates the continuous ranked probability score (Gneiting and Ranjan 2011).

    Args:
        departures: of the outcomes, shape (examples, 7).
        forecast: shape (examples, 7).
        weights: shape (examples,).
    """
    levels = np.array(QUANTILE_LEVELS)
    errors = departures.astype(np.float64) - forecast.astype(np.float64)
    losses = np.maximum(levels * errors, (levels - 1) * errors) @ LEVEL_WEIGHTS
    return float(np.average(losses, weights=weights))


def train(
    architecture: str, learn: Examples, stop: Examples, settings: Settings, number: int, directory: Path | None
) -> Arrays:
    """Weights of the epoch with the lowest loss on `stop`; the first weights count as epoch 0 and depart nowhere.

    Two calls with the same arguments give the same bits on one machine, and so does one that goes on from a checkpoint.

    Args:
        architecture: key of ARCHITECTURES.
        learn: what the weights are fitted to.
        stop: what decides on the epoch.
        settings: how.
        number: of the net, from 0; it enters the seed.
        directory: where to keep how far the training has come; nowhere if None.

    Raises:
        InputError: the checkpoint is damaged.
        OSError: the checkpoint cannot be written.
    """
    seed = settings.seed + number
    n_channels = learn.windows.shape[2]
    size = min(settings.steps.batch, learn.weights.size)
    net = compiled(architecture, settings.window, n_channels, replace(settings.steps, batch=size))
    load_keras().utils.set_random_seed(seed)
    first = build(architecture, settings.window, n_channels).get_weights()
    path = directory / f"{fingerprint(architecture, learn, stop, settings, number)}.npz" if directory else None
    progress = (checkpoint.read(path) if path else None) or _start(first, net.optimizer, stop)
    _restore(net.model, progress)
    while progress.epoch < settings.epochs and progress.epoch - progress.best_epoch < settings.patience:
        order = batches(learn.weights.size, size, seed, progress.epoch)
        progress = _epoch(net.model, learn, stop, order, progress)
        if path:
            checkpoint.write(path, progress)
    return progress.best


@dataclass(frozen=True, eq=False)
class Compiled:
    """A Keras model with its optimizer's variables before the first step."""

    model: Any
    optimizer: Arrays


@lru_cache(maxsize=1)
def compiled(architecture: str, window: int, n_channels: int, steps: Steps) -> Compiled:
    """The one net of this process, ready to be trained and asked; callers give it the weights they mean.

    TensorFlow traces a net once and keeps what it traced for good, so that a net a fit would cost seconds and memory.
    One of another shape takes the place of the one before. Batches have one size, for a trace of another size may take
    sums in another order.
    """
    keras = load_keras()
    compiled.cache_clear()
    release(keras)
    model = build(architecture, window, n_channels)
    model.compile(
        optimizer=keras.optimizers.AdamW(steps.learning_rate, weight_decay=steps.weight_decay),
        loss=_loss(keras),
        jit_compile=False,
    )
    # Its variables are made here, so that those of a checkpoint have where to go.
    model.optimizer.build(model.trainable_variables)
    return Compiled(model, _variables(model.optimizer))


def forecast(model: Any, weights: Arrays, windows: Panel) -> Floats:
    """Departures of every window by a net with these weights, shape (windows, 7), each whatever the others are."""
    model.set_weights(weights)
    answers: list[Floats] = []
    for first in range(0, windows.shape[0], FORECAST_BATCH):
        asked = windows[first : first + FORECAST_BATCH]
        batch = np.zeros((FORECAST_BATCH, *windows.shape[1:]), dtype=np.float32)
        batch[: asked.shape[0]] = asked
        answers.append(np.asarray(model.predict_on_batch(batch), dtype=np.float64)[: asked.shape[0]])
    return np.concatenate(answers) if answers else np.empty((0, len(QUANTILE_LEVELS)))


def batches(n: int, size: int, seed: int, epoch: int) -> NDArray[np.intp]:
    """Examples of an epoch in an order of its own, shape (batches, size), none twice.

    A rest that fills no batch is left out: it is another one each epoch, and a batch of another size would have
    TensorFlow trace the net again.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n)
    return order[: n // size * size].reshape(-1, size)


def fingerprint(architecture: str, learn: Examples, stop: Examples, settings: Settings, number: int) -> str:
    """Sixteen hexadecimal digits of everything a training depends on, the libraries' versions included."""
    digest = hashlib.sha256(repr((METHOD, architecture, astuple(settings), number, versions())).encode())
    for examples in (learn, stop):
        for array in (examples.windows, examples.departures, examples.weights):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _start(first: Arrays, optimizer: Arrays, stop: Examples) -> Progress:
    loss = pinball(stop.departures, np.zeros_like(stop.departures), stop.weights)
    return Progress(0, 0, loss, first, optimizer, first)


def _restore(model: Any, progress: Progress) -> None:
    model.set_weights(progress.net)
    for variable, value in zip(model.optimizer.variables, progress.optimizer, strict=True):
        variable.assign(value)


def _epoch(model: Any, learn: Examples, stop: Examples, order: NDArray[np.intp], before: Progress) -> Progress:
    for rows in order:
        model.train_on_batch(learn.windows[rows], learn.departures[rows], learn.weights[rows])
    weights = model.get_weights()
    loss = pinball(stop.departures, forecast(model, weights, stop.windows), stop.weights)
    epoch = before.epoch + 1
    better = loss < before.best_loss
    return Progress(
        epoch=epoch,
        best_epoch=epoch if better else before.best_epoch,
        best_loss=loss if better else before.best_loss,
        net=weights,
        optimizer=_variables(model.optimizer),
        best=weights if better else before.best,
    )


def _variables(optimizer: Any) -> Arrays:
    return [np.array(variable.numpy()) for variable in optimizer.variables]


def _loss(keras: Any) -> Any:
    """`pinball` of each example as Keras computes it."""
    levels = np.array(QUANTILE_LEVELS, dtype=np.float32)
    widths = LEVEL_WEIGHTS.astype(np.float32)

    def loss(departures: Any, forecast: Any) -> Any:
        errors = departures - forecast
        return keras.ops.sum(widths * keras.ops.maximum(levels * errors, (levels - 1) * errors), axis=-1)

    return loss

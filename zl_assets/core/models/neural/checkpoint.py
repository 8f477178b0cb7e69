"""How far a net's training has come, kept so that a killed run goes on where it stopped.

Belongs here: one file a net in NumPy's npz format, which holds numbers and never code.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zl_assets.errors import InputError

Arrays = list[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Progress:
    """Everything the next epoch depends on.

    Attributes:
        epoch: epochs trained; 0 before the first.
        best_epoch: after which the loss was lowest.
        best_loss: on the rows that decide when to stop.
        net: weights now.
        optimizer: its variables now.
        best: weights after `best_epoch`.
    """

    epoch: int
    best_epoch: int
    best_loss: float
    net: Arrays
    optimizer: Arrays
    best: Arrays


def read(path: Path) -> Progress | None:
    """What `write` left, or None where it left nothing.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            return Progress(
                int(held["epoch"]),
                int(held["best_epoch"]),
                float(held["best_loss"]),
                *(_series(held, name) for name in ("net", "optimizer", "best")),
            )
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"the checkpoint cannot be read: {error}", where=str(path), action="delete the file to train anew"
        ) from error


def write(path: Path, progress: Progress) -> None:
    """Replace the file at once: whoever is killed here leaves the one before.

    Raises:
        OSError: the file cannot be written.
    """
    series = {
        f"{name}_{i:03d}": array
        for name, arrays in (("net", progress.net), ("optimizer", progress.optimizer), ("best", progress.best))
        for i, array in enumerate(arrays)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        allow_pickle=False,
        epoch=np.int64(progress.epoch),
        best_epoch=np.int64(progress.best_epoch),
        best_loss=np.float64(progress.best_loss),
        **series,
    )
    partial.replace(path)


def _series(held: Any, name: str) -> Arrays:
    return [held[key] for key in sorted(held.files) if key.startswith(f"{name}_")]

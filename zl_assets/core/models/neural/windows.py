"""The stretches of consecutive rows a net reads, and which of them it learns from and is stopped by.

Belongs here: index arithmetic on rows. What the rows hold and what is learnt from them do not.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from zl_assets.errors import InputError, NotEnoughHistory

Panel = NDArray[np.float32]

VALIDATION_SHARE = 0.15
"""Share of the rows, the latest ones, that decide when training stops."""

LEAST_WINDOWS = 42
"""Fewest windows a net is trained on."""


def windows(panel: Panel, length: int) -> Panel:
    """Every stretch of `length` consecutive rows, as a read-only view that shares the panel's memory.

    Args:
        panel: shape (rows, channels).
        length: rows of a window.

    Returns:
        Shape (max(rows - length + 1, 0), length, channels); window i ends in row i + length - 1.
    """
    if panel.shape[0] < length:
        return np.empty((0, length, panel.shape[1]), dtype=panel.dtype)
    return np.moveaxis(sliding_window_view(panel, length, axis=0), -1, 1)


def purged_tail(session_numbers: NDArray[np.int64], horizon_sessions: int, length: int) -> tuple[int, int]:
    """Set the latest rows aside, and leave out those before them whose label window reaches into them.

    A row s is learnt from when s + h <= v, with v the first session set aside: the rule of the walk-forward.

    Args:
        session_numbers: shape (rows,), ascending exchange session numbers.
        horizon_sessions: h, sessions from a forecast to its outcome.
        length: rows of a window; the first length - 1 rows only serve as the past of others.

    Returns:
        How many of the first rows to learn from, and the position of the first row set aside.

    Raises:
        InputError: the session numbers are not strictly ascending.
        NotEnoughHistory: too few windows are left to learn from, with the numbers.
    """
    n = session_numbers.size
    if (session_numbers[1:] <= session_numbers[:-1]).any():
        raise InputError("sessions are out of order", where="session_number", action="sort the rows by data_date")
    n_aside = max(int(np.ceil(n * VALIDATION_SHARE)), 1)
    first = n - n_aside
    n_learn = int(np.count_nonzero(session_numbers + horizon_sessions <= session_numbers[first]))
    n_windows = max(n_learn - length + 1, 0)
    if n_windows < LEAST_WINDOWS:
        raise NotEnoughHistory(
            f"{n} labelled sessions leave {n_windows} windows to train a net on, {LEAST_WINDOWS} are needed",
            where=f"{n_aside} sessions decide when to stop, {horizon_sessions} before them are purged, "
            f"{length - 1} are the past of the first window",
            action="load a longer history, or leave this model out at this horizon",
        )
    return n_learn, first

"""The five forecast horizons, counted in exchange sessions. The only place where they are listed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Horizon:
    """One forecast horizon.

    Attributes:
        code: the partition key, as written on the command line.
        sessions: how many exchange sessions lie between a forecast and its outcome.
    """

    code: str
    sessions: int


HORIZONS: dict[str, Horizon] = {
    h.code: h
    for h in (
        Horizon("1w", 5),
        Horizon("1m", 21),
        Horizon("3m", 63),
        Horizon("6m", 126),
        Horizon("12m", 252),
    )
}
"""Horizon by code, shortest first."""

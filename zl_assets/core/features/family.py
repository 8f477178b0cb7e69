"""What a feature family is: columns with their meaning, the inputs they need, and the function that computes them.

Rolling sums carry rounding from row to row, so the last bits of a value depend on where the computation began. Families
are therefore computed in blocks that begin at fixed session numbers, each with the family's look-back before it: a row
has the same bits whether a whole history is built or its last session alone, and a new session costs the same after
five years as after fifty.

What was known at a decision depends on no block: it is read for all decisions at once (`Inputs.read_once`), and each
block takes its rows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

import polars as pl

from zl_assets.core.instruments import FORECAST_SYMBOL

BLOCK_SESSIONS = 1024
"""Sessions of a block; the first one begins at session number 0."""

HEAD_START = timedelta(days=45)
"""How far before a window's first session the sessions of other markets reach, so that it finds their newest one."""

SESSIONS_A_WEEK = 5
STANDS = timedelta(days=14)
"""How long a value that is new every day or week may stand, holidays among them."""

Treatment = Literal[
    "level",
    "change",
    "spread",
    "return",
    "ratio",
    "z",
    "percentile",
    "band",
    "ema",
    "composite",
    "correlation",
    "beta",
    "season",
    "count",
    "flag",
    "persistence",
]
"""What was done to the raw series; the signal rules speak of it."""

Domain = Literal[
    "price",
    "treasury",
    "vix",
    "sentiment",
    "fed",
    "dollar",
    "biofuel",
    "logistics",
    "weather",
    "crop",
    "positioning",
    "crush",
    "palm",
    "china",
    "energy",
    "cross_asset",
    "calendar",
    "inflation",
    "economy",
]
"""What the series is about; the signal rules speak of it."""


@dataclass(frozen=True)
class Feature:
    """One column of a family.

    Attributes:
        name: column; with dots for a field of a STRUCT, e.g. pivots.distance_to_P.
        unit: unit of its values, 1 where it has none.
        description: what it is, one clause.
        domain: what the series behind it is about.
        treatment: what was done to that series.
    """

    name: str
    unit: str
    description: str
    domain: Domain
    treatment: Treatment

    @property
    def column(self) -> str:
        """The column of the matrix that it is in: a STRUCT where it is one of its fields."""
        return self.name.split(".")[0]


@dataclass(frozen=True)
class Inputs:
    """Everything a family may read: one instrument's decisions, and what was stored by then.

    Attributes:
        decisions: rows to compute, of one instrument: symbol, data_date, session_number, decision_time; ascending.
        sessions: rows of market_data.futures_sessions_1d, every followed symbol, by symbol and trade date ascending.
        series: rows of raw_intelligence tables by table name without the dataset; a table without rows is left out.
    """

    decisions: pl.DataFrame
    sessions: pl.DataFrame
    series: Mapping[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    _window_of: Inputs | None = field(default=None, init=False, repr=False, compare=False)
    _known: dict[Hashable, Sequence[pl.DataFrame]] = field(
        default_factory=dict[Hashable, Sequence[pl.DataFrame]], init=False, repr=False, compare=False
    )

    @property
    def symbol(self) -> str:
        """The instrument that features are computed for."""
        return str(self.decisions["symbol"].first())

    def own_sessions(self) -> pl.DataFrame:
        """The instrument's own sessions, one for each decision."""
        own = self.sessions.filter(pl.col("symbol") == self.symbol)
        return own.join(self.decisions, on=["symbol", "session_number"], how="semi", maintain_order="left")

    def between(self, first: int, last: int) -> Inputs:
        """The inputs of the sessions numbered `first` to `last`; series are left whole, decisions cannot see ahead."""
        decisions = self.decisions.filter(pl.col("session_number").is_between(first, last))
        if decisions.is_empty():
            return replace(self, decisions=decisions, sessions=self.sessions.clear())
        dates = decisions["data_date"].to_list()
        in_window = pl.col("trade_date").is_between(dates[0] - HEAD_START, dates[-1])
        window = replace(self, decisions=decisions, sessions=self.sessions.filter(in_window))
        object.__setattr__(window, "_window_of", self._window_of or self)
        return window

    def read_once(self, key: Hashable, read: Callable[[Inputs], Sequence[pl.DataFrame]]) -> list[pl.DataFrame]:
        """Frames of what was known at each decision, read once for all windows of the same inputs.

        Args:
            key: tells what is read.
            read: frames of one row per decision, in order, of the inputs that it is given. A row may depend on its
                decision and on what was public then, not on the decisions around it: no rolling window.

        Returns:
            The frames, cut to these decisions.
        """
        whole = self._window_of or self
        if key not in whole._known:
            whole._known[key] = read(whole)
        first = int(whole.decisions["session_number"].search_sorted(int(self.decisions["session_number"][0])))
        return [frame.slice(first, self.decisions.height) for frame in whole._known[key]]


@dataclass(frozen=True)
class Family:
    """A group of features that is built, measured and admitted together.

    Attributes:
        name: of the module, too.
        version: where it stands in the roadmap, e.g. v1.5.
        description: what it is, one sentence.
        inputs: raw_intelligence tables without the dataset that it cannot do without; bars are always there.
        look_back: sessions before a row that its value may depend on.
        features: its columns.
        build: computes them: `symbol`, `data_date` and the columns, one row per decision. A STRUCT is one column.
        rules: numbers of the signal rules it must obey.
        stands: how long one value may stand, by how the column's name begins (the longest beginning counts); a column
            that none is named for, for `STANDS`.
        universal: whether it is about the instrument's own bars alone, so that every instrument has it; else ZL has.
    """

    name: str
    version: str
    description: str
    inputs: tuple[str, ...]
    look_back: int
    features: tuple[Feature, ...]
    build: Callable[[Inputs], pl.DataFrame]
    rules: tuple[int, ...] = ()
    stands: Mapping[str, timedelta] = field(default_factory=dict[str, timedelta])
    universal: bool = False

    def columns(self) -> set[str]:
        """Columns of what it builds; a STRUCT is one."""
        return {feature.column for feature in self.features}

    def may_stand(self, column: str) -> timedelta:
        """How long one value of a column may stand before it counts as carried forward too far."""
        named = [beginning for beginning in self.stands if column.startswith(beginning)]
        return self.stands[max(named, key=len)] if named else STANDS

    def available(self, inputs: Inputs) -> bool:
        """Whether it is about the instrument, and every table it needs has rows."""
        about = self.universal or inputs.symbol == FORECAST_SYMBOL
        return about and all(table in inputs.series for table in self.inputs)


def needed_since(families: Sequence[Family], inputs: Inputs, since: int) -> Inputs:
    """What the families read for sessions from a number on, as inputs of their own: nothing older is read again.

    Args:
        families: what will be computed, at least one.
        inputs: see `Inputs`; one of its decisions lies at `since` or after it.
        since: first session number wanted.
    """
    start = since // BLOCK_SESSIONS * BLOCK_SESSIONS - max(family.look_back for family in families)
    return replace(inputs.between(start, int(inputs.decisions["session_number"][-1])))


def build_family(family: Family, inputs: Inputs, since: int | None = None) -> pl.DataFrame:
    """A family's columns for every decision, or for those from a session number on.

    Args:
        family: what to compute; its inputs must be available.
        inputs: see `Inputs`.
        since: first session number wanted.

    Returns:
        symbol, data_date and the family's columns, one row per decision, ascending.
    """
    numbers = inputs.decisions["session_number"]
    first = int(numbers[0]) if since is None else max(since, int(numbers[0]))
    blocks = range(first // BLOCK_SESSIONS, int(numbers[-1]) // BLOCK_SESSIONS + 1)
    built: list[pl.DataFrame] = []
    for start in (block * BLOCK_SESSIONS for block in blocks):
        window = inputs.between(start - family.look_back, start + BLOCK_SESSIONS - 1)
        wanted = inputs.decisions.filter(
            pl.col("session_number").is_between(max(start, first), start + BLOCK_SESSIONS - 1)
        ).select("symbol", "data_date")
        if not wanted.is_empty():
            rows = family.build(window)
            built.append(wanted.join(rows, on=["symbol", "data_date"], how="left", maintain_order="left"))
    return pl.concat(built)

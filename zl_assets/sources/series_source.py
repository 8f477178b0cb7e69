"""What every source of raw series offers, and what it delivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class SeriesDelivery:
    """Rows of raw_intelligence tables, by table name without the dataset.

    Attributes:
        rows: the columns of each table's contract without `ingest_timestamp`. `available_at` is null where the vendor
            does not say when a value was published: the release rules fill it in.
        rejected: rows of raw_intelligence.quarantine by table, for what broke a rule.
        notes: what else was left alone, counted by reason.
    """

    rows: Mapping[str, pl.DataFrame]
    rejected: Mapping[str, pl.DataFrame] = field(default_factory=dict[str, "pl.DataFrame"])
    notes: Mapping[str, int] = field(default_factory=dict[str, int])


class SeriesSource(Protocol):
    """A vendor of raw series, or a directory of its files."""

    @property
    def name(self) -> str:
        """What `zl status` calls it, e.g. fred."""
        ...

    @property
    def tables(self) -> tuple[str, ...]:
        """raw_intelligence tables it has rows for, without the dataset."""
        ...

    def state(self) -> str:
        """`configured`, or `not configured: ` and what to set."""
        ...

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Everything that is new, and what may have been revised.

        Args:
            newest: latest stored `observed_date` by table, of the rows whose `source` is this one's name; a table
                without such rows is left out.
            report: called with one line per step.

        Raises:
            ServiceError: the vendor does not answer, or not in its documented shape.
            MissingCredential: it is not configured.
            InputError: a file cannot be read.
        """
        ...

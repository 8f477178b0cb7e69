"""What `zl` writes: results on standard output, what it is doing and what went wrong on standard error."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

SIMULATED = "SIMULATED market"


def print_forecasts(rows: pl.DataFrame) -> None:
    """A table of published rows, as `predictions.vw_zl_{h}_latest` and `candidate_mae` give them."""
    from rich.table import Table

    simulated = bool(rows["is_simulated"].any())
    title = "ZL soybean oil, US cents per lb"
    table = Table(title=f"SIMULATED market, worthless as a forecast: {title}" if simulated else title)
    for heading in ("horizon", "as of", "target date", "last price", "forecast", "80 % interval", "published"):
        table.add_column(heading, justify="left" if heading == "published" else "right")
    table.add_column("LightGBM error / no-change error", justify="right")
    for row in rows.iter_rows(named=True):
        table.add_row(
            row["horizon"],
            str(row["as_of_date"]),
            str(row["target_date"]),
            f"{row['current_price']:.2f}",
            f"{row['predicted_price']:.2f}",
            f"{row['q10']:.2f} to {row['q90']:.2f}",
            row["model"],
            _ratio(row["candidate_mae"], row["no_change_mae"]),
        )
    _console().print(table)


def _ratio(error: float, of: float) -> str:
    return f"{error:.4f} / {of:.4f} = {error / of:.2f}" if of else f"{error:.4f} / {of:.4f}"


def print_rows(title: str, rows: list[dict[str, Any]], columns: list[str] | None = None) -> None:
    """A table of rows under a title; where there are none and no `columns`, the word none."""
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for name in columns or (list(rows[0]) if rows else []):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*["" if v is None else str(v) for v in row.values()])
    _console().print(table if table.columns else f"{title}: none")


def print_archived(title: str, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """What `zl archive` or `zl restore` did, marked where rows of a simulated market are among it."""
    if as_json:
        print_json(rows)
        return
    simulated = any(row["simulated"] for row in rows)
    print_rows(f"{title} ({SIMULATED})" if simulated else title, rows)


def _console() -> Any:
    from rich.console import Console

    # Piped output is read by programs and pagers: no wrapping at 80 columns there.
    terminal = sys.stdout.isatty()
    # Cells hold what was stored: brackets and colons in them are no markup.
    return Console(width=None if terminal else 220, soft_wrap=not terminal, markup=False, emoji=False, highlight=False)


@contextlib.contextmanager
def progress() -> Iterator[Any]:
    """A function that reports a step: under a spinner on a terminal, as plain lines otherwise; on standard error."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield say
        return
    with console.status("starting") as spinner:

        def report(line: str) -> None:
            console.print(line, markup=False)
            spinner.update(line.strip())

        yield report


def say(line: str) -> None:
    """One line on standard error, at once."""
    print(line, file=sys.stderr, flush=True)


def flat(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with nested and binary columns as JSON text, since CSV has neither."""
    import polars as pl

    odd = [name for name, dtype in rows.schema.items() if dtype.is_nested() or dtype == pl.Binary]
    texts = [pl.Series(name, [None if v is None else _json(v) for v in rows[name].to_list()]) for name in odd]
    return rows.with_columns(texts)


def print_json(value: object) -> None:
    """A value as one line of JSON."""
    print(_json(value))


def _json(value: object) -> str:
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    """A value in JSON's types: times in ISO form, what is not a finite number as null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else _plain(float(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)

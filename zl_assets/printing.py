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
    """A table of published rows, as `predictions.vw_zl_{h}_latest` gives them, and why each is published."""
    from rich.table import Table

    simulated = bool(rows["is_simulated"].any())
    title = "ZL soybean oil, US cents per lb"
    table = Table(title=f"SIMULATED market, worthless as a forecast: {title}" if simulated else title)
    for heading in (
        *("horizon", "as of", "target date", "last price", "forecast", "80 % interval"),
        *("P(rise)", "conviction", "confidence", "published"),
    ):
        table.add_column(heading, justify="left" if heading == "published" else "right")
    for row in rows.iter_rows(named=True):
        table.add_row(
            row["horizon"],
            str(row["as_of_date"]),
            str(row["target_date"]),
            f"{row['current_price']:.2f}",
            _figure(row["predicted_price"], ".2f"),
            f"{row['q10']:.2f} to {row['q90']:.2f}" if row["q10"] is not None else "",
            _figure(row["direction_probability"], ".2f"),
            _figure(row["conviction"], ".0f"),
            _figure(row["confidence"], ".0f"),
            row["model"] if row["state"] == "ok" else row["state"],
        )
    console = _console()
    console.print(table)
    for row in rows.iter_rows(named=True):
        console.print(f"{row['horizon']}: {row['champion_reason']}")


def print_leaderboard(rows: pl.DataFrame) -> None:
    """A table per horizon and fold scheme of rows of monitoring.model_evaluation."""
    from rich.table import Table

    for (horizon, scheme), models in rows.group_by("horizon", "fold_scheme", maintain_order=True):
        windows = models["n_independent"][0]
        title = f"{horizon}, out of fold ({scheme}), {windows} independent windows"
        simulated = bool(models["is_simulated"].any())
        table = Table(title=f"{SIMULATED}: {title}" if simulated else title, title_justify="left")
        table.add_column("model")
        for heading in (
            *("CRPS", "/ no-change", "raw / EWMA", "p", "MAE", "/ no-change", "RMSE / no-change", "hit rate"),
            *("50 %", "80 %", "90 %", "Sharpe"),
        ):
            table.add_column(heading, justify="right")
        for r in models.iter_rows(named=True):
            table.add_row(
                f"{r['model']} *" if r["is_champion"] else r["model"],
                _figure(r["crps"], ".4f"),
                _figure(r["crps_vs_no_change"], ".3f"),
                _figure(r["raw_crps_vs_no_change"], ".3f"),
                _figure(r["p_value"], ".3f"),
                _figure(r["mae"], ".4f"),
                _figure(r["mae_vs_no_change"], ".3f"),
                _figure(r["rmse_vs_no_change"], ".3f"),
                _figure(r["hit_rate"], ".3f"),
                *[_figure(r[f"coverage_{level}"], ".3f") for level in (50, 80, 90)],
                _sharpe(r["sharpe"], r["sharpe_standard_error"]),
            )
        _console().print(table)


def print_breakdown(rows: pl.DataFrame, by: str) -> None:
    """A table per horizon of `evaluation_by`: CRPS over no-change's, a column a group."""
    from rich.table import Table

    for (horizon,), models in rows.group_by("horizon", maintain_order=True):
        title = f"{horizon}, out of fold, CRPS / no-change by {by}"
        simulated = bool(models["is_simulated"].any())
        table = Table(title=f"{SIMULATED}: {title}" if simulated else title, title_justify="left")
        table.add_column("model")
        groups = models.unique("group", maintain_order=True)
        for group, windows in groups.select("group", "n_independent").iter_rows():
            table.add_column(f"{group}\n({windows})", justify="right")
        for (model,), scores in models.group_by("model", maintain_order=True):
            table.add_row(str(model), *[_figure(r, ".3f") for r in scores["crps_vs_no_change"]])
        table.caption = "in brackets: independent windows"
        _console().print(table)


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _sharpe(value: float | None, error: float | None) -> str:
    return "" if value is None or error is None else f"{value:.2f} ± {error:.2f}"


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

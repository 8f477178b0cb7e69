"""Runs the `zl` command, in this process or as one of its own, and looks at what it left in a home."""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb

from zl_assets.cli import main

VARIABLES = {
    "ZL_WAREHOUSE_LOCK_SECONDS": "0.3",
    "ZL_MODELS": "no_change",
    "ZL_MLFLOW": "false",
    "NO_PROXY": "127.0.0.1",
}
"""Set for every command, so that no test waits half a minute for a lock or for models it does not look at."""

Rows = dict[str, Counter[str]]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON, which may hold no NaN and no Infinity."""
        return json.loads(self.out, parse_constant=_refuse)

    @property
    def error(self) -> str:
        """The one message of a command that failed."""
        [line] = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line


def zl(*arguments: object, **variables: str) -> Ended:
    """The entry point in this process. An exception that gets past it would be a traceback for the user."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["zl", *map(str, arguments)]
    clean = mock.patch.dict(os.environ, environment(**variables), clear=True)
    with clean, mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int), code
    return Ended(code, out.getvalue(), err.getvalue())


def zl_process(*arguments: object, seconds: float = 120, **variables: str) -> Ended:
    """A process of its own, which has some seconds to end."""
    done = subprocess.run(
        command(*arguments), env=environment(**variables), capture_output=True, text=True, timeout=seconds, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def command(*arguments: object) -> list[str]:
    """Arguments of a `zl` process."""
    return [sys.executable, "-m", "zl_assets.cli", *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without what configures the project, and with what is given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ZL_", "DATABENTO_", "DAGSTER_"))}
    return {**kept, **VARIABLES, **variables}


def assert_refused(ended: Ended, *told: str) -> None:
    """Exit 2, nothing on standard output, and one message with each of these parts: what, where, what to do."""
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert " -> " in ended.error
    for part in told:
        assert part in ended.error, ended.error


def stored(home: Path) -> Rows:
    """Every row of every table of a home's warehouse, as text, with how often it is there."""
    with _opened(home) as connection:
        tables = connection.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables "
            "WHERE table_type = 'BASE TABLE' ORDER BY 1"
        ).fetchall()
        return {name: counted(connection.execute(f"FROM {name}").fetchall()) for (name,) in tables}


def rows(home: Path, sql: str) -> list[dict[str, Any]]:
    """Rows of a DuckDB query on a home's warehouse."""
    with _opened(home) as connection:
        return connection.execute(sql).pl().to_dicts()


def counted(values: Iterable[object]) -> Counter[str]:
    """Each value as text, with how often it is there."""
    return Counter(map(repr, values))


def lost(before: Rows, after: Rows) -> dict[str, int]:
    """Rows by table that were there before and are not, or not unchanged, there after."""
    return {name: n for name, kept in before.items() if (n := (kept - after[name]).total())}


def changed(before: Rows, after: Rows) -> set[str]:
    """Tables that do not hold the same rows."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@contextmanager
def _opened(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(str(home / "warehouse.duckdb"), read_only=True)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")

"""Imports go one way, and starting a process loads nothing heavy."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "zl_assets"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("zl_assets.errors",),
    ("zl_assets.core",),
    ("zl_assets.settings", "zl_assets.partitions"),
    (
        "zl_assets.warehouse",
        "zl_assets.artifacts",
        "zl_assets.regime_artifacts",
        "zl_assets.whole_files",
        "zl_assets.tracking",
    ),
    ("zl_assets.sources",),
    ("zl_assets.assets",),
    ("zl_assets.checks",),
    ("zl_assets.automation.jobs", "zl_assets.automation.instance", "zl_assets.automation.query_usage"),
    ("zl_assets.build",),
    (
        "zl_assets.automation.runner",
        "zl_assets.automation.status",
        "zl_assets.automation.export",
        "zl_assets.automation.families",
        "zl_assets.automation.gate",
        "zl_assets.automation.leaderboard",
        "zl_assets.automation.push",
        "zl_assets.automation.upload",
        "zl_assets.automation.ui",
    ),
    ("zl_assets.definitions", "zl_assets.printing", "zl_assets.cli"),
)
"""A module imports from its own layer and the layers above it in this list, never from one further down.

What the graph is made of (jobs) lies before `build`; what drives a built graph (runner, status, export, ui) after it.
"""

HEAVY = frozenset(
    [
        "altair",
        "databento",
        "duckdb",
        "google",
        "keras",
        "lightgbm",
        "mlflow",
        "optuna",
        "pandas",
        "pandas_market_calendars",
        "prophet",
        "scipy",
        "shap",
        "sklearn",
        "statsforecast",
        "statsmodels",
        "tensorflow",
        "vl_convert",
        "xgboost",
    ]
)
"""Imported where they are used, so that the graph loads in a moment and a missing one breaks its own part alone."""


@dataclass(frozen=True)
class Import:
    """One import: who, what, and whether it runs when the module is loaded."""

    module: str
    imported: str
    line: int
    at_load: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.imported}"


def modules() -> dict[str, Path]:
    """Every module of the package, packages by their `__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, source: str, known: frozenset[str]) -> Iterator[Import]:
    """The imports of one module's source."""

    def walk(node: ast.AST, at_load: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(module, alias.name, child.lineno, at_load, for_types)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{module}:{child.lineno} is a relative import"
                for alias in child.names:
                    name = f"{child.module}.{alias.name}"
                    yield Import(module, name if name in known else str(child.module), child.lineno, at_load, for_types)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield from walk(child, False, for_types)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from walk(child, at_load, True)
            else:
                yield from walk(child, at_load, for_types)

    yield from walk(ast.parse(source), True, False)


def every_import() -> list[Import]:
    found = modules()
    known = frozenset(found)
    return [i for name, path in found.items() for i in imports_of(name, path.read_text(encoding="utf-8"), known)]


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in prefixes)


def layer(module: str) -> int:
    return next(n for n, prefixes in enumerate(LAYERS) if within(module, prefixes))


IMPORTS = every_import()
NAMESPACES = {"zl_assets", "zl_assets.automation"}
"""Packages whose modules lie in different layers; their own `__init__` imports nothing."""


def test_every_module_has_its_layer() -> None:
    assert [m for m in modules() if m not in NAMESPACES and not any(within(m, p) for p in LAYERS)] == []
    assert [str(i) for i in IMPORTS if i.module in NAMESPACES] == []


def test_imports_go_one_way() -> None:
    ours = [i for i in IMPORTS if within(i.imported, ("zl_assets",)) and i.imported not in NAMESPACES]
    assert len(ours) > 50
    assert [str(i) for i in ours if layer(i.imported) > layer(i.module)] == []


def test_no_module_needs_itself_to_be_loaded() -> None:
    graph: dict[str, set[str]] = {}
    for i in IMPORTS:
        if i.at_load and not i.for_types and within(i.imported, ("zl_assets",)):
            graph.setdefault(i.module, set()).add(i.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {error.args[1]}")


def test_the_core_knows_nothing_of_dagster_nor_of_any_store() -> None:
    strangers = ("dagster", "duckdb", "sqlglot", "google", "databento", "typer")
    assert [str(i) for i in IMPORTS if within(i.module, ("zl_assets.core",)) and within(i.imported, strangers)] == []


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    loaded = [i for i in IMPORTS if i.at_load and not i.for_types]
    assert [str(i) for i in loaded if i.imported.split(".")[0] in HEAVY] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import lightgbm", [("lightgbm", True, False)]),
        ("def f():\n    import lightgbm", [("lightgbm", False, False)]),
        ("class A:\n    import duckdb", [("duckdb", True, False)]),
        ("try:\n    import duckdb\nexcept ImportError:\n    pass", [("duckdb", True, False)]),
        ("if TYPE_CHECKING:\n    import polars as pl", [("polars", True, True)]),
        ("from zl_assets.core import bars, x", [("zl_assets.core.bars", True, False), ("zl_assets.core", True, False)]),
    ],
)
def test_the_walk_sees_each_kind_of_import(source: str, expected: list[tuple[str, bool, bool]]) -> None:
    found = imports_of("m", source, frozenset(["zl_assets.core", "zl_assets.core.bars"]))
    assert [(i.imported, i.at_load, i.for_types) for i in found] == expected


def test_loading_the_definitions_loads_nothing_heavy(tmp_path: Path) -> None:
    program = "import json, sys; import zl_assets.definitions; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"ZL_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(PACKAGE.parent), "HOME": str(tmp_path)},
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert "dagster" in loaded
    assert sorted(loaded & (HEAVY - {"google"} | {"polars"})) == []

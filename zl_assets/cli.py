"""`zl`: the command line of the project. Each command calls what the graph or the UI would call.

Exit codes: 0 fine, 1 a blocking check failed, 2 bad input or configuration, 3 an outside service failed, 130
interrupted.
"""

from __future__ import annotations

import gc
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import ConfigurationError, QueryRefused, ZlError
from zl_assets.printing import (
    SIMULATED,
    flat,
    print_archived,
    print_breakdown,
    print_forecasts,
    print_json,
    print_leaderboard,
    print_rows,
    progress,
    say,
)

if TYPE_CHECKING:
    import polars as pl

    from zl_assets.settings import Settings
    from zl_assets.warehouse.base import Warehouse

app = typer.Typer(
    help="Soybean oil futures (CBOT ZL): from vendor bars to forecasts that say how far to trust them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Warehouse, models, exports and runs. Default: $ZL_HOME, else .zl/ here.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]


WarehouseOption = Annotated[
    Literal["duckdb", "bigquery"] | None,
    typer.Option("--warehouse", help="Where the tables are. Default: $ZL_WAREHOUSE, else duckdb."),
]

_CODES = f"[{'|'.join(HORIZONS)}]"


def _known(codes: list[str] | None) -> list[str]:
    """Horizon codes from the command line, each one checked."""
    for code in codes or []:
        if code not in HORIZONS:
            raise typer.BadParameter(f"{code!r} is not one of {', '.join(HORIZONS)}")
    return codes or []


def _known_or_all(code: str) -> str:
    """A horizon code from the command line, checked, or `all`."""
    return code if code == "all" else _known([code])[0]


def _codes(horizon: str) -> list[str]:
    """The horizons that a `HorizonOrAllOption` names."""
    return list(HORIZONS) if horizon == "all" else [horizon]


HorizonOrAllOption = Annotated[
    str, typer.Option(help="Horizon to take.", metavar=f"{_CODES[:-1]}|all]", callback=_known_or_all)
]


@app.command()
def run(
    home: HomeOption = None,
    data: Annotated[
        Path | None, typer.Option(help="Directory of vendor files. Default: $ZL_DATA, else see README.")
    ] = None,
    horizon: Annotated[
        list[str] | None,
        typer.Option(help="Horizon to run; repeat for more. Default: all.", metavar=_CODES, callback=_known),
    ] = None,
    surface: Annotated[
        Literal["prod", "full"], typer.Option(help="full: the wide matrix and its tables, too.")
    ] = "prod",
    models: Annotated[
        str | None, typer.Option(help="standard, all, or names with commas between.", metavar="NAMES")
    ] = None,
    rolling: Annotated[bool, typer.Option("--rolling", help="Judge models on folds of a rolling window, too.")] = False,
    warehouse: WarehouseOption = None,
    accept_corrections: Annotated[
        bool, typer.Option("--accept-corrections", help="Let delivered bars replace stored ones that say otherwise.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole graph: bars, sessions, features, models, forecasts."""
    from zl_assets.automation.runner import run_graph

    # Looking for cycles among all that the libraries made on import would cost a twentieth of the run.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    corrections = accept_corrections or None
    settings = _settings(
        home=home,
        data=data,
        warehouse=warehouse,
        accept_corrections=corrections,
        models=models,
        rolling=rolling or None,
    )
    codes = [h for h in HORIZONS if not horizon or h in horizon]
    with progress() as report:
        outcome = run_graph(settings, codes, report, full_surface=surface == "full")
    rows = _latest(settings, codes)
    for warning in outcome.warnings:
        word = "failed check" if warning.severity == "ERROR" else "warning"
        advice = f" -> {warning.action}" if warning.action else ""
        part = f" [{warning.partition}]" if warning.partition else ""
        say(f"{word}: {warning.asset}{part}: {warning.description}{advice}")
    if as_json:
        simulated = bool(rows["is_simulated"].any())
        print_json({"simulated": simulated, "seconds": round(outcome.seconds, 1), "forecasts": rows.to_dicts()})
    else:
        print_forecasts(rows)
        say(f"done in {outcome.seconds:.0f} s; results are in {settings.place}")


@app.command()
def leaderboard(
    home: HomeOption = None,
    horizon: HorizonOrAllOption = "all",
    by: Annotated[
        Literal["year", "regime"] | None, typer.Option(help="Each model's scores by year, or by market regime.")
    ] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how every model did out of fold beside no-change, the best first."""
    from zl_assets.automation.leaderboard import evaluation_by, newest_evaluation

    settings = _settings(home=home, warehouse=warehouse)
    rows = evaluation_by(settings, _codes(horizon), by) if by else newest_evaluation(settings, _codes(horizon))
    if as_json:
        print_json({"simulated": bool(rows["is_simulated"].any()), "models": rows.to_dicts()})
    elif by:
        print_breakdown(rows, by)
    else:
        print_leaderboard(rows)


@app.command()
def status(home: HomeOption = None, warehouse: WarehouseOption = None, as_json: JsonOption = False) -> None:
    """Show tables, checks and sources."""
    from zl_assets.automation.status import collect_status

    found = collect_status(_settings(home=home, warehouse=warehouse))
    if as_json:
        print_json(found)
        return
    print_rows("tables (SIMULATED market)" if found["simulated"] else "tables", found["tables"])
    print_rows("checks", found["checks"])
    print_rows("sources", found["sources"])


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT in BigQuery's dialect.")],
    home: HomeOption = None,
    warehouse: WarehouseOption = None,
    output: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="How to print the rows.")
    ] = "table",
) -> None:
    """Read the warehouse with one SELECT."""
    from zl_assets.automation.status import holds_simulated_bars
    from zl_assets.build import build_warehouse

    store = build_warehouse(_settings(home=home, warehouse=warehouse))
    rows = _rows_of(store, sql)
    simulated = holds_simulated_bars(store)
    if output == "table":
        print_rows(SIMULATED if simulated else "", rows.to_dicts(), columns=rows.columns)
        return
    if simulated:
        say(SIMULATED)
    if output == "json":
        print_json(rows.to_dicts())
    else:
        print(flat(rows).write_csv(), end="")


@app.command()
def families(home: HomeOption = None, warehouse: WarehouseOption = None, as_json: JsonOption = False) -> None:
    """List the feature families: columns, coverage, age, and what the gate found."""
    from dataclasses import asdict

    from zl_assets.automation.families import collect_families
    from zl_assets.automation.status import holds_simulated_bars
    from zl_assets.build import build_warehouse

    store = build_warehouse(_settings(home=home, warehouse=warehouse))
    rows, simulated = [asdict(state) for state in collect_families(store)], holds_simulated_bars(store)
    if as_json:
        print_json({"simulated": simulated, "families": rows})
    else:
        print_rows(f"feature families of ZL ({SIMULATED})" if simulated else "feature families of ZL", rows)


GATE_COLUMNS = (
    "family",
    "horizon",
    "n_columns",
    "n_independent",
    "loss_without",
    "mean_difference",
    "interval_low",
    "interval_high",
    "folds_improved_share",
    "noise_mean_difference",
    "verdict",
)


@app.command()
def gate(
    home: HomeOption = None,
    family: Annotated[str | None, typer.Option(help="One family. Default: all of them.")] = None,
    horizon: HorizonOrAllOption = "all",
    warehouse: WarehouseOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="The latest folds and fewer noise draws.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train with and without each feature family, and store what it adds beside pure noise."""
    import polars as pl

    from zl_assets.assets.monitoring import GATED
    from zl_assets.automation.gate import gate_families

    settings = _settings(home=home, warehouse=warehouse)
    with progress() as report:
        rows = gate_families(settings, GATED, _codes(horizon), report, family=family, quick=quick)
    if as_json:
        print_json(rows.to_dicts())
        return
    simulated = bool(rows["is_simulated"].any())
    shown = rows.select(GATE_COLUMNS).with_columns(pl.selectors.float().round_sig_figs(3))
    print_rows(f"evidence ({SIMULATED})" if simulated else "evidence", shown.to_dicts())


@app.command()
def export(
    home: HomeOption = None,
    horizon: HorizonOrAllOption = "all",
    surface: Annotated[Literal["prod", "full"], typer.Option(help="Feature surface.")] = "prod",
    warehouse: WarehouseOption = None,
    output: Annotated[Literal["parquet", "csv"], typer.Option("--format", help="File format.")] = "parquet",
) -> None:
    """Write the training tables to files under the home's exports/."""
    from zl_assets.automation.export import export_training_tables

    with progress() as report:
        paths = export_training_tables(
            _settings(home=home, warehouse=warehouse), _codes(horizon), surface, output, report
        )
    print("\n".join(map(str, paths)))


@app.command()
def upload(
    home: HomeOption = None,
    horizon: HorizonOrAllOption = "all",
    warehouse: WarehouseOption = "bigquery",
    allow_simulated: Annotated[bool, typer.Option(help="Upload forecasts of a simulated market too.")] = False,
) -> None:
    """Store forecasts of the model store in BigQuery; repeat it, and nothing is sent twice."""
    from zl_assets.automation.upload import upload as store
    from zl_assets.build import build_warehouse

    settings = _settings(home=home, warehouse=warehouse)
    done = store(settings.home, build_warehouse(settings), _codes(horizon), say, allow_simulated=allow_simulated)
    say(f"{done.forecasts} forecasts uploaded")
    print("\n".join(done.views))


@app.command()
def push(
    home: HomeOption = None,
    allow_simulated: Annotated[bool, typer.Option(help="Copy rows of a simulated market too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the embedded warehouse into BigQuery; repeat it to resume."""
    from dataclasses import asdict

    from zl_assets.automation.push import push as copy
    from zl_assets.build import build_warehouse

    source, target = (build_warehouse(_settings(home=home, warehouse=engine)) for engine in ("duckdb", "bigquery"))
    with progress() as report:
        pushed = copy(source, target, report, allow_simulated=allow_simulated)
    rows = [asdict(p) for p in pushed]
    if as_json:
        print_json(rows)
    else:
        print_rows("equal on both sides", rows)


@app.command()
def archive(
    tables: Annotated[list[str], typer.Argument(help="Tables to archive, dataset.table.", metavar="TABLE")],
    home: HomeOption = None,
    warehouse: WarehouseOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Make a snapshot of the same day anew.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a snapshot of tables in the archive dataset, compared with its original."""
    from dataclasses import asdict

    from zl_assets.build import build_warehouse
    from zl_assets.warehouse.archive import archive as snapshot

    store = build_warehouse(_settings(home=home, warehouse=warehouse))
    with progress() as report:
        done = snapshot(store, tables, datetime.now(UTC).date(), report, replace=replace)
    print_archived("archived", [asdict(a) for a in done], as_json=as_json)


@app.command()
def restore(
    name: Annotated[str, typer.Argument(help="A snapshot, archive.legacy_..., or its original, dataset.table.")],
    home: HomeOption = None,
    warehouse: WarehouseOption = None,
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="Day of the snapshot of an original. Default: the newest."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Give up the rows that are in the place.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a snapshot back into its original place."""
    from dataclasses import asdict

    from zl_assets.build import build_warehouse
    from zl_assets.warehouse.restore import restore as put_back

    store = build_warehouse(_settings(home=home, warehouse=warehouse))
    done = put_back(store, name, day=day.date() if day else None, replace=replace)
    print_archived("restored", [asdict(done)], as_json=as_json)


@app.command()
def shims(
    action: Annotated[Literal["list", "create", "drop"], typer.Argument(help="What to do.")] = "list",
    names: Annotated[list[str] | None, typer.Argument(help="Legacy names. Default: all.", metavar="NAME")] = None,
    home: HomeOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show renamed tables under their legacy names for 30 days: list, create or drop the views."""
    from dataclasses import asdict

    from zl_assets.build import build_warehouse
    from zl_assets.warehouse.shims import create_shims, drop_shims, list_shims

    store = build_warehouse(_settings(home=home, warehouse=warehouse))
    now, act = datetime.now(UTC), {"list": list_shims, "drop": drop_shims}.get(action)
    found = act(store, names or [], now.date()) if act else create_shims(store, names or [], now)
    rows = [asdict(s) for s in found]
    if as_json:
        print_json(rows)
    else:
        print_rows({"list": "shims", "create": "shims", "drop": "dropped shims"}[action], rows)


@app.command()
def simulate(
    directory: Annotated[Path, typer.Argument(help="Directory to write; must be new, empty or an earlier simulation.")],
    world: Annotated[
        Literal["martingale", "planted"],
        typer.Option(help="martingale: nothing to predict; planted: a documented signal."),
    ] = "martingale",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same market.")] = 7,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.")] = datetime(2010, 6, 6),  # noqa: DTZ001
    end: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day. Default: yesterday.")] = None,
) -> None:
    """Write a SIMULATED market as vendor files."""
    from zl_assets.sources.bar_source import yesterday
    from zl_assets.sources.simulated import simulate as write

    last = end.date() if end else yesterday()
    if last > yesterday():
        raise typer.BadParameter("must be a day that is over", param_hint="--end")
    with progress() as report:
        market = write(directory, world=world, seed=seed, start=start.date(), end=last, on_progress=report)
    say(f"SIMULATED market ({world}, seed {seed}): {len(market.files)} files")
    print(directory)


@app.command()
def ui(
    home: HomeOption = None,
    data: Annotated[Path | None, typer.Option(help="Directory of vendor files the graph reads.")] = None,
    warehouse: WarehouseOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Open the Dagster UI on 127.0.0.1 with the graph ready to materialise."""
    from zl_assets.automation.ui import serve

    serve(_settings(home=home, data=data, warehouse=warehouse), port)


def main() -> None:
    """Entry point: one clear message and the documented exit code for every known error."""
    try:
        app()
    except ZlError as error:
        _fail(error)
    except OSError as error:
        place = "" if error.filename is None else str(error.filename)
        advice = "check the path, its permissions and the free space"
        _fail(ConfigurationError(f"the system refused: {error.strerror or error}", where=place, action=advice))


def _fail(error: ZlError) -> NoReturn:
    say(f"error: {error}")
    sys.exit(error.exit_code)


def _settings(**given: Path | str | bool | None) -> Settings:
    """Settings from the environment, with what the command line gives in their place."""
    from pydantic import ValidationError

    from zl_assets.settings import Settings

    try:
        chosen = {n: v.resolve() if isinstance(v, Path) else v for n, v in given.items() if v is not None}
        settings = Settings(**chosen)  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(
            f"setting ZL_{name} is not usable: {first['msg']}", where=f"got {first.get('input')!r}", action="see README"
        ) from error
    if settings.home.exists() and not settings.home.is_dir():
        raise ConfigurationError(
            "the home is not a directory", where=str(settings.home), action="choose another --home"
        )
    return settings


def _rows_of(warehouse: Warehouse, sql: str) -> pl.DataFrame:
    """Rows of one SELECT that a user typed.

    Raises:
        QueryRefused: it is no single SELECT, fails on the stored values, or yields a type that has no printed form.
    """
    import duckdb
    import polars as pl

    from zl_assets.warehouse.dialect import single_select

    # The parser logs what it does not know, in words about itself; the refusal says it once.
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    try:
        return warehouse.read(single_select(sql))
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        first_line = str(error).splitlines()[0]
        raise QueryRefused(f"the query failed: {first_line}", where=sql, action="change the expression") from error


def _latest(settings: Settings, codes: list[str]) -> pl.DataFrame:
    """The published row of each horizon, shortest first."""
    import polars as pl

    from zl_assets.assets.predictions import latest_name
    from zl_assets.build import build_warehouse

    warehouse = build_warehouse(settings)
    return pl.concat([warehouse.read(f"SELECT * FROM {latest_name(code)}") for code in codes])


if __name__ == "__main__":
    main()

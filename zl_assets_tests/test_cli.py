"""The command line: what each command prints where, and that simulated markets say so everywhere."""

import csv as csv_format
import io
import json
import shutil
import socket
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest

from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import ModelSpec
from zl_assets_tests.command import Ended, assert_refused, command, environment, rows, zl, zl_process
from zl_assets_tests.vendor_files import Row, write

BARS = "market_data.databento_futures_ohlcv_1d"
FORECASTS = "predictions.zl_forecasts"


@pytest.fixture
def simulated_copy(simulated_home: Path, tmp_path: Path) -> Path:
    return shutil.copytree(simulated_home, tmp_path / "home")


def test_help_names_every_command_and_exits_0() -> None:
    ended = zl_process("--help")
    assert ended.code == 0
    for name in ("run", "leaderboard", "status", "query", "export", "simulate", "ui", "archive", "restore", "shims"):
        assert f"  {name} " in ended.out


# run


def test_run_as_json_prints_json_alone_and_progress_elsewhere(simulated_run: tuple[Path, Ended]) -> None:
    _, ended = simulated_run
    found = ended.json
    assert found["simulated"] is True
    assert found["seconds"] > 0
    assert [f["horizon"] for f in found["forecasts"]] == list(HORIZONS)
    for forecast in found["forecasts"]:
        assert forecast["is_simulated"] is True
        assert date.fromisoformat(forecast["as_of_date"]) == date(2022, 12, 30)
        assert datetime.fromisoformat(forecast["created_at"]).tzinfo is not None
    assert "features/daily_ml_matrix" in ended.err


def test_a_market_that_is_not_simulated_does_not_say_so(vendor_home: Path) -> None:
    for arguments in (("status",), ("query", "SELECT 1 AS one"), ("query", "SELECT 1 AS one", "--format", "csv")):
        ended = zl(*arguments, "--home", vendor_home)
        assert ended.code == 0
        assert "SIMULATED market" not in ended.out + ended.err
    assert zl("status", "--home", vendor_home, "--json").json["simulated"] is False


def test_run_trains_the_models_asked_for_beside_no_change(simulated_copy: Path, simulated_zl: Path) -> None:
    arguments = ("--home", simulated_copy, "--data", simulated_zl, "--horizon", "1m")
    ended = zl("run", *arguments, "--models", "drift, seasonal_naive")
    assert ended.code == 0, ended.err
    trained = [line.split()[0] for line in ended.err.splitlines() if line.startswith("  models/")]
    benchmarks = [f"models/benchmarks/{name}" for name in ("drift", "no_change", "seasonal_naive")]
    assert sorted(trained) == [*benchmarks, "models/regime/regime_classifier"]

    # LightGBM was trained on the same rows before, so it stays in the comparison.
    [lightgbm, *_] = [m for m in leaderboard(simulated_copy, "1m") if m["model"] == "lightgbm"]
    names = {m["model"] for m in leaderboard(simulated_copy, "1m")}
    assert names == {"no_change", "drift", "seasonal_naive", "lightgbm"}
    stored = rows(simulated_copy, f"SELECT model, model_version FROM {FORECASTS} WHERE horizon = '1m'")
    assert {r["model"] for r in stored} == names
    assert lightgbm["model_version"] in {r["model_version"] for r in stored}
    assert {m["model"] for m in leaderboard(simulated_copy, "1w")} == {"no_change", "lightgbm"}


@pytest.mark.parametrize("asked", ["lightgmb", "no_change,magic", "LIGHTGBM", ",", "standard,all"])
def test_a_model_that_is_not_there_is_told_before_anything_is_made(tmp_path: Path, asked: str) -> None:
    home = tmp_path / "home"
    for ended in (zl("run", "--home", home, "--models", asked), zl("run", "--home", home, ZL_MODELS=asked)):
        assert_refused(ended, "no such model", "--models, ZL_MODELS", "choose standard, all, or names among no_change")
        assert ended.err.count("\n") == 1, ended.err
    assert not home.exists()


def test_a_model_whose_package_is_missing_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = ModelSpec.package_major
    monkeypatch.setattr(ModelSpec, "package_major", lambda spec: None if spec.name == "prophet" else known(spec))
    ended = zl("run", "--home", tmp_path / "home", "--models", "all")
    assert_refused(ended, "packages are missing for prophet", "uv sync --extra prophet")
    assert not (tmp_path / "home").exists()


def test_run_prints_a_table_of_the_horizons_asked_for_and_old_data_are_refused_as_of_today(
    simulated_copy: Path, simulated_zl: Path
) -> None:
    horizons = ("--horizon", "1m", "--horizon", "1w")
    ended = zl("run", "--home", simulated_copy, "--data", simulated_zl, *horizons, ZL_AS_OF="today")
    assert ended.code == 0, ended.err
    assert "SIMULATED market, worthless as a forecast" in ended.out
    body = [line for line in ended.out.splitlines() if line.startswith("│")]
    assert [line.split("│")[1].strip() for line in body] == ["1w", "1m"]
    assert "horizon 6m" not in ended.err

    [published] = rows(simulated_copy, "SELECT * FROM predictions.vw_zl_1w_latest")
    assert "refused" in published["state"]
    figures = ("predicted_price", "q05", "q95", "direction_probability", "conviction", "confidence", "regime")
    assert {published[name] for name in figures} == {None}
    assert published["current_price"] > 0
    assert published["state"] in ended.out


# leaderboard


def leaderboard(home: Path, horizon: str = "all") -> list[dict[str, Any]]:
    ended = zl("leaderboard", "--home", home, "--horizon", horizon, "--json")
    assert (ended.code, ended.err) == (0, "")
    return ended.json["models"]


def test_leaderboard_as_json_has_every_model_of_every_horizon_the_best_first(simulated_home: Path) -> None:
    ended = zl("leaderboard", "--home", simulated_home, "--json")
    assert ended.json["simulated"] is True
    found = ended.json["models"]
    assert list(dict.fromkeys(m["horizon"] for m in found)) == list(HORIZONS)
    for horizon in HORIZONS:
        of_horizon = [m for m in found if m["horizon"] == horizon]
        assert {m["model"] for m in of_horizon} == {"no_change", "lightgbm"}
        assert [m["crps"] for m in of_horizon] == sorted(m["crps"] for m in of_horizon)
        [champion] = [m["model"] for m in of_horizon if m["is_champion"]]
        [published] = rows(simulated_home, f"SELECT model FROM predictions.vw_zl_{horizon}_latest")
        assert champion == published["model"]
        assert len({m["n_rows"] for m in of_horizon}) == 1
        [no_change] = [m for m in of_horizon if m["model"] == "no_change"]
        assert (no_change["crps_vs_no_change"], no_change["p_value"]) == (1.0, None)
    assert leaderboard(simulated_home, "3m") == [m for m in found if m["horizon"] == "3m"]


def test_leaderboard_as_tables_marks_what_is_published(simulated_home: Path) -> None:
    ended = zl("leaderboard", "--home", simulated_home, "--horizon", "1w")
    assert (ended.code, ended.err) == (0, "")
    assert "SIMULATED market: 1w, out of fold (expanding)" in ended.out
    assert "1m, out of fold" not in ended.out
    body = [line.split("│")[1].strip() for line in ended.out.splitlines() if line.startswith("│")]
    [champion] = [m["model"] for m in leaderboard(simulated_home, "1w") if m["is_champion"]]
    assert sorted(body) == sorted({"no_change", "lightgbm"} - {champion} | {f"{champion} *"})


def test_leaderboard_by_year_splits_the_same_rows(simulated_home: Path) -> None:
    ended = zl("leaderboard", "--home", simulated_home, "--by", "year", "--json")
    assert ended.json["simulated"] is True
    found = ended.json["models"]
    for of_all in leaderboard(simulated_home):
        own = [m for m in found if (m["horizon"], m["model"]) == (of_all["horizon"], of_all["model"])]
        years = [int(m["group"]) for m in own]
        assert years == sorted(set(years))
        assert sum(m["n"] for m in own) == of_all["n_rows"]
        mean = sum(m["n"] * m["crps"] for m in own) / of_all["n_rows"]
        assert mean == pytest.approx(of_all["crps"])


def test_leaderboard_by_regime_as_tables(simulated_home: Path) -> None:
    ended = zl("leaderboard", "--home", simulated_home, "--horizon", "1w", "--by", "regime")
    assert (ended.code, ended.err) == (0, "")
    assert "SIMULATED market: 1w, out of fold, CRPS / no-change by regime" in ended.out
    models = [line.split("│")[1].strip() for line in ended.out.splitlines() if line.startswith("│")]
    assert models == ["no_change", "lightgbm"]
    assert zl("leaderboard", "--home", simulated_home, "--by", "month").code == 2


def test_leaderboard_before_any_run(tmp_path: Path, vendor_home: Path) -> None:
    assert_refused(zl("leaderboard", "--home", tmp_path / "new"), "there is no warehouse yet", "zl run")
    assert not (tmp_path / "new").exists()
    assert_refused(zl("leaderboard", "--home", vendor_home, "--horizon", "1m"), "no model was evaluated yet", "zl run")
    assert "SIMULATED" not in zl("leaderboard", "--home", vendor_home, "--horizon", "1w").out


# status


def test_status_as_json(simulated_home: Path) -> None:
    ended = zl("status", "--home", simulated_home, "--json")

    assert (ended.code, ended.err) == (0, "")
    found = ended.json
    assert set(found) == {"simulated", "tables", "checks", "sources"}
    assert found["simulated"] is True
    tables = {t["name"]: t for t in found["tables"]}
    assert all(set(t) == {"name", "rows", "newest"} for t in found["tables"])
    assert tables["features.daily_ml_matrix"] == {
        "name": "features.daily_ml_matrix",
        "rows": 1260,
        "newest": "2022-12-30",
    }
    assert all(tables[f"predictions.vw_zl_{h}_latest"]["rows"] == 1 for h in HORIZONS)
    assert all(set(c) == {"asset", "check", "partition", "passed", "severity", "stale"} for c in found["checks"])
    assert all(c["passed"] for c in found["checks"] if c["severity"] == "ERROR")
    for asset in ("models/trees/lightgbm", "models/benchmarks/no_change", "monitoring/model_evaluation"):
        assert {c["partition"] for c in found["checks"] if c["asset"] == asset} == set(HORIZONS)
    sources = {s["name"]: s for s in found["sources"]}
    assert sources["simulated"]["in_use"]
    assert not sources["files"]["in_use"]
    assert sources["dataset vegas_intelligence"]["state"] == "absent, belongs to others"


def test_status_tells_a_failed_check(home: Path, tmp_path: Path, zl_rows: list[Row]) -> None:
    data = write(tmp_path / "data", [r for r in zl_rows[-200:] if r["ts_event"][:10] != "2022-06-07"])
    assert zl("run", "--home", home, "--data", data, "--horizon", "1w").code == 1
    failed = [c for c in zl("status", "--home", home, "--json").json["checks"] if not c["passed"]]
    assert [(c["asset"], c["check"], c["severity"]) for c in failed] == [
        ("market_data/futures_sessions_1d", "no_session_missing", "ERROR")
    ]


def test_status_as_tables(simulated_home: Path) -> None:
    ended = zl("status", "--home", simulated_home)
    assert ended.code == 0
    assert "SIMULATED market" in ended.out
    for part in ("features.daily_ml_matrix", "no_session_missing", "martingale, seed 7"):
        assert part in ended.out


def test_status_of_a_home_that_does_not_exist_creates_nothing(tmp_path: Path) -> None:
    ended = zl("status", "--home", tmp_path / "new", "--json")
    assert ended.code == 0
    found = ended.json
    assert (found["simulated"], found["tables"], found["checks"]) == (False, [], [])
    assert not (tmp_path / "new").exists()


def test_the_home_comes_from_the_variable_where_none_is_given(simulated_home: Path) -> None:
    assert zl("status", "--json", ZL_HOME=str(simulated_home)).json["tables"]


# query


def test_query_in_each_format(simulated_home: Path) -> None:
    sql = f"SELECT bar_date, symbol, close, ts_event FROM {BARS} ORDER BY bar_date LIMIT 2"
    as_json = zl_process("query", sql, "--home", simulated_home, "--format", "json")
    assert as_json.code == 0
    first, second = as_json.json
    assert first == {
        "bar_date": "2018-01-02",
        "symbol": "ZL",
        "close": 46.14,
        "ts_event": "2018-01-02T00:00:00+00:00",
    }
    as_csv = zl("query", sql, "--home", simulated_home, "--format", "csv")
    assert [r["bar_date"] for r in csv_format.DictReader(io.StringIO(as_csv.out))] == ["2018-01-02", second["bar_date"]]
    as_table = zl("query", sql, "--home", simulated_home)
    assert "2018-01-02" in as_table.out
    assert [e.code for e in (as_csv, as_table)] == [0, 0]
    for ended in (as_json, as_csv, as_table):
        assert "SIMULATED market" in ended.out + ended.err


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 / 0", None),
        ("CAST('nan' AS FLOAT64)", None),
        ("CAST('-inf' AS FLOAT64)", None),
        ("[1.5, CAST('nan' AS FLOAT64)]", [1.5, None]),
        ("NULL", None),
        ("1.5", 1.5),
        ("(SELECT SUM(volume) > 0 FROM " + BARS + ")", True),
        ("(SELECT SUM(1) FROM " + BARS + ")", 1260),
        ("DATE '2024-02-29'", "2024-02-29"),
        ("TIME '13:20:00'", "13:20:00"),
        ("TIMESTAMP '2024-02-29 12:00:00+00'", "2024-02-29T12:00:00+00:00"),
        ("STRUCT(1 AS a, DATE '2024-02-29' AS d)", {"a": 1, "d": "2024-02-29"}),
        ("[1, 2]", [1, 2]),
        ("b'abc'", "616263"),
        ("'[/b] :smile: [red]é'", "[/b] :smile: [red]é"),
    ],
)
def test_every_value_has_a_form_in_every_format(simulated_home: Path, expression: str, value: object) -> None:
    sql = f"SELECT {expression} AS x"
    assert zl("query", sql, "--home", simulated_home, "--format", "json").json == [{"x": value}]
    as_csv = zl("query", sql, "--home", simulated_home, "--format", "csv")
    assert (as_csv.code, len(as_csv.out.splitlines())) == (0, 2)
    as_table = zl("query", sql, "--home", simulated_home)
    assert as_table.code == 0
    if isinstance(value, str) and not value.startswith("6"):
        assert value.replace("T", " ") in as_table.out.replace("T", " ")


def test_a_query_without_rows(simulated_home: Path) -> None:
    sql = f"SELECT symbol FROM {BARS} WHERE FALSE"
    assert zl("query", sql, "--home", simulated_home, "--format", "json").json == []
    assert zl("query", sql, "--home", simulated_home, "--format", "csv").out == "symbol\n"
    assert "symbol" in zl("query", sql, "--home", simulated_home).out


def test_one_select_in_any_dress_is_read(simulated_home: Path) -> None:
    for sql in (
        "SELECT 1 AS x;",
        "WITH t AS (SELECT 1 AS x) SELECT x FROM t",
        "(SELECT 1 AS x)",
        "SELECT 1 AS x -- and no more",
        "SELECT MAX(x) AS x FROM (SELECT 1 AS x UNION ALL SELECT 0)",
        "SELECT x FROM UNNEST([1]) AS x",
        f"SELECT COUNTIF(symbol = 'ZL') - 1259 AS x FROM `{BARS.replace('.', '`.`')}`",
    ):
        assert zl("query", sql, "--home", simulated_home, "--format", "json").json == [{"x": 1}], sql


def test_a_reader_that_closes_the_pipe_sees_no_traceback(simulated_home: Path) -> None:
    arguments = command("query", f"SELECT * FROM {BARS}", "--home", simulated_home, "--format", "json")
    with subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


# export


def test_export_writes_the_tables_under_their_names_and_prints_the_paths(simulated_copy: Path) -> None:
    ended = zl("export", "--home", simulated_copy)
    assert ended.code == 0, ended.err
    paths = [Path(line) for line in ended.out.splitlines()]
    assert [p.name for p in paths] == [f"zl_training_prod_allhistory_{h}.SIMULATED.parquet" for h in HORIZONS]
    assert sorted(paths) == sorted((simulated_copy / "exports").iterdir())

    as_csv = zl("export", "--home", simulated_copy, "--horizon", "1m", "--format", "csv")
    assert Path(as_csv.out.strip()).name == "zl_training_prod_allhistory_1m.SIMULATED.csv"
    parquet, text = pl.read_parquet(paths[1]), pl.read_csv(as_csv.out.strip(), try_parse_dates=True)
    assert parquet.height == 1260
    assert text.columns == parquet.columns
    assert text["close"].equals(parquet["close"])
    assert parquet["source"].unique().to_list() == ["simulated"]


def test_an_export_of_vendor_bars_has_the_plain_name_and_is_repeatable(home: Path) -> None:
    first = zl("export", "--home", home, "--horizon", "1w")
    path = Path(first.out.strip())
    assert path == home / "exports" / "zl_training_prod_allhistory_1w.parquet"
    body = path.read_bytes()
    assert zl("export", "--home", home, "--horizon", "1w").out == first.out
    assert path.read_bytes() == body


def test_an_export_that_cannot_be_written(home: Path) -> None:
    (home / "exports").write_text("mine")
    ended = zl("export", "--home", home, "--horizon", "1w")
    assert ended.code == 2
    assert "the export cannot be written" in ended.error
    assert (home / "exports").read_text() == "mine"


# simulate


def test_simulate_says_what_it_is_and_prints_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "market"
    arguments = ("simulate", directory, "--world", "planted", "--seed", "3", "--start", "2022-12-01")
    ended = zl(*arguments, "--end", "2022-12-31")
    assert (ended.code, ended.out) == (0, f"{directory}\n"), ended.err
    assert "SIMULATED market (planted, seed 3)" in ended.err
    marker = json.loads((directory / "SIMULATED.json").read_text())
    assert (marker["world"], marker["seed"], marker["end"]) == ("planted", 3, "2022-12-31")
    # An earlier simulation is replaced.
    assert zl(*arguments, "--end", "2022-12-30").code == 0


# ui


def test_ui_starts_dagster_on_the_loopback_interface_with_the_homes_instance(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Neither this process nor what it does on Ctrl-C is to be replaced.
    with (
        mock.patch("os.execve", side_effect=InterruptedError(0, "replaced")) as replaced,
        mock.patch("signal.signal"),
    ):
        ended = zl("ui", "--home", tmp_path / "home", "--data", tmp_path, "--port", port)
    assert f"http://127.0.0.1:{port}" in ended.err
    program, arguments, variables = replaced.call_args.args
    assert program == sys.executable
    assert arguments[arguments.index("-h") + 1] == "127.0.0.1"
    assert arguments[arguments.index("-p") + 1] == str(port)
    assert variables["ZL_HOME"] == str(tmp_path / "home")
    assert variables["ZL_DATA"] == str(tmp_path)
    assert Path(variables["DAGSTER_HOME"]).joinpath("dagster.yaml").is_file()

"""Whole runs: repeated, killed, fed from each source, and on the licensed files.

What a run does to stored tables is tried on both engines. Runs that are killed, that buy bars or that read the licensed
files are tried on the embedded one alone: they test processes, the vendor's service and figures, which know no engine,
and a run on the local server takes twice as long. The licensed files go through both in test_equal_engines.
"""

import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest import mock

import dagster as dg
import numpy as np
import polars as pl
import pytest

from zl_assets.automation.instance import IN_PROCESS_TAG, end_abandoned_runs, only_run, open_instance
from zl_assets.automation.runner import run_graph
from zl_assets.core.exchange_calendar import sessions_of
from zl_assets.core.horizons import HORIZONS, Horizon
from zl_assets.core.training_frame import training_frame
from zl_assets.errors import ConfigurationError
from zl_assets.settings import Settings
from zl_assets_tests.command import Ended, changed, command, environment, lost, rows, stored, zl
from zl_assets_tests.sources.databento_server import KEY, Answer, FakeDatabento, refusal, running
from zl_assets_tests.stores import Place
from zl_assets_tests.vendor_files import Row, write

BARS = "market_data.databento_futures_ohlcv_1d"
HOURS = "market_data.databento_futures_ohlcv_1h"
FORECASTS = "predictions.zl_forecasts"
EVALUATION = "monitoring.model_evaluation"
DBN_BARS = "timeseries.get_range"


def run(home: Path, *arguments: object, **variables: str) -> Ended:
    return zl("run", "--home", home, "--horizon", "1w", *arguments, **variables)


# Again and again


@pytest.mark.slow_on_bigquery
def test_the_same_bars_again_change_nothing_but_who_made_the_forecasts(vendor_place: Place) -> None:
    before = vendor_place.stored()
    forecast = f"SELECT * EXCEPT (run_id, created_at) FROM {FORECASTS} ORDER BY as_of_date, model, model_version"
    first = vendor_place.rows(forecast)
    # No --data and no key: the stored bars of the vendor are used, and no market is simulated.
    ended = vendor_place.zl("run", "--horizon", "1w")
    assert ended.code == 0, ended.err
    assert changed(before, vendor_place.stored()) <= {FORECASTS, EVALUATION}
    assert vendor_place.rows(forecast) == first
    assert "drawing the sessions" not in ended.err
    assert not (vendor_place.home / "vendor").exists()


@pytest.mark.slow_on_bigquery
def test_new_bars_extend_the_home_and_keep_every_old_row(
    vendor_place: Place, tmp_path: Path, zl_rows: list[Row]
) -> None:
    before = vendor_place.stored()
    # The files overlap what is stored by half a year.
    data = write(tmp_path / "data", [r for r in zl_rows if r["ts_event"] >= "2021-07"])
    ended = vendor_place.zl("run", "--horizon", "1w", "--data", data, "--json")
    assert ended.code == 0, ended.err
    after = vendor_place.stored()
    kept = (BARS, "market_data.futures_sessions_1d", "features.daily_ml_matrix", FORECASTS)
    assert not lost({t: before[t] for t in kept}, after)
    assert after[BARS].total() == len(zl_rows)
    [forecast] = ended.json["forecasts"]
    assert (forecast["as_of_date"], forecast["is_simulated"]) == ("2022-12-30", False)


def test_a_killed_run_is_marked_and_the_next_one_ends_well(home: Path, tmp_path: Path, zl_rows: list[Row]) -> None:
    before = stored(home)
    data = write(tmp_path / "data", zl_rows)
    arguments = command("run", "--home", home, "--data", data, "--horizon", "1w")
    with subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # The line comes from inside a step, so the run and its step are under way.
        assert any("reading 1 files" in line for line in process.stderr)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not lost(before, stored(home))

    ended = run(home, "--data", data)
    assert ended.code == 0, ended.err
    assert "had been killed: marked as failed" in ended.err
    assert not any(n > 1 for table in stored(home).values() for n in table.values())
    with open_instance(Settings(home=home)) as instance:
        statuses = [r.status for r in instance.get_runs()]
        slots = instance.event_log_storage.get_concurrency_info("warehouse")
    assert statuses.count(dg.DagsterRunStatus.FAILURE) == 1
    assert set(statuses) == {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}
    assert slots.active_slot_count == slots.pending_step_count == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "terminated"])
def test_an_interrupted_run_ends_in_one_line(
    home: Path, tmp_path: Path, zl_rows: list[Row], number: signal.Signals
) -> None:
    before = stored(home)
    arguments = command("run", "--home", home, "--data", write(tmp_path / "data", zl_rows), "--horizon", "1w")
    with subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("reading 1 files" in line for line in process.stderr)
        process.send_signal(number)
        told = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in told, told
    assert told.splitlines()[-1] == "error: interrupted -> what was stored stays; run again to go on"
    assert not lost(before, stored(home))


def test_a_wrong_bar_is_corrected_by_its_right_file(home: Path, tmp_path: Path, zl_rows: list[Row]) -> None:
    """A bar a hundred times too high passes the rules of a row. A check stops the run and says how to mend it."""
    (position,) = [i for i, r in enumerate(zl_rows) if r["ts_event"].startswith("2022-03-09")]
    wrong = dict(zl_rows[position])
    wrong |= {name: str(100 * float(wrong[name])) for name in ("open", "high", "low", "close")}
    rows_with_it = [*zl_rows[:position], wrong, *zl_rows[position + 1 :]]
    stopped = run(home, "--data", write(tmp_path / "wrong", rows_with_it))
    assert stopped.code == 1
    assert "--accept-corrections" in stopped.error

    right = write(tmp_path / "right", zl_rows)
    unchanged = run(home, "--data", right)
    assert unchanged.code == 1, "what is stored stays until corrections are accepted"

    mended = run(home, "--data", right, "--accept-corrections")
    assert mended.code == 0, mended.err
    assert "warning" not in mended.err, "the rejected row has its sound bar now"
    session = "SELECT close FROM market_data.futures_sessions_1d WHERE symbol = 'ZL' AND trade_date = '2022-03-09'"
    assert [r["close"] for r in rows(home, session)] == [float(zl_rows[position]["close"])]
    quarantined = {r["reason"] for r in rows(home, "SELECT DISTINCT reason FROM raw_intelligence.quarantine")}
    assert quarantined == {"contradicts_stored_bar", "replaced_by_correction"}
    run_graph(Settings(home=home, data=right), [], print)


def test_the_checks_of_a_horizon_are_stale_once_the_matrix_is_built_anew(home: Path) -> None:
    """`zl run` of another horizon leaves this one's views to the new matrix, and its checks to the old one."""
    assert not any(c["stale"] for c in zl("status", "--home", home, "--json").json["checks"])
    assert zl("run", "--home", home, "--horizon", "1m").code == 0
    checks = zl("status", "--home", home, "--json").json["checks"]
    assert {c["partition"] for c in checks if c["stale"]} == {"1w"}
    assert {c["partition"] for c in checks if not c["stale"]} == {None, "1m"}


def test_a_killed_run_is_marked_and_one_of_the_ui_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        killed = dg.DagsterRun("market_job", status=dg.DagsterRunStatus.STARTED, tags={IN_PROCESS_TAG: "true"})
        instance.add_run(killed)
        instance.add_run(dg.DagsterRun("market_job", status=dg.DagsterRunStatus.STARTED))
        assert end_abandoned_runs(instance) == [killed.run_id]
        assert end_abandoned_runs(instance) == []


def test_two_runs_at_once_in_one_home_end_in_one_clear_message(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, warehouse_lock_seconds=0.3)
    refused = pytest.raises(ConfigurationError, match="another `zl run` has been at work")
    with only_run(settings), refused, only_run(settings):
        pass
    with only_run(settings):
        pass


# Models


@pytest.mark.parametrize(
    ("leaks", "caught_by"),
    [(("return_21d",), "models/trees/lightgbm[1w]"), (("return_21d", "rsi_14"), "monitoring/model_evaluation[1w]")],
    ids=["one", "two"],
)
def test_features_that_know_the_outcome_stop_the_run_before_anything_is_published(
    home: Path, leaks: tuple[str, ...], caught_by: str
) -> None:
    """One of them takes all the gain of the trees; two share it, and show in what the trees forecast."""
    before = stored(home)
    random = np.random.default_rng(1)

    def leaking(rows: pl.DataFrame, horizon: Horizon) -> pl.DataFrame:
        frame = training_frame(rows, horizon)
        blurs = {name: pl.Series(random.normal(0, 0.01, frame.height)) for name in leaks}
        return frame.with_columns(**{name: pl.col("target") + blur for name, blur in blurs.items()})

    with mock.patch("zl_assets.core.training_frame.training_frame", leaking):
        ended = run(home, "--models", "no_change,lightgbm")
    assert (ended.code, ended.out) == (1, "")
    assert "1 blocking check failed" in ended.error
    assert caught_by in ended.error
    assert "nothing after it was built" in ended.error
    assert FORECASTS not in changed(before, stored(home))


def test_mlflow_knows_every_training_run_of_a_forecast(home: Path) -> None:
    ended = run(home, ZL_MLFLOW="true")
    assert ended.code == 0, ended.err
    [said] = rows(home, f"SELECT run_id FROM {FORECASTS} WHERE model = 'no_change'")
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        told = connection.execute("SELECT name, status, artifact_uri FROM runs WHERE run_uuid = ?", list(said.values()))
        [(name, status, place)] = told.fetchall()
    assert (name, status) == ("no_change", "FINISHED")
    kept = {path.name for path in Path(place.removeprefix("file://")).iterdir()}
    assert kept == {"out_of_fold.png", "metrics.json"}


# Two worlds


@pytest.mark.slow_on_bigquery
def test_simulated_bars_never_get_into_a_home_with_real_ones(vendor_place: Place, simulated_zl: Path) -> None:
    before = vendor_place.stored()
    ended = vendor_place.zl("run", "--horizon", "1w", "--data", simulated_zl)
    assert (ended.code, ended.out) == (2, "")
    assert "simulated ones must not be mixed in" in ended.error
    assert "--home" in ended.error
    assert not changed(before, vendor_place.stored())


def test_a_delivery_of_both_worlds_is_refused(tmp_path: Path, simulated_zl: Path, zl_rows: list[Row]) -> None:
    data = shutil.copytree(simulated_zl, tmp_path / "data")
    write(data, [{**r, "symbol": "ZS.v.0"} for r in zl_rows[:50]], "glbx.ohlcv-1d.ZS.v.0.csv")
    ended = run(tmp_path / "home", "--data", data)
    assert ended.code == 2
    assert "mixes simulated and real bars" in ended.error
    assert not rows(tmp_path / "home", f"SELECT 1 FROM {BARS}")


@pytest.mark.slow_on_bigquery
def test_vendor_bars_replace_a_simulated_market(
    new_place: Callable[[], Place], simulated_home: Path, tmp_path: Path, zl_rows: list[Row]
) -> None:
    place = new_place().with_copy_of(simulated_home)
    assert place.zl("status", "--json").json["simulated"] is True
    ended = place.zl("run", "--horizon", "1w", "--data", write(tmp_path / "data", zl_rows))
    assert ended.code == 0, ended.err
    assert_one_world(place)
    assert "SIMULATED" not in ended.out
    assert place.zl("status", "--json").json["simulated"] is False


def assert_one_world(place: Place) -> None:
    """Nothing simulated is left in any table."""
    assert place.rows(f"SELECT DISTINCT source FROM {BARS}") == [{"source": "databento"}]
    assert not [name for name, table in place.stored().items() if any("'simulated'" in row for row in table)]
    assert not place.rows(f"SELECT 1 AS one FROM {FORECASTS} WHERE is_simulated")


# The vendor's service


@pytest.fixture
def fake() -> Iterator[FakeDatabento]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def recent_home(zl_rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose bars, moved in time, end a few sessions ago: little is left to download."""
    directory = tmp_path_factory.mktemp("recent")
    today = datetime.now(UTC).date()
    days = [d for d in sessions_of("grains") if d < today - timedelta(days=6)][-500:]
    moved = [
        {**r, "ts_event": f"{d}T00:00:00.000000000Z", "instrument_id": "7"}
        for r, d in zip(zl_rows[-500:], days, strict=True)
    ]
    data = write(directory / "data", moved)
    hours = [{**r, "ts_event": r["ts_event"].replace("T00", "T15"), "rtype": "34"} for r in moved[-1:]]
    write(data, hours, "glbx.ohlcv-1h.ZL.v.0.csv")
    ended = run(directory / "home", "--data", data)
    assert ended.code == 0, ended.err
    return directory / "home"


def from_vendor(home: Path, fake: FakeDatabento, **variables: str) -> Ended:
    ended = run(home, "--json", DATABENTO_API_KEY=KEY, ZL_DATABENTO_GATEWAY=fake.gateway, **variables)
    assert KEY not in ended.out + ended.err
    return ended


def test_new_bars_are_bought_once(recent_home: Path, tmp_path: Path, fake: FakeDatabento) -> None:
    home = shutil.copytree(recent_home, tmp_path / "home")
    before = stored(home)
    ended = from_vendor(home, fake)
    assert ended.code == 0, ended.err
    after = stored(home)
    assert not lost({BARS: before[BARS], HOURS: before[HOURS]}, after)
    [newest] = rows(home, f"SELECT MAX(bar_date) AS day FROM {BARS} WHERE symbol = 'ZL'")
    assert newest["day"] >= datetime.now(UTC).date() - timedelta(days=2)
    bought = len(fake.calls_to(DBN_BARS))
    assert bought == 2

    assert from_vendor(home, fake).code == 0
    assert len(fake.calls_to(DBN_BARS)) == bought
    assert changed(after, stored(home)) <= {FORECASTS, EVALUATION}
    assert KEY.encode() not in b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    "answer",
    [
        refusal(422, "data_schema_not_available", f"Not for {KEY}."),
        refusal(429, "too_many_requests", "Slow down.", Retry_After="0"),
    ],
    ids=["refuses", "is overrun"],
)
def test_a_service_that_fails(recent_home: Path, tmp_path: Path, fake: FakeDatabento, answer: Answer) -> None:
    home = shutil.copytree(recent_home, tmp_path / "home")
    before = stored(home)
    fake.always_answer(DBN_BARS, answer)
    ended = from_vendor(home, fake)
    assert (ended.code, ended.out) == (3, "")
    assert "Databento answered HTTP 42" in ended.error
    assert not changed(before, stored(home))


def test_a_download_above_the_limit_is_not_made(recent_home: Path, tmp_path: Path, fake: FakeDatabento) -> None:
    home = shutil.copytree(recent_home, tmp_path / "home")
    before = stored(home)
    ended = from_vendor(home, fake, ZL_DATABENTO_MAX_COST_USD="0.5")
    assert (ended.code, ended.out) == (2, "")
    assert "ZL_DATABENTO_MAX_COST_USD" in ended.error
    assert not fake.calls_to(DBN_BARS)
    assert not changed(before, stored(home))


def test_a_key_that_the_vendor_does_not_know(recent_home: Path, tmp_path: Path, fake: FakeDatabento) -> None:
    home = shutil.copytree(recent_home, tmp_path / "home")
    other = "db-another-key-0123456789abcdefgh"
    ended = run(home, DATABENTO_API_KEY=other, ZL_DATABENTO_GATEWAY=fake.gateway)
    assert (ended.code, ended.out) == (2, "")
    assert "DATABENTO_API_KEY" in ended.error
    assert other not in ended.err


# The licensed files


@pytest.fixture(scope="session")
def real_home(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """A whole run on every licensed file; read only."""
    home = tmp_path_factory.mktemp("real") / "home"
    models = ("--models", "no_change,lightgbm")
    return zl("run", "--home", home, "--data", real_data, *models, "--json"), home


@pytest.mark.realdata
def test_the_licensed_files_pass_every_blocking_check(real_home: tuple[Ended, Path]) -> None:
    ended, home = real_home
    assert ended.code == 0, ended.err
    checks = zl("status", "--home", home, "--json").json["checks"]
    assert not [c for c in checks if c["severity"] == "ERROR" and not c["passed"]]
    assert {c["partition"] for c in checks} == {None, *HORIZONS}


@pytest.mark.realdata
def test_the_licensed_bars_are_all_there_and_none_is_rejected(real_home: tuple[Ended, Path]) -> None:
    _, home = real_home
    [count] = rows(
        home, f"SELECT COUNT(*) AS n, MIN(bar_date) AS first, MAX(bar_date) AS last FROM {BARS} WHERE symbol = 'ZL'"
    )
    assert count == {"n": 3_944, "first": date(2010, 6, 7), "last": date(2025, 8, 29)}
    # Only bad prints, which sessions leave out, are in quarantine: no vendor row.
    assert not rows(home, "SELECT 1 FROM raw_intelligence.quarantine WHERE stage = 'vendor_bars'")


@pytest.mark.realdata
def test_the_licensed_history_is_long_enough_and_has_no_sunday(real_home: tuple[Ended, Path]) -> None:
    _, home = real_home
    for table, day_column in (
        ("market_data.futures_sessions_1d", "trade_date"),
        ("features.daily_ml_matrix", "data_date"),
    ):
        [found] = rows(
            home,
            f"SELECT COUNT(*) AS n, COUNT(*) FILTER (dayofweek({day_column}) = 0) AS sundays "
            f"FROM {table} WHERE symbol = 'ZL'",
        )
        assert found["n"] >= 3_800, table
        assert found["sundays"] == 0, table
    [labelled] = rows(home, "SELECT COUNT(target_1m) AS n FROM training.vw_zl_1m_flat")
    assert labelled["n"] >= 3_600


@pytest.mark.realdata
def test_each_latest_view_has_one_row_and_the_command_printed_it(real_home: tuple[Ended, Path]) -> None:
    ended, home = real_home
    printed = {f["horizon"]: f for f in ended.json["forecasts"]}
    assert list(printed) == list(HORIZONS)
    assert ended.json["simulated"] is False
    for horizon in HORIZONS:
        [latest] = rows(home, f"SELECT * FROM predictions.vw_zl_{horizon}_latest")
        assert printed[horizon]["predicted_price"] == latest["predicted_price"]
        assert latest["as_of_date"] == date(2025, 8, 29)
        assert latest["q05"] < latest["q10"] < latest["q50"] < latest["q90"] < latest["q95"]


@pytest.mark.realdata
def test_licensed_bars_replace_a_simulated_market(simulated_home: Path, real_data: Path, tmp_path: Path) -> None:
    home = shutil.copytree(simulated_home, tmp_path / "home")
    data = tmp_path / "data"
    data.mkdir()
    for path in (real_data / "databento").glob("*.ZL.v.0.csv"):
        (data / path.name).symlink_to(path)
    ended = run(home, "--data", data)
    assert ended.code == 0, ended.err
    assert_one_world(Place(home, {}))

"""The Databento source: the official client against a local server with real DBN bodies of invented bars."""

import json
import logging
import traceback
from datetime import date

import databento
import pytest

from zl_assets.core.instruments import INSTRUMENTS
from zl_assets.errors import (
    ConfigurationError,
    CostLimitExceeded,
    MissingCredential,
    ServiceError,
    StorageFull,
)
from zl_assets.sources import databento_api
from zl_assets_tests.sources.databento_server import (
    KEY,
    Answer,
    instrument_id,
    json_answer,
    refusal,
    zstd,
)
from zl_assets_tests.sources.download import ASKED, BARS, COST, DAILY_FILE, HOURLY_FILE, NEWEST, RANGE, Run

# What is asked for, and what arrives


def test_delivery_is_stored_as_the_vendor_names_and_shapes_it(run: Run) -> None:
    [path] = run()

    assert path == run.destination / DAILY_FILE
    assert run.files() == [DAILY_FILE]
    store = databento.DBNStore.from_file(path)
    bars = store.to_ndarray()
    sold = run.server.bars(ASKED)
    assert len(sold) == 8
    assert [
        (b["instrument_id"], b["ts_event"], b["open"], b["high"], b["low"], b["close"], b["volume"]) for b in bars
    ] == [
        (instrument_id(b.symbol), int(b.ts_event.timestamp()) * 10**9, b.open, b.high, b.low, b.close, b.volume)
        for b in sold
    ]
    assert set(store.mappings) == {"ZL.v.0", "ZS.v.0"}
    store.reader.close()


def test_request_names_dataset_symbology_days_and_carries_the_key(run: Run) -> None:
    run()

    [call] = run.server.calls_to(BARS)
    assert (call.user, call.password) == (KEY, "")
    assert call.params == {
        "dataset": "GLBX.MDP3",
        **ASKED,
        "stype_in": "continuous",
        "stype_out": "instrument_id",
        "encoding": "dbn",
        "compression": "zstd",
    }
    [estimate] = run.server.calls_to(COST)
    assert {k: estimate.params[k] for k in ASKED} == ASKED


def test_every_followed_instrument_and_both_schemas_are_the_default(run: Run) -> None:
    names = [
        p.name
        for p in run(newest={"ohlcv-1d": NEWEST, "ohlcv-1h": NEWEST}, symbols=None, schemas=("ohlcv-1d", "ohlcv-1h"))
    ]

    assert names == [DAILY_FILE, HOURLY_FILE]
    assert run.server.calls_to(BARS)[0].params["symbols"] == ",".join(f"{root}.v.0" for root in INSTRUMENTS)


def test_each_schema_continues_after_its_own_newest_day(run: Run) -> None:
    newest = {"ohlcv-1d": date(2025, 11, 13), "ohlcv-1h": date(2025, 11, 12)}
    paths = run(newest=newest, schemas=("ohlcv-1d", "ohlcv-1h"))

    assert [p.name for p in paths] == [
        "glbx-mdp3-20251114-20251114.ohlcv-1d.dbn.zst",
        "glbx-mdp3-20251113-20251114.ohlcv-1h.dbn.zst",
    ]


def test_empty_history_starts_with_the_dataset(run: Run) -> None:
    run(newest={}, today=date(2010, 6, 10))

    assert run.server.calls_to(BARS)[0].params["start"] == "2010-06-06"


@pytest.mark.parametrize("newest", [date(2025, 11, 14), date(2025, 11, 15), date(2026, 1, 1)])
def test_nothing_new_asks_nothing(run: Run, newest: date) -> None:
    assert run(newest={"ohlcv-1d": newest}) == []
    assert run.server.calls == []


def test_only_days_the_vendor_has_are_asked_for(run: Run) -> None:
    run.server.available["schema"] = {
        "ohlcv-1d": {"start": "2025-11-11T22:00:00.000000000Z", "end": "2025-11-14T13:30:00.000000000Z"}
    }
    run()

    asked = run.server.calls_to(BARS)[0].params
    assert (asked["start"], asked["end"]) == ("2025-11-12", "2025-11-14")


def test_a_vendor_that_is_behind_means_nothing_new(run: Run) -> None:
    run.server.available["end"] = "2025-11-11T00:00:00.000000000Z"

    assert run() == []
    assert [c.endpoint for c in run.server.calls] == [RANGE]


def test_range_without_a_bar_leaves_no_file_and_passes_on_the_vendors_warning(run: Run) -> None:
    run.server.closed_days = {date(2025, 11, 11 + i) for i in range(4)}

    assert run() == []
    assert run.files() == []
    assert any("No data found" in line for line in run.lines)


def test_file_of_an_earlier_run_is_not_bought_again(run: Run) -> None:
    bought = run()
    run.server.calls.clear()

    assert run() == bought
    assert [c.endpoint for c in run.server.calls] == [RANGE]


def test_same_days_of_other_symbols_get_a_file_of_their_own(run: Run) -> None:
    [first] = run(symbols=["ZL"])
    content = first.read_bytes()
    [second] = run(symbols=["ZS"])

    assert second.name == "glbx-mdp3-20251111-20251114.ohlcv-1d.2.dbn.zst"
    assert first.read_bytes() == content
    assert run(symbols=["ZS"]) == [second]


def test_damaged_file_of_the_same_name_is_not_taken_for_a_delivery(run: Run) -> None:
    run.destination.mkdir(parents=True)
    (run.destination / DAILY_FILE).write_bytes(zstd(run.server.delivery(ASKED))[:-5])

    [path] = run()
    assert path.name != DAILY_FILE
    assert len(run.server.calls_to(BARS)) == 1


# Money and credentials


def test_estimate_above_the_limit_downloads_nothing(run: Run) -> None:
    error = run.fails(CostLimitExceeded, newest={}, schemas=("ohlcv-1d", "ohlcv-1h"), max_cost_usd=1.7)

    assert "1.75 USD" in error.what
    assert "1.70 USD" in error.what
    assert "ZL_DATABENTO_MAX_COST_USD to at least 1.75" in error.action
    assert run.server.calls_to(BARS) == []


def test_estimate_at_the_limit_is_bought(run: Run) -> None:
    assert len(run(max_cost_usd=0.25)) == 1


@pytest.mark.parametrize("estimate", ["0.25", None, True, -1, float("nan"), float("inf")])
def test_estimate_that_is_no_amount_downloads_nothing(run: Run, estimate: object) -> None:
    run.server.always_answer(COST, json_answer(estimate))

    run.fails(ServiceError)
    assert run.server.calls_to(BARS) == []


@pytest.mark.parametrize("key", ["", "  \n", "YOUR_API_KEY", "two words", "ключ"])
def test_missing_key_names_the_variable_and_asks_nothing(run: Run, key: str) -> None:
    error = run.fails(MissingCredential, api_key=key)

    assert "DATABENTO_API_KEY" in str(error)
    assert run.server.calls == []


def test_line_end_around_the_key_is_ignored(run: Run) -> None:
    assert len(run(api_key=f" {KEY}\n")) == 1


def test_refused_key_is_not_tried_again(run: Run) -> None:
    wrong = "db-wrong-key"
    error = run.fails(MissingCredential, api_key=wrong)

    assert "401" in error.what
    assert "DATABENTO_API_KEY" in error.action
    assert wrong not in "".join(traceback.format_exception(error))
    assert len(run.server.calls) == 1
    assert run.waits == []


def test_key_repeated_by_the_vendor_is_not_passed_on(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    warned = {"X-Warning": json.dumps([f"Warning: key {KEY} expires soon"])}
    run.server.next_answers(RANGE, Answer(200, json.dumps(run.server.available).encode(), warned))
    run.server.next_answers(BARS, refusal(500, "bad", f"{'x' * 380} {KEY}"))
    with caplog.at_level(logging.DEBUG):
        run.server.always_answer(BARS, refusal(422, "bad", f"key {KEY} may not"))
        run.fails(ServiceError)

    assert any("expires soon" in line for line in run.lines)
    assert KEY[:8] not in caplog.text + "".join(run.lines)


@pytest.mark.parametrize(("status", "case"), [(402, "account_insufficient_funds"), (403, "auth_forbidden")])
def test_account_that_may_not_is_not_asked_again(run: Run, status: int, case: str) -> None:
    run.server.always_answer(COST, refusal(status, case, "Ask your administrator."))

    error = run.fails(ConfigurationError)
    assert "Ask your administrator." in error.what
    assert len(run.server.calls_to(COST)) == 1


@pytest.mark.parametrize("endpoint", [COST, BARS])
def test_account_without_a_live_licence_gets_one_day_less(run: Run, endpoint: str) -> None:
    licence = refusal(403, "license_not_found_unauthorized", "A live data license is required after 2025-11-14T13:00Z.")
    run.server.next_answers(endpoint, licence)

    assert [p.name for p in run()] == ["glbx-mdp3-20251111-20251113.ohlcv-1d.dbn.zst"]
    assert any("live data license" in line for line in run.lines)


def test_account_without_a_licence_at_all_is_told_so(run: Run) -> None:
    run.server.always_answer(COST, refusal(403, "license_not_found_unauthorized", "A license is required."))

    error = run.fails(ConfigurationError)
    assert "A license is required." in error.what
    assert len(run.server.calls_to(COST)) == 2


def test_only_the_newest_day_and_no_live_licence_means_nothing_new(run: Run) -> None:
    run.server.always_answer(COST, refusal(403, "license_not_found_unauthorized", "A license is required."))

    assert run(newest={"ohlcv-1d": date(2025, 11, 13)}) == []


# The disk


def test_full_disk_leaves_no_part_of_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(databento_api.os, "fsync", no_space)

    assert DAILY_FILE in run.fails(StorageFull).where


def test_destination_that_is_a_file_is_refused(run: Run) -> None:
    run.destination.parent.mkdir(parents=True)
    run.destination.write_text("in the way")

    with pytest.raises(ConfigurationError, match="cannot be written"):
        run()

"""`zl status`: the datasets of the store, ours and those of others, which nothing of ours touches."""

from collections.abc import Callable
from pathlib import Path

import pytest

from zl_assets.automation.status import _datasets
from zl_assets.warehouse.contracts import FOREIGN_DATASETS, LEGACY_DATASETS, OUR_DATASETS
from zl_assets_tests.stores import Place
from zl_assets_tests.warehouse.fault_proxy import Proxy
from zl_assets_tests.warehouse.rows import CALENDAR, calendar

PRESENT, ABSENT = FOREIGN_DATASETS


def states(place: Place) -> dict[str, str]:
    """What the command tells of each dataset."""
    ended = place.zl("status", "--json")
    assert ended.code == 0, ended.err
    named = {s["name"]: s["state"] for s in ended.json["sources"]}
    return {name.removeprefix("dataset "): state for name, state in named.items() if name.startswith("dataset ")}


def test_datasets_of_others_are_told_and_left_as_they_are(place: Place) -> None:
    place.make_dataset(PRESENT)
    place.make_dataset("somebodys")
    place.make_dataset(LEGACY_DATASETS[0])
    place.warehouse.ensure()
    assert states(place) == {
        **dict.fromkeys(OUR_DATASETS, "present"),
        PRESENT: "present, belongs to others",
        ABSENT: "absent, belongs to others",
        LEGACY_DATASETS[0]: "present, for legacy names",
        "somebodys": "present, unknown, left alone",
    }
    for dataset in (PRESENT, LEGACY_DATASETS[0], "somebodys"):
        assert place.rows(f"SELECT * FROM {dataset}.kept") == [{"n": 1}]


def test_a_dataset_without_a_table_of_ours_is_empty() -> None:
    found = {s["name"]: s["state"] for s in _datasets(["monitoring", "features"], {"features"})}
    assert found["dataset monitoring"] == "empty"
    assert found["dataset features"] == "present"
    assert found["dataset training"] == "absent"


def test_before_the_first_run_every_dataset_is_absent(new_place: Callable[[], Place]) -> None:
    found = states(new_place())
    assert {found[d] for d in OUR_DATASETS} == {"absent"}


@pytest.mark.bigquery
def test_no_request_but_the_list_meets_a_dataset_of_others(proxy: Proxy, tmp_path: Path) -> None:
    place = Place.new("bigquery", tmp_path / "home", lambda: proxy.address).with_tables()
    place.make_dataset(PRESENT)
    proxy.requests.clear()
    place.warehouse.ensure()
    place.warehouse.merge(CALENDAR, calendar({0: 1}))
    states(place)
    assert proxy.requests
    assert [r.path for r in proxy.requests if PRESENT in r.path or PRESENT.encode() in r.content] == []

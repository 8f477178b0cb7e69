"""Which vendors the settings configure, and what `zl status` says of them."""

import socket
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from zl_assets.errors import MissingCredential
from zl_assets.settings import OpenSource, Settings
from zl_assets.sources.series_sources import configured
from zl_assets.warehouse.contracts import contracts

KEYED = {
    "fred": "FRED_API_KEY",
    "eia": "EIA_API_KEY",
    "usda_fas": "USDA_FAS_API_KEY",
    "usda_nass": "NASS_API_KEY",
}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYED.values(), "ZL_SERIES_SOURCES"):
        monkeypatch.delenv(name, raising=False)


def states(tmp_path: Path, **given: Any) -> dict[str, str]:
    return {s.name: s.state() for s in configured(Settings(home=tmp_path, **given))}


def test_nothing_is_asked_unless_the_user_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    keyed = {name: f"not configured: {variable}" for name, variable in KEYED.items()}
    unasked = {name: f"not configured: ZL_SERIES_SOURCES={name}" for name in get_args(OpenSource)}

    assert states(tmp_path) == keyed | unasked
    assert list(tmp_path.iterdir()) == []


def test_a_key_configures_its_source_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, variable in KEYED.items():
        with monkeypatch.context() as patch:
            patch.setenv(variable, "a-key")
            assert [n for n, state in states(tmp_path).items() if state == "configured"] == [name]


@pytest.mark.parametrize(
    ("given", "asked"), [("cftc", {"cftc"}), (" noaa, yahoo ", {"noaa", "yahoo"}), ("all", set(get_args(OpenSource)))]
)
def test_named_sources_are_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, asked: set[str]
) -> None:
    monkeypatch.setenv("ZL_SERIES_SOURCES", given)

    assert {n for n, state in states(tmp_path).items() if state == "configured"} == asked


def test_an_unknown_source_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZL_SERIES_SOURCES", "cftc,bloomberg")

    with pytest.raises(ValidationError, match=r"bloomberg is none of cftc, .*federal_register") as raised:
        Settings()
    assert raised.value.errors()[0]["loc"] == ("series_sources",)


def test_a_source_without_its_key_says_which(tmp_path: Path) -> None:
    for source in configured(Settings(home=tmp_path)):
        if source.name in KEYED:
            with pytest.raises(MissingCredential, match=KEYED[source.name]):
                source.fetch({}, lambda _: None)


def test_every_address_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [s.name for s in configured(Settings(home=tmp_path))]
    for name in names:
        monkeypatch.setenv(f"ZL_{name.upper()}_GATEWAY", f"https://{name}.example")

    endpoints = {s.name: s.endpoint for s in configured(Settings(home=tmp_path))}  # pyright: ignore[reportAttributeAccessIssue]
    assert {n: e.address for n, e in endpoints.items()} == {n: f"https://{n}.example" for n in names}
    assert {n: e.setting for n, e in endpoints.items()} == {n: f"ZL_{n.upper()}_GATEWAY" for n in names}
    assert {e.cache for e in endpoints.values()} == {tmp_path / "cache" / "http"}


def test_every_table_is_one_of_raw_intelligence(tmp_path: Path) -> None:
    tables = {t for s in configured(Settings(home=tmp_path)) for t in s.tables}

    assert {f"raw_intelligence.{t}" for t in tables} <= set(contracts())
    assert len({s.name for s in configured(Settings(home=tmp_path))}) == 9


def test_freds_pace_is_the_one_it_allows(tmp_path: Path) -> None:
    fred = next(s for s in configured(Settings(home=tmp_path)) if s.name == "fred")

    assert fred.endpoint.per_minute == 120  # pyright: ignore[reportAttributeAccessIssue]

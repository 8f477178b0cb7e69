"""One running UI for all browser tests, with the market assets materialised."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from zl_assets_tests.ui.browser import MISSING, chromium, open_page
from zl_assets_tests.ui.server import RunningUi, running_ui, short_market

PATIENCE = 30_000
"""Milliseconds that an action or an expectation has, on a machine that runs other tests beside it."""


@pytest.fixture(scope="session")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUi]:
    if chromium() is None:
        pytest.skip(MISSING)
    directory = tmp_path_factory.mktemp("ui")
    with running_ui(directory / "home", short_market(directory / "data"), directory / "ui.log") as running:
        yield running


@pytest.fixture(scope="session")
def market(ui: RunningUi) -> RunningUi:
    """The UI after one run of the market's assets and checks."""
    run = ui.ended_run(ui.launch("market_job"))
    assert run["status"] == "SUCCESS", ui.tail()
    return ui


@pytest.fixture
def page(ui: RunningUi) -> Iterator[Page]:
    with open_page(1600, 900) as opened:
        opened.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield opened

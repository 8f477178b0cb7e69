"""The graph as a person uses it: Dagster's UI in a browser, and backfills through its API."""

import re
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from zl_assets.automation.status import collect_status
from zl_assets.build import build_warehouse
from zl_assets.core.horizons import HORIZONS
from zl_assets.settings import Settings
from zl_assets_tests.test_graph import BLOCKING, CLASSIFIER, GROUPS, MODEL_KEYS, NOT_BLOCKING, PER_HORIZON
from zl_assets_tests.ui.browser import open_lineage
from zl_assets_tests.ui.server import RunningUi

pytestmark = pytest.mark.browser

PARTITION = "dagster/partition"
TREE = "models/trees/lightgbm"
CHOSEN = {*(PER_HORIZON - set(MODEL_KEYS)), "models/benchmarks/no_change", TREE}
"""What the tests materialise: everything of a horizon, with two of the models."""
SELECTED = f'group:"training" or key:"{CLASSIFIER}" or key:"models/benchmarks/no_change" or key:"models/trees/lightgbm"'
HORIZON_CHECKS = {(asset, check) for asset in CHOSEN for check in BLOCKING[asset]}
WARNINGS = {(asset, check) for asset in CHOSEN for check in NOT_BLOCKING.get(asset, ())}


def partition_of(run: dict) -> str:
    return next(tag["value"] for tag in run["tags"] if tag["key"] == PARTITION)


def is_shown(name: str, text: str) -> bool:
    """Whether a node's text has the name; the UI shortens a long one in its middle."""
    for line in text.splitlines():
        head, dots, tail = line.strip().partition("…")
        if line.strip() == name or (dots and name.startswith(head) and name.endswith(tail)):
            return True
    return False


def passed_checks(ui: RunningUi, horizon: str) -> set[tuple[str, str]]:
    """The checks of a horizon whose newest result is a pass."""
    rows = collect_status(Settings(home=ui.home))["checks"]
    return {(row["asset"], row["check"]) for row in rows if row["partition"] == horizon and row["passed"]}


def test_the_lineage_shows_every_group_and_asset(ui: RunningUi, page: Page) -> None:
    # The UI draws what is in view alone.
    page.set_viewport_size({"width": 8000, "height": 16000})
    open_lineage(page, ui.url)
    graph = page.locator("svg")
    for group in set(GROUPS.values()):
        expect(graph.get_by_text(group, exact=True).first).to_be_visible()
    expect(graph.get_by_text("lightgbm", exact=True).first).to_be_visible()
    shown = graph.locator("foreignObject > *").all_inner_texts()
    for asset in GROUPS:
        assert any(is_shown(asset.split("/")[-1], text) for text in shown), f"{asset} is not among {shown}"


def test_a_user_materialises_one_horizon_and_sees_its_checks(market: RunningUi, page: Page) -> None:
    before = {run["runId"] for run in market.runs()}
    open_lineage(page, market.url)
    page.locator(".CodeMirror").first.click()
    page.keyboard.type(f'{SELECTED} or group:"evaluation" or group:"predictions"')
    page.keyboard.press("Enter")
    expect(page.locator("svg").get_by_text("daily_ml_matrix", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Materialize").first.click()
    # The models that are not trained feed the ensemble and the comparison; the UI asks whether that is meant.
    page.get_by_role("button", name="Confirm").click()

    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(f"Launch runs to materialize {len(CHOSEN)} assets")).to_be_visible()
    dialog.get_by_text("Select a partition or create one").click()
    page.get_by_title("1w", exact=True).last.click()
    expect(dialog.get_by_text("1 partition", exact=True)).to_be_visible()
    # The open list covers the button. A key closes it wherever it is: the dialog grows and its parts move whenever the
    # server has answered what it knows of the chosen partition.
    opened = page.locator("[aria-haspopup=dialog][data-state=open]")
    expect(opened).to_have_count(1)
    page.keyboard.press("Escape")
    expect(opened).to_have_count(0)
    dialog.get_by_role("button", name="Launch 1 run").click()

    started = market.wait_for(
        "the run of the click", lambda: next((r for r in market.runs() if r["runId"] not in before), None), 30
    )
    run = market.ended_run(started["runId"])
    assert run["status"] == "SUCCESS", market.tail()
    assert partition_of(run) == "1w"
    assert passed_checks(market, "1w") - WARNINGS == HORIZON_CHECKS

    page.goto(f"{market.url}/assets/{TREE}")
    page.get_by_role("tab", name="Checks").or_(page.get_by_text("Checks", exact=True)).first.click()
    names = sorted(BLOCKING[TREE])
    expect(page.get_by_text(f"Checks ({len(names)})")).to_be_visible()
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(len(names))
    for name in names:
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.get_by_text(re.compile("This is a.*blocking.*asset check"))).to_be_visible()
    expect(page.get_by_text("Passed", exact=True)).to_be_visible()
    expect(page.get_by_text("1w", exact=True).first).to_be_visible()


def test_a_backfill_of_all_horizons_succeeds_run_after_run(market: RunningUi) -> None:
    backfill = market.ended_backfill(market.backfill(sorted(CHOSEN), list(HORIZONS)))
    runs = backfill["runs"]
    assert backfill["status"] == "COMPLETED_SUCCESS", market.tail()
    assert {run["status"] for run in runs} == {"SUCCESS"}
    assert sorted(partition_of(run) for run in runs) == sorted(HORIZONS)

    # All five are queued at once and share the pool of the warehouse, so they take turns.
    turns = sorted((run["startTime"], run["endTime"]) for run in runs)
    assert all(first_end <= second_start for (_, first_end), (second_start, _) in pairwise(turns)), turns

    warehouse = build_warehouse(Settings(home=market.home))
    for horizon in HORIZONS:
        latest = warehouse.read(f"SELECT * FROM predictions.vw_zl_{horizon}_latest")
        assert latest.height == 1
        assert latest["horizon"].item() == horizon
        assert latest["is_simulated"].item()
        assert passed_checks(market, horizon) - WARNINGS == HORIZON_CHECKS
    stored = warehouse.read("SELECT horizon, model FROM predictions.zl_forecasts").rows()
    assert sorted(stored) == sorted((h, model) for h in HORIZONS for model in ("lightgbm", "no_change"))

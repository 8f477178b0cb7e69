"""Chromium as the tests drive it: the system's own, with an empty profile and without traffic of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

MISSING = "Chromium is missing: apt-get install chromium (Debian), brew install --cask chromium (macOS)"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Path of the system's Chromium, None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_page(width: int, height: int, *, scale: float = 1.0) -> Iterator[Page]:
    """A page of a new browser with an empty profile."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    assert path, MISSING
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=path,
            headless=True,
            args=_ARGUMENTS,
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
        )
        try:
            yield context.pages[0]
        finally:
            context.close()


def open_lineage(page: Page, url: str, *, alone: bool = False) -> None:
    """Show the global asset lineage with every group expanded; `alone` hides the panels beside it."""
    page.goto(f"{url}/asset-groups")
    page.locator("svg").get_by_text("predictions", exact=True).wait_for()
    if alone:
        page.get_by_text("Hide navigation").click()
        page.get_by_label("panel_show_right").last.click()
    page.keyboard.press("Alt+E")
    page.locator("svg").get_by_text("vw_zl_latest", exact=True).wait_for()

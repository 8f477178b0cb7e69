"""Writes the picture of the asset graph that the README shows, taken from the running UI.

python -m zl_assets_tests.ui.take_picture [PNG]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from zl_assets_tests.conftest import PROJECT
from zl_assets_tests.test_graph import GROUPS, WHEN_ASKED
from zl_assets_tests.ui.browser import MISSING, chromium, open_lineage, open_page
from zl_assets_tests.ui.server import running_ui, short_market

DEFAULT = PROJECT / "docs" / "asset-graph.png"
# The UI draws what is in the window alone, and boxes without details only where the window is not much larger.
WIDTH, HEIGHT = 1600, 2080
SCALE = 1.0
MARGIN = 4
MAX_BYTES = 400_000


def take(path: Path) -> None:
    """Run the graph on a short simulated market, open the UI on it and write its lineage as PNG."""
    with tempfile.TemporaryDirectory() as directory:
        home, data = Path(directory) / "home", short_market(Path(directory) / "data")
        command = [sys.executable, "-m", "zl_assets.cli", "run", "--home", str(home), "--data", str(data)]
        subprocess.run(command, check=True, cwd=PROJECT, stdout=subprocess.DEVNULL)
        with running_ui(home, data, Path(directory) / "ui.log") as ui:
            photograph(ui.url, path)
    print(f"{path}: {path.stat().st_size:,} bytes")


def photograph(url: str, path: Path) -> None:
    """Write the lineage that a UI shows once every asset of a run has its colour and nothing moves any more."""
    with open_page(WIDTH, HEIGHT, scale=SCALE) as page:
        page.set_default_timeout(60_000)
        open_lineage(page, url, alone=True)
        page.wait_for_function(_ALL_MATERIALISED, arg=len(GROUPS.keys() - WHEN_ASKED))
        page.wait_for_function(_STILL, polling=500)
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path, clip=page.evaluate(_AREA, MARGIN))
    size = path.stat().st_size
    assert size < MAX_BYTES, f"{path} has {size:,} bytes, more than {MAX_BYTES:,}"


_BOXES = "[...document.querySelectorAll('svg foreignObject')].map(n => n.getBoundingClientRect())"
_ALL_MATERIALISED = (
    "assets => document.querySelectorAll('svg foreignObject [style*=\"--color-accent-green\"]').length === assets"
)
_STILL = f"""() => {{
  const now = JSON.stringify({_BOXES});
  const still = now === window.boxesBefore;
  window.boxesBefore = now;
  return still;
}}"""
_AREA = f"""margin => {{
  const boxes = {_BOXES};
  const x = Math.min(...boxes.map(b => b.left)) - margin;
  const y = Math.min(...boxes.map(b => b.top)) - margin;
  const width = Math.max(...boxes.map(b => b.right)) + margin - x;
  const height = Math.max(...boxes.map(b => b.bottom)) + margin - y;
  return {{x, y, width, height}};
}}"""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", nargs="?", type=Path, default=DEFAULT)
    if chromium() is None:
        sys.exit(MISSING)
    take(parser.parse_args().path)


if __name__ == "__main__":
    main()

"""A download from the local server that stands in for the vendor, and what it did."""

import traceback
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from zl_assets.errors import (
    ZlError,
)
from zl_assets.sources.databento_api import download_new_bars
from zl_assets_tests.sources.databento_server import (
    KEY,
    FakeDatabento,
)

RANGE, COST, BARS = "metadata.get_dataset_range", "metadata.get_cost", "timeseries.get_range"
NEWEST, TODAY = date(2025, 11, 10), date(2025, 11, 15)
DAILY_FILE = "glbx-mdp3-20251111-20251114.ohlcv-1d.dbn.zst"
HOURLY_FILE = "glbx-mdp3-20251111-20251114.ohlcv-1h.dbn.zst"
ASKED = {"schema": "ohlcv-1d", "symbols": "ZL.v.0,ZS.v.0", "start": "2025-11-11", "end": "2025-11-15"}


@dataclass
class Run:
    """A download with its waits and progress lines recorded instead of slept and printed."""

    server: FakeDatabento
    destination: Path
    waits: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __call__(self, **changes: Any) -> list[Path]:
        arguments: dict[str, Any] = {
            "api_key": KEY,
            "destination": self.destination,
            "newest": {"ohlcv-1d": NEWEST},
            "today": TODAY,
            "max_cost_usd": 5.0,
            "gateway": self.server.gateway,
            "symbols": ["ZL", "ZS"],
            "schemas": ["ohlcv-1d"],
            "on_progress": self.lines.append,
            "sleep": self.waits.append,
        }
        return download_new_bars(**{**arguments, **changes})

    def fails(self, kind: type[ZlError], **changes: Any) -> ZlError:
        """Run, expect this error, and expect no file and no trace of the key anywhere a person could read it."""
        with pytest.raises(kind) as caught:
            self(**changes)
        assert self.files() == []
        assert KEY not in "".join(traceback.format_exception(caught.value)) + "".join(self.lines)
        return caught.value

    def files(self) -> list[str]:
        return sorted(p.name for p in self.destination.iterdir()) if self.destination.exists() else []

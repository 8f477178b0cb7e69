"""Where the bars of a run come from. Every source ends in vendor files, read by the same reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from zl_assets.errors import RegimeError
from zl_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from zl_assets.sources.databento_api import Schema
    from zl_assets.sources.files import VendorDelivery

Progress = Callable[[str], None]


def yesterday() -> date:
    """The newest UTC day that is over."""
    return datetime.now(UTC).date() - timedelta(days=1)


def refuse_days_without_regime(bars: pl.DataFrame) -> None:
    """Raise RegimeError where an instrument of the matrix has bars before the first regime.

    No row of the matrix could be made of them, and once stored they would stop every later run.
    """
    import polars as pl

    from zl_assets.core.bars import EARLIEST
    from zl_assets.core.instruments import FORECAST_SYMBOL, ROLL_RULE
    from zl_assets.core.regimes import V0

    first = V0[0].start
    early = bars.filter(
        (pl.col("vendor_symbol") == f"{FORECAST_SYMBOL}.{ROLL_RULE}.0")
        & (pl.col("ts_event") >= EARLIEST)
        & (pl.col("ts_event").dt.date() < first)
    )
    if early.height:
        bar = early.sort("ts_event").row(0, named=True)
        raise RegimeError(
            f"{early.height} bars of {bar['vendor_symbol']} from {bar['ts_event'].date()} on lie in no regime",
            where=f"{bar['source_file']}, row {bar['row_number']}",
            action=f"leave out the days before {first}; nothing of this delivery was stored",
        )


@dataclass(frozen=True)
class BarSource:
    """The bar source that the settings choose.

    The order: a directory of vendor files, else the vendor's API where a key is set, else the bars already stored,
    else a simulated market. So a home that holds real bars never falls back to simulated ones.
    """

    settings: Settings

    def kind(self, *, has_real_bars: bool) -> str:
        """One of files, databento, stored, simulated."""
        if self.settings.data is not None:
            return "files"
        if self.settings.databento_api_key is not None:
            return "databento"
        return "stored" if has_real_bars else "simulated"

    def deliver(
        self, newest: Callable[[], Mapping[Schema, date]], on_progress: Progress, *, has_real_bars: bool
    ) -> VendorDelivery | None:
        """Bars that may be new.

        Args:
            newest: gives the UTC day of the newest stored bar of each kind; a download starts after it.
            on_progress: told what is being read.
            has_real_bars: whether bars of the vendor are stored.

        Returns:
            The delivery; None where there is nothing new to read.

        Raises:
            ZlError: the source cannot be used; the message says what to do.
        """
        from zl_assets.sources.files import read_directory

        kind = self.kind(has_real_bars=has_real_bars)
        if kind == "stored":
            return None
        if kind == "files":
            assert self.settings.data is not None
            delivery = read_directory(self.settings.data, on_progress)
            refuse_days_without_regime(delivery.bars)
            return delivery
        if kind == "databento":
            return self._downloaded(newest(), on_progress)
        return read_directory(self._simulated(on_progress), on_progress)

    def _downloaded(self, newest: Mapping[Schema, date], on_progress: Progress) -> VendorDelivery | None:
        from zl_assets.sources.databento_api import download_new_bars
        from zl_assets.sources.files import read_directory

        assert self.settings.databento_api_key is not None
        destination = self.settings.vendor / "databento"
        paths = download_new_bars(
            api_key=self.settings.databento_api_key.get_secret_value(),
            destination=destination,
            newest=newest,
            today=datetime.now(UTC).date(),
            max_cost_usd=self.settings.databento_max_cost_usd,
            gateway=self.settings.databento_gateway,
            on_progress=on_progress,
        )
        return read_directory(destination, on_progress) if paths else None

    def _simulated(self, on_progress: Progress) -> Path:
        from zl_assets.sources.simulated import simulate

        directory = self.settings.vendor / "simulated"
        simulate(
            directory,
            world=self.settings.simulated_world,
            seed=self.settings.simulated_seed,
            end=yesterday(),
            on_progress=on_progress,
        )
        return directory

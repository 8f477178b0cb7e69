"""Which sources of raw series a run asks: those of the world that its market is of."""

from __future__ import annotations

from dataclasses import dataclass

from zl_assets.settings import Settings
from zl_assets.sources.series_source import SeriesSource


@dataclass(frozen=True)
class SeriesSources:
    """The sources that the settings choose.

    Files come with the vendor bars that --data names. Where the market is simulated its own files are read and no
    vendor is asked, so that no home ever mixes the two.

    Attributes:
        settings: where files are.
        clients: vendors of real series, configured or not; those of the settings where not given.
    """

    settings: Settings
    clients: tuple[SeriesSource, ...] | None = None

    def of_the_market(self, *, real: bool) -> tuple[SeriesSource, ...]:
        """Sources for a real or a simulated market, configured or not.

        Args:
            real: whether the stored bars are a vendor's.
        """
        from zl_assets.sources.series_files import SeriesFiles

        if real:
            from zl_assets.sources.series_sources import configured

            clients = configured(self.settings) if self.clients is None else self.clients
            return (SeriesFiles(self.settings.data), *clients)
        return (SeriesFiles(self.settings.data or self.settings.vendor / "simulated"),)

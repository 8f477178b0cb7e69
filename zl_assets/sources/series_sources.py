"""Every vendor of raw series, as the settings describe it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from zl_assets.sources.cftc import Cftc
from zl_assets.sources.eia import Eia
from zl_assets.sources.federal_register import FederalRegister
from zl_assets.sources.fred import Fred
from zl_assets.sources.http import Clock, Endpoint, Key
from zl_assets.sources.noaa import Noaa
from zl_assets.sources.open_meteo import OpenMeteo
from zl_assets.sources.series_source import SeriesSource
from zl_assets.sources.usda_fas import UsdaFas
from zl_assets.sources.usda_nass import UsdaNass
from zl_assets.sources.yahoo import Yahoo

if TYPE_CHECKING:
    from zl_assets.settings import OpenSource, Settings

_BROWSER = "Mozilla/5.0 (compatible; zl_assets)"
"""Yahoo turns away clients that do not begin like a browser."""


def configured(settings: Settings, clock: Clock | None = None) -> list[SeriesSource]:
    """Every source, each with what the settings say of it.

    Nothing is asked of a vendor here. A source whose `state()` is not `configured` is not to be fetched: those with a
    key are configured by it, those without one by being named in `series_sources`.
    """
    made = partial(Endpoint, cache=settings.http_cache, clock=clock or Clock())

    def unlocked(vendor: str, address: str, setting: str, per_minute: float, key: Key) -> Endpoint:
        return made(vendor=vendor, address=address, setting=setting, per_minute=per_minute, key=key)

    def unasked(
        vendor: str, name: OpenSource, address: str, per_minute: float, user_agent: str = "zl_assets"
    ) -> Endpoint:
        return made(
            vendor=vendor,
            address=address,
            setting=f"ZL_{name.upper()}_GATEWAY",
            per_minute=per_minute,
            asked=name in settings.series_sources,
            switch=f"ZL_SERIES_SOURCES={name}",
            user_agent=user_agent,
        )

    fred_key = Key("FRED_API_KEY", settings.fred_api_key, "parameter", "api_key")
    eia_key = Key("EIA_API_KEY", settings.eia_api_key, "parameter", "api_key")
    fas_key = Key("USDA_FAS_API_KEY", settings.usda_fas_api_key, "header", "X-Api-Key")
    nass_key = Key("NASS_API_KEY", settings.nass_api_key, "parameter", "key")
    return [
        Fred(unlocked("FRED", settings.fred_gateway, "ZL_FRED_GATEWAY", 120, fred_key)),
        Eia(unlocked("EIA", settings.eia_gateway, "ZL_EIA_GATEWAY", 60, eia_key)),
        UsdaFas(unlocked("USDA FAS", settings.usda_fas_gateway, "ZL_USDA_FAS_GATEWAY", 60, fas_key)),
        UsdaNass(unlocked("USDA NASS", settings.usda_nass_gateway, "ZL_USDA_NASS_GATEWAY", 30, nass_key)),
        Cftc(unasked("CFTC", "cftc", settings.cftc_gateway, 60)),
        Noaa(unasked("NOAA", "noaa", settings.noaa_gateway, 60)),
        OpenMeteo(unasked("Open-Meteo", "open_meteo", settings.open_meteo_gateway, 500)),
        FederalRegister(
            unasked("Federal Register", "federal_register", settings.federal_register_gateway, 60),
        ),
        Yahoo(unasked("Yahoo", "yahoo", settings.yahoo_gateway, 30, _BROWSER)),
    ]

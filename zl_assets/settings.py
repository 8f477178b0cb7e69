"""Every setting of the project, read once from the environment. The embedded default needs none."""

from __future__ import annotations

from datetime import time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from zl_assets.core.exchange_calendar import DECISION_TIME, SETTLEMENT

OpenSource = Literal["cftc", "noaa", "open_meteo", "federal_register", "yahoo"]
"""Vendors of raw series that ask for no key: asked only where the user names them, so that a run needs no network."""


def _default_home() -> Path:
    """`.zl/` in the checkout; in the working directory where the package is installed without one."""
    checkout = Path(__file__).resolve().parents[1]
    return (checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()) / ".zl"


class Settings(BaseSettings):
    """Settings of one process. Each field is the variable ZL_<FIELD>, unless its description names another."""

    model_config = SettingsConfigDict(env_prefix="ZL_", env_ignore_empty=True, frozen=True, extra="forbid")

    home: Path = Field(
        default_factory=_default_home, description="Directory of the warehouse, models, exports and runs"
    )
    data: Path | None = Field(default=None, description="Directory of vendor files to read bars from")
    accept_corrections: bool = Field(
        default=False,
        description="Let delivered bars replace stored ones that say otherwise; the replaced are quarantined",
    )
    as_of: Literal["data", "today"] = Field(
        default="data",
        description="Day forecasts are made: `data` is the newest session of the data, `today` the date of the clock; "
        "no forecast is given where the data are more than five sessions older",
    )
    models: str = Field(default="standard", description="Models to train: standard, all, or names with commas between")
    profile: Literal["quick", "full"] = Field(default="quick", description="How long nets are trained, and how many")
    rolling: bool = Field(
        default=False, description="Judge models on folds of a rolling training window, too; doubles the training"
    )
    mlflow: bool = Field(default=True, description="Log each training run to MLflow, in mlflow.db of the home")
    warehouse: Literal["duckdb", "bigquery"] = Field(default="duckdb", description="Engine that stores the tables")
    warehouse_lock_seconds: float = Field(
        default=30.0, ge=0, description="How long to wait for another process that holds the embedded warehouse"
    )
    bigquery_project: str | None = Field(default=None, description="Google Cloud project that holds the datasets")
    bigquery_location: str = Field(default="us-central1", description="Location of the datasets")
    bigquery_api_endpoint: str | None = Field(
        default=None,
        description="Address of BigQuery's API; an http:// address is a local server, used without credentials",
    )
    bigquery_max_bytes: int = Field(
        default=2**30,
        ge=1,
        description="Refuse a query that BigQuery estimates to process, or would bill, more bytes; "
        "it bills 10 MB of each table at least",
    )
    bigquery_retry_seconds: float = Field(
        default=60.0, ge=0, description="How long to repeat a request that BigQuery turns down for the moment"
    )
    decision_time: time = Field(
        default=DECISION_TIME,
        ge=SETTLEMENT,
        description="Chicago time of a session's forecast, 13:20 or later; a session that closed later is decided at "
        "its close. What becomes public later that day is not in it",
    )
    databento_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABENTO_API_KEY", "databento_api_key"),
        description="DATABENTO_API_KEY: key of the vendor's historical API; bars come from there when it is set",
    )
    databento_gateway: str | None = Field(default=None, description="Address of the vendor's API, for a local server")
    databento_max_cost_usd: float = Field(
        default=5.0, ge=0, description="Refuse a download that the vendor estimates to cost more (USD)"
    )
    series_sources: Annotated[tuple[OpenSource, ...], NoDecode] = Field(
        default=(),
        description="Vendors of raw series that need no key and are to be asked, with commas between; `all` for all",
    )
    fred_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("FRED_API_KEY", "fred_api_key"),
        description="FRED_API_KEY: key of FRED; economic series come from there when it is set",
    )
    fred_gateway: str = Field(default="https://api.stlouisfed.org", description="Address of FRED's API")
    eia_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("EIA_API_KEY", "eia_api_key"),
        description="EIA_API_KEY: key of the EIA; biofuel feedstocks and diesel prices come from there when it is set",
    )
    eia_gateway: str = Field(default="https://api.eia.gov", description="Address of the EIA's API")
    usda_fas_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("USDA_FAS_API_KEY", "usda_fas_api_key"),
        description="USDA_FAS_API_KEY: key of the USDA's FAS; export sales come from there when it is set",
    )
    usda_fas_gateway: str = Field(default="https://api.fas.usda.gov", description="Address of the FAS's API")
    nass_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("NASS_API_KEY", "nass_api_key"),
        description="NASS_API_KEY: key of the USDA's QuickStats; crop progress comes from there when it is set",
    )
    usda_nass_gateway: str = Field(default="https://quickstats.nass.usda.gov", description="Address of QuickStats' API")
    cftc_gateway: str = Field(
        default="https://publicreporting.cftc.gov", description="Address of the CFTC's public reporting API"
    )
    noaa_gateway: str = Field(
        default="https://www.ncei.noaa.gov", description="Address of the NCEI's access data service"
    )
    open_meteo_gateway: str = Field(
        default="https://archive-api.open-meteo.com", description="Address of Open-Meteo's archive API"
    )
    federal_register_gateway: str = Field(
        default="https://www.federalregister.gov", description="Address of the Federal Register's API"
    )
    yahoo_gateway: str = Field(default="https://query1.finance.yahoo.com", description="Address of Yahoo's chart API")
    simulated_world: Literal["martingale", "planted"] = Field(
        default="martingale", description="Which market to simulate where there are no vendor bars"
    )
    simulated_seed: int = Field(default=7, ge=0, description="Seed of the simulated market")

    @field_validator("bigquery_api_endpoint")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value.strip())
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("an address starts with http:// or https:// and names a host")
        return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"

    @field_validator("series_sources", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        names = tuple(name.strip() for name in given.split(",") if name.strip())
        unknown = [name for name in names if name not in (*get_args(OpenSource), "all")]
        if unknown:
            raise ValueError(f"{unknown[0]} is none of {', '.join(get_args(OpenSource))}, or all")
        return get_args(OpenSource) if "all" in names else names

    @cached_property
    def place(self) -> str:
        """Where results are, for a person."""
        project = f"BigQuery project {self.bigquery_project} and "
        return f"{project if self.warehouse == 'bigquery' else ''}{self.home}"

    @cached_property
    def warehouse_file(self) -> Path:
        """The embedded warehouse."""
        return self.home / "warehouse.duckdb"

    @cached_property
    def exports(self) -> Path:
        """Where exported tables and figures go."""
        return self.home / "exports"

    @cached_property
    def vendor(self) -> Path:
        """Where downloaded and simulated vendor files go."""
        return self.home / "vendor"

    @cached_property
    def http_cache(self) -> Path:
        """Answers of vendors, kept with what tells whether they still hold."""
        return self.home / "cache" / "http"

    @cached_property
    def dagster_home(self) -> Path:
        """Dagster's run and event storage."""
        return self.home / "dagster"

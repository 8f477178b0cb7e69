"""Raw series as parquet files in `series/` of a directory of vendor files.

Belongs here: the layout of each file, and the mending of the defects that its makers document. Rules that hold for any
source are in `core/raw_series`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from zl_assets.core.raw_series import without_foreign_range
from zl_assets.errors import InputError
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.simulated.files import MARKER
from zl_assets.sources.simulated.setting import MARK
from zl_assets.warehouse.contracts import contract

_PRICES = ("open", "high", "low", "close")
_TEXT, _DAY, _NUMBER = ("text", "day", "number")
_DATED = {"date": _DAY}
_RANGE = dict.fromkeys(_PRICES, _NUMBER)
_COT = {"commercial_long": "commercial_long", "commercial_short": "commercial_short", "open_interest": "open_interest"}
_MANAGED = {"managed_money_long": "managed_money_long", "managed_money_short": "managed_money_short"}
_CFTC_CODES = {"ZL": "007601"}
_CATEGORIES = {"trump_social_media": "social_media"}
_LABELLED_LATE_YEARS = (2007, 2009)


@dataclass(frozen=True)
class _File:
    """One kind of file: what it must hold, and how its rows become those of a table.

    Attributes:
        stem: file name without its ending.
        table: raw_intelligence table without the dataset.
        columns: its columns and what they hold: day, number or text.
        rows: the mending; values that the table lacks are filled with null.
    """

    stem: str
    table: str
    columns: Mapping[str, str]
    rows: Callable[[pl.DataFrame], pl.DataFrame]


def _vix(file: pl.DataFrame) -> pl.DataFrame:
    quoted = file.select("date", *_PRICES, source=pl.lit("yahoo"))
    published = file.select("date", close="close_fred_vixcls", source=pl.lit("fred"))
    both = pl.concat([quoted, published], how="diagonal").filter(pl.col("close").is_not_null())
    return both.with_columns(series_id=pl.lit("VIX"))


def _fred(file: pl.DataFrame) -> pl.DataFrame:
    return file.select("date", "series_id", "value", "frequency", source=pl.lit("fred"))


def _fx(file: pl.DataFrame) -> pl.DataFrame:
    """Yahoo's crosses carry the weekday before, its dollar index not; the other vendor's real and yuan did once."""
    vendor = pl.col("source").str.strip_prefix(MARK)
    once_late = pl.col("date").dt.year().is_between(*_LABELLED_LATE_YEARS) & pl.col("pair").is_in(["USDBRL", "USDCNY"])
    is_simulated = pl.col("source").str.starts_with(MARK)
    late = ((vendor == "yahoo") & (pl.col("pair") != "DXY")) | ((vendor == "bulk_csv") & once_late & ~is_simulated)
    weekday_before = pl.col("date").dt.add_business_days(-1, roll="forward")
    moved = file.with_columns(date=pl.when(late).then(weekday_before).otherwise("date"), moved=late)
    # Where the labels turn right again, the last late one and the first right one are of the same day.
    return moved.sort("moved").unique(["pair", "source", "date"], keep="first", maintain_order=True).drop("moved")


def _cot(file: pl.DataFrame) -> pl.DataFrame:
    """Legacy combined report by the dates it is about; constant nought was the mark of a column never loaded."""
    code = pl.col("contract_code")
    return file.select(
        date="report_date",
        contract_code=code.replace(_CFTC_CODES),
        report=pl.lit("legacy_combined"),
        commodity=pl.col("commodity").str.replace_all("_", " "),
        **{name: pl.col(name) for name in (*_COT, *_MANAGED)},
        source=pl.lit("CFTC"),
    )


def _weather(file: pl.DataFrame) -> pl.DataFrame:
    """Observers of the Midwest composite report in the morning, so its label is the day after the weather."""
    late = pl.col("station_id") == "COOP_COMPOSITE"
    told = pl.when(late).then(pl.lit("moved to the day before")).otherwise(pl.col("adjustments").replace("", None))
    moved = pl.when(late).then(pl.col("date").dt.offset_by("-1d")).otherwise("date")
    return file.with_columns(date=moved, adjustments=told)


def _policy(file: pl.DataFrame) -> pl.DataFrame:
    to_the_second = pl.col("ts_basis") == "post time"
    return (
        file.select(
            date=pl.col("ts").dt.convert_time_zone("America/New_York").dt.date(),
            day=pl.col("ts").dt.date(),
            event_id="event_id",
            source="source",
            category=pl.col("category").replace(_CATEGORIES),
            title="title",
            agricultural_impact="agricultural_impact",
            soybean_relevance="soybean_relevance",
            priority="priority",
            # A day without a time of day is a date of publication, and no moment in London.
            available_at=pl.when(to_the_second).then("ts"),
        )
        .with_columns(date=pl.when(pl.col("available_at").is_null()).then("day").otherwise("date"))
        .drop("day")
    )


def _progress(file: pl.DataFrame) -> pl.DataFrame:
    """The label says harvest and the figures are of spring: nothing tells of which crop or stage they are."""
    return file.select(
        "date", "state", value_pct="pct_complete", statistic=pl.lit("unknown"), source=pl.lit("USDA_NASS")
    )


def _conab(file: pl.DataFrame) -> pl.DataFrame:
    return file.with_columns(source=pl.lit("CONAB"))


def _palm(file: pl.DataFrame) -> pl.DataFrame:
    return file.select("date", "symbol", *_PRICES, "volume", source=pl.lit("yahoo"))


def _yahoo(file: pl.DataFrame) -> pl.DataFrame:
    return without_foreign_range(file).with_columns(source=pl.lit("yahoo"))


def _canola(file: pl.DataFrame) -> pl.DataFrame:
    named = file.with_columns(symbol=pl.lit("ICE_CANOLA"), source=pl.lit("ice_canola_csv"))
    return without_foreign_range(named).with_columns(pl.col("volume").cast(pl.Int64))


def _barchart(file: pl.DataFrame) -> pl.DataFrame:
    named = file.select(
        "date", "open", "high", "low", "volume", "open_interest", symbol="contract", close="last",
        source=pl.lit("barchart"),
    )  # fmt: skip
    return without_foreign_range(named)


_PRICED = {**_DATED, **_RANGE}
FILES: tuple[_File, ...] = (
    _File("vix", "volatility_daily", {**_PRICED, "close_fred_vixcls": _NUMBER}, _vix),
    _File("fred", "fred_economic", {**_DATED, "series_id": _TEXT, "value": _NUMBER, "frequency": _TEXT}, _fred),
    _File("fx", "fx_daily", {**_DATED, "pair": _TEXT, "rate": _NUMBER, "source": _TEXT}, _fx),
    _File("treasury", "treasury_daily", {**_PRICED, "tenor": _TEXT, "source": _TEXT}, lambda f: f),
    _File("palm_oil", "palm_oil_daily", {**_PRICED, "symbol": _TEXT, "volume": _NUMBER}, _palm),
    _File("yahoo_prices", "vendor_prices_daily", {**_PRICED, "symbol": _TEXT, "volume": _NUMBER}, _yahoo),
    _File("zl_yahoo", "vendor_prices_daily", {**_PRICED, "symbol": _TEXT, "volume": _NUMBER}, _yahoo),
    _File("canola", "vendor_prices_daily", {**_PRICED, "volume": _NUMBER, "unit": _TEXT}, _canola),
    _File(
        "barchart_contracts",
        "vendor_prices_daily",
        {
            **_DATED,
            "contract": _TEXT,
            **dict.fromkeys(("open", "high", "low", "last", "volume", "open_interest"), _NUMBER),
        },
        _barchart,
    ),
    _File(
        "cot",
        "cftc_positioning",
        {
            "report_date": _DAY,
            "commodity": _TEXT,
            "contract_code": _TEXT,
            **dict.fromkeys((*_COT, *_MANAGED), _NUMBER),
        },
        _cot,
    ),
    _File(
        "weather",
        "weather_daily",
        {
            **_DATED,
            **dict.fromkeys(("region", "station_id", "source", "adjustments"), _TEXT),
            **dict.fromkeys(("tmin_c", "tmax_c", "tavg_c", "precip_mm"), _NUMBER),
        },
        _weather,
    ),
    _File(
        "biofuel", "biofuel", {**_DATED, "item": _TEXT, "value": _NUMBER, "unit": _TEXT, "source": _TEXT}, lambda f: f
    ),
    _File(
        "policy",
        "policy_events",
        {
            "ts": "moment",
            **dict.fromkeys(("event_id", "source", "category", "title", "ts_basis"), _TEXT),
            **dict.fromkeys(("agricultural_impact", "soybean_relevance", "priority"), _NUMBER),
        },
        _policy,
    ),
    _File(
        "conab_brazil_soy",
        "brazil_soy_crop",
        {**_DATED, **dict.fromkeys(("area_kha", "production_kt", "yield_t_per_ha", "harvest_year"), _NUMBER)},
        _conab,
    ),
    _File("usda_nass_progress", "usda_crop_progress", {**_DATED, "state": _TEXT, "pct_complete": _NUMBER}, _progress),
    _File(
        "usda_export_sales",
        "usda_export_sales",
        {
            **_DATED,
            **dict.fromkeys(("commodity", "country", "source"), _TEXT),
            **dict.fromkeys(("marketing_year", "net_sales_t", "exports_t", "outstanding_t"), _NUMBER),
        },
        lambda f: f,
    ),
)
"""The kinds of file. A table may come from several."""


@dataclass(frozen=True)
class SeriesFiles:
    """The files of a directory, as a source of raw series.

    Attributes:
        directory: what --data names; the files are in its `series/`. None where it is not given.
    """

    directory: Path | None

    @property
    def name(self) -> str:
        """What `zl status` calls it."""
        return "series_files"

    @property
    def tables(self) -> tuple[str, ...]:
        """raw_intelligence tables that its files are for."""
        return tuple(dict.fromkeys(file.table for file in FILES))

    def state(self) -> str:
        """`configured`, or what is missing."""
        if self.directory is None:
            return "not configured: --data or ZL_DATA"
        return "configured" if self._paths() else f"not configured: no parquet file of series in {self._series()}"

    def simulated(self) -> bool:
        """Whether the directory holds a simulated market."""
        return self.directory is not None and (self.directory / MARKER).is_file()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Every row of every file; they are small, and a revision may be in any of them.

        Raises:
            InputError: a file cannot be read, or lacks a column.
        """
        del newest
        paths = self._paths()
        report(f"reading {len(paths)} files of series in {self._series()}")
        rows: dict[str, list[pl.DataFrame]] = {}
        for file in FILES:
            if file.stem in paths:
                rows.setdefault(file.table, []).append(_read(paths[file.stem], file, simulated=self.simulated()))
        return SeriesDelivery({table: pl.concat(frames) for table, frames in rows.items()})

    def _series(self) -> Path:
        assert self.directory is not None
        return self.directory / "series"

    def _paths(self) -> dict[str, Path]:
        """Files that are there, by stem."""
        found = {file.stem: self._series() / f"{file.stem}.parquet" for file in FILES}
        return {stem: path for stem, path in found.items() if path.is_file()}


def _read(path: Path, file: _File, *, simulated: bool) -> pl.DataFrame:
    """Rows of the file's table: the columns of its contract without the moment of ingestion."""
    try:
        raw = path.read_bytes()
        table = pl.read_parquet(raw)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"the file cannot be read, it is cut off or damaged: {reason[:120]}",
            where=str(path),
            action="copy it again, or remove it: its table is then left as it is",
        ) from error
    _require_shape(path, file, table.schema)
    rows = file.rows(table.select(*file.columns))
    marked = pl.lit(MARK) + pl.col("source").str.strip_prefix(MARK) if simulated else pl.col("source")
    schema = contract(f"raw_intelligence.{file.table}").polars_schema()
    rows = rows.rename({"date": "observed_date"}).with_columns(
        source=marked, provenance_uuid=pl.lit(str(uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(raw).hexdigest())))
    )
    wanted = {name: kind for name, kind in schema.items() if name != "ingest_timestamp"}
    filled = rows.with_columns(pl.lit(None).alias(name) for name in wanted if name not in rows.columns)
    return filled.select(pl.col(name).cast(kind) for name, kind in wanted.items())


def _require_shape(path: Path, file: _File, schema: pl.Schema) -> None:
    """Raise InputError, with its name, for the first column that is missing or holds something else."""
    fits: dict[str, Callable[[pl.DataType], bool]] = {
        _DAY: lambda kind: kind == pl.Date,
        _NUMBER: lambda kind: kind.is_numeric() or kind == pl.Null,
        _TEXT: lambda kind: kind == pl.String,
        "moment": lambda kind: isinstance(kind, pl.Datetime) and kind.time_zone is not None,
    }
    for name, wanted in file.columns.items():
        kind = schema.get(name)
        if kind is None or not fits[wanted](kind):
            found = f"is of type {kind}" if kind is not None else f"is missing, found {', '.join(schema)[:120]}"
            raise InputError(
                f"the column {name} {found}; expected a {wanted}",
                where=str(path),
                action="give the file the layout that `zl simulate` writes, or remove it",
            )

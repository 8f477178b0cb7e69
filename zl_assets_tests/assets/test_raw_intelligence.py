"""The step that stores raw series, on both engines: only what is new, nothing overwritten, no two worlds mixed."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from zl_assets.assets.market_data import BARS_1D, QUARANTINE
from zl_assets.assets.raw_intelligence import SERIES_TABLES, raw_series
from zl_assets.errors import InputError, ServiceError
from zl_assets.settings import Settings
from zl_assets.sources.series_choice import SeriesSources
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.stored_bars import StoredBars
from zl_assets.warehouse.base import Warehouse
from zl_assets_tests.stores import Place
from zl_assets_tests.warehouse.rows import rows_of

FEW = ("fx", "biofuel", "policy", "conab_brazil_soy")
DAYS = date(2022, 11, 1)


@pytest.fixture
def data(tmp_path: Path, simulated_market: Path) -> Path:
    """Files of four tables, the last two months of each, as a vendor's: their rows carry no mark."""
    (tmp_path / "data" / "series").mkdir(parents=True)
    for stem in FEW:
        write(tmp_path / "data", stem, pl.read_parquet(simulated_market / "series" / f"{stem}.parquet"))
    return tmp_path / "data"


def write(directory: Path, stem: str, rows: pl.DataFrame) -> None:
    day = next(c for c in ("date", "ts") if c in rows.columns)
    recent = rows if stem == "conab_brazil_soy" else rows.filter(pl.col(day).cast(pl.Date) >= DAYS)
    unmarked = recent.with_columns(pl.col(c).str.strip_prefix("simulated:") for c in recent.columns if c == "source")
    unmarked.write_parquet(directory / "series" / f"{stem}.parquet")


def with_bars(warehouse: Warehouse, source: str) -> None:
    warehouse.merge(BARS_1D, rows_of(BARS_1D, 1).with_columns(source=pl.lit(source)))


def ran(warehouse: Warehouse, sources: SeriesSources, *tables: str) -> dict[str, Mapping[str, Any]]:
    """Metadata by table of one run of the step, in which the quarantine is no asset to be made."""
    selection = [t.split(".") for t in tables] or None
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [raw_series],
            resources={"warehouse": warehouse, "series_sources": sources},
            selection=selection and [dg.AssetKey(s) for s in selection],
            instance=instance,
        )
    made = result.get_asset_materialization_events()
    return {
        ".".join(e.asset_key.path): {
            k: v.value for k, v in e.step_materialization_data.materialization.metadata.items()
        }
        for e in made
        if e.asset_key
    }


def all_rows(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    found = warehouse.read_all({t: f"SELECT * FROM {t}" for t in (*SERIES_TABLES, QUARANTINE)})
    return {name: rows.sort(rows.columns) for name, rows in found.items()}


def test_a_delivery_is_stored_once_and_a_change_beside_it(warehouse: Warehouse, data: Path, tmp_path: Path) -> None:
    with_bars(warehouse, "databento")
    sources = SeriesSources(Settings(home=tmp_path, data=data))
    first = ran(warehouse, sources)
    assert set(first) == set(SERIES_TABLES)
    fx = first["raw_intelligence.fx_daily"]
    assert fx["rows_inserted"] == fx["dagster/row_count"] > 400
    assert (fx["sources"], fx["series"]) == ("series_files", 13)
    assert first["raw_intelligence.usda_export_sales"]["dagster/row_count"] == 0
    before = all_rows(warehouse)
    again = ran(warehouse, sources)
    assert {m["rows_inserted"] for m in again.values()} == {0}
    assert all(rows.equals(before[name]) for name, rows in all_rows(warehouse).items())

    crop = pl.read_parquet(data / "series" / "conab_brazil_soy.parquet")
    one = pl.col("harvest_year") == 2020
    changed = crop.with_columns(area_kha=pl.when(one).then(pl.col("area_kha") + 1).otherwise("area_kha"))
    changed.write_parquet(data / "series" / "conab_brazil_soy.parquet")
    third = ran(warehouse, sources)
    assert {t: m["rows_inserted"] for t, m in third.items() if m["rows_inserted"]} == {
        "raw_intelligence.brazil_soy_crop": 1
    }
    rows = warehouse.read(
        "SELECT * FROM raw_intelligence.brazil_soy_crop WHERE harvest_year = 2020 ORDER BY available_at"
    )
    old, new = rows.to_dicts()
    assert new["area_kha"] == old["area_kha"] + 1
    assert new["available_at"] == new["ingest_timestamp"] > old["available_at"]
    assert new["vintage"] == new["available_at"].date()


def test_a_bad_value_goes_to_quarantine_once(warehouse: Warehouse, data: Path, tmp_path: Path) -> None:
    with_bars(warehouse, "databento")
    path = data / "series" / "conab_brazil_soy.parquet"
    crop = pl.read_parquet(path)
    crop.with_columns(
        yield_t_per_ha=pl.when(pl.col("harvest_year") == 2020).then(-1.0).otherwise("yield_t_per_ha")
    ).write_parquet(path)
    sources = SeriesSources(Settings(home=tmp_path, data=data))
    table = "raw_intelligence.brazil_soy_crop"
    assert "not_positive" in ran(warehouse, sources, table)[table]["rejected"]
    crop.tail(1).vstack(pl.read_parquet(path).head(-1)).write_parquet(path)
    ran(warehouse, sources, table)
    [row] = warehouse.read(f"SELECT * FROM {QUARANTINE}").to_dicts()
    assert (row["stage"], row["reason"], row["symbol"]) == ("series", "not_positive", "2020")
    assert row["source_file"] == "series_files: brazil_soy_crop"


def test_one_table_alone_can_be_made(warehouse: Warehouse, data: Path, tmp_path: Path) -> None:
    with_bars(warehouse, "databento")
    table = "raw_intelligence.biofuel"
    assert set(ran(warehouse, SeriesSources(Settings(home=tmp_path, data=data)), table)) == {table}
    assert {t for t, rows in all_rows(warehouse).items() if rows.height} == {table}


def test_without_a_source_the_tables_stay_empty_and_say_why(warehouse: Warehouse, tmp_path: Path) -> None:
    with_bars(warehouse, "databento")
    made = ran(warehouse, SeriesSources(Settings(home=tmp_path), ()))
    assert {m["dagster/row_count"] for m in made.values()} == {0}
    said = made["raw_intelligence.fx_daily"]["sources"]
    assert said == "no source configured; series_files not configured: --data or ZL_DATA"


@pytest.mark.parametrize(
    ("bars", "message"), [("simulated", "no real bars"), ("databento", "real bars, and simulated")]
)
def test_two_worlds_are_not_mixed(
    warehouse: Warehouse, data: Path, tmp_path: Path, simulated_market: Path, bars: str, message: str
) -> None:
    with_bars(warehouse, bars)
    if bars == "databento":
        shutil.copy(simulated_market / "series" / "biofuel.parquet", data / "series")
    with pytest.raises(InputError, match=message):
        ran(warehouse, SeriesSources(Settings(home=tmp_path, data=data)), "raw_intelligence.biofuel")
    assert warehouse.row_count("raw_intelligence.biofuel") == 0


def test_simulated_series_go_with_their_market(warehouse: Warehouse, simulated_market: Path, tmp_path: Path) -> None:
    with_bars(warehouse, "simulated")
    table = "raw_intelligence.brazil_soy_crop"
    made = ran(warehouse, SeriesSources(Settings(home=tmp_path, data=simulated_market)), table)
    assert made[table]["dagster/row_count"] == warehouse.row_count(table) > 0
    StoredBars(warehouse)._drop_simulated()  # pyright: ignore[reportPrivateUsage]
    assert warehouse.row_count(table) == 0


@dataclass(frozen=True)
class Vendor:
    """A vendor with one answer, or a failure."""

    name: str
    answer: SeriesDelivery | None = None
    configured: bool = True
    asked: list[Mapping[str, date]] = field(default_factory=list[Mapping[str, date]])

    @property
    def tables(self) -> tuple[str, ...]:
        return ("brazil_soy_crop",)

    def state(self) -> str:
        return "configured" if self.configured else "not configured: CONAB_API_KEY"

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        self.asked.append(newest)
        report("asking")
        if self.answer is None:
            raise ServiceError("the vendor does not answer", where=self.name)
        return self.answer


def test_a_vendor_without_a_key_is_left_alone(warehouse: Warehouse, tmp_path: Path) -> None:
    with_bars(warehouse, "databento")
    vendor = Vendor("conab", configured=False)
    made = ran(warehouse, SeriesSources(Settings(home=tmp_path), (vendor,)), "raw_intelligence.brazil_soy_crop")
    assert "conab not configured: CONAB_API_KEY" in made["raw_intelligence.brazil_soy_crop"]["sources"]
    assert vendor.asked == []


def test_a_vendor_that_fails_ends_the_step_after_the_others_are_stored(
    warehouse: Warehouse, data: Path, tmp_path: Path
) -> None:
    with_bars(warehouse, "databento")
    table = "raw_intelligence.brazil_soy_crop"
    failing = Vendor("CONAB")
    with pytest.raises(ServiceError, match="does not answer"):
        ran(warehouse, SeriesSources(Settings(home=tmp_path, data=data), (failing,)), table)
    assert failing.asked == [{"brazil_soy_crop": date(2022, 7, 1)}]
    assert warehouse.row_count(table) > 0


@pytest.mark.parametrize("engine", ["duckdb"], indirect=True)
def test_status_tells_of_the_sources_and_the_tables(place: Place) -> None:
    with_bars(place.warehouse, "databento")
    sources = {s["name"]: s for s in place.zl("status", "--json").json["sources"]}
    assert sources["series series_files"]["state"] == "not configured: --data or ZL_DATA"
    tables = {t["name"]: t for t in place.zl("status", "--json").json["tables"]}
    assert tables["raw_intelligence.fx_daily"]["rows"] == 0

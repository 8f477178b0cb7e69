"""The simulated market as files: the vendors' layout, the feed's faults, and no way to mistake it for real data."""

import io
import json
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import zstandard

from zl_assets.core.exchange_calendar import LAST_DAY, sessions_of
from zl_assets.core.features import exports, weather
from zl_assets.core.features.family import Family, Inputs, build_family
from zl_assets.core.features.registry import FAMILIES
from zl_assets.core.instruments import INSTRUMENTS
from zl_assets.core.point_in_time import decision_times
from zl_assets.core.raw_series import sort_out
from zl_assets.errors import InputError
from zl_assets.sources.series_files import SeriesFiles
from zl_assets.sources.simulated import MARKER, SimulatedMarket, files, simulate, zl_closes

START, END = date(2012, 1, 2), date(2014, 12, 31)
PRESENT_HOURS = date(2013, 4, 8)
BAR_COLUMNS = ["ts_event", "rtype", "publisher_id", "instrument_id", "open", "high", "low", "close", "volume", "symbol"]
SERIES_COLUMNS = {
    "biofuel": "date item value unit source",
    "canola": "date open high low close volume unit",
    "conab_brazil_soy": "date area_kha production_kt yield_t_per_ha harvest_year",
    "cot": "report_date commodity contract_code managed_money_long managed_money_short managed_money_net "
    "commercial_long commercial_short commercial_net open_interest source_name warehouse_ingest_utc",
    "fred": "date series_id value frequency source_table",
    "fx": "date pair rate source",
    "palm_oil": "date symbol open high low close volume unit",
    "policy": "ts event_id source category title agricultural_impact soybean_relevance priority ts_basis",
    "treasury": "date tenor source open high low close",
    "usda_export_sales": "date commodity country marketing_year net_sales_t exports_t outstanding_t source",
    "usda_nass_progress": "date state pct_complete warehouse_label",
    "vix": "date open high low close close_fred_vixcls",
    "weather": "date region station_id source tmin_c tmax_c tavg_c precip_mm adjustments",
    "yahoo_prices": "date symbol open high low close volume src",
    "zl_yahoo": "date symbol open high low close volume",
}
SOURCE_COLUMNS = ("source", "source_name", "source_table", "src")
MES_START = date(2019, 5, 5)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> SimulatedMarket:
    return simulate(tmp_path_factory.mktemp("market") / "simulated", seed=7, start=START, end=END)


def bar_text(market: SimulatedMarket, symbol: str, period: str) -> bytes:
    stem = f"simulated-{market.start:%Y%m%d}-{market.end:%Y%m%d}.ohlcv-{period}.{symbol}.v.0.csv"
    if period == "1d":
        return (market.directory / "databento" / stem).read_bytes()
    return zstandard.ZstdDecompressor().decompress((market.directory / "databento_1h" / f"{stem}.zst").read_bytes())


def bars(market: SimulatedMarket, symbol: str, period: str) -> pl.DataFrame:
    frame = pl.read_csv(io.BytesIO(bar_text(market, symbol, period)))
    time = pl.col("ts_event").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
    return frame.with_columns(time.alias("time")).with_columns(pl.col("time").dt.date().alias("day"))


def folded(market: SimulatedMarket, symbol: str = "ZL") -> pl.DataFrame:
    """Hourly bars by trade date: an hour from 17:00 Chicago time on belongs to the next session."""
    local = pl.col("time").dt.convert_time_zone("America/Chicago")
    shifted = local.dt.date() + pl.when(local.dt.hour() >= 17).then(pl.duration(days=1)).otherwise(pl.duration(days=0))
    sessions = pl.DataFrame({"session": sessions_of(INSTRUMENTS[symbol].market)})
    hours = bars(market, symbol, "1h").with_columns(shifted.alias("local_day"))
    hours = hours.join_asof(sessions, left_on="local_day", right_on="session", strategy="forward")
    return (
        hours.group_by("session", maintain_order=True)
        .agg(pl.col("close").last(), pl.col("volume").sum(), pl.col("instrument_id").last(), pl.len().alias("hours"))
        .filter(pl.col("session") <= market.end)
    )


def test_layout_is_the_vendors(market: SimulatedMarket) -> None:
    symbols = {p.name.split(".")[-4] for p in market.files if p.parent.name == "databento"}
    hourly = {p.name.split(".")[-5] for p in market.files if p.parent.name == "databento_1h"}
    assert symbols == set(INSTRUMENTS) - {"CPO", "MES"}
    assert hourly == {"ZL", "ZS", "ZM", "CL", "HO", "ES"}
    assert {p.stem for p in market.files if p.parent.name == "series"} == set(SERIES_COLUMNS)


@pytest.mark.parametrize("period", ["1d", "1h"])
def test_bar_format_is_the_vendors(market: SimulatedMarket, period: str) -> None:
    lines = bar_text(market, "ZL", period).decode().splitlines()
    assert lines[0].split(",") == BAR_COLUMNS
    stamp, rtype, publisher, *_, opening, _, _, _, volume, symbol = lines[1].split(",")
    assert stamp == "2012-01-03T00:00:00.000000000Z"
    assert (rtype, publisher, symbol) == ("35" if period == "1d" else "34", "0", "ZL.v.0")
    assert len(opening.split(".")[1]) == 9
    assert volume.isdigit()


@pytest.mark.parametrize("stem", sorted(SERIES_COLUMNS))
def test_series_columns_are_the_packs(market: SimulatedMarket, stem: str) -> None:
    frame = pl.read_parquet(market.directory / "series" / f"{stem}.parquet")
    assert frame.columns == SERIES_COLUMNS[stem].split()
    assert frame.height > 0
    dates = frame[frame.columns[0]].cast(pl.Date)
    assert dates.min() >= START
    assert dates.max() <= END


def test_everything_says_simulated(market: SimulatedMarket) -> None:
    for path in market.files:
        if path.parent.name == "databento":
            frame = pl.read_csv(market.directory / path)
            assert frame["publisher_id"].unique().to_list() == [0]
            assert path.name.startswith("simulated-")
        if path.suffix == ".parquet":
            assert pq.read_schema(market.directory / path).metadata[b"simulated"] == b"true"
            frame = pl.read_parquet(market.directory / path)
            for column in set(SOURCE_COLUMNS) & set(frame.columns):
                assert frame[column].str.starts_with("simulated:").all(), (path, column)
    assert bars(market, "ZL", "1h")["publisher_id"].unique().to_list() == [0]
    marker = json.loads((market.directory / MARKER).read_text())
    assert "simulated" in marker["statement"]
    assert (marker["world"], marker["seed"], marker["planted_rule"]) == ("martingale", 7, None)


@pytest.mark.parametrize("symbol", ["ZL", "CL", "ES"])
def test_daily_bars_are_the_hourly_ones_by_utc_day(market: SimulatedMarket, symbol: str) -> None:
    by_day = bars(market, symbol, "1h").group_by("day", maintain_order=True)
    expected = by_day.agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    daily = bars(market, symbol, "1d")
    assert daily.select(expected.columns).equals(expected)
    assert (
        bars(market, symbol, "1h").group_by("day").agg(pl.col("instrument_id").n_unique())["instrument_id"] == 1
    ).all()


def test_prices_are_sane_and_on_the_tick(market: SimulatedMarket) -> None:
    for symbol in set(INSTRUMENTS) - {"CPO", "MES"}:
        frame = bars(market, symbol, "1d")
        assert (frame["high"] >= frame.select(pl.max_horizontal("open", "close")).to_series()).all()
        assert (frame["low"] <= frame.select(pl.min_horizontal("open", "close")).to_series()).all()
        assert frame["low"].min() > 0
        assert frame["volume"].min() >= 1
        assert frame["day"].is_unique().all()
        assert frame["day"].is_sorted()
    cents = bars(market, "ZL", "1d")["close"] * 100
    assert (cents - cents.round()).abs().max() < 1e-9


def test_sunday_bars_end_with_the_present_hours(market: SimulatedMarket) -> None:
    sundays = bars(market, "ZL", "1d").filter(pl.col("day").dt.weekday() == 7)["day"]
    assert (sundays < PRESENT_HOURS).sum() > 50
    assert (sundays >= PRESENT_HOURS).sum() == 0
    throughout = bars(market, "CL", "1d").filter(pl.col("day").dt.weekday() == 7)["day"]
    assert throughout.min() < PRESENT_HOURS < date(2014, 12, 1) < throughout.max()


def test_holiday_evenings_are_the_real_feeds(tmp_path: Path) -> None:
    market = simulate(tmp_path / "m", start=date(2010, 6, 6), end=date(2013, 1, 31))
    daily = bars(market, "ZL", "1d")
    stubs = daily.filter((pl.col("day").dt.weekday() < 6) & ~pl.col("day").is_in(list(sessions_of("grains"))))
    assert stubs["day"].to_list() == [
        date(2010, 7, 5), date(2010, 9, 6), date(2011, 5, 30), date(2011, 7, 4), date(2011, 9, 5),
    ]  # fmt: skip
    assert daily["day"][0] == date(2010, 6, 7)


@pytest.mark.parametrize("symbol", ["ZL", "CL", "ES"])
def test_no_session_is_missing(market: SimulatedMarket, symbol: str) -> None:
    expected = [d for d in sessions_of(INSTRUMENTS[symbol].market) if START <= d <= END]
    assert folded(market, symbol)["session"].to_list() == expected


def test_session_closes_are_the_pure_path(market: SimulatedMarket) -> None:
    days, closes = zl_closes("martingale", [7], START, END)
    written = folded(market)
    assert written["session"].to_list() == days.astype(object).tolist()
    away = np.abs(written["close"].to_numpy() - closes[:, 0])
    assert set(written["session"].filter(pl.Series(away > 0.00501))) == {date(2013, 7, 5), date(2014, 9, 2)}


def test_one_bad_print(market: SimulatedMarket) -> None:
    daily = bars(market, "ZL", "1d").with_columns(pl.max_horizontal("open", "close").alias("body"))
    bad = daily.filter(pl.col("high") > 1.1 * pl.col("body"))
    assert bad["day"].to_list() == [date(2012, 8, 26)]
    assert bad["high"][0] == pytest.approx(1.2 * bad["body"][0], rel=0.02)


def test_thin_wrong_month_sessions_go_back(market: SimulatedMarket) -> None:
    sessions = folded(market)
    thin = sessions["volume"] < 0.02 * sessions["volume"].median()
    assert sessions["session"].filter(thin).to_list() == [date(2013, 7, 5), date(2014, 9, 2)]
    for row in thin.arg_true():
        before, at, after = sessions["instrument_id"][row - 1 : row + 2]
        assert before == after != at


def test_rolls_change_the_contract_and_some_go_back(market: SimulatedMarket) -> None:
    ids = bars(market, "ZL", "1d")["instrument_id"].to_list()
    changes = [(a, b) for a, b in pairwise(ids) if a != b]
    assert 6 <= len(changes) / 3 <= 13
    assert any((b, a) in changes for a, b in changes)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """What the families read of six simulated years, without bars: the series as they are stored, and when."""
    market = simulate(tmp_path_factory.mktemp("years") / "simulated", start=date(2015, 1, 1), end=date(2020, 12, 31))
    delivered = SeriesFiles(market.directory).fetch({}, lambda _: None).rows
    sorted_out = {
        table: sort_out(table, rows, datetime(2026, 9, 1, tzinfo=UTC)).rows for table, rows in delivered.items()
    }
    days = pl.Series([d for d in sessions_of("grains") if market.start <= d <= market.end])
    closed = pl.col("trade_date").cast(pl.Datetime("us", "UTC")) + timedelta(hours=20)
    sessions = pl.DataFrame({"trade_date": days}).with_columns(
        symbol=pl.lit("ZL"), session_number=pl.int_range(pl.len()), available_at=closed
    )
    filled = {table: rows for table, rows in sorted_out.items() if not rows.is_empty()}
    return Inputs(decision_times(sessions, time(17)), sessions, filled)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_every_family_is_available(family: Family, known: Inputs) -> None:
    assert set(family.inputs) <= set(known.series)
    assert family.available(known)


@pytest.mark.parametrize("family", [exports.FAMILY, weather.FAMILY], ids=lambda f: f.name)
def test_columns_against_past_years_have_values(family: Family, known: Inputs) -> None:
    """After the years that each needs: a table with rows is not enough where they come too late to count."""
    built = build_family(family, known).filter(pl.col("data_date") >= date(2019, 6, 1))
    empty = {name: built[name].null_count() / built.height for name in family.columns()}
    assert {name: share for name, share in empty.items() if share > 0.05} == {}


def test_export_sales_add_up(market: SimulatedMarket) -> None:
    sales = pl.read_parquet(market.directory / "series" / "usda_export_sales.parquet")
    tonnes = ["net_sales_t", "exports_t", "outstanding_t"]
    assert set(sales["date"].dt.weekday()) == {4}
    assert set(sales["commodity"]) == {"soybeans", "soybean_meal", "soybean_oil"}
    assert set(sales.filter(country="CHINA")["commodity"]) == set(sales["commodity"])
    assert sales.select("date", "commodity", "country", "marketing_year").is_unique().all()
    assert min(sales["exports_t"].min(), sales["outstanding_t"].min()) >= 0
    begins = sales.filter(pl.col("marketing_year") == 2013).group_by("commodity").agg(pl.col("date").min())
    assert dict(begins.iter_rows()) == {
        "soybeans": date(2013, 9, 5), "soybean_meal": date(2013, 10, 3), "soybean_oil": date(2013, 10, 3),
    }  # fmt: skip
    week = ["date", "commodity"]
    total = sales.filter(country="ALL").sort(week).select(*week, *tonnes)
    parts = sales.filter(pl.col("country") != "ALL").group_by(week).agg(pl.col(tonnes).sum()).sort(week)
    assert parts.equals(total)
    left_over = pl.col("outstanding_t").diff() - pl.col("net_sales_t") + pl.col("exports_t")
    assert sales.select(left_over.over("commodity", "country").fill_null(0.0) == 0).to_series().all()


def test_a_later_end_only_appends(market: SimulatedMarket, tmp_path: Path) -> None:
    short = simulate(tmp_path / "short", seed=7, start=START, end=date(2012, 10, 18))
    for path in short.files:
        symbol = path.name.split("ohlcv-1d.")[-1].removesuffix(".v.0.csv")
        if path.parent.name == "databento":
            assert bar_text(market, symbol, "1d").startswith(bar_text(short, symbol, "1d"))
        if path.suffix == ".parquet":
            longer, shorter = (pl.read_parquet(m.directory / path) for m in (market, short))
            assert longer.filter(pl.col(longer.columns[0]).cast(pl.Date) <= short.end).equals(shorter), path
    for symbol in ("ZL", "CL", "ES"):
        assert bar_text(market, symbol, "1h").startswith(bar_text(short, symbol, "1h"))
    assert bars(short, "CL", "1d")["day"][-1] == short.end
    next_day = bars(market, "CL", "1d").filter(pl.col("day") == short.end + timedelta(days=1))
    assert next_day.height == 1


def test_same_seed_same_bytes_and_another_seed_another_market(tmp_path: Path) -> None:
    span = {"start": date(2019, 4, 1), "end": date(2019, 7, 31)}
    first, second = (simulate(tmp_path / name, seed=3, **span) for name in ("a", "b"))
    other = simulate(tmp_path / "c", seed=4, **span)
    assert first.files == second.files == other.files
    for path in first.files:
        assert (first.directory / path).read_bytes() == (second.directory / path).read_bytes(), path
    assert bar_text(first, "ZL", "1d") != bar_text(other, "ZL", "1d")
    micro = bars(first, "MES", "1d")
    assert micro["day"][0] == MES_START
    large = bars(first, "ES", "1d").select("day", "close")
    assert micro.join(large, on="day").filter(pl.col("close") != pl.col("close_right")).height == 0


def test_planted_market_names_its_rule(tmp_path: Path) -> None:
    market = simulate(tmp_path / "planted", world="planted", start=date(2014, 1, 1), end=date(2014, 6, 30))
    rule = json.loads((market.directory / MARKER).read_text())["planted_rule"]
    assert (rule["symbol"], rule["kappa"], rule["memory_sessions"]) == ("ZL", 1.5, 21)


def test_an_earlier_simulation_is_replaced_whole(tmp_path: Path) -> None:
    steps: list[str] = []
    target = tmp_path / "m"
    simulate(target, start=date(2014, 1, 1), end=date(2014, 2, 28))
    again = simulate(target, start=date(2014, 1, 1), end=date(2014, 3, 31), on_progress=steps.append)
    assert {p.relative_to(target) for p in target.rglob("*") if p.is_file()} == set(again.files)
    assert list(tmp_path.iterdir()) == [target]
    assert steps


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_write_series", stop)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "m", start=date(2014, 1, 1), end=date(2014, 2, 28))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"world": "flat"}, "unknown world"),
        ({"seed": -1}, "negative seed"),
        ({"start": date(2014, 1, 2), "end": date(2014, 1, 2)}, "start is not before end"),
        ({"start": date(1989, 12, 31)}, "start is before the calendar"),
        ({"end": LAST_DAY + timedelta(days=1)}, "end is after the calendar"),
        ({"start": date(2014, 1, 4), "end": date(2014, 1, 5)}, "no trading session"),
    ],
)
def test_unusable_arguments_are_refused(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        simulate(tmp_path / "m", **({"end": date(2014, 1, 31)} | arguments))
    assert refusal.value.where
    assert refusal.value.action
    assert list(tmp_path.iterdir()) == []


def test_foreign_files_are_never_replaced(tmp_path: Path) -> None:
    foreign = tmp_path / "mine" / "notes.txt"
    foreign.parent.mkdir()
    foreign.write_text("keep")
    for target in (foreign.parent, foreign, foreign / "below"):
        with pytest.raises(InputError):
            simulate(target, start=date(2014, 1, 1), end=date(2014, 1, 31))
    assert foreign.read_text() == "keep"

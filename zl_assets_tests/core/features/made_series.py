"""Made rows of every raw_intelligence table, with late and revised rows, and sessions to decide at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from zl_assets.core.features.family import Inputs
from zl_assets.core.point_in_time import decision_times
from zl_assets.warehouse.contracts import contract

FIRST_NUMBER = 4_900
FIRST_SESSION, LAST_SESSION = date(2016, 1, 4), date(2019, 6, 28)
FIRST_OBSERVED = date(2009, 1, 1)
HOLES = (40, 41, 300, 555)
"""Sessions of ZL without data, counted from the first."""
SUSPECT = 600
FAR = {"zl": 33.0, "es": 2500.0, "6c": 0.75}

ABOUT: dict[str, Any] = {"source": "made", "vintage": None, "provenance_uuid": "made", "ingest_timestamp": None}
Row = dict[str, Any]


def weekdays(first: date = FIRST_OBSERVED, last: date = LAST_SESSION) -> list[date]:
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    return list(days[np.is_busday(days)].astype(object))


def at(day: date, hours: float) -> datetime:
    """Hours after midnight UTC of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hours)


def walk(name: str, count: int, level: float, sd: float = 0.01) -> list[float]:
    generator = np.random.default_rng(sum(ord(c) * (i + 1) for i, c in enumerate(name)))
    return [float(v) for v in level * np.exp(np.cumsum(generator.normal(0, sd, count)))]


def table(name: str, rows: Sequence[Row]) -> pl.DataFrame:
    """Rows of a raw_intelligence table, missing columns null."""
    schema = contract(f"raw_intelligence.{name}").polars_schema()
    return pl.DataFrame([{**ABOUT, **row} for row in rows], schema=schema)


def daily(name: str, level: float, hours: float, first: date = FIRST_OBSERVED, sd: float = 0.01) -> list[Row]:
    """observed_date, value, available_at; one weekday in 60 comes four days late, one in 90 is revised a week later."""
    days = weekdays(first)
    generator = np.random.default_rng(len(name) * 1000 + ord(name[-1]))
    rows: list[Row] = []
    for day, value in zip(days, walk(name, len(days), level, sd), strict=True):
        late = 96 if generator.random() < 1 / 60 else 0
        rows.append({"observed_date": day, "value": value, "available_at": at(day, hours + late)})
        if generator.random() < 1 / 90:
            rows.append({"observed_date": day, "value": 1.02 * value, "available_at": at(day, hours + late + 168)})
    return rows


def named(rows: Sequence[Row], value: str = "value", **columns: Any) -> list[Row]:
    """The rows with their value under another name and constant columns beside it."""
    return [{**{k: v for k, v in row.items() if k != "value"}, value: row["value"], **columns} for row in rows]


def monthly(name: str, level: float, delay_days: int, months: int = 1, sd: float = 0.004) -> list[Row]:
    """First-of-month rows, each revised a month after its release."""
    firsts = [date(y, m, 1) for y in range(2005, 2020) for m in range(1, 13, months)]
    rows: list[Row] = []
    for day, value in zip(firsts, walk(name, len(firsts), level, sd), strict=True):
        public = at(day + timedelta(days=delay_days), 13.5)
        rows.append({"observed_date": day, "value": value, "available_at": public})
        rows.append({"observed_date": day, "value": value * 1.001, "available_at": public + timedelta(days=31)})
    return [row for row in rows if row["available_at"] < at(LAST_SESSION, 0)]


def _fred() -> list[Row]:
    rows: list[Row] = []
    for name, level in (("DGS10", 3.0), ("DGS2", 2.0), ("DGS30", 3.5), ("T10YIE", 2.0), ("DFF", 1.0), ("DTWEXBGS", 95)):
        rows += named(daily(name, level, 45), series_id=name, frequency="D")
    for name, level, delay, step in (
        ("CPIAUCSL", 220.0, 43, 1),
        ("UNRATE", 6.0, 34, 1),
        ("GDPC1", 15e3, 118, 3),
        ("PSOILUSDM", 900.0, 35, 1),
        ("PPOILUSDM", 800.0, 36, 1),
    ):
        rows += named(monthly(name, level, delay, step), series_id=name, frequency="M")
    weekly = [row for row in daily("NFCI", 1.0, 24 * 7) if row["observed_date"].weekday() == 4]
    return rows + named(weekly, series_id="NFCI", frequency="W")


def _fx() -> list[Row]:
    pairs = {"USDBRL": 3.0, "USDARS": 20.0, "DXY": 95.0, "USDCNY": 6.7, "USDMYR": 4.0, "USDCAD": 1.3, "EURUSD": 1.1}
    rows = [
        r for pair, level in pairs.items() for r in named(daily(pair, level, 22), "rate", pair=pair, source="yahoo")
    ]
    bulk = daily("bulk", 3.1, 23, date(2017, 3, 1))
    return rows + named(bulk, "rate", pair="USDBRL", source="bulk_csv")


def _positions() -> list[Row]:
    tuesdays = [d for d in weekdays() if d.weekday() == 1 and not (d.year == 2017 and d.month < 3)]
    rows: list[Row] = []
    for code in ("007601", "005602", "026603", "002602", "067651"):
        for report, groups in (
            ("legacy_combined", ("commercial", "noncommercial")),
            ("disaggregated_combined", ("managed_money",)),
        ):
            interest = walk(f"{code}{report}", len(tuesdays), 4e5, 0.02)
            sides = {
                f"{g}_{side}": walk(f"{code}{g}{side}", len(tuesdays), 1e5, 0.05)
                for g in groups
                for side in ("long", "short")
            }
            for i, day in enumerate(tuesdays):
                late = 24 * 14 if i % 37 == 5 else 0
                row = {name: values[i] for name, values in sides.items()} | {"open_interest": interest[i]}
                key = {"contract_code": code, "report": report, "commodity": code, "observed_date": day}
                rows.append({**key, **row, "available_at": at(day, 24 * 3 + 20.5 + late)})
                if i % 29 == 3:
                    changed = {name: 1.03 * value for name, value in row.items()}
                    rows.append({**key, **changed, "available_at": at(day, 24 * 12)})
    return rows


def _weather() -> list[Row]:
    generator = np.random.default_rng(5)
    rows: list[Row] = []
    days = [FIRST_OBSERVED + timedelta(days=n) for n in range((LAST_SESSION - FIRST_OBSERVED).days + 1)]
    for station, region, begins in (
        ("S1", "US_Midwest", 2009),
        ("S2", "US_Midwest", 2013),
        ("S3", "Brazil", 2009),
        ("S4", "Argentina", 2017),
    ):
        for day in days:
            if day.year < begins or generator.random() < 0.03:
                continue
            season = 12 - 14 * np.cos(2 * np.pi * day.timetuple().tm_yday / 365)
            mean = season + generator.normal(0, 3)
            dry = generator.random() < 0.6
            delay = 24 * int(generator.choice([1, 2, 3, 8, 12], p=[0.5, 0.3, 0.1, 0.07, 0.03]))
            row = {
                "station_id": station,
                "region": region,
                "observed_date": day,
                "tmin_c": mean - 5.0,
                "tmax_c": mean + 5 + abs(generator.normal(0, 4)),
                "precip_mm": None if generator.random() < 0.05 else 0.0 if dry else float(generator.exponential(8)),
                "available_at": at(day, 14 + delay),
            }
            rows.append(row)
            if generator.random() < 0.02:
                rows.append({**row, "tmax_c": 20.0, "available_at": at(day, 14 + delay + 72)})
    return rows


def _biofuel() -> list[Row]:
    rows: list[Row] = []
    unit = "billion gallons (RINs)"
    published = {2014: date(2015, 11, 30), 2015: date(2015, 11, 30), 2018: date(2018, 5, 3), 2020: date(2019, 3, 1)}
    for item, level in (("rfs_mandate_biodiesel", 1.0), ("rfs_mandate_advanced", 2.0), ("rfs_mandate_total", 13.0)):
        for year in range(2010, 2021):
            public = published.get(year, date(year - 1, 11, 30))
            key = {"item": item, "observed_date": date(year, 1, 1), "unit": unit}
            rows.append({**key, "value": level * (1 + 0.07 * (year - 2010)), "available_at": at(public, 16)})
            if year == 2017:
                rows.append({**key, "value": level * 1.6, "available_at": at(date(2017, 9, 1), 16)})
    rows += named(monthly("fuel", 500.0, 62, sd=0.05), item="soybean_oil_for_biofuel", unit="million lb")
    return rows + named(daily("biodiesel", 950.0, 23), item="biodiesel_BDOV_settle", unit="USD/t")


def _policy() -> list[Row]:
    generator = np.random.default_rng(11)
    titles = ("Tariff on steel", "Relations with China", "Renewable Fuel Standard", "Clearing of futures", "Parks")
    kinds = ("executive_order", "proclamation", "rule", "notice")
    rows: list[Row] = []
    for n, day in enumerate(weekdays(date(2016, 6, 1))):
        if generator.random() < 0.25 and not (date(2018, 2, 1) <= day <= date(2018, 5, 1)):
            row = {
                "event_id": f"D{n}",
                "observed_date": day,
                "category": kinds[n % 4],
                "title": titles[n % 5],
                "agricultural_impact": float(n % 3) / 2,
                "source": "federal_register_api" if n % 7 else "truth_social_api",
                "available_at": at(day, 13 if n % 11 else 13 + 100),
            }
            rows += [row, {**row, "title": "Renamed: China tariff", "available_at": at(day, 400)}][: 1 + (n % 6 == 0)]
    return rows


def _exports() -> list[Row]:
    thursdays = [d for d in weekdays() if d.weekday() == 3]
    rows: list[Row] = []
    for commodity in ("soybeans", "soybean_oil"):
        for country in ("ALL", "CHINA, PEOPLES REPUBLIC OF", "MEXICO"):
            for marketing_year in (0, 1):
                values = walk(f"{commodity}{country}{marketing_year}", len(thursdays), 1e5, 0.1)
                for i, day in enumerate(thursdays):
                    key = {"commodity": commodity, "country": country, "observed_date": day}
                    row = {**key, "marketing_year": day.year - 1 + marketing_year}
                    value = {"net_sales_t": values[i], "exports_t": values[i] / 2, "outstanding_t": 9 * values[i]}
                    late = 24 * 21 if i % 41 == 7 else 0
                    rows.append({**row, **value, "available_at": at(day, 24 * 7 + 13.5 + late)})
                    if i % 31 == 2:
                        rows.append({**row, **value, "net_sales_t": 0.0, "available_at": at(day, 24 * 20)})
    return rows


def _crop() -> list[Row]:
    rows: list[Row] = []
    for statistic in (
        "soybeans_planted",
        "soybeans_harvested",
        "soybeans_condition_good",
        "soybeans_condition_excellent",
    ):
        for n in range((LAST_SESSION - FIRST_OBSERVED).days):
            day = FIRST_OBSERVED + timedelta(days=n)
            if day.weekday() == 6 and 4 <= day.month <= 11:
                done = 100 / (1 + np.exp(-(day.timetuple().tm_yday - 135 - 5 * (day.year % 3)) / 8))
                key = {"state": "US TOTAL", "statistic": statistic, "observed_date": day, "value_pct": float(done)}
                rows.append({**key, "available_at": at(day, 24 + 20)})
    return rows


def _brazil() -> list[Row]:
    rows: list[Row] = []
    for year in range(2000, 2020):
        for month, share in ((22, 0.97), (24, 1.0), (26, 1.01)):
            public = at(date(year - 1 + month // 13, (month - 1) % 12 + 1, 10), 12)
            values = {"area_kha": 2e4 + 900 * (year - 2000), "yield_t_per_ha": share * (2.5 + 0.1 * (year % 5))}
            produced = values["area_kha"] * values["yield_t_per_ha"]
            key = {"harvest_year": year, "observed_date": date(year, 7, 1), "production_kt": produced}
            rows.append({**key, **values, "available_at": public})
    return rows


def _prices() -> list[Row]:
    symbols = {"ICE_CANOLA": 500.0, "SB=F": 15.0, "ICLN": 10.0, "TAN": 20.0, "DBA": 20.0, "VEGI": 25.0}
    return [r for s, level in symbols.items() for r in named(daily(s, level, 21), "close", symbol=s)]


@cache
def series() -> Mapping[str, pl.DataFrame]:
    """Every table."""
    return {
        "fred_economic": table("fred_economic", _fred()),
        "treasury_daily": table("treasury_daily", named(daily("10Y", 3.0, 22), "close", tenor="10Y")),
        "volatility_daily": table("volatility_daily", named(daily("VIX", 20.0, 21, sd=0.05), "close", series_id="VIX")),
        "fx_daily": table("fx_daily", _fx()),
        "cftc_positioning": table("cftc_positioning", _positions()),
        "weather_daily": table("weather_daily", _weather()),
        "biofuel": table("biofuel", _biofuel()),
        "palm_oil_daily": table("palm_oil_daily", named(daily("CPO=F", 700.0, 10), "close", symbol="CPO=F")),
        "policy_events": table("policy_events", _policy()),
        "usda_export_sales": table("usda_export_sales", _exports()),
        "usda_crop_progress": table("usda_crop_progress", _crop()),
        "brazil_soy_crop": table("brazil_soy_crop", _brazil()),
        "vendor_prices_daily": table("vendor_prices_daily", _prices()),
    }


@cache
def sessions() -> pl.DataFrame:
    """Sessions of ZL, ES and 6C; every 40th session of ZL is a roll with a gap of 3 %."""
    days = weekdays(FIRST_SESSION)
    rows: list[Row] = []
    for symbol, level in (("6C", 0.75), ("ES", 2500.0), ("ZL", 33.0)):
        adjusted = walk(symbol, len(days), level, 0.012)
        for n, day in enumerate(days):
            if symbol == "ZL" and n in HOLES:
                continue
            rows.append(
                {
                    "symbol": symbol,
                    "trade_date": day,
                    "session_number": FIRST_NUMBER + n,
                    "close": adjusted[n] * 1.03 ** (n // 40) if symbol == "ZL" else adjusted[n],
                    "close_roll_adjusted": adjusted[n],
                    "is_suspect": symbol == "ZL" and n == SUSPECT,
                    "available_at": at(day, 18.4 if symbol == "ZL" else 22),
                }
            )
    return pl.DataFrame(rows, schema_overrides={"available_at": pl.Datetime("us", "UTC")})


@cache
def inputs() -> Inputs:
    """Everything, decided at 13:30 in Chicago."""
    return Inputs(decision_times(sessions().filter(pl.col("symbol") == "ZL"), time(13, 30)), sessions(), series())


def only(given: Inputs, *tables: str) -> Inputs:
    """The inputs with some tables alone."""
    return replace(given, series={name: given.series[name] for name in tables})

"""Families of daily series against pandas: a plain search for what each decision knew, then pandas' windows."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from math import ceil, sqrt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.features import biofuel, fx, macro, palm, positioning, prices, trailing, volatility, weather
from zl_assets.core.features.family import Family
from zl_assets.core.features.readings import RawSeries, by_source
from zl_assets_tests.core.features import made_series as made
from zl_assets_tests.core.features.test_report_families import known
from zl_assets_tests.core.features.test_series_families import full


@cache
def seen(table: str, value: str, max_age: int = 7, **where: str) -> tuple[pd.Series, pd.Series]:
    """The newest public value at each decision, and the day it is of."""
    rows = made.series()[table].filter(*[pl.col(k) == v for k, v in where.items()])
    observed = rows["observed_date"].to_numpy()
    public = rows["available_at"].dt.replace_time_zone(None).to_numpy()
    values = rows[value].to_numpy()
    found: list[tuple[float, Any]] = []
    for day, moment in (
        made.inputs().decisions.select("data_date", pl.col("decision_time").dt.replace_time_zone(None)).rows()
    ):
        there = np.flatnonzero(public <= np.datetime64(moment))
        best = there[np.lexsort((public[there], observed[there]))[-1]] if there.size else None
        is_fresh = best is not None and np.datetime64(day) - observed[best] <= np.timedelta64(max_age)
        found.append((values[best], observed[best]) if is_fresh else (np.nan, np.datetime64("NaT")))
    return pd.Series([f[0] for f in found], dtype=float), pd.Series([f[1] for f in found])


@cache
def market(symbol: str, column: str = "close_roll_adjusted") -> pd.Series:
    """A market's newest close at each decision."""
    rows = made.sessions().filter((pl.col("symbol") == symbol) & ~pl.col("is_suspect")).to_dicts()
    closes: list[float] = []
    for decision in made.inputs().decisions.to_dicts():
        public = [
            r
            for r in rows[: 2 + decision["session_number"] - made.FIRST_NUMBER]
            if r["available_at"] <= decision["decision_time"]
        ]
        closes.append(public[-1][column] if public else np.nan)
    return pd.Series(closes)


def z(values: pd.Series, window: int) -> pd.Series:
    rolled = values.rolling(window, min_periods=ceil(0.8 * window))
    return (values - rolled.mean()) / rolled.std()


def correlated(one: pd.Series, two: pd.Series, window: int) -> pd.Series:
    both = one.notna() & two.notna()
    one, two = one.where(both), two.where(both)
    return one.rolling(window, min_periods=ceil(0.8 * window)).corr(two).where(both)


def volatility_of(prices: pd.Series, window: int) -> pd.Series:
    moves = np.log(prices).diff()
    return (moves.rolling(window, min_periods=ceil(0.8 * window)).std() * sqrt(252)).where(moves.notna())


def agrees(family: Family, name: str, expected: pd.Series) -> None:
    built = full(family)[name]
    wanted = pl.Series(expected.astype(float).to_numpy()).fill_nan(None)
    assert built.is_null().equals(wanted.is_null()), name
    assert built.null_count() < 0.9 * built.len(), name
    assert ((built - wanted).abs() / (1 + wanted.abs())).max() < 1e-6, name


def test_the_vix_is_the_day_befores_and_is_banded_scored_and_compared() -> None:
    vix, observed = seen("volatility_daily", "close", series_id="VIX")
    days = pd.Series(made.inputs().decisions["data_date"].to_numpy())
    assert (observed < days).all()
    zl, es = market("ZL"), market("ES")
    agrees(volatility.FAMILY, "vix_band", pd.cut(vix, [-1, 15, 25, 30, 1e9], right=False, labels=False))
    agrees(volatility.FAMILY, "vix_above_25", (vix > 25).astype(float))
    agrees(volatility.FAMILY, "vix_sessions_above_25_21", (vix > 25).astype(float).rolling(21, min_periods=17).mean())
    for window in (21, 63, 252):
        agrees(volatility.FAMILY, f"vix_z_{window}", z(vix, window))
    for sessions in (1, 5, 21):
        agrees(volatility.FAMILY, f"vix_change_{sessions}", vix.diff(sessions))
    ranked = vix.rolling(252, min_periods=202).rank(method="max") / vix.rolling(252, min_periods=1).count() * 100
    agrees(volatility.FAMILY, "vix_percentile_252", ranked)
    agrees(volatility.FAMILY, "vix_to_zl_volatility", vix / (100 * volatility_of(zl, 21)))
    agrees(volatility.FAMILY, "vix_to_zl_volatility_z_252", z(vix / (100 * volatility_of(zl, 21)), 252))
    agrees(volatility.FAMILY, "vix_to_es_volatility", vix / (100 * volatility_of(es, 21)))
    agrees(volatility.FAMILY, "vix_zl_correlation_63", correlated(vix.diff(), np.log(zl).diff().shift(1), 63))


def rate(pair: str, source: str = "yahoo") -> pd.Series:
    return seen("fx_daily", "rate", pair=pair, source=source)[0]


@pytest.mark.parametrize("name", ["usdars", "dxy", "usdmyr"])
def test_currencies_are_returns_volatility_and_scores(name: str) -> None:
    values = rate(fx.PAIRS[name])
    for sessions in (5, 21, 63):
        agrees(fx.FAMILY, f"{name}_return_{sessions}", values / values.shift(sessions) - 1)
    agrees(fx.FAMILY, f"{name}_volatility_21", volatility_of(values, 21))
    agrees(fx.FAMILY, f"{name}_z_63", z(values, 63))
    if name != "usdars":
        week = np.log(values).diff(5)
        agrees(fx.FAMILY, f"{name}_zl_correlation_126", correlated(week, np.log(market("ZL")).diff(5), 126))


def test_the_preferred_vendor_speaks_as_soon_as_its_own_window_is_full() -> None:
    bulk, other = rate("USDBRL", "bulk_csv"), rate("USDBRL")
    for sessions in (1, 5, 21, 63):
        returns = [values / values.shift(sessions) - 1 for values in (bulk, other)]
        agrees(fx.FAMILY, f"usdbrl_return_{sessions}", returns[0].combine_first(returns[1]))
    agrees(fx.FAMILY, "usdbrl_z_252", z(bulk, 252).combine_first(z(other, 252)))
    shock = [
        (v / v.shift(1) - 1).abs().gt(0.03).astype(float).where(v.shift(1).notna() & v.notna()) for v in (bulk, other)
    ]
    agrees(fx.FAMILY, "usdbrl_shock", shock[0].combine_first(shock[1]))
    assert full(fx.FAMILY)["usdbrl_shock"].sum() > 0
    dxy = z(rate("DXY"), 63)
    agrees(fx.FAMILY, "dxy_z_63_with_brl", (dxy * z(bulk, 63)).combine_first(dxy * z(other, 63)))


def fred(name: str, max_age: int = 7) -> pd.Series:
    return seen("fred_economic", "value", max_age, series_id=name)[0]


def test_yields_are_changes_and_scores_beside_the_dollar() -> None:
    ten, two, thirty, breakeven = (fred(name) for name in ("DGS10", "DGS2", "DGS30", "T10YIE"))
    dxy, zl = rate("DXY"), market("ZL")
    for sessions in (1, 5, 21, 63):
        agrees(macro.FAMILY, f"rates_10y_change_{sessions}", ten.diff(sessions))
    agrees(macro.FAMILY, "rates_10y_z_30", z(ten, 30))
    agrees(macro.FAMILY, "rates_10y_z_30_with_dxy", z(ten, 30) * z(dxy, 30))
    week, dollar = ten.diff(5), np.log(dxy).diff(5)
    agrees(macro.FAMILY, "rates_10y_dxy_correlation_126", correlated(week, dollar, 126))
    agrees(macro.FAMILY, "rates_10y_zl_correlation_126", correlated(week, np.log(zl).diff(5), 126))
    both = week.notna() & dollar.notna()
    rolled = week.where(both).rolling(252, min_periods=202)
    slope = (rolled.cov(dollar.where(both)) / dollar.where(both).rolling(252, min_periods=202).var()).where(both)
    agrees(macro.FAMILY, "rates_10y_change_21_less_dollar", ten.diff(21) - slope * np.log(dxy).diff(21))
    agrees(macro.FAMILY, "curve_10y_2y", ten - two)
    agrees(macro.FAMILY, "curve_10y_2y_z_252", z(ten - two, 252))
    agrees(macro.FAMILY, "curve_30y_10y_change_21", (thirty - ten).diff(21))
    agrees(macro.FAMILY, "curve_inverted", (ten < two).astype(float).where(ten.notna() & two.notna()))
    agrees(macro.FAMILY, "real_10y_change_21", (ten - breakeven).diff(21))
    agrees(macro.FAMILY, "breakeven_10y_z_252", z(breakeven, 252))


def test_the_fed_is_a_path_and_its_pull_on_brl_and_cny() -> None:
    policy_rate, two, cny = fred("DFF"), fred("DGS2"), rate("USDCNY")
    for sessions in (63, 126, 252):
        agrees(macro.FAMILY, f"fed_rate_change_{sessions}", policy_rate.diff(sessions))
    agrees(macro.FAMILY, "fed_path_2y", two - policy_rate)
    agrees(macro.FAMILY, "fed_path_2y_change_21", (two - policy_rate).diff(21))
    agrees(macro.FAMILY, "fed_cny_correlation_126", correlated(two.diff(21), np.log(cny).diff(21), 126))
    agrees(macro.FAMILY, "fed_rate_cny_correlation_252", correlated(policy_rate.diff(21), np.log(cny).diff(21), 252))


def test_financial_conditions_are_compared_week_by_week() -> None:
    rows = made.series()["fred_economic"].filter(pl.col("series_id") == "NFCI").to_dicts()
    score: list[float] = []
    for decision in made.inputs().decisions.to_dicts():
        history = known(rows, decision)
        newest = history[-1]["observed_date"]
        year = pd.Series([r["value"] for r in history if (newest - r["observed_date"]).days < 364])
        is_fresh = decision["data_date"] - newest <= macro.WEEKLY_AGE and len(year) >= 42
        score.append((year.iloc[-1] - year.mean()) / year.std() if is_fresh else np.nan)
    agrees(macro.FAMILY, "nfci_z_52w", pd.Series(score))


def palm_paths() -> tuple[pd.Series, pd.Series, pd.Series]:
    """Daily log moves of palm oil and ZL without rolls, and the change of their spread in USD/t."""
    price, observed = seen("palm_oil_daily", "close", symbol="CPO=F")
    zl, adjusted = market("ZL", "close"), market("ZL")
    assert price.notna().all()
    rolled = pd.to_datetime(observed).dt.month.diff() != 0
    palm_move = np.log(price).diff().where(~rolled, 0.0).fillna(0.0)
    oil_move = np.log(adjusted).diff().fillna(0.0)
    tonne = zl * 22.0462
    dollars = tonne.shift(1) * adjusted.pct_change(fill_method=None) - price.diff().where(~rolled, 0.0)
    return palm_move, oil_move, dollars.fillna(0.0)


def test_palm_is_measured_along_paths_without_rolls() -> None:
    palm_move, oil_move, dollars = palm_paths()
    ratio, spread = (oil_move - palm_move).cumsum(), dollars.cumsum()
    agrees(palm.FAMILY, "palm_ratio_z_63", z(ratio, 63))
    agrees(palm.FAMILY, "palm_ratio_z_252", z(ratio, 252))
    agrees(palm.FAMILY, "palm_spread_z_252", z(spread, 252))
    agrees(palm.FAMILY, "palm_spread_change_21", spread.diff(21))
    agrees(palm.FAMILY, "palm_return_21", palm_move.cumsum().diff(21))
    agrees(palm.FAMILY, "palm_lag_5", ratio.diff(5))
    one, two = (path.cumsum().diff() for path in (palm_move, oil_move))
    volatility_ratio = one.rolling(63, min_periods=51).std() / two.rolling(63, min_periods=51).std()
    agrees(palm.FAMILY, "palm_relative_volatility_63", volatility_ratio.where(one.notna()))
    agrees(palm.FAMILY, "palm_zl_correlation_63", correlated(one, two, 63))


def test_a_jump_on_the_first_trading_day_of_a_month_is_no_move_of_palm_oil() -> None:
    given = made.inputs()
    table = given.series["palm_oil_daily"]
    month = pl.col("observed_date").dt.year() * 12 + pl.col("observed_date").dt.month()
    # Each month is another contract: a level of its own, on top of the same moves.
    stepped = table.with_columns(close=pl.col("close") * (1 + 0.2 * (month % 2)))
    built = palm.FAMILY.build(type(given)(given.decisions, given.sessions, {"palm_oil_daily": stepped}))
    plain = palm.FAMILY.build(type(given)(given.decisions, given.sessions, {"palm_oil_daily": table}))
    for name in ("palm_return_5", "palm_ratio_z_63", "palm_zl_correlation_63"):
        assert (built[name] - plain[name]).abs().max() < 1e-9, name


def test_biodiesel_and_canola_are_compared_per_tonne() -> None:
    tonne = market("ZL", "close") * 22.0462
    biodiesel = seen("biofuel", "value", item="biodiesel_BDOV_settle")[0]
    agrees(biofuel.FAMILY, "biodiesel_spread_z_63", z(biodiesel - tonne, 63))
    agrees(biofuel.FAMILY, "biodiesel_spread_change_21", (biodiesel - tonne).diff(21))
    canola = seen("vendor_prices_daily", "close", symbol="ICE_CANOLA")[0] * market("6C", "close")
    agrees(prices.FAMILY, "canola_ratio_z_63", z(tonne / canola, 63))
    agrees(prices.FAMILY, "canola_return_21", canola / canola.shift(21) - 1)
    sugar = seen("vendor_prices_daily", "close", symbol="SB=F")[0]
    week = np.log(market("ZL")).diff(5)
    agrees(prices.FAMILY, "sugar_zl_correlation_126", correlated(np.log(sugar).diff(5), week, 126))


def station_days(station: str) -> dict[date, dict[str, Any]]:
    """First published row of each day, unless it came later than ten days after."""
    days: dict[date, dict[str, Any]] = {}
    for row in made.series()["weather_daily"].filter(pl.col("station_id") == station).sort("available_at").to_dicts():
        day = row["observed_date"]
        if row["available_at"] <= made.at(day + timedelta(days=10), 0):
            days.setdefault(day, row)
    return days


def window_mean(days: dict[date, dict[str, Any]], end: date, length: int, measure: Any, moment: Any) -> float | None:
    rows = [days[d] for d in (end - timedelta(days=k) for k in range(length)) if d in days]
    values = [v for r in rows if moment is None or r["available_at"] <= moment for v in [measure(r)] if v is not None]
    return float(np.mean(values)) if len(values) >= ceil(0.7 * length) else None


def score(days: dict[date, dict[str, Any]], decision: dict[str, Any], length: int, measure: Any) -> float | None:
    public = [d for d, r in days.items() if r["available_at"] <= decision["decision_time"]]
    if not public or (decision["data_date"] - max(public)).days > 10:
        return None
    end = max(public)
    now = window_mean(days, end, length, measure, days[end]["available_at"])
    begins = made.inputs().decisions["data_date"][0] - timedelta(days=366 * 11)
    past: list[float] = []
    for year in range(1, 11):
        for aside in (-14, 0, 14):
            then = end - timedelta(days=round(365.25 * year) + aside)
            value = window_mean(days, then, length, measure, None) if then >= begins else None
            past += [] if value is None else [value]
    return None if now is None or len(past) < 8 else (now - np.mean(past)) / np.std(past, ddof=1)


@pytest.mark.parametrize(
    ("column", "length", "measure"),
    [
        ("temperature_7d_z", 7, lambda r: (r["tmin_c"] + r["tmax_c"]) / 2),
        ("precipitation_30d_z", 30, lambda r: r["precip_mm"]),
        ("precipitation_90d_z", 90, lambda r: r["precip_mm"]),
        (
            "growing_degrees_30d_z",
            30,
            lambda r: (min(max(r["tmin_c"], 10), 30) + min(max(r["tmax_c"], 10), 30)) / 2 - 10,
        ),
    ],
)
def test_weather_is_measured_against_each_stations_own_past_years(column: str, length: int, measure: Any) -> None:
    stations = [station_days("S1"), station_days("S2")]
    built = full(weather.FAMILY)
    for at in (30, 199, 333, 512, 700, 888):
        decision = made.inputs().decisions.row(at, named=True)
        scores = [s for s in (score(days, decision, length, measure) for days in stations) if s is not None]
        assert built[f"weather_midwest_{column}"][at] == pytest.approx(np.mean(scores), rel=1e-7, abs=1e-8), at


def test_heat_days_stations_and_flags_of_two_sigma() -> None:
    built = full(weather.FAMILY)
    hot = lambda r: float(r["tmax_c"] >= 35)  # noqa: E731
    for at in (130, 140, 390, 640, 900):
        decision = made.inputs().decisions.row(at, named=True)
        means: list[float] = []
        for station in ("S1", "S2"):
            days = station_days(station)
            end = max(d for d, r in days.items() if r["available_at"] <= decision["decision_time"])
            mean = window_mean(days, end, 14, hot, days[end]["available_at"])
            means += [] if mean is None else [mean]
        assert built["weather_midwest_heat_days_14d"][at] == pytest.approx(14 * np.mean(means))
    for row in built.to_dicts():
        assert row["weather_midwest_stations"] == 2
        value = row["weather_midwest_temperature_7d_z"]
        flag = None if value is None else (value >= 2) - (value <= -2)
        assert row["weather_midwest_temperature_7d_extreme"] == flag
    assert set(built["weather_argentina_stations"].unique()) == {0.0, 1.0}
    assert built["weather_argentina_precipitation_90d_z"].null_count() == built.height


VALUES = st.lists(st.one_of(st.none(), st.integers(-50, 50).map(float)), min_size=12, max_size=60)


@given(VALUES, st.integers(3, 12))
def test_scores_and_ranks_are_those_of_pandas_whatever_is_missing(values: list[float | None], window: int) -> None:
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float64})
    found = frame.select(z=trailing.z_score(pl.col("x"), window), p=trailing.percentile(pl.col("x"), window))
    x = pd.Series(values, dtype=float)
    rolled = x.rolling(window, min_periods=trailing.enough(window))
    still = rolled.max() == rolled.min()
    expected = ((x - rolled.mean()) / rolled.std()).mask(still)
    rank = 100 * rolled.rank(method="max") / x.rolling(window, min_periods=1).count()
    for mine, theirs in ((found["z"], expected), (found["p"], rank.where(x.notna()))):
        wanted = pl.Series(theirs.to_numpy()).fill_nan(None)
        assert mine.is_null().equals(wanted.is_null())
        assert ((mine - wanted).abs().max() or 0.0) < 1e-6


def test_a_rate_that_stands_still_has_no_score() -> None:
    pegged = pl.DataFrame({"x": [1000.3, 3.75] + [3.75] * 40})
    assert pegged.select(trailing.z_score(pl.col("x"), 10))["x"][15:].null_count() == 27


def test_vendors_are_taken_in_the_familys_order_simulated_or_not() -> None:
    table = made.table(
        "fx_daily",
        [
            {
                "pair": "USDBRL",
                "observed_date": date(2020, 1, 1),
                "rate": 1.0,
                "source": s,
                "available_at": made.at(date(2020, 1, 2), 0),
            }
            for s in ("zebra", "simulated:yahoo", "ant", "simulated:bulk_csv")
        ],
    )
    given = type(made.inputs())(made.inputs().decisions, made.inputs().sessions, {"fx_daily": table})
    series = RawSeries("fx_daily", {"pair": "USDBRL"}, timedelta(days=7), {"value": "rate"}, ("bulk_csv", "yahoo"))
    found = [rows["source"][0] for rows in by_source(given, series)]
    assert found == ["simulated:bulk_csv", "simulated:yahoo", "ant", "zebra"]


def test_dxy_is_paired_with_the_commercials_share() -> None:
    share = positioning.oil_net_share(made.inputs())["net_share"].to_numpy()
    agrees(fx.FAMILY, "dxy_z_63_with_cot", z(rate("DXY"), 63) * pd.Series(share))

"""The raw series that no surface may carry as they are, as known at each decision: what columns are compared with."""

from __future__ import annotations

import polars as pl

from zl_assets.core.features import fx, macro, palm, positioning, volatility, weather
from zl_assets.core.features.family import Domain, Inputs
from zl_assets.core.features.readings import RawSeries, at_decisions, closes
from zl_assets.core.point_in_time import as_of

_DAILY: dict[str, tuple[RawSeries, ...]] = {
    "vix:VIX": volatility.VIX,
    "treasury:10-year yield": macro.TEN,
    "treasury:2-year yield": macro.TWO,
    "treasury:30-year yield": macro.THIRTY,
    "fed:policy rate": macro.POLICY,
    "palm:palm oil, USD/t": palm.CPO,
    **{f"dollar:{pair}": fx.options(name) for name, pair in fx.PAIRS.items()},
}


def raw_as_of(inputs: Inputs) -> pl.DataFrame:
    """Raw series at every decision.

    Args:
        inputs: see `Inputs`; tables that are not there are left out.

    Returns:
        One row per decision, in order; columns named `<domain>:<series>`, see `signal_rules.disguised`.
    """
    frames = [
        at_decisions(inputs, {"raw": series}, {name: pl.col("raw")})
        for name, series in _DAILY.items()
        if any(option.table in inputs.series for option in series)
    ]
    frames += [*_net_counts(inputs), _board_crush(inputs), *_station_days(inputs)]
    return pl.concat(frames, how="horizontal")


def _net_counts(inputs: Inputs) -> list[pl.DataFrame]:
    """Contracts held net in ZL by each group of traders."""
    table = inputs.series.get("cftc_positioning")
    return [] if table is None else [_net_count(inputs, table, group) for group in positioning.REPORTS]


def _net_count(inputs: Inputs, table: pl.DataFrame, group: str) -> pl.DataFrame:
    net = table.with_columns(net=pl.col(f"{group}_long") - pl.col(f"{group}_short"))
    known = Inputs(inputs.decisions, inputs.sessions, {"cftc": net})
    of_oil = {"contract_code": positioning.CONTRACTS["zl"]}
    series = [
        RawSeries("cftc", {**of_oil, "report": report}, positioning.MAX_AGE, {"value": "net"})
        for report in positioning.REPORTS[group]
    ]
    name = _name("positioning", f"net contracts of {group.replace('_', ' ')}")
    return at_decisions(known, {"raw": series}, {name: pl.col("raw")})


def _board_crush(inputs: Inputs) -> pl.DataFrame:
    """Board crush in USD/bu: 0.022 ZM + 0.11 ZL - ZS/100 (DOMAIN section 5)."""
    zl, zm, zs = (closes(inputs, symbol, symbol) for symbol in ("ZL", "ZM", "ZS"))
    crush = 0.022 * pl.col("ZM") + 0.11 * pl.col("ZL") - pl.col("ZS") / 100
    return pl.concat([zl, zm, zs], how="horizontal").select(crush.alias(_name("crush", "board crush, USD/bu")))


def _station_days(inputs: Inputs) -> list[pl.DataFrame]:
    """Each station's newest day less the mean of the days around its date in past years, in degrees Celsius."""
    if "weather_daily" not in inputs.series:
        return []
    days, dates = weather.day_anomalies(inputs), inputs.decisions.select("data_date")
    seen = as_of(days, inputs.decisions, ["anomaly"], max_age=weather.MAX_AGE, by=["station", "region"])
    return [
        dates.join(rows, on="data_date", how="left", maintain_order="left").select(
            pl.col("anomaly").alias(_name("weather", f"{station}, a day's anomaly"))
        )
        for (station,), rows in sorted(seen.partition_by("station", as_dict=True).items())
    ]


def _name(domain: Domain, series: str) -> str:
    return f"{domain}:{series}"

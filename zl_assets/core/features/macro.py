"""Rates and the economy: the Treasury curve, the path of the policy rate, prices, jobs and output.

A yield says something about soybean oil only through its changes and together with the dollar (DOMAIN section 7, rule
1), the policy rate only through its path and what it does to the exporters' currencies (rule 4). Monthly figures are
compared within what was published at the decision, so a revision or a new base year never shows up as a change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import polars as pl

from zl_assets.core.features import trailing as over
from zl_assets.core.features.family import Domain, Family, Feature, Inputs, Treatment
from zl_assets.core.features.fx import options as currency
from zl_assets.core.features.readings import RawSeries, at_decisions, closes, finished, over_history

DAILY_AGE = timedelta(days=7)
WEEKLY_AGE = timedelta(days=21)
MONTHLY_AGE = timedelta(days=100)
"""From the first day of a month to the next but one release."""
QUARTERLY_AGE = timedelta(days=250)


def _fred(name: str, age: timedelta = DAILY_AGE) -> RawSeries:
    return RawSeries("fred_economic", {"series_id": name}, age)


def _yield(tenor: str) -> RawSeries:
    return RawSeries("treasury_daily", {"tenor": tenor}, DAILY_AGE, {"value": "close"}, ("fred_DGS10",))


TEN = (_fred("DGS10"), _yield("10Y"))
TWO = (_fred("DGS2"), _yield("2Y"))
THIRTY = (_fred("DGS30"), _yield("30Y"))
_BREAKEVEN = (_fred("T10YIE"),)
POLICY = (_fred("DFEDTARU"), _fred("DFF"), _fred("FEDFUNDS", MONTHLY_AGE))
_CHANGES = (1, 5, 21, 63)
_FED_CHANGES = (63, 126, 252)


def _features() -> Iterator[Feature]:
    def rates(name: str, unit: str, description: str, treatment: Treatment, domain: Domain = "treasury") -> Feature:
        return Feature(name, unit, description, domain, treatment)

    points = "percentage points"
    for n in _CHANGES:
        yield rates(f"rates_10y_change_{n}", points, f"Change of the 10-year yield in {n} sessions", "change")
    yield rates("rates_10y_z_30", "1", "10-year yield against its last 30 sessions", "z")
    yield rates("rates_10y_z_252", "1", "10-year yield against its last 252 sessions", "z")
    yield rates("rates_10y_z_30_with_dxy", "1", "Product of the 30-session scores of the yield and DXY", "z")
    yield rates(
        "rates_10y_dxy_correlation_126", "1", "5-session changes of the yield with DXY's returns", "correlation"
    )
    yield rates("rates_10y_change_21_less_dollar", points, "21-session change that DXY's does not explain", "change")
    yield rates("rates_10y_zl_correlation_126", "1", "5-session changes of the yield with ZL's returns", "correlation")
    for name, what in (("10y_2y", "10-year less 2-year"), ("30y_10y", "30-year less 10-year")):
        yield rates(f"curve_{name}", points, f"{what} yield", "spread")
        yield rates(f"curve_{name}_change_21", points, f"{what} yield, change in 21 sessions", "change")
        yield rates(f"curve_{name}_z_252", "1", f"{what} yield against its last 252 sessions", "z")
    yield rates("curve_inverted", "1", "1 where the 10-year yields less than the 2-year", "flag")
    yield rates("real_10y_change_21", points, "Change of the 10-year yield less break-even inflation", "change")
    yield rates(
        "breakeven_10y_change_21", points, "Change of break-even inflation in 21 sessions", "change", "inflation"
    )
    yield rates("breakeven_10y_z_252", "1", "Break-even inflation against its last 252 sessions", "z", "inflation")
    for n in _FED_CHANGES:
        yield rates(f"fed_rate_change_{n}", points, f"Change of the policy rate in {n} sessions", "change", "fed")
    yield rates(
        "fed_path_2y", points, "2-year yield less the policy rate: the path the market expects", "spread", "fed"
    )
    yield rates("fed_path_2y_change_21", points, "Change of that path in 21 sessions", "change", "fed")
    for name in ("brl", "cny"):
        what = f"21-session changes of the 2-year yield with those of USD{name.upper()}"
        yield rates(f"fed_{name}_correlation_126", "1", what, "correlation", "fed")
        what = f"21-session changes of the policy rate with those of USD{name.upper()}"
        yield rates(f"fed_rate_{name}_correlation_252", "1", what, "correlation", "fed")
    yield from _economy()


def _economy() -> Iterator[Feature]:
    points = "percentage points"
    yield Feature("cpi_yoy", "%", "Consumer prices against a year before", "inflation", "change")
    yield Feature("cpi_yoy_change_3m", points, "Change of that in three months", "inflation", "change")
    yield Feature("cpi_3m_annual", "%", "Consumer prices: three months' change, a year's rate", "inflation", "change")
    yield Feature("unemployment_change_3m", points, "Change of unemployment in three months", "economy", "change")
    yield Feature("unemployment_change_12m", points, "Change of unemployment in twelve months", "economy", "change")
    yield Feature(
        "unemployment_above_low", points, "Three-month mean less its low of the year (Sahm's rule)", "economy", "change"
    )
    yield Feature("gdp_yoy", "%", "Real output against a year before", "economy", "change")
    yield Feature("gdp_yoy_change_1q", points, "Change of that in a quarter", "economy", "change")
    yield Feature("nfci_z_52w", "1", "Financial conditions against the last 52 weeks", "economy", "z")
    yield Feature("nfci_change_13w", "1", "Change of financial conditions in 13 weeks", "economy", "change")


FEATURES = tuple(_features())


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    frames = [*_yields(inputs), *_curve(inputs), *_fed(inputs), *_activity(inputs)]
    return finished(inputs, [feature.name for feature in FEATURES], frames)


def _yields(inputs: Inputs) -> list[pl.DataFrame]:
    ten, dxy = pl.col("ten"), pl.col("dxy")
    # Yields, the dollar and ZL become public at different hours; over five sessions that matters little.
    week, dollar, zl = pl.col("week"), pl.col("dollar"), pl.col("zl_week")
    weeks = {"week": over.change(ten, 5)}
    with_zl = weeks | {"zl_week": over.log_gain(pl.col("zl_adjusted"), 5)}
    with_dollar = weeks | {"dollar": over.log_gain(dxy, 5)}
    alone = {f"rates_10y_change_{n}": over.change(ten, n) for n in _CHANGES}
    alone |= {f"rates_10y_z_{n}": over.z_score(ten, n) for n in (30, 252)}
    alone["rates_10y_zl_correlation_126"] = over.correlation(week, zl, 126)
    explained = over.beta(week, dollar, 252) * over.log_gain(dxy, 21)
    paired = {
        "rates_10y_z_30_with_dxy": over.z_score(ten, 30) * over.z_score(dxy, 30),
        "rates_10y_dxy_correlation_126": over.correlation(week, dollar, 126),
        "rates_10y_change_21_less_dollar": over.change(ten, 21) - explained,
    }
    return [
        at_decisions(inputs, {"ten": TEN}, alone, [closes(inputs, "ZL", "zl")], with_zl),
        at_decisions(inputs, {"ten": TEN, "dxy": currency("dxy")}, paired, shared=with_dollar),
    ]


def _slope(name: str) -> dict[str, pl.Expr]:
    slope = pl.col("slope")
    return {
        f"curve_{name}": slope,
        f"curve_{name}_change_21": over.change(slope, 21),
        f"curve_{name}_z_252": over.z_score(slope, 252),
    }


def _curve(inputs: Inputs) -> list[pl.DataFrame]:
    ten, breakeven = pl.col("ten"), pl.col("breakeven")
    short = _slope("10y_2y") | {"curve_inverted": (pl.col("slope") < 0).cast(pl.Float64)}
    long = _slope("30y_10y")
    inflation = {
        "breakeven_10y_change_21": over.change(breakeven, 21),
        "breakeven_10y_z_252": over.z_score(breakeven, 252),
    }
    real = {"real_10y_change_21": over.change(ten - breakeven, 21)}
    return [
        at_decisions(inputs, {"ten": TEN, "two": TWO}, short, shared={"slope": ten - pl.col("two")}),
        at_decisions(inputs, {"ten": TEN, "thirty": THIRTY}, long, shared={"slope": pl.col("thirty") - ten}),
        at_decisions(inputs, {"breakeven": _BREAKEVEN}, inflation),
        at_decisions(inputs, {"ten": TEN, "breakeven": _BREAKEVEN}, real),
    ]


def _fed(inputs: Inputs) -> list[pl.DataFrame]:
    rate, two = pl.col("rate"), pl.col("two")
    path = two - rate
    columns = {"fed_path_2y": path, "fed_path_2y_change_21": over.change(path, 21)}
    frames = [
        at_decisions(inputs, {"rate": POLICY}, {f"fed_rate_change_{n}": over.change(rate, n) for n in _FED_CHANGES}),
        at_decisions(inputs, {"two": TWO, "rate": POLICY}, columns),
    ]
    for name in ("brl", "cny"):
        moved, other = pl.col("moved"), pl.col("other_moved")
        options, shared = {"other": currency(f"usd{name}")}, {"other_moved": over.log_gain(pl.col("other"), 21)}
        for series, known, column, window in (
            ("two", TWO, f"fed_{name}_correlation_126", 126),
            ("rate", POLICY, f"fed_rate_{name}_correlation_252", 252),
        ):
            columns = {column: over.correlation(moved, other, window)}
            shared["moved"] = over.change(pl.col(series), 21)
            frames.append(at_decisions(inputs, {series: known, **options}, columns, shared=shared))
    return frames


def _months_back(count: int) -> pl.Expr:
    """The value so many calendar months before the newest one, null where that month is missing."""
    newest = pl.col("observed_date").last()
    return pl.col("value").filter(pl.col("observed_date") == newest.dt.offset_by(f"-{count}mo")).last()


def _growth(months: int, at: int = 0) -> pl.Expr:
    """Percent growth over some months, up to the month `at` months before the newest one."""
    return 100 * (_months_back(at) / _months_back(at + months) - 1)


def _mean_of_three(at: int) -> pl.Expr:
    return sum((_months_back(at + k) for k in (1, 2)), _months_back(at)) * (1 / 3)


def _history(inputs: Inputs, series: RawSeries, days: int, columns: dict[str, pl.Expr]) -> pl.DataFrame:
    return over_history(inputs, (series,), timedelta(days=days), columns)


def _activity(inputs: Inputs) -> list[pl.DataFrame]:
    prices = {
        "cpi_yoy": _growth(12),
        "cpi_yoy_change_3m": _growth(12) - _growth(12, at=3),
        "cpi_3m_annual": 100 * ((_months_back(0) / _months_back(3)) ** 4 - 1),
    }
    jobs = {
        **{f"unemployment_change_{n}m": _months_back(0) - _months_back(n) for n in (3, 12)},
        "unemployment_above_low": _mean_of_three(0) - pl.min_horizontal(_mean_of_three(k) for k in range(13)),
    }
    index, back = pl.col("value"), pl.col("days_back")
    conditions = {
        "nfci_z_52w": pl.when(index.count() >= 42).then((index.last() - index.mean()) / index.std()),
        "nfci_change_13w": index.last() - index.filter(back.is_between(89, 93)).last(),
    }
    return [
        _history(inputs, _fred("CPIAUCSL", MONTHLY_AGE), 500, prices),
        _history(inputs, _fred("UNRATE", MONTHLY_AGE), 500, jobs),
        _output(inputs),
        _history(inputs, _fred("NFCI", WEEKLY_AGE), 364, conditions),
    ]


def _output(inputs: Inputs) -> pl.DataFrame:
    """Growth of output from its level, or where only a rate of growth is stored, that."""
    names = ("gdp_yoy", "gdp_yoy_change_1q")
    level = (_growth(12), _growth(12) - _growth(12, at=3))
    rate = (_months_back(0), _months_back(0) - _months_back(3))
    frames = [
        _history(inputs, _fred(series, QUARTERLY_AGE), 600, dict(zip(names, columns, strict=True)))
        for series, columns in (("GDPC1", level), ("GDP_YOY_PCT_DERIVED", rate))
    ]
    return _first(frames)


def _first(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    one, other = frames
    return pl.select(pl.coalesce(one[name], other[name]).alias(name) for name in one.columns)


FAMILY = Family(
    name="macro",
    version="v2",
    description="The Treasury curve with the dollar, the policy rate's path, inflation, jobs, output",
    inputs=("fred_economic",),
    look_back=340,
    features=FEATURES,
    build=build,
    rules=(1, 4),
    stands={
        "cpi": MONTHLY_AGE,
        "unemployment": MONTHLY_AGE,
        "gdp": QUARTERLY_AGE,
        "nfci": WEEKLY_AGE,
        # A rate may rest for years; its change against a year before is new after a year.
        "fed_rate_change": timedelta(days=366),
    },
)

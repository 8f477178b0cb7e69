"""The two regime sets, the regime of a day, and the calendar."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.regimes import (
    ASSIGNED_ON,
    RESEARCH,
    V0,
    RegimeSet,
    regime_calendar,
    regime_on,
    regime_weights,
    with_regime,
)
from zl_assets.errors import RegimeError

NOW = datetime(2025, 11, 14, 20, tzinfo=UTC)
START = {"v0": date(2010, 1, 1), "research": date(1990, 1, 1)}
END = date(2029, 12, 31)

V0_TABLE = [
    ("pre_trade_war", "2010-01-01", "2018-02-28", 100),
    ("trade_war", "2018-03-01", "2019-12-31", 300),
    ("covid_crash", "2020-01-01", "2020-05-31", 200),
    ("covid_recovery", "2020-06-01", "2020-12-31", 200),
    ("inflation", "2021-01-01", "2022-12-31", 300),
    ("trump_anticipation", "2023-01-01", "2025-01-19", 400),
    ("trump_term", "2025-01-20", "2029-12-31", 600),
]
RESEARCH_WEIGHTS = {
    "historical_pre2000": 50,
    "precrisis_2000_2007": 100,
    "financial_crisis_2008_2009": 500,
    "qe_supercycle_2010_2014": 300,
    "commodity_crash_2014_2016": 400,
    "tradewar_2017_2019": 1500,
    "covid_2020_2021": 800,
    "inflation_2021_2023": 1200,
    "trump_2023_2025": 5000,
    "structural_events": 2000,
    "allhistory": 1000,
}
DAYS = st.dates(date(2010, 1, 1), END)


def test_the_v0_set_is_the_published_table() -> None:
    assert [(r.name, r.start.isoformat(), r.end.isoformat(), r.weight) for r in V0] == V0_TABLE


def test_the_research_set_has_eleven_regimes_of_which_two_are_overlays() -> None:
    assert {r.name: r.weight for r in RESEARCH} == RESEARCH_WEIGHTS
    assert {r.name for r in RESEARCH if r.is_overlay} == {"structural_events", "allhistory"}


@pytest.mark.parametrize("regime_set", ["v0", "research"])
def test_every_day_lies_in_exactly_one_regime(regime_set: RegimeSet) -> None:
    spans = [r for r in {"v0": V0, "research": RESEARCH}[regime_set] if not r.is_overlay]
    start = START[regime_set]
    days = [start + timedelta(days=n) for n in range((END - start).days + 1)]
    assert all(sum(r.start <= d <= r.end for r in spans) == 1 for d in days)
    assert min(r.start for r in spans) == start
    assert max(r.end for r in spans) == END


@pytest.mark.parametrize("regime_set", ["v0", "research"])
@given(days=st.lists(DAYS, min_size=1, max_size=8))
def test_a_frame_gets_the_regime_of_each_day_in_its_own_order(regime_set: RegimeSet, days: list[date]) -> None:
    marked = with_regime(pl.DataFrame({"n": range(len(days)), "day": days}), "day", regime_set)
    assert marked["day"].to_list() == days
    assert marked["n"].to_list() == list(range(len(days)))
    assert marked["regime_name"].to_list() == [regime_on(d, regime_set).name for d in days]
    assert marked["regime_weight"].to_list() == [regime_on(d, regime_set).weight for d in days]


@pytest.mark.parametrize("day", [date(2009, 12, 31), date(2030, 1, 1)])
def test_a_day_outside_every_regime_is_an_error_that_names_it(day: date) -> None:
    with pytest.raises(RegimeError, match=str(day)):
        regime_on(day)
    with pytest.raises(RegimeError, match=str(day)):
        with_regime(pl.DataFrame({"day": [date(2015, 1, 2), day]}), "day")


def test_the_calendar_has_every_day_from_1990_once() -> None:
    calendar = regime_calendar(date(2025, 11, 14), NOW)
    assert calendar.height == 13_102
    assert calendar["calendar_date"].to_list() == [date(1990, 1, 1) + timedelta(days=n) for n in range(13_102)]
    assert calendar["regime"].null_count() == 0
    assert not set(calendar["regime"]) & {"structural_events", "allhistory"}
    row = calendar.filter(pl.col("calendar_date") == date(2020, 6, 1)).row(0, named=True)
    assert (row["regime"], row["weight"], row["regime_v0"], row["weight_v0"]) == (
        "covid_2020_2021",
        800,
        "covid_recovery",
        200,
    )


def test_the_v0_columns_of_the_calendar_start_in_2010() -> None:
    calendar = regime_calendar(date(2011, 1, 1), NOW)
    early = pl.col("calendar_date") < date(2010, 1, 1)
    assert calendar.filter(early)["regime_v0"].null_count() == calendar.filter(early).height
    assert calendar.filter(~early)["regime_v0"].null_count() == 0


def test_a_calendar_beyond_the_last_regime_is_refused() -> None:
    with pytest.raises(RegimeError, match="2030-01-01"):
        regime_calendar(date(2030, 1, 1), NOW)


def test_the_weights_table_says_when_the_regimes_were_named() -> None:
    weights = regime_weights(NOW)
    assert weights.height == 18
    assert weights["assigned_on"].unique().to_list() == [ASSIGNED_ON]
    assert weights.filter(~pl.col("is_overlay"))["start_date"].max() < ASSIGNED_ON
    assert weights.select(pl.col("description", "research_rationale").str.len_chars().min()).row(0) > (0, 0)

"""Which days are sessions, how they are numbered, and when a close is known."""

from datetime import UTC, date, datetime, timedelta

import pandas_market_calendars as mcal
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.exchange_calendar import (
    FIRST_DAY,
    KNOWN_OUTAGES,
    all_sessions,
    chicago_trade_date,
    known_at,
    session_after,
    session_frame,
    sessions_between,
    sessions_of,
)
from zl_assets.core.instruments import INSTRUMENTS
from zl_assets_tests.real_bars import real_zl

GRAINS = sessions_of("grains")
HOLIDAY_EVENINGS = {date(2010, 7, 5), date(2010, 9, 6), date(2011, 5, 30), date(2011, 7, 4), date(2011, 9, 5)}
OUTAGES = {date(2014, 6, 11), date(2014, 10, 3), date(2020, 2, 28)}


@pytest.mark.realdata
def test_the_grain_calendar_is_the_observed_weekdays_but_for_outages_and_holiday_evenings(real_data) -> None:
    observed = {d for d in real_zl(real_data).daily["ts_event"].dt.date() if d.weekday() < 5}
    expected = {d for d in GRAINS if date(2010, 6, 7) <= d <= date(2025, 8, 29)}
    assert expected - observed == OUTAGES == set(KNOWN_OUTAGES["grains"])
    assert observed - expected == HOLIDAY_EVENINGS


def test_the_grain_calendar_agrees_with_the_librarys_oilseed_calendar_but_for_juneteenth() -> None:
    days = mcal.get_calendar("CMEGlobex_Oilseeds").valid_days("2010-06-07", "2025-12-31")
    oilseeds = {d.date() for d in days}
    ours = {d for d in GRAINS if date(2010, 6, 7) <= d <= date(2025, 12, 31)}
    assert ours <= oilseeds
    assert oilseeds - ours == {date(y, 6, 20 if y == 2022 else 19) for y in (2022, 2023, 2024, 2025)}


def test_days_of_mourning_on_which_zl_traded_are_sessions() -> None:
    assert {date(2018, 12, 5), date(2025, 1, 9)} <= set(GRAINS)


@pytest.mark.parametrize("market", sorted({i.market for i in INSTRUMENTS.values()}))
def test_session_numbers_are_consecutive_on_ascending_weekdays(market: str) -> None:
    frame = session_frame(market)
    assert frame["session_number"].to_list() == list(range(frame.height))
    assert frame["trade_date"].is_sorted()
    assert frame["trade_date"].is_unique().all()
    assert frame["trade_date"].dt.weekday().max() == 5
    assert frame["trade_date"][0] >= FIRST_DAY


def test_every_followed_symbol_has_the_sessions_of_its_market() -> None:
    counts = dict(all_sessions().group_by("symbol").len().iter_rows())
    assert counts == {s: len(sessions_of(i.market)) for s, i in INSTRUMENTS.items()}


@given(position=st.integers(0, len(GRAINS) - 253), ahead=st.sampled_from([0, 1, 5, 21, 63, 126, 252]))
def test_session_after_counts_sessions(position: int, ahead: int) -> None:
    later = session_after("grains", GRAINS[position], ahead)
    assert sum(GRAINS[position] < d <= later for d in GRAINS) == ahead


@given(days=st.tuples(st.dates(date(2010, 1, 1), date(2030, 1, 1)), st.integers(0, 400)))
def test_sessions_between_counts_those_after_a_day_up_to_another(days: tuple[date, int]) -> None:
    earlier, later = days[0], days[0] + timedelta(days=days[1])
    assert sessions_between("grains", earlier, later) == sum(earlier < d <= later for d in GRAINS)


def test_sessions_between_refuses_days_outside_the_calendar_and_the_wrong_way_round() -> None:
    for earlier, later in ((date(2025, 1, 3), date(2025, 1, 2)), (date(2025, 1, 2), date(2036, 1, 2))):
        with pytest.raises(ValueError, match="not a stretch of the calendar"):
            sessions_between("grains", earlier, later)


def test_session_after_refuses_a_day_without_a_session_and_the_end_of_the_calendar() -> None:
    with pytest.raises(ValueError, match="2025-07-04 is not a grains session"):
        session_after("grains", date(2025, 7, 4), 1)
    with pytest.raises(ValueError, match="beyond the calendar's end"):
        session_after("grains", GRAINS[-1], 1)


@pytest.mark.parametrize(
    ("moment", "trade_date"),
    [
        (datetime(2011, 7, 12, 21, tzinfo=UTC), date(2011, 7, 12)),  # 16:00 in Chicago, summer
        (datetime(2011, 7, 12, 22, tzinfo=UTC), date(2011, 7, 13)),  # 17:00, summer
        (datetime(2012, 1, 10, 22, tzinfo=UTC), date(2012, 1, 10)),  # 16:00, winter
        (datetime(2012, 1, 10, 23, tzinfo=UTC), date(2012, 1, 11)),  # 17:00, winter
        (datetime(2011, 7, 10, 23, tzinfo=UTC), date(2011, 7, 11)),  # Sunday evening
        (datetime(2020, 7, 14, 0, tzinfo=UTC), date(2020, 7, 14)),  # 19:00 the evening before
        (datetime(2020, 7, 14, 17, tzinfo=UTC), date(2020, 7, 14)),  # noon
    ],
)
def test_evening_hours_belong_to_the_next_day_in_chicago(moment: datetime, trade_date: date) -> None:
    frame = pl.DataFrame({"ts_event": [moment]}, schema={"ts_event": pl.Datetime("us", "UTC")})
    assert frame.select(chicago_trade_date(pl.col("ts_event"))).item() == trade_date


@pytest.mark.parametrize(
    ("trade_date", "market", "moment"),
    [
        (date(2020, 7, 14), "grains", datetime(2020, 7, 14, 18, 20, tzinfo=UTC)),
        (date(2020, 1, 14), "grains", datetime(2020, 1, 14, 19, 20, tzinfo=UTC)),
        (date(2012, 5, 18), "grains", datetime(2012, 5, 18, 18, 20, tzinfo=UTC)),
        (date(2012, 5, 21), "grains", datetime(2012, 5, 21, 19, 0, tzinfo=UTC)),
        (date(2013, 4, 5), "grains", datetime(2013, 4, 5, 19, 0, tzinfo=UTC)),
        (date(2013, 4, 8), "grains", datetime(2013, 4, 8, 18, 20, tzinfo=UTC)),
        (date(2020, 7, 14), "energy", datetime(2020, 7, 14, 21, 0, tzinfo=UTC)),
    ],
)
def test_a_close_is_known_when_the_session_ends(trade_date: date, market: str, moment: datetime) -> None:
    frame = pl.DataFrame({"day": [trade_date], "market": [market]})
    assert frame.select(known_at(pl.col("day"), pl.col("market"))).item() == moment

"""From vendor bars to trading sessions: small made-up cases, properties, and the real history of ZL."""

import math
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from zl_assets.core.bars import daily_bars
from zl_assets.core.exchange_calendar import KNOWN_OUTAGES, sessions_of
from zl_assets.core.features.matrix import build_matrix
from zl_assets.core.sessions import SessionBuild, build_sessions, known_by, missing_sessions
from zl_assets_tests.made_bars import accepted, bar, calm_days, day, grain_sessions, hour, midnight
from zl_assets_tests.real_bars import MATRIX_SCHEMA, NOW, RealZl, real_zl

BAR = ("open", "high", "low", "close", "volume")


def built(*rows: dict[str, Any]) -> SessionBuild:
    """Sessions of made-up bars, hourly and daily ones each in their place."""
    bars = accepted(list(rows))
    return build_sessions(bars, daily_bars(bars))


def session(build: SessionBuild, trade_date: date) -> dict[str, Any]:
    return build.sessions.filter(pl.col("trade_date") == trade_date).row(0, named=True)


def values(build: SessionBuild, trade_date: date) -> tuple[float, ...]:
    row = session(build, trade_date)
    return tuple(row[c] for c in BAR)


class TestTradeDates:
    def test_a_sunday_stub_is_folded_into_monday(self) -> None:
        build = built(
            bar(day(2012, 1, 6), 40.0),
            bar(day(2012, 1, 8), 41.0, open=40.8, high=43.0, volume=300),
            bar(day(2012, 1, 9), 42.0, low=41.5),
        )
        assert build.sessions["trade_date"].to_list() == [date(2012, 1, 6), date(2012, 1, 9)]
        assert values(build, date(2012, 1, 9)) == (40.8, 43.0, 40.5, 42.0, 40_300)

    def test_the_evening_of_a_holiday_belongs_to_the_next_session(self) -> None:
        build = built(
            bar(day(2011, 7, 1), 55.0), bar(day(2011, 7, 4), 56.0, open=55.5, volume=90), bar(day(2011, 7, 5), 57.0)
        )
        assert build.sessions["trade_date"].to_list() == [date(2011, 7, 1), date(2011, 7, 5)]
        assert values(build, date(2011, 7, 5)) == (55.5, 57.5, 55.5, 57.0, 40_090)

    def test_evening_hours_count_for_the_next_trade_date(self) -> None:
        # In July 2011 the evening opens at 18:00 in Chicago, 23:00 UTC of the day before.
        build = built(
            hour(datetime(2011, 7, 12, 15, tzinfo=UTC), 50.0),
            hour(datetime(2011, 7, 12, 23, tzinfo=UTC), 51.0, open=50.9, high=54.0),
            hour(datetime(2011, 7, 13, 15, tzinfo=UTC), 52.0),
        )
        assert values(build, date(2011, 7, 12)) == (50.0, 50.5, 49.5, 50.0, 2_000)
        assert values(build, date(2011, 7, 13)) == (50.9, 54.0, 50.5, 52.0, 4_000)

    def test_the_evening_of_a_friday_before_a_holiday_waits_for_the_next_session(self) -> None:
        build = built(
            hour(datetime(2011, 7, 1, 15, tzinfo=UTC), 50.0),
            hour(datetime(2011, 7, 4, 23, tzinfo=UTC), 51.0),
            hour(datetime(2011, 7, 5, 15, tzinfo=UTC), 52.0),
        )
        assert build.sessions.select("trade_date", "open").rows() == [
            (date(2011, 7, 1), 50.0),
            (date(2011, 7, 5), 51.0),
        ]

    def test_since_2013_a_utc_day_is_a_trade_date(self) -> None:
        build = built(
            hour(datetime(2020, 7, 14, 0, tzinfo=UTC), 30.0), hour(datetime(2020, 7, 14, 17, tzinfo=UTC), 31.0)
        )
        assert build.sessions["trade_date"].to_list() == [date(2020, 7, 14)]

    def test_an_evening_whose_session_has_not_traded_yet_is_no_session(self) -> None:
        evening = hour(datetime(2011, 7, 13, 23, tzinfo=UTC), 51.0)
        by_hour = built(hour(datetime(2011, 7, 13, 15, tzinfo=UTC), 50.0), evening)
        by_day = built(bar(day(2012, 1, 6)), bar(day(2012, 1, 8), volume=300))
        assert by_hour.sessions["trade_date"].to_list() == [date(2011, 7, 13)]
        assert by_day.sessions["trade_date"].to_list() == [date(2012, 1, 6)]

    def test_an_evening_alone_is_no_session_though_its_hours_make_a_bar_of_the_utc_day(self) -> None:
        # Since 2013 the evening opens at 19:00 in Chicago, which is the UTC day of its own session.
        monday = [hour(datetime(2020, 7, 13, h, tzinfo=UTC), 30.0) for h in (0, 1, 14, 17)]
        evening = [hour(datetime(2020, 7, 14, h, tzinfo=UTC), 31.0) for h in (0, 1)]
        assert built(*monday, *evening).sessions["trade_date"].to_list() == [date(2020, 7, 13)]
        # Before, it lay on the UTC day before: a first delivery may start with it.
        first = [hour(datetime(2011, 7, 12, 23, tzinfo=UTC), 51.0), hour(datetime(2011, 7, 13, 15, tzinfo=UTC), 52.0)]
        assert built(*first).sessions.select("trade_date", "open").rows() == [(date(2011, 7, 13), 51.0)]

    def test_hourly_bars_stand_before_daily_ones(self) -> None:
        build = built(
            bar(day(2011, 7, 12), 50.0),
            bar(day(2011, 7, 13), 60.0, volume=2_000),
            hour(datetime(2011, 7, 13, 15, tzinfo=UTC), 52.0),
        )
        assert build.sessions.select("close", "built_from").rows() == [(50.0, "1d"), (52.0, "1h")]

    def test_nothing_gives_no_session(self) -> None:
        nothing = accepted(calm_days(date(2015, 1, 2), 1)).clear()
        build = build_sessions(nothing, daily_bars(nothing))
        assert build.sessions.is_empty()
        assert build.other_month_bars == {}


class TestContractMonths:
    def test_a_session_never_mixes_the_prices_of_two_months(self) -> None:
        build = built(
            hour(datetime(2011, 7, 12, 23, tzinfo=UTC), 40.0, instrument_id=1, volume=9_000),
            hour(datetime(2011, 7, 13, 14, tzinfo=UTC), 45.0, instrument_id=2),
            hour(datetime(2011, 7, 13, 15, tzinfo=UTC), 46.0, instrument_id=2),
        )
        assert values(build, date(2011, 7, 13)) == (45.0, 46.5, 44.5, 46.0, 4_000)
        assert session(build, date(2011, 7, 13))["instrument_id"] == 2
        assert build.other_month_bars == {"ZL": 1}

    def test_the_busiest_month_of_the_day_is_the_months_of_the_session(self) -> None:
        build = built(
            hour(datetime(2020, 7, 14, 14, tzinfo=UTC), 30.0, instrument_id=7, volume=3_000),
            hour(datetime(2020, 7, 14, 15, tzinfo=UTC), 33.0, instrument_id=8, volume=100),
            hour(datetime(2020, 7, 14, 16, tzinfo=UTC), 30.5, instrument_id=7, volume=2_000),
        )
        assert values(build, date(2020, 7, 14)) == (30.0, 31.0, 29.5, 30.5, 5_000)

    def test_a_thin_bar_of_the_wrong_month_is_flagged_and_is_no_roll(self) -> None:
        days = calm_days(date(2015, 1, 2), 30)
        days[20] |= {"instrument_id": 9, "volume": 100} | dict.fromkeys(("open", "high", "low", "close"), 50.0)
        sessions = built(*days).sessions
        assert sessions.filter("is_suspect").select("close", "suspect_reason").rows() == [(50.0, "thin_wrong_month")]
        assert sessions["is_suspect"].arg_true().to_list() == [20]
        assert not sessions["is_roll"].any()
        assert sessions["roll_ratio"].null_count() == 30
        assert (sessions["close_roll_adjusted"] == sessions["close"]).all()

    @pytest.mark.parametrize(("thin", "flagged"), [(9, False), (10, True)])
    def test_a_volume_is_judged_by_ten_sessions_before_it(self, thin: int, flagged: bool) -> None:
        days = calm_days(date(2015, 1, 2), 30)
        days[thin]["volume"] = 100
        assert built(*days).sessions["is_suspect"].any() == flagged

    def test_a_roll_has_the_ratio_of_open_to_the_close_before_and_adjusts_what_follows(self) -> None:
        days = grain_sessions(date(2015, 1, 2), 4)
        bars = [
            bar(midnight(days[0]), 40.0),
            bar(midnight(days[1]), 45.0, open=44.0, low=43.5, instrument_id=2),
            bar(midnight(days[2]), 46.0, instrument_id=2),
            bar(midnight(days[3]), 23.0, instrument_id=3),
        ]
        build, before_the_last_roll = built(*bars), built(*bars[:3])
        assert build.sessions["is_roll"].to_list() == [False, True, False, True]
        assert build.sessions["roll_ratio"].to_list() == [None, pytest.approx(1.1), None, pytest.approx(0.5)]
        assert build.sessions["close_roll_adjusted"].to_list() == pytest.approx([40, 45 / 1.1, 46 / 1.1, 46 / 1.1])
        assert before_the_last_roll.sessions.equals(build.sessions.head(3))

    def test_each_symbol_rolls_alone(self) -> None:
        zl = calm_days(date(2015, 1, 2), 3)
        zs = calm_days(date(2015, 1, 2), 3, 900.0, vendor_symbol="ZS.v.0", instrument_id=77)
        assert not built(*zl, *zs).sessions["is_roll"].any()


class TestBadPrints:
    def test_in_a_stub_it_is_cut_out_and_reported(self) -> None:
        days = calm_days(date(2014, 8, 1), 25)
        sunday = bar(day(2014, 8, 31), 40.0, high=55.0, volume=50)
        clean, marred = built(*days), built(*days, sunday)
        assert clean.sessions.equals(marred.sessions)
        assert clean.bad_prints.is_empty()
        assert marred.bad_prints.select("ts_event", "high", "reason").rows() == [(day(2014, 8, 31), 55.0, "bad_print")]

    def test_in_one_hour_of_a_session_it_is_cut_out(self) -> None:
        days = calm_days(date(2014, 8, 1), 25)
        opening = datetime(2014, 9, 5, 14, tzinfo=UTC)
        hours = [hour(opening, 40.0), hour(opening + timedelta(hours=1), 40.0, low=20.0, volume=38_000)]
        build = built(*days, *hours)
        assert values(build, date(2014, 9, 5)) == (40.0, 40.5, 39.5, 40.0, 2_000)
        assert build.bad_prints["low"].to_list() == [20.0]

    def test_in_the_only_bar_of_a_session_it_is_kept_and_suspect(self) -> None:
        days = calm_days(date(2014, 8, 1), 25)
        days[20]["high"] = 55.0
        build = built(*days)
        assert build.sessions.height == 25
        assert build.sessions.filter("is_suspect").select("high", "suspect_reason").rows() == [(55.0, "bad_print")]
        assert build.bad_prints.is_empty()

    def test_a_wide_day_that_closes_where_it_went_is_no_bad_print(self) -> None:
        days = calm_days(date(2014, 8, 1), 25)
        days[20] |= {"high": 55.0, "close": 54.9}
        assert not built(*days).sessions["is_suspect"].any()


class TestHourlyFigures:
    OPENING = datetime(2020, 7, 14, 14, tzinfo=UTC)

    def test_vwap_weighs_typical_prices_and_volatility_starts_at_the_open(self) -> None:
        rows = [
            hour(self.OPENING, 30.0, open=29.0, low=28.0, high=32.0, volume=100),
            hour(self.OPENING + timedelta(hours=1), 31.0, volume=300),
        ]
        row = session(built(*rows), date(2020, 7, 14))
        assert row["vwap"] == pytest.approx((30.0 * 100 + 31.0 * 300) / 400, abs=1e-12)
        expected = math.sqrt(math.log(30 / 29) ** 2 + math.log(31 / 30) ** 2)
        assert row["realized_vol_1h"] == pytest.approx(expected, abs=1e-12)

    def test_without_hourly_bars_they_are_missing(self) -> None:
        row = session(built(bar(day(2020, 7, 14))), date(2020, 7, 14))
        assert (row["vwap"], row["realized_vol_1h"]) == (None, None)


class TestKnownAndMissing:
    def test_a_close_from_hours_is_known_at_settlement_and_from_a_daily_bar_at_the_days_end(self) -> None:
        by_hour = built(hour(datetime(2020, 7, 14, 15, tzinfo=UTC), 30.0))
        by_day = built(bar(day(2020, 7, 14), 30.0))
        assert by_hour.sessions["available_at"].item() == datetime(2020, 7, 14, 18, 20, tzinfo=UTC)
        assert by_day.sessions["available_at"].item() == day(2020, 7, 15)

    def test_before_its_settlement_a_session_is_left_out(self) -> None:
        build = built(
            hour(datetime(2020, 7, 13, 15, tzinfo=UTC), 30.0), hour(datetime(2020, 7, 14, 15, tzinfo=UTC), 30.0)
        )
        before, after = datetime(2020, 7, 14, 18, 19, tzinfo=UTC), datetime(2020, 7, 14, 18, 20, tzinfo=UTC)
        assert known_by(build.sessions, before)["trade_date"].to_list() == [date(2020, 7, 13)]
        assert known_by(build.sessions, after).height == 2

    @given(gone=st.sets(st.integers(1, 28)))
    @settings(max_examples=20)
    def test_missing_sessions_are_those_without_a_bar(self, gone: set[int]) -> None:
        days = calm_days(date(2015, 1, 2), 30)
        build = built(*[d for n, d in enumerate(days) if n not in gone])
        assert missing_sessions(build.sessions)["trade_date"].to_list() == [
            days[n]["ts_event"].date() for n in sorted(gone)
        ]
        assert build.sessions["session_number"].diff().drop_nulls().sum() == 29


bars_of_a_month = st.lists(
    st.fixed_dictionaries(
        {
            "hours": st.integers(0, 24 * 45),
            "daily": st.booleans(),
            "price": st.floats(20, 60),
            "spike": st.sampled_from([0.5, 0.5, 0.5, 30.0]),
            "instrument_id": st.sampled_from([1, 1, 2]),
            "volume": st.sampled_from([1, 2_000, 50_000]),
        }
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda r: (r["daily"], r["hours"] // 24 if r["daily"] else r["hours"]),
)


def as_bars(drawn: list[dict[str, Any]], start: datetime) -> list[dict[str, Any]]:
    rows = []
    for r in drawn:
        moment = start + timedelta(hours=r["hours"])
        ts = moment.replace(hour=0) if r["daily"] else moment
        extra = {"high": r["price"] + r["spike"], "instrument_id": r["instrument_id"], "volume": r["volume"]}
        rows.append((bar if r["daily"] else hour)(ts, r["price"], **extra))
    return rows


def chicago_day(moment: datetime) -> date:
    return moment.astimezone(ZoneInfo("America/Chicago")).date()


@given(drawn=bars_of_a_month, start=st.sampled_from([day(2011, 6, 20), day(2012, 12, 10), day(2019, 6, 20)]))
@settings(max_examples=20)
def test_whatever_arrives_a_session_is_one_sound_bar_of_an_exchange_day(drawn: list[dict], start: datetime) -> None:
    bars = accepted(as_bars(drawn, start))
    build = build_sessions(bars, daily_bars(bars))
    sessions = build.sessions
    assert set(sessions["trade_date"]) <= set(sessions_of("grains"))
    assert sessions["trade_date"].is_unique().all()
    assert sessions["session_number"].is_sorted()
    assert (sessions["high"] >= sessions.select(pl.max_horizontal("open", "close")).to_series()).all()
    assert (sessions["low"] <= sessions.select(pl.min_horizontal("open", "close")).to_series()).all()
    if not any(r["daily"] for r in drawn):
        # A delivered UTC day and the hours of its evening may both count, each for its own session.
        assert sessions["volume"].sum() <= bars["volume"].sum()
        own = {chicago_day(t) for t in bars["ts_event"]}
        assert set(sessions["trade_date"]) <= own
    assert sessions.select(pl.col("is_suspect") == pl.col("suspect_reason").is_not_null()).to_series().all()
    assert not sessions.filter("is_suspect")["is_roll"].any()


@given(drawn=bars_of_a_month, cut=st.integers(0, 44), start=st.sampled_from([day(2011, 6, 20), day(2019, 6, 20)]))
@settings(max_examples=20)
def test_a_session_is_the_same_whether_or_not_later_days_are_there(
    drawn: list[dict], cut: int, start: datetime
) -> None:
    bars = accepted(as_bars(drawn, start))
    last = (start + timedelta(days=cut)).date()
    early = bars.filter(pl.col("ts_event").dt.date() <= last)
    whole = build_sessions(bars, daily_bars(bars)).sessions.filter(pl.col("trade_date") <= last)
    # Polars divides a column of one row and multiplies a longer one by the reciprocal: the last bit of vwap differs.
    assert_frame_equal(build_sessions(early, daily_bars(early)).sessions, whole, rel_tol=1e-14, abs_tol=0)


SUSPECT_IN_DOMAIN = [date(2013, 9, 9), date(2017, 7, 5), date(2018, 7, 5), date(2018, 7, 6), date(2018, 9, 5)]
SUSPECT_IN_DOMAIN += [date(2020, 6, 30)]


@pytest.fixture(scope="module")
def zl(real_data) -> RealZl:
    return real_zl(real_data)


@pytest.fixture(scope="module", params=["from_daily", "from_hourly"])
def build(request: pytest.FixtureRequest, zl: RealZl) -> SessionBuild:
    return getattr(zl, request.param)


@pytest.mark.realdata
class TestRealHistory:
    def test_every_session_is_there_but_for_the_vendors_outages(self, build: SessionBuild) -> None:
        assert build.sessions.height == 3_834
        assert build.sessions["trade_date"].is_unique().all()
        assert set(build.sessions["trade_date"].dt.weekday()) == {1, 2, 3, 4, 5}
        assert missing_sessions(build.sessions)["trade_date"].to_list() == sorted(KNOWN_OUTAGES["grains"])

    def test_suspect_sessions(self, build: SessionBuild) -> None:
        suspect = build.sessions.filter("is_suspect")
        assert suspect.height == 13
        assert set(SUSPECT_IN_DOMAIN) <= set(suspect["trade_date"])
        assert set(suspect["suspect_reason"]) == {"thin_wrong_month"}
        assert not suspect["is_roll"].any()

    def test_the_one_bad_print_is_cut_out_and_its_session_stays(self, build: SessionBuild) -> None:
        prints = build.bad_prints.select(pl.col("ts_event").dt.date(), "high", "close", "reason").rows()
        assert prints == [(date(2014, 8, 31), 39.66, 32.88, "bad_print")]
        row = session(build, date(2014, 9, 2))
        assert row["high"] < 34
        assert not row["is_suspect"]

    def test_prices_and_moves_are_the_reference_figures(self, build: SessionBuild) -> None:
        close = build.sessions["close"]
        moves = build.sessions.select("trade_date", move=close / close.shift(1) - 1).drop_nulls().sort("move")
        assert (close.min(), close.max()) == (25.09, 86.55)
        assert (moves["trade_date"][0], round(moves["move"][0] * 100, 2)) == (date(2021, 6, 17), -8.86)
        assert (moves["trade_date"][-1], round(moves["move"][-1] * 100, 2)) == (date(2025, 6, 16), 8.89)

    def test_rolls_have_a_ratio_and_the_adjusted_series_moves_as_the_raw_one_elsewhere(
        self, build: SessionBuild
    ) -> None:
        sessions = build.sessions.with_columns(
            raw=pl.col("close") / pl.col("close").shift(1),
            adjusted=pl.col("close_roll_adjusted") / pl.col("close_roll_adjusted").shift(1),
        )
        assert (sessions["is_roll"] == sessions["roll_ratio"].is_not_null()).all()
        plain = sessions.filter(~pl.col("is_roll")).drop_nulls("raw")
        assert (plain["raw"] / plain["adjusted"] - 1).abs().max() < 1e-12
        worst = sessions.sort("roll_ratio", nulls_last=True).row(0, named=True)
        assert (worst["trade_date"], round(worst["roll_ratio"], 4)) == (date(2021, 6, 21), 0.9460)

    def test_volatility_and_vwap_exist_exactly_where_hours_do(self, zl: RealZl) -> None:
        by_hour, by_day = zl.from_hourly.sessions, zl.from_daily.sessions
        assert by_hour.select(pl.col("vwap", "realized_vol_1h").null_count()).row(0) == (0, 0)
        assert by_day.select(pl.col("vwap", "realized_vol_1h").count()).row(0) == (0, 0)
        assert by_hour.select((pl.col("vwap").is_between("low", "high")).all()).item()

    def test_hourly_bars_alone_give_the_same_history(self, zl: RealZl) -> None:
        alone = build_sessions(zl.hourly, daily_bars(zl.hourly)).sessions
        assert_frame_equal(alone, zl.from_hourly.sessions, check_exact=True)
        assert set(alone["built_from"]) == {"1h"}

    def test_from_2013_on_daily_and_hourly_bars_give_the_same_sessions(self, zl: RealZl) -> None:
        columns = ["trade_date", "session_number", *BAR, "instrument_id", "is_roll", "is_suspect", "suspect_reason"]
        since = pl.col("trade_date") >= date(2013, 4, 8)
        by_day = zl.from_daily.sessions.filter(since).select(columns)
        assert_frame_equal(by_day, zl.from_hourly.sessions.filter(since).select(columns), check_exact=True)

    def test_before_2013_daily_bars_hold_the_first_hours_of_the_next_session(self, zl: RealZl) -> None:
        before = pl.col("trade_date") < date(2013, 4, 8)
        by_day, by_hour = (b.sessions.filter(before) for b in (zl.from_daily, zl.from_hourly))
        share = (by_day["close"] != by_hour["close"]).mean()
        assert 0.5 < share < 0.8


def truncations() -> list[date]:
    """Twenty random days of the history, and days on which a session is easily cut in two."""
    chosen = random.Random(20250831).sample(range((date(2025, 8, 29) - date(2010, 9, 20)).days), 20)
    hard = [date(2011, 7, 4), date(2014, 8, 31), date(2018, 7, 5), date(2020, 3, 1)]
    return sorted(date(2010, 9, 20) + timedelta(days=n) for n in chosen) + hard


@pytest.mark.realdata
@pytest.mark.parametrize("hourly", [False, True], ids=["daily_bars", "hourly_bars"])
def test_no_session_and_no_feature_changes_when_later_bars_are_cut_off(zl: RealZl, hourly: bool) -> None:
    build = zl.from_hourly if hourly else zl.from_daily
    whole = build_matrix(build.sessions, MATRIX_SCHEMA, NOW).drop("ingestion_ts")
    for last in truncations():
        known = pl.col("ts_event").dt.date() <= last
        hours = zl.hourly.filter(known) if hourly else zl.hourly.clear()
        cut = build_sessions(hours, zl.daily.filter(known)).sessions
        matrix = build_matrix(cut, MATRIX_SCHEMA, NOW + timedelta(days=1)).drop("ingestion_ts")
        assert_frame_equal(cut, build.sessions.filter(pl.col("trade_date") <= last), check_exact=True)
        assert_frame_equal(matrix, whole.filter(pl.col("data_date") <= last), check_exact=True)


def test_hours_of_a_part_of_a_day_give_way_to_the_delivered_daily_bar() -> None:
    whole = bar(day(2015, 3, 4), 40.5, volume=6_000)
    hours = [hour(datetime(2015, 3, 4, h, tzinfo=UTC), 40.0) for h in (14, 15, 16)]
    in_part, complete = built(whole, *hours[:2]), built(whole, *hours)
    assert in_part.sessions.select("built_from", "close", "volume").rows() == [("1d", 40.5, 6_000)]
    assert complete.sessions.select("built_from", "close", "volume").rows() == [("1h", 40.0, 6_000)]

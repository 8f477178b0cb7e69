"""Digests of inputs by month: what they see, what they leave out, and which sessions a change can reach."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.features.changes import digests, first_changed, first_session
from zl_assets.core.point_in_time import decision_times

START = datetime(2024, 1, 1, 12, tzinfo=UTC)
ROWS = 300
"""One a day: January to October 2024."""


def series(rows: int = ROWS) -> pl.DataFrame:
    at = [START + timedelta(days=n) for n in range(rows)]
    return pl.DataFrame(
        {
            "name": ["a", "b"] * (rows // 2) + ["a"] * (rows % 2),
            "observed_date": [t.date() - timedelta(days=40) for t in at],
            "available_at": at,
            "value": [None if n % 7 == 0 else n / 3 for n in range(rows)],
            "band": [{"low": float(n), "high": 2.0} for n in range(rows)],
            "run": [f"run {n}" for n in range(rows)],
        }
    )


def with_value(frame: pl.DataFrame, row: int, **values: pl.Expr) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(value).otherwise(name).alias(name) for name, value in values.items()
    )


def changed(before: pl.DataFrame, after: pl.DataFrame) -> set[str]:
    """Months in which two frames of one table differ."""
    one, other = (digests({"fx": frame}, {"run"}) for frame in (before, after))
    return {month for month in {*one, *other} if one.get(month) != other.get(month)}


def month_of(row: int) -> str:
    return (START + timedelta(days=row)).strftime("%Y-%m")


def test_there_is_one_digest_for_each_month_in_which_something_became_known() -> None:
    found = digests({"fx": series()})
    assert list(found) == [f"2024-{month:02d}" for month in range(1, 11)]
    assert len(set(found.values())) == 10
    assert digests({"fx": series().clear()}) == digests({}) == {}


@given(st.randoms(use_true_random=False), st.integers(0, ROWS - 1))
@settings(max_examples=15)
def test_whatever_is_done_to_one_row_shows_in_its_month_alone(random, row: int) -> None:
    before = series()
    shuffled = before[random.sample(range(ROWS), ROWS)]
    assert changed(before, shuffled) == set()
    edited = (
        {"value": pl.col("value").fill_null(0.0) + 1e-12 * (1 + row)},
        {"value": pl.when(pl.col("value").is_null()).then(0.0)},
        {"name": pl.lit("c")},
        {"observed_date": pl.col("observed_date") + timedelta(days=1)},
        {"band": pl.struct(low="value", high=pl.lit(1.0))},
    )
    for values in edited:
        assert changed(before, with_value(before, row, **values)) == {month_of(row)}, values
    assert changed(before, before[[n for n in range(ROWS) if n != row]]) == {month_of(row)}
    assert changed(before, pl.concat([before, before[[row]]])) == {month_of(row)}


def test_columns_that_are_left_out_do_not_count() -> None:
    assert changed(series(), series().with_columns(run=pl.lit("another"))) == set()


def test_a_row_that_became_known_at_another_time_shows_in_both_months() -> None:
    moved = with_value(series(), 10, available_at=pl.lit(START + timedelta(days=100)))
    assert changed(series(), moved) == {"2024-01", month_of(100)}


def test_rows_that_change_places_between_tables_or_rows_show() -> None:
    one, other = series(31), series(31).with_columns(value=pl.lit(1.0))
    assert digests({"fx": one, "palm": other}) != digests({"fx": other, "palm": one})
    assert digests({"fx": one}) != digests({"palm": one})
    swapped = one.with_columns(value=pl.col("value").reverse())
    assert digests({"fx": one}) != digests({"fx": swapped})


def test_a_session_belongs_to_the_month_of_its_day_or_of_its_release_whichever_is_earlier() -> None:
    days = {"late": date(2024, 1, 31), "early": date(2024, 3, 1)}
    released = {"late": datetime(2024, 2, 1, tzinfo=UTC), "early": datetime(2024, 2, 29, 23, tzinfo=UTC)}
    for name, month in (("late", "2024-01"), ("early", "2024-02")):
        session = pl.DataFrame({"trade_date": [days[name]], "available_at": [released[name]]})
        assert list(digests({"sessions": session})) == [month]


def test_months_are_of_utc_whatever_zone_the_frame_is_in() -> None:
    in_chicago = pl.Datetime("us", "America/Chicago")
    at = pl.Series("available_at", [datetime(2024, 2, 1, 5, 30, tzinfo=UTC)]).cast(in_chicago)
    assert at.dt.month().item() == 1
    assert list(digests({"fx": at.to_frame()})) == ["2024-02"]


def test_a_day_of_the_matrix_is_the_day_its_row_became_known() -> None:
    assert list(digests({"matrix": pl.DataFrame({"data_date": [date(2024, 5, 31)], "x": [1.0]})})) == ["2024-05"]


@pytest.mark.parametrize(
    ("after", "month"),
    [
        ({"2024-01": "a", "2024-02": "b"}, None),
        ({"2024-01": "a", "2024-02": "c", "2024-03": "d"}, 2),
        ({"2024-01": "a"}, 2),
        ({"2023-12": "x", "2024-01": "a", "2024-02": "b"}, -1),
    ],
)
def test_the_first_month_that_differs_counts(after: dict[str, str], month: int | None) -> None:
    expected = {None: None, 2: date(2024, 2, 1), -1: date(2023, 12, 1)}[month]
    before = {"2024-01": "a", "2024-02": "b"}
    assert first_changed(before, after) == first_changed(after, before) == expected


def test_a_decision_after_midnight_sees_what_came_in_the_next_month() -> None:
    """On bars of UTC days the decision of the 31st is made at midnight, when a row of the 1st is already public."""
    days = [date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1)]
    for hours, first in ((24, 8_001), (19, 8_002)):
        sessions = pl.DataFrame(
            {
                "symbol": "ZL",
                "trade_date": days,
                "session_number": [8_000, 8_001, 8_002],
                "available_at": [datetime.combine(d, time(), UTC) + timedelta(hours=hours) for d in days],
            }
        )
        decisions = decision_times(sessions, time(13, 30))
        assert first_session(decisions, date(2024, 2, 1)) == first
        assert first_session(decisions, date(2023, 7, 1)) == 8_000
        assert first_session(decisions, date(2024, 3, 1)) is None

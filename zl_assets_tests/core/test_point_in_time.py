"""What was known when, against a plain search through every row."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.point_in_time import as_of, decision_times

START = datetime(2024, 1, 1, tzinfo=UTC)
UTC_TIME = pl.Datetime("us", "UTC")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 20),
        st.integers(0, 40),
        st.one_of(st.none(), st.floats(-5, 5, allow_nan=False)),
    ),
    unique_by=lambda row: row[:3],
    max_size=40,
)


def series(rows: list[tuple[str, int, int, float | None]]) -> pl.DataFrame:
    """Rows from (series, day observed, half days until public, value)."""
    return pl.DataFrame(
        {
            "name": [r[0] for r in rows],
            "observed_date": [START.date() + timedelta(days=r[1]) for r in rows],
            "available_at": [START + timedelta(days=r[1], hours=12 * r[2]) for r in rows],
            "value": [r[3] for r in rows],
        },
        schema={"name": pl.String, "observed_date": pl.Date, "available_at": UTC_TIME, "value": pl.Float64},
    )


def decisions(days: int = 30) -> pl.DataFrame:
    when = [START + timedelta(days=d, hours=18) for d in range(days)]
    return pl.DataFrame(
        {"data_date": [w.date() for w in when], "decision_time": when},
        schema={"data_date": pl.Date, "decision_time": UTC_TIME},
    )


def searched(
    frame: pl.DataFrame, name: str, decision: dict[str, Any], limit: timedelta
) -> tuple[float | None, int | None]:
    """The oracle: every row that was public, the newest by observed date, then by moment of publication."""
    public = [
        r for r in frame.iter_rows(named=True) if r["name"] == name and r["available_at"] <= decision["decision_time"]
    ]
    if not public:
        return None, None
    newest = max(public, key=lambda r: (r["observed_date"], r["available_at"]))
    age = decision["data_date"] - newest["observed_date"]
    return (newest["value"], age.days) if age <= limit else (None, None)


@given(ROWS, st.integers(0, 25))
def test_as_of_finds_what_a_search_through_every_row_finds(
    rows: list[tuple[str, int, int, float | None]], limit: int
) -> None:
    frame, max_age = series(rows), timedelta(days=limit)
    found = as_of(frame, decisions(), ["value"], max_age=max_age, by=["name"])
    assert found.height == decisions().height * frame["name"].n_unique()
    for row in found.iter_rows(named=True):
        assert (row["value"], row["age_days"]) == searched(frame, row["name"], row, max_age)


@given(ROWS, st.integers(0, 29))
def test_rows_that_become_public_later_change_nothing(rows: list[tuple[str, int, int, float | None]], cut: int) -> None:
    frame = series([("a", 0, 0, 1.0), ("b", 0, 0, 1.0), *[r for r in rows if r[:3] not in {("a", 0, 0), ("b", 0, 0)}]])
    moment = decisions()["decision_time"][cut]
    before = decisions().filter(pl.col("decision_time") <= moment)
    known = frame.filter(pl.col("available_at") <= moment)
    how: dict[str, Any] = {"max_age": timedelta(days=10), "by": ["name"]}
    assert as_of(known, before, ["value"], **how).equals(as_of(frame, before, ["value"], **how))


def test_one_series_needs_no_name() -> None:
    found = as_of(series([("a", 0, 2, 1.5)]), decisions(4), ["value"], max_age=timedelta(days=2))
    assert found["value"].to_list() == [None, 1.5, 1.5, None]
    assert found["age_days"].to_list() == [None, 1, 2, None]


def test_a_revision_replaces_the_value_from_the_moment_it_is_public() -> None:
    first, revised = ("a", 0, 2, 1.0), ("a", 0, 6, 2.0)
    found = as_of(series([revised, first]), decisions(6), ["value"], max_age=timedelta(days=9))
    assert found["value"].to_list() == [None, 1.0, 1.0, 2.0, 2.0, 2.0]


def test_an_older_observation_that_comes_late_does_not_replace_a_newer_one() -> None:
    found = as_of(series([("a", 3, 0, 3.0), ("a", 0, 10, 0.0)]), decisions(8), ["value"], max_age=timedelta(days=9))
    assert found["value"].to_list()[3:] == [3.0] * 5


def test_a_missing_value_is_not_filled_from_the_row_before() -> None:
    found = as_of(series([("a", 0, 0, 1.0), ("a", 1, 0, None)]), decisions(3), ["value"], max_age=timedelta(days=9))
    assert found["value"].to_list() == [1.0, None, None]
    assert found["age_days"].to_list() == [0, 0, 1]


def test_the_decision_is_made_in_chicago_after_the_close_is_known() -> None:
    sessions = pl.DataFrame(
        {
            "symbol": ["ZL"] * 4,
            "trade_date": [date(2024, 1, 5), date(2024, 7, 5), date(2012, 7, 5), date(2024, 7, 8)],
            "session_number": [0, 1, 2, 3],
            "available_at": [
                datetime(2024, 1, 5, 19, 20, tzinfo=UTC),
                datetime(2024, 7, 5, 18, 20, tzinfo=UTC),
                datetime(2012, 7, 5, 19, 0, tzinfo=UTC),
                datetime(2024, 7, 9, tzinfo=UTC),
            ],
        },
        schema_overrides={"available_at": UTC_TIME},
    )
    assert decision_times(sessions, time(13, 30))["decision_time"].to_list() == [
        datetime(2024, 1, 5, 19, 30, tzinfo=UTC),
        datetime(2024, 7, 5, 18, 30, tzinfo=UTC),
        datetime(2012, 7, 5, 19, 0, tzinfo=UTC),
        datetime(2024, 7, 9, tzinfo=UTC),
    ]
    evening = decision_times(sessions.head(1), time(19, 0))["decision_time"].item()
    assert evening == datetime(2024, 1, 6, 1, 0, tzinfo=UTC)

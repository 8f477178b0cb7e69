"""What all vendors' answers have in common: each fault of shape names its field."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from zl_assets.errors import ServiceError
from zl_assets.sources.vendor_json import Field, member, records, rows
from zl_assets.warehouse.contracts import contract

FIELDS = {
    "name": Field("text"),
    "day": Field("day"),
    "value": Field("number", lacking="some", missing=(".", "(D)")),
    "extra": Field("number", lacking="all"),
}
RECORD = {"name": "a", "day": "2025-01-02", "value": "1"}


def test_numbers_and_days_are_read_as_they_are_written() -> None:
    given = [
        {"name": "a", "day": "2025-01-02T00:00:00.000", "value": " 1,234.5 ", "more": 1},
        {"name": "b", "day": "2025-02", "value": 2},
        {"name": "c", "day": "2025-03-01", "value": "."},
        {"name": "d", "day": "2025-03-02", "value": "(D)", "extra": -0.5},
        {"name": "e", "day": "2025-03-03", "value": None},
    ]

    assert records(given, FIELDS, "there").rows() == [
        ("a", date(2025, 1, 2), 1234.5, None),
        ("b", date(2025, 2, 1), 2.0, None),
        ("c", date(2025, 3, 1), None, None),
        ("d", date(2025, 3, 2), None, -0.5),
        ("e", date(2025, 3, 3), None, None),
    ]


def test_no_record_is_an_empty_frame_of_the_same_columns() -> None:
    assert records([], FIELDS, "there").schema == records([RECORD], FIELDS, "there").schema


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "a"}, "it is not a list of records"),
        ([RECORD, "text"], "it is not a list of records"),
        ([{**RECORD, "name": None}], "1 of 1 records have no `name`"),
        ([{"title": "a", "day": "2025-01-02", "value": "1"}], "1 of 1 records have no `name`"),
        ([{**RECORD, "value": None}] * 3, "3 of 3 records have no `value`"),
        ([{**RECORD, "name": 7}], "`name` is a int instead of a text"),
        ([{**RECORD, "value": {"amount": 1}}], "`value` is a dict instead of a number"),
        ([{**RECORD, "value": True}], "`value` is a bool instead of a number"),
        ([{**RECORD, "value": "n/a"}], "`value` holds 'n/a', which is no number"),
        ([{**RECORD, "value": "12,8"}], "`value` holds '12,8', which is no number"),
        ([{**RECORD, "value": "inf"}], "`value` holds 'inf', which is no number"),
        ([{**RECORD, "day": "02/01/2025"}], "`day` holds '02/01/2025', which is no day"),
        ([{**RECORD, "day": "2025-13-01"}], "`day` holds '2025-13-01', which is no day"),
    ],
)
def test_a_changed_shape_names_the_field(given: Any, said: str) -> None:
    with pytest.raises(ServiceError) as raised:
        records(given, FIELDS, "there")
    assert said in raised.value.what
    assert raised.value.where == "there"


def test_a_member_is_found_or_named() -> None:
    value = {"response": {"data": [1], "total": True}}

    assert member(value, list, "response", "data", where="there") == [1]
    for path, kind, said in (
        (("response", "rows"), list, "there is no `response.rows`"),
        (("response", "data", "x"), list, "there is no `response.data.x`"),
        (("response", "data"), dict, "`response.data` is a list instead of a dict"),
        (("response", "total"), int, "`response.total` is a bool instead of a int"),
    ):
        with pytest.raises(ServiceError, match=said):
            member(value, kind, *path, where="there")


def weather(**changes: Any) -> pl.DataFrame:
    given = {"station_id": ["x"], "observed_date": [date(2025, 1, 1)], "region": ["Brazil"], "provenance_uuid": ["p"]}
    return pl.DataFrame({**given, **changes})


def test_rows_have_the_columns_of_the_contract() -> None:
    done = rows("weather_daily", weather(tmin_c=[1.5]), source="s", where="there")

    promised = contract("raw_intelligence.weather_daily").polars_schema()
    assert dict(done.schema) == {n: t for n, t in promised.items() if n != "ingest_timestamp"}
    assert done.row(0, named=True) == {
        **dict.fromkeys(done.columns),
        "station_id": "x",
        "observed_date": date(2025, 1, 1),
        "region": "Brazil",
        "tmin_c": 1.5,
        "source": "s",
        "provenance_uuid": "p",
    }


def test_equal_rows_are_one_and_contradicting_ones_an_error() -> None:
    twice = pl.concat([weather(tmin_c=[1.5]), weather(tmin_c=[1.5], provenance_uuid=["q"])])
    assert len(rows("weather_daily", twice, source="s", where="there")) == 1

    with pytest.raises(ServiceError, match=r"two values for one key, first \('x', .*2025, 1, 1"):
        rows(
            "weather_daily",
            pl.concat([weather(tmin_c=[1.5]), weather(tmin_c=[2.5])]),
            source="s",
            where="there",
        )

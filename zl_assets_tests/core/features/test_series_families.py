"""What every family of raw series promises: no look-ahead, equal blocks, declared columns, null where none is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from zl_assets.core.features import (
    biofuel,
    brazil,
    crop,
    exports,
    fx,
    macro,
    palm,
    policy,
    positioning,
    prices,
    volatility,
    weather,
)
from zl_assets.core.features.family import BLOCK_SESSIONS, Family, Inputs, build_family
from zl_assets_tests.core.features import made_series as made

MODULES = (volatility, fx, macro, positioning, weather, biofuel, palm, policy, exports, crop, brazil, prices)
FAMILIES: list[Family] = [module.FAMILY for module in MODULES]
BUILT: dict[str, pl.DataFrame] = {}
AHEAD = set(biofuel.PERIOD_AHEAD)
each = pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])


def full(family: Family) -> pl.DataFrame:
    if family.name not in BUILT:
        BUILT[family.name] = build_family(family, made.inputs())
    return BUILT[family.name]


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the fields of a STRUCT as columns of their own."""
    structs = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)]
    for name in structs:
        fields = frame[name].struct.unnest()
        frame = frame.drop(name).hstack(fields.rename({field: f"{name}.{field}" for field in fields.columns}))
    return frame


def known_at(given: Inputs, number: int) -> Inputs:
    """What was stored at the decision of a session: sessions and rows by both of their dates, decisions up to it."""
    decision = given.decisions.row(number, named=True)
    day, moment = decision["data_date"], decision["decision_time"]
    public = {
        name: table.filter(pl.col("available_at") <= moment).filter(
            (pl.col("observed_date") <= day)
            | (pl.col("item").is_in(AHEAD) if name == "biofuel" else name == "brazil_soy_crop")
        )
        for name, table in given.series.items()
    }
    return Inputs(
        given.decisions.head(number + 1),
        given.sessions.filter((pl.col("trade_date") <= day) & (pl.col("available_at") <= moment)),
        {name: table for name, table in public.items() if not table.is_empty()},
    )


@each
def test_the_columns_are_those_declared_and_each_is_there(family: Family) -> None:
    built = flat(full(family))
    declared = [feature.name for feature in family.features]
    assert len(set(declared)) == len(declared)
    assert set(built.columns) == {"symbol", "data_date", *declared}
    assert built.select("symbol", "data_date").equals(made.inputs().decisions.select("symbol", "data_date"))
    never = {f"policy.{name}" for name, (_, meaning) in policy.STRUCT.items() if meaning.startswith("null")}
    for name in declared:
        assert (built[name].null_count() == built.height) == (name in never or name in NOT_MADE), name


NOT_MADE = {
    "weather_argentina_" + name
    for name in (
        "temperature_7d_anomaly_c",
        "temperature_7d_z",
        "temperature_7d_extreme",
        "precipitation_30d_z",
        "precipitation_60d_z",
        "precipitation_90d_z",
        "precipitation_90d_extreme",
        "growing_degrees_30d_z",
    )
} | {"policy_social_media_count_7", "policy_social_media_count_30", "policy_social_media_count_90"}
"""Columns without a value in the made data: Argentina has no past years, nobody posts."""


@each
def test_columns_are_numbers_and_never_infinite(family: Family) -> None:
    built = full(family)
    for name in built.columns:
        if name not in ("symbol", "data_date", "policy"):
            assert built[name].dtype == pl.Float64, name
            assert not built[name].is_nan().any(), name
            assert not built[name].is_infinite().any(), name


@each
@pytest.mark.parametrize("number", [3, 131, 399, 605, 777, 900])
def test_what_becomes_known_later_changes_no_bit(family: Family, number: int) -> None:
    before = known_at(made.inputs(), number)
    if not family.available(before):
        pytest.skip("nothing of it was public by then")
    assert flat(build_family(family, before)).equals(flat(full(family).head(number + 1)))


@each
def test_the_last_sessions_alone_have_the_bits_of_a_full_build(family: Family) -> None:
    last = int(made.inputs().decisions["session_number"][-1])
    for since in (last, last - 100):
        alone = build_family(family, made.inputs(), since)
        assert alone.equals(full(family).tail(alone.height))


@each
def test_blocks_hold_what_one_window_holds_up_to_rounding(family: Family) -> None:
    whole = flat(family.build(made.inputs()))
    blocks = flat(full(family))
    assert made.inputs().decisions["session_number"][-1] // BLOCK_SESSIONS > made.FIRST_NUMBER // BLOCK_SESSIONS
    for name in (feature.name for feature in family.features):
        assert blocks[name].is_null().equals(whole[name].is_null()), name
        if blocks[name].dtype == pl.Float64:
            apart = (blocks[name] - whole[name]).abs() / (1 + whole[name].abs())
            assert (apart.max() or 0.0) < 1e-7, name


@each
def test_a_family_without_its_table_is_absent_and_needs_no_other(family: Family) -> None:
    alone = made.only(made.inputs(), *family.inputs)
    for table in family.inputs:
        assert not family.available(made.only(made.inputs(), *(set(made.series()) - {table})))
    assert family.available(alone)
    declared = [feature.name for feature in family.features]
    assert set(declared) <= set(flat(build_family(family, alone)).columns)


@each
def test_a_series_that_has_stopped_becomes_null(family: Family) -> None:
    given = made.inputs()
    end = given.decisions["data_date"][300]
    stopped = {
        name: table.filter((pl.col("observed_date") <= end) & (pl.col("available_at") <= made.at(end, 0)))
        for name, table in given.series.items()
    }
    built = flat(build_family(family, replace(given, series=stopped)))
    silent = built.filter(pl.col("data_date") > end + timedelta(days=760))
    assert silent.height > 50
    for name in (feature.name for feature in family.features if not feature.name.endswith("_stations")):
        assert silent[name].null_count() == silent.height, name

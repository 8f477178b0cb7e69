"""What every family of raw series promises: no look-ahead, equal blocks, declared columns, null where none is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from zl_assets.core.features import (
    biofuel,
    brazil,
    crop,
    exports,
    fx,
    macro,
    news,
    palm,
    policy,
    positioning,
    prices,
    volatility,
    weather,
)
from zl_assets.core.features.family import BLOCK_SESSIONS, Family, Inputs, build_family, needed_since
from zl_assets_tests.core.features import made_series as made

MODULES = (volatility, fx, macro, positioning, weather, biofuel, palm, policy, news, exports, crop, brazil, prices)
FAMILIES: list[Family] = [module.FAMILY for module in MODULES]
BUILT: dict[str, pl.DataFrame] = {}
AHEAD = ("rfs_mandate_biodiesel", "rfs_mandate_advanced", "rfs_mandate_total")
"""Items dated by the start of a year, which may lie after the day they were public."""
RANDOM: list[int] = sorted(int(n) for n in np.random.default_rng(17).integers(100, 905, 6))
"""Decisions at which the data are cut off."""
FIRST_OF_A_BLOCK = next(
    at for at, n in enumerate(made.inputs().decisions["session_number"]) if at and n % BLOCK_SESSIONS == 0
)
"""A frame of a single row, where a family has no look-back."""
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
            (pl.col("observed_date") <= day) | (pl.col("item").is_in(AHEAD) if name == "biofuel" else False)
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
@pytest.mark.parametrize("number", [0, 3, FIRST_OF_A_BLOCK, *RANDOM])
def test_what_becomes_known_later_changes_no_bit(family: Family, number: int) -> None:
    before, built = known_at(made.inputs(), number), flat(full(family).head(number + 1))
    if family.available(before):
        assert flat(build_family(family, before)).equals(built)
    else:
        assert built.drop("symbol", "data_date").null_count().row(0) == (built.height,) * len(family.features)


def test_a_column_that_looks_ahead_is_caught() -> None:
    def leaky(given: Inputs) -> pl.DataFrame:
        # Joined on the day the value is of, hours before it was public.
        vix = given.series["volatility_daily"].unique("observed_date", keep="last")
        day = vix.select(pl.col("observed_date").alias("data_date"), pl.col("close").alias("vix_leak"))
        return given.decisions.select("symbol", "data_date").join(
            day, on="data_date", how="left", maintain_order="left"
        )

    family = Family("leaky", "v0", "Made for the test", ("volatility_daily",), 0, (), leaky)
    before = known_at(made.inputs(), RANDOM[0])
    assert not build_family(family, before).equals(build_family(family, made.inputs()).head(RANDOM[0] + 1))


@each
def test_the_last_sessions_alone_have_the_bits_of_a_full_build(family: Family) -> None:
    last = int(made.inputs().decisions["session_number"][-1])
    for since in (last, last - 100):
        for given in (made.inputs(), needed_since([family], made.inputs(), since)):
            alone = build_family(family, given, since)
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


def without(given: Inputs, table: str, drop: pl.Expr) -> Inputs:
    return replace(given, series={**given.series, table: given.series[table].filter(~drop)})


def test_a_hole_in_a_series_stays_a_hole_once_its_limit_has_passed() -> None:
    hole = pl.col("observed_date").is_between(date(2018, 3, 5), date(2018, 4, 13))
    built = build_family(volatility.FAMILY, without(made.inputs(), "volatility_daily", hole))
    inside = built.filter(pl.col("data_date").is_between(date(2018, 3, 12), date(2018, 4, 13)))
    names = [feature.name for feature in volatility.FEATURES]
    assert inside.height > 20
    assert all(inside[name].null_count() == inside.height for name in names)
    # A score needs four fifths of its window: the short one waits for it, the long one bears the hole.
    after = built.filter(pl.col("data_date").is_between(date(2018, 4, 17), date(2018, 4, 30)))
    assert after["vix_z_21"].null_count() == after.height
    assert after["vix_z_252"].null_count() == 0


def test_a_revised_report_counts_from_the_moment_it_is_public() -> None:
    given = made.inputs()
    report = pl.col("observed_date") == date(2018, 6, 12)
    of_oil = (pl.col("contract_code") == "007601") & (pl.col("report") == "legacy_combined")
    table = given.series["cftc_positioning"]
    revised = (
        table.filter(report & of_oil)
        .head(1)
        .with_columns(
            commercial_long=pl.col("commercial_long") * 3,
            available_at=pl.lit(made.at(date(2018, 6, 20), 12)).cast(table.schema["available_at"]),
        )
    )
    plain = full(positioning.FAMILY)
    built = build_family(
        positioning.FAMILY, replace(given, series={**given.series, "cftc_positioning": pl.concat([table, revised])})
    )
    moment = date(2018, 6, 20)
    name = "cot_commercial_share_change_1w"
    early, late = pl.col("data_date") < moment, pl.col("data_date").is_between(moment, date(2018, 6, 21))
    assert built.filter(early).equals(plain.filter(early))
    assert (built.filter(late)[name] - plain.filter(late)[name]).min() > 10


def test_an_old_report_that_comes_late_changes_no_newest_value() -> None:
    given = made.inputs()
    late = made.table(
        "volatility_daily",
        [
            {
                "series_id": "VIX",
                "observed_date": date(2018, 6, 9),
                "close": 99.0,
                "available_at": made.at(date(2018, 6, 20), 12),
            }
        ],
    )
    table = pl.concat([given.series["volatility_daily"], late])
    built = build_family(volatility.FAMILY, replace(given, series={**given.series, "volatility_daily": table}))
    assert built.equals(full(volatility.FAMILY))


def test_stations_that_are_not_there_are_not_in_the_composite() -> None:
    given = made.inputs()
    one = build_family(weather.FAMILY, without(given, "weather_daily", pl.col("station_id") == "S2"))
    both = full(weather.FAMILY)
    assert set(one["weather_midwest_stations"]) == {1.0}
    assert set(both["weather_midwest_stations"]) == {2.0}
    assert one["weather_brazil_temperature_7d_z"].equals(both["weather_brazil_temperature_7d_z"])
    assert not one["weather_midwest_temperature_7d_z"].equals(both["weather_midwest_temperature_7d_z"])


def test_no_station_at_all_gives_nulls_and_a_count_of_none() -> None:
    given = made.inputs()
    abroad = given.series["weather_daily"].with_columns(region=pl.lit("Elsewhere"))
    for table in (abroad, abroad.clear()):
        built = build_family(weather.FAMILY, replace(given, series={"weather_daily": table}))
        assert set(built["weather_brazil_stations"]) == {0.0}
        assert built["weather_brazil_heat_days_14d"].null_count() == built.height

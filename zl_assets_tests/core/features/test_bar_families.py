"""What every family of bars promises: its columns, no look-ahead, the same bits however it is built."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from functools import cache
from typing import get_args

import numpy as np
import polars as pl
import pytest

from zl_assets.core.features import (
    base,
    correlations,
    cross_asset,
    crush,
    golden_zone,
    pivots,
    seasonality,
    technical,
)
from zl_assets.core.features.family import BLOCK_SESSIONS, Domain, Family, Inputs, Treatment, build_family
from zl_assets.core.features.full_surface import full_family
from zl_assets.core.instruments import INSTRUMENTS
from zl_assets_tests.core.features.made_markets import inputs_of, made_inputs, truncated

ALL = tuple(s for s in INSTRUMENTS if s not in ("CPO", "MES"))
FAMILIES: dict[str, Family] = {
    m.FAMILY.name: m.FAMILY for m in (technical, pivots, golden_zone, seasonality, crush, cross_asset, correlations)
} | {"full_surface": full_family(ALL)}
names = pytest.mark.parametrize("name", FAMILIES)
OWN_BARS = ("technical", "pivots", "golden_zone")


@cache
def market(name: str) -> Inputs:
    """Three years of every market; for the seasons, fourteen of soybean oil."""
    if name == "seasonality":
        return made_inputs(["ZL"], date(2008, 3, 1), date(2022, 6, 30))
    return made_inputs(ALL, date(2009, 11, 1), date(2012, 10, 31))


@cache
def full(name: str) -> pl.DataFrame:
    return build_family(FAMILIES[name], market(name))


def columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Every field a column of its own."""
    structs = [c for c, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)]
    for struct in structs:
        fields = [pl.col(struct).struct.field(f.name).alias(f"{struct}.{f.name}") for f in frame.schema[struct].fields]
        frame = frame.with_columns(fields).drop(struct)
    return frame


def differing(left: pl.DataFrame, right: pl.DataFrame) -> list[str]:
    """Columns in which two frames differ in a bit."""
    left, right = columns(left), columns(right)
    assert left.columns == right.columns
    assert left.height == right.height
    return [c for c in left.columns if not left[c].equals(right[c], null_equal=True)]


@names
def test_the_built_columns_are_the_declared_ones(name: str) -> None:
    family, built = FAMILIES[name], columns(full(name))
    assert built.columns == ["symbol", "data_date", *[f.name for f in family.features]]
    kinds = {f.name: built.schema[f.name] for f in family.features}
    others = {
        "golden_zone.state": pl.Int64,
        "golden_zone.qualified_trigger": pl.Boolean,
        "pivots.price_above_P": pl.Boolean,
    }
    assert kinds == {n: others.get(n, pl.Float64) for n in kinds}
    assert full(name).select("symbol", "data_date").equals(market(name).decisions.select("symbol", "data_date"))


@names
def test_no_value_is_infinite_and_every_column_has_one(name: str) -> None:
    built = columns(full(name)).select(pl.exclude("symbol", "data_date"))
    assert [c for c in built.columns if built[c].null_count() == built.height] == []
    numbers = built.select(pl.selectors.float())
    assert [c for c in numbers.columns if not numbers[c].drop_nulls().is_finite().all()] == []


@names
def test_every_column_says_what_it_is(name: str) -> None:
    for feature in FAMILIES[name].features:
        assert len(feature.description) >= 10, feature
        assert feature.unit, feature
        assert feature.domain in get_args(Domain), feature
        assert feature.treatment in get_args(Treatment), feature
        assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)?", feature.name), feature


def test_no_two_columns_share_a_name() -> None:
    declared = [f.name for family in FAMILIES.values() for f in family.features]
    assert len(set(declared)) == len(declared)
    assert not set(declared) & {
        *(f.name for f in base.FAMILY.features),
        "symbol",
        "data_date",
        "is_suspect",
        "session_number",
        "source",
    }


def looking_back(name: str, inputs: Inputs, row: int) -> None:
    for by in ("trade_date", "available_at"):
        then = build_family(FAMILIES[name], truncated(inputs, row, by))
        assert differing(then, full(name).head(row + 1)) == [], by


@names
@pytest.mark.parametrize("seed", range(3))
def test_a_row_is_the_same_when_nothing_later_is_known(name: str, seed: int) -> None:
    inputs = market(name)
    looking_back(
        name, inputs, int(np.random.default_rng(seed).integers(inputs.decisions.height // 2, inputs.decisions.height))
    )


def test_a_column_that_looks_ahead_would_be_named() -> None:
    family = FAMILIES["technical"]

    def leaking(inputs: Inputs) -> pl.DataFrame:
        return family.build(inputs).with_columns(pl.col("rsi_2_adjusted").shift(-1))

    inputs = market("technical")
    leak = replace(family, build=leaking)
    then = build_family(leak, truncated(inputs, 500, "trade_date"))
    assert differing(then, build_family(leak, inputs).head(501)) == ["rsi_2_adjusted"]


def test_a_market_seen_before_its_bar_is_public_would_be_named() -> None:
    family = FAMILIES["cross_asset"]
    inputs = market("cross_asset")
    early = (
        pl.when(pl.col("symbol") == "GC").then(pl.col("available_at").dt.offset_by("-12h")).otherwise("available_at")
    )
    leaking = replace(inputs, sessions=inputs.sessions.with_columns(available_at=early))
    seen = differing(build_family(family, leaking), full("cross_asset"))
    assert "gc_return_1d" in seen
    assert all("gc" in column for column in seen)


@names
@pytest.mark.parametrize("back", [0, 3, 200])
def test_the_last_sessions_alone_have_the_bits_of_a_full_build(name: str, back: int) -> None:
    since = int(market(name).decisions["session_number"][-1]) - back
    alone = build_family(FAMILIES[name], market(name), since)
    assert 0 < alone.height <= back + 1
    assert differing(alone, full(name).tail(alone.height)) == []


@names
def test_the_look_back_is_long_enough_for_every_window(name: str) -> None:
    family, inputs = FAMILIES[name], market(name)
    assert (
        inputs.decisions["session_number"][0] // BLOCK_SESSIONS
        < inputs.decisions["session_number"][-1] // BLOCK_SESSIONS
    )
    whole = inputs.decisions.select("symbol", "data_date").join(
        family.build(inputs), on=["symbol", "data_date"], how="left", maintain_order="left"
    )
    one, blocks = columns(whole), columns(full(name))
    for feature in family.features:
        ours, theirs = blocks[feature.name], one[feature.name]
        assert ours.is_null().equals(theirs.is_null()), feature.name
        if ours.dtype.is_float():
            # The longest exponential mean still holds 5e-6 of what came before the look-back.
            close = np.isclose(ours.drop_nulls(), theirs.drop_nulls(), rtol=1e-5, atol=1e-4)
            assert close.all(), feature.name


@pytest.mark.parametrize("name", OWN_BARS)
def test_a_suspect_session_has_no_values_and_changes_none(name: str) -> None:
    inputs = market(name)
    suspect = inputs.sessions.filter(pl.col("symbol") == "ZL")["is_suspect"]
    assert suspect.sum() >= 3
    built = columns(full(name)).select(pl.exclude("symbol", "data_date"))
    assert built.filter(suspect).select(pl.all().is_null().all()).row(0) == (True,) * built.width
    bar = ("open", "high", "low", "close", "close_roll_adjusted", "volume")
    wrong = [pl.when("is_suspect").then(3 * pl.col(c)).otherwise(c).alias(c) for c in bar]
    other = replace(inputs, sessions=inputs.sessions.with_columns(wrong))
    assert differing(build_family(FAMILIES[name], other), full(name)) == []


@pytest.mark.parametrize("name", ["technical", "cross_asset", "correlations", "full_surface"])
def test_the_unit_of_the_price_does_not_matter(name: str) -> None:
    inputs = market(name)
    prices = pl.col("open", "high", "low", "close", "vwap", "close_roll_adjusted")
    in_dollars = replace(inputs, sessions=inputs.sessions.with_columns(prices / 64))
    # A power of two changes no bit of a ratio, only of a logarithm.
    ours, theirs = columns(build_family(FAMILIES[name], in_dollars)), columns(full(name))
    for feature in FAMILIES[name].features:
        assert np.allclose(ours[feature.name].drop_nulls(), theirs[feature.name].drop_nulls(), rtol=1e-6, atol=1e-7), (
            feature.name
        )


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "seasonality"])
def test_another_instrument_can_be_the_subject(name: str) -> None:
    family = full_family(("ES", *(s for s in ALL if s != "ES"))) if name == "full_surface" else FAMILIES[name]
    inputs = inputs_of(market(name).sessions, "ES")
    built = build_family(family, inputs)
    assert built.height == inputs.decisions.height
    assert built["symbol"].unique().to_list() == ["ES"]

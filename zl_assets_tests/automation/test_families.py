"""`zl families`: what is stored of each family, and what the gate said of it."""

from datetime import date

import polars as pl
import pytest

from zl_assets.automation.families import NOT_LISTED, NOT_MEASURED, collect_families
from zl_assets.core.features.registry import FAMILIES
from zl_assets_tests.stores import Place
from zl_assets_tests.warehouse.rows import rows_of

MATRIX, FX, IMPACT = "features.daily_ml_matrix", "raw_intelligence.fx_daily", "monitoring.family_impact"


@pytest.fixture
def filled(place: Place) -> Place:
    """Ten sessions of ZL, of which the last four have a VIX band, and exchange rates that are two days older."""
    warehouse = place.with_tables().warehouse
    rows = rows_of(MATRIX, 10).with_columns(
        data_date=pl.date_range(date(2024, 1, 1), date(2024, 1, 10), eager=True), symbol=pl.lit("ZL")
    )
    bands = pl.Series([None] * 6 + [1.0] * 4, dtype=pl.Float64)
    empty = [pl.lit(None, dtype=pl.Float64).alias(c) for c in rows.columns if c.startswith("vix_")]
    warehouse.merge(MATRIX, rows.with_columns(empty).with_columns(vix_band=bands))
    rates = rows_of(FX, 3)
    warehouse.merge(FX, rates.with_columns(observed_date=pl.lit(date(2024, 1, 8))))
    return place


def test_each_family_says_what_is_there_and_what_is_missing(filled: Place) -> None:
    states = {s.family: s for s in collect_families(filled.warehouse)}
    assert list(states) == [f.name for f in FAMILIES]
    assert (states["fx"].state, states["fx"].age_days) == ("available", 2)
    assert states["volatility"].state == "no row in volatility_daily"
    assert states["volatility"].filled == 1
    assert (states["volatility"].since, states["volatility"].newest) == (date(2024, 1, 7), date(2024, 1, 10))
    assert states["volatility"].coverage == pytest.approx(4 / 10 / states["volatility"].listed, abs=0.001)
    assert states["base"].age_days is None
    assert {s.verdict for s in states.values() if s.listed} == {NOT_MEASURED}
    assert {s.verdict for s in states.values() if not s.listed} == {NOT_LISTED}


def test_the_verdict_is_that_of_the_newest_evidence(filled: Place) -> None:
    evidence = rows_of(IMPACT, 2).with_columns(
        family=pl.lit("fx"),
        surface=pl.lit("prod"),
        horizon=pl.Series(["1w", "1m"]),
        verdict=pl.Series(["no effect", "keep"]),
    )
    filled.warehouse.merge(IMPACT, evidence)
    assert {s.family: s.verdict for s in collect_families(filled.warehouse)}["fx"] == "keep"


def test_the_command_prints_every_family(filled: Place) -> None:
    told = filled.zl("families", "--json").json
    assert [f["family"] for f in told["families"]] == [f.name for f in FAMILIES]
    assert "no row in volatility_daily" in filled.zl("families").out

"""Models by year and regime: each group's figures are those of its own rows, beside no-change on them."""

import polars as pl
import pytest

from zl_assets.core.evaluation.breakdown import BREAKDOWN_SCHEMA, breakdown, breakdown_markdown
from zl_assets.core.evaluation.scores import score
from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import InputError
from zl_assets_tests.core.models.made_forecasts import forecast, market, split

WEEK = HORIZONS["1w"]


@pytest.fixture(scope="module")
def told() -> dict[str, pl.DataFrame]:
    rows = split(market(600))[0]
    regime = pl.when(pl.col("data_date").dt.month() < 7).then(pl.lit("calm")).otherwise(pl.lit("storm"))
    rows = rows.with_columns(regime_name=regime)
    return {"no_change": forecast(rows), "wide": forecast(rows, 0.001, 0.09)}


@pytest.mark.parametrize("by", ["year", "regime_name"])
def test_a_row_holds_what_its_group_scores_alone(told: dict[str, pl.DataFrame], by) -> None:
    found = breakdown(told, WEEK, by)
    assert found.schema == BREAKDOWN_SCHEMA
    assert found["model"].unique(maintain_order=True).to_list() == list(told)
    key = pl.col("data_date").dt.year().cast(pl.String) if by == "year" else pl.col("regime_name")
    groups = told["wide"].select(key).to_series().unique(maintain_order=True).to_list()
    assert found.filter(model="wide")["group"].to_list() == groups == sorted(groups)
    for row in found.iter_rows(named=True):
        own = {name: rows.filter(key == row["group"]) for name, rows in told.items()}
        alone = score(own[row["model"]], 5, own["no_change"])
        assert row["crps_vs_no_change"] == pytest.approx(alone.crps_vs_no_change)
        assert (row["n"], row["coverage_80"]) == (alone.n, pytest.approx(alone.coverage_80))
    assert set(found.filter(model="no_change")["crps_vs_no_change"]) == {1.0}
    assert (found.filter(model="wide")["crps_vs_no_change"] > 1.1).all()


def test_the_table_for_people_has_a_column_a_group(told: dict[str, pl.DataFrame]) -> None:
    text = breakdown_markdown(breakdown(told, WEEK, "regime_name")).splitlines()
    assert text[:3] == ["| model | calm | storm |", "|---|---|---|", "| no_change | 1.000 | 1.000 |"]
    assert text[3].startswith("| wide | 1.")
    assert len(text) == 4


def test_models_of_other_rows_are_refused(told: dict[str, pl.DataFrame]) -> None:
    with pytest.raises(InputError, match="judged on other rows"):
        breakdown({**told, "wide": told["wide"].tail(-1)}, WEEK, "year")

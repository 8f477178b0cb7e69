"""The reviewed list of production features: what it fills in, and what it refuses."""

from pathlib import Path

import pytest

from zl_assets.core.features.registry import FAMILIES, features
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import STATIONARY_FEATURES
from zl_assets.errors import ContractBroken
from zl_assets.warehouse.contracts import contract, sql_root, view_sql
from zl_assets.warehouse.surfaces import (
    SurfaceFeature,
    matrix_columns,
    prod_surface,
    selected_columns,
    training_columns,
)

HEADER = "feature,family,horizons,type,unit,description\n"
LISTED = prod_surface(sql_root() / "surfaces" / "prod.csv")


def listed(tmp_path: Path, *lines: str) -> tuple[SurfaceFeature, ...]:
    path = tmp_path / "prod.csv"
    path.write_text(HEADER + "\n".join(lines))
    return prod_surface(path)


def test_a_line_says_what_the_registry_says() -> None:
    families = {f.name: family.name for family in FAMILIES for f in family.features}
    for line in LISTED:
        declared = features()[line.feature]
        assert (line.unit, line.description) == (declared.unit, declared.description), line.feature
        assert line.family == families[line.feature]


def test_long_horizons_leave_out_what_looks_at_a_week() -> None:
    at = {horizon: {line.feature for line in LISTED if horizon in line.horizons} for horizon in HORIZONS}
    everywhere = set.intersection(*at.values())
    assert set(STATIONARY_FEATURES) - {"vol_percentile", "k_vol"} <= everywhere
    assert {"vix_change_5", "pivots.P", "cl_return_1d"} <= at["1w"] & at["3m"] - at["6m"] - at["12m"]
    for horizon, own in (
        ("1w", "season_next_5d_mean"),
        ("1m", "season_next_21d_mean"),
        ("12m", "season_next_63d_mean"),
    ):
        assert {name for name in at[horizon] if name.startswith("season_next") and name.endswith("mean")} == {own}


def test_every_listed_feature_is_a_column_of_the_matrix() -> None:
    columns = {c.name: c for c in contract("features.daily_ml_matrix").columns}
    for name in (line.feature for line in LISTED):
        struct, _, field = name.partition(".")
        assert not field or field in {f.name for f in columns[struct].fields}, name
        assert struct in columns, name


def test_a_feature_is_in_the_tables_of_its_horizons_alone(tmp_path: Path) -> None:
    lines = listed(tmp_path, "a,f,all,FLOAT64,1,of a", 'pivots.P,f,1w 3m,FLOAT64,c/lb,"of, p"')
    assert matrix_columns(lines) == '  a FLOAT64 OPTIONS (description = "of a [1]"),'
    for horizon in HORIZONS:
        told = horizon in {"1w", "3m"}
        assert ("  pivots_P FLOAT64" in training_columns(lines, horizon)) is told
        assert ("    pivots.P AS pivots_P," in selected_columns(lines, horizon)) is told
        assert "    a," in selected_columns(lines, horizon)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a,f,all,FLOAT64,1,x", "a,f,1w,FLOAT64,1,x"], "a.*listed twice"),
        (["a.b,f,all,FLOAT64,1,x", "a_b,f,all,FLOAT64,1,x"], "a_b.*listed twice"),
        (["a,f,2w,FLOAT64,1,x"], "2w.*not ours"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(ContractBroken) as raised:
        listed(tmp_path, *lines)
    assert all(word in str(raised.value) for word in said.split(".*"))


@pytest.mark.parametrize("horizon", HORIZONS)
def test_view_and_table_of_a_horizon_hold_the_same_features(horizon: str) -> None:
    chosen = [f.column for f in LISTED if horizon in f.horizons]
    table = [c.name for c in contract(f"training.zl_training_prod_allhistory_{horizon}").columns]
    assert [name for name in table if name in chosen] == chosen
    statement = view_sql("training.vw_flat", horizon, symbol="MES")
    assert f"training.vw_mes_{horizon}_flat" in statement
    assert "symbol = 'MES'" in statement
    assert "{" not in statement

"""`zl upload`: forecasts once, views over them, and nothing simulated by accident."""

from pathlib import Path

import polars as pl
import pytest

from zl_assets.artifacts import write_forecasts
from zl_assets.automation.upload import upload
from zl_assets.errors import ContractBroken, InputError
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract, view_sql
from zl_assets_tests.warehouse.rows import rows_of

FORECASTS = "predictions.zl_forecasts"


def stored_version(
    home: Path, version: str, *, horizon: str = "1w", model: str = "lightgbm", simulated: bool = False
) -> Path:
    """A forecast file as the model store writes it: the model's forecast, and no-change beside it."""
    rows = rows_of(FORECASTS, 2).with_columns(
        as_of_date=pl.lit(rows_of(FORECASTS, 1)["as_of_date"].item()),
        horizon=pl.lit(horizon),
        model=pl.Series([model, "no_change"]),
        model_version=pl.Series([version, "v0"]),
        is_champion=pl.Series([False, True]),
        is_simulated=pl.lit(simulated),
    )
    return write_forecasts(home, horizon, version, rows)


def quiet(_: str) -> None:
    return


def test_each_forecast_is_stored_once_and_the_views_show_the_newest(warehouse: Warehouse, tmp_path: Path) -> None:
    stored_version(tmp_path, "aaa")
    stored_version(tmp_path, "aaa", horizon="1m")
    # What a killed write left behind is no forecast.
    left = stored_version(tmp_path, "bbb")
    left.rename(left.with_name(f".{left.name}.new"))
    first = upload(tmp_path, warehouse, ["1w", "1m"], quiet)
    assert (first.files, first.forecasts, warehouse.row_count(FORECASTS)) == (2, 4, 4)
    assert upload(tmp_path, warehouse, ["1w", "1m"], quiet).forecasts == 0
    stored_version(tmp_path, "ccc")
    assert upload(tmp_path, warehouse, ["1w"], quiet).forecasts == 1
    shown = {v: warehouse.read(f"SELECT horizon, model, model_version FROM {v}").rows() for v in first.views}
    assert shown == {
        "predictions.vw_zl_1w_latest": [("1w", "no_change", "v0")],
        "predictions.vw_zl_1m_latest": [("1m", "no_change", "v0")],
        "predictions.vw_zl_1w_lightgbm_latest": [("1w", "lightgbm", "aaa")],
        "predictions.vw_zl_1w_no_change_latest": [("1w", "no_change", "v0")],
        "predictions.vw_zl_1m_lightgbm_latest": [("1m", "lightgbm", "aaa")],
        "predictions.vw_zl_1m_no_change_latest": [("1m", "no_change", "v0")],
    }


def test_a_simulated_forecast_is_refused_unless_allowed(warehouse: Warehouse, tmp_path: Path) -> None:
    stored_version(tmp_path, "aaa", simulated=True)
    with pytest.raises(InputError, match="SIMULATED"):
        upload(tmp_path, warehouse, ["1w"], quiet)
    assert warehouse.row_count(FORECASTS) == 0
    assert upload(tmp_path, warehouse, ["1w"], quiet, allow_simulated=True).forecasts == 2


@pytest.mark.parametrize("simulated", [True, False], ids=["beside real ones", "beside simulated ones"])
def test_forecasts_of_the_two_worlds_are_not_mixed(warehouse: Warehouse, tmp_path: Path, *, simulated: bool) -> None:
    stored_version(tmp_path, "aaa", simulated=simulated)
    warehouse.merge(FORECASTS, rows_of(FORECASTS, 1).with_columns(is_simulated=pl.lit(not simulated)))
    with pytest.raises(InputError, match=f"market.*is stored.*{FORECASTS}"):
        upload(tmp_path, warehouse, ["1w"], quiet, allow_simulated=True)
    assert warehouse.row_count(FORECASTS) == 1


def test_of_a_forecast_that_several_files_hold_the_newest_is_stored(warehouse: Warehouse, tmp_path: Path) -> None:
    newer = pl.read_parquet(stored_version(tmp_path, "bbb")).with_columns(
        pl.col("created_at").dt.offset_by("1d"), champion_reason=pl.lit("newer")
    )
    write_forecasts(tmp_path, "1w", "aaa", newer)
    assert upload(tmp_path, warehouse, ["1w"], quiet).forecasts == 2
    assert set(warehouse.read(f"SELECT champion_reason FROM {FORECASTS}")["champion_reason"]) == {"newer"}


def test_a_refused_forecast_is_stored_without_figures(warehouse: Warehouse, tmp_path: Path) -> None:
    path = stored_version(tmp_path, "aaa")
    unknown = {name: pl.lit(None, pl.Float64) for name in ("predicted_price", "q05", "q50", "q95", "conviction")}
    pl.read_parquet(path).with_columns(state=pl.lit("refused: old"), **unknown).write_parquet(path)
    assert upload(tmp_path, warehouse, ["1w"], quiet).forecasts == 2
    rows = warehouse.read("SELECT state, q50 FROM predictions.vw_zl_1w_latest").rows()
    assert rows == [("refused: old", None)]


def test_an_empty_model_store_says_what_fills_it(warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="zl run"):
        upload(tmp_path, warehouse, ["1w"], quiet)


def test_a_file_that_is_no_forecast_is_refused_whole(warehouse: Warehouse, tmp_path: Path) -> None:
    stored_version(tmp_path, "aaa")
    path = stored_version(tmp_path, "bbb")
    pl.read_parquet(path).drop("q50").write_parquet(path)
    with pytest.raises(ContractBroken, match="q50"):
        upload(tmp_path, warehouse, ["1w"], quiet)
    assert warehouse.row_count(FORECASTS) == 0


def test_a_models_name_cannot_smuggle_in_a_statement() -> None:
    with pytest.raises(ContractBroken):
        view_sql("predictions.vw_zl_model_latest", "1w", model="x AS SELECT 1; DROP TABLE y; --")
    assert "vw_zl_1w_lstm_2_latest" in view_sql("predictions.vw_zl_model_latest", "1w", model="lstm_2")
    assert contract(FORECASTS).keys == ("as_of_date", "horizon", "model", "model_version")

"""Rows of monitoring.family_impact: the contract's columns, and everything a verdict rests on."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from zl_assets.core.evaluation.bootstrap import MeanInterval
from zl_assets.core.evaluation.family_gate import Evidence
from zl_assets.core.evaluation.family_impact import IMPACT_SCHEMA, GateContext, impact_rows
from zl_assets.core.horizons import HORIZONS
from zl_assets.warehouse.contracts import contract

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
CONTEXT = GateContext(date(2026, 1, 1), "prod", HORIZONS["1m"], 7, True, "run", NOW)
KEPT = Evidence(
    family="momentum",
    columns=("return_5d", "return_21d"),
    base=("return_1d", "rsi_14"),
    n_rows=2500,
    n_independent=119,
    loss_with=0.050,
    loss_without=0.052,
    mean_difference=-0.002,
    interval=MeanInterval(-0.002, -0.003, -0.001, 0.99, 20, 100, 999),
    against_noise=MeanInterval(-0.0025, -0.0035, -0.0015, 0.99, 20, 100, 999),
    level=0.99,
    folds=10,
    folds_improved_share=0.8,
    noise_differences=(0.0001, 0.0003, 0.0008),
)


def test_the_schema_is_the_contracts() -> None:
    table = contract("monitoring.family_impact")
    assert dict(table.polars_schema()) == IMPACT_SCHEMA
    assert table.keys == ("as_of_date", "surface", "horizon", "family")
    assert all(c.description for c in table.columns)


def test_a_row_holds_what_the_verdict_rests_on() -> None:
    [row] = impact_rows([KEPT], CONTEXT).to_dicts()
    assert row["noise_mean_difference"] == pytest.approx(0.0004)
    del row["noise_mean_difference"]
    assert row == {
        "as_of_date": date(2026, 1, 1),
        "surface": "prod",
        "horizon": "1m",
        "family": "momentum",
        "n_columns": 2,
        "base": "2 columns: return_1d, rsi_14",
        "n_rows": 2500,
        "n_independent": 119,
        "loss_with": 0.050,
        "loss_without": 0.052,
        "mean_difference": -0.002,
        "interval_low": -0.003,
        "interval_high": -0.001,
        "level": 0.99,
        "folds": 10,
        "folds_improved_share": 0.8,
        "noise_draws": 3,
        "noise_low": 0.0001,
        "noise_high": 0.0008,
        "against_noise_low": -0.0035,
        "against_noise_high": -0.0015,
        "verdict": "keep",
        "seed": 7,
        "is_simulated": True,
        "run_id": "run",
        "created_at": NOW,
    }


def test_where_there_is_no_test_there_is_no_interval() -> None:
    from dataclasses import replace

    untested = replace(KEPT, family="other", base=(), n_independent=9, interval=None, against_noise=None)
    rows = contract("monitoring.family_impact").validated(impact_rows([untested, KEPT], CONTEXT))
    assert rows["family"].to_list() == ["other", "momentum"]
    first = rows.row(0, named=True)
    ends = ("interval_low", "interval_high", "against_noise_low", "against_noise_high")
    assert [first[e] for e in ends] == [None] * 4
    assert (first["verdict"], first["base"]) == ("not testable", "no-change")


def test_no_family_gives_no_row() -> None:
    assert dict(impact_rows([], CONTEXT).schema) == IMPACT_SCHEMA

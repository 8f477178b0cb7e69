"""The comparison with MAPIE: what reaches it and when, and that both repair intervals of a wrong width."""

import numpy as np
import polars as pl
import pytest

from zl_assets_tests.benchmarks.mapie_calibration import KNOWN, compared, mapie_factors
from zl_assets_tests.core.evaluation.made_intervals import made

SESSIONS = 5


def test_an_outcome_reaches_mapie_when_it_is_known_and_not_before() -> None:
    oof = made(330, SESSIONS)
    miss = (oof["actual_return"] - oof["q50"]).abs()
    # One that lay inside its interval, and is far outside in the other market.
    place = 270 + int(miss[270:310].arg_min() or 0)
    wild = oof.with_columns(actual_return=pl.when(pl.int_range(pl.len()) == place).then(5.0).otherwise("actual_return"))
    before, judged = mapie_factors(oof, SESSIONS, 0.8)
    after, _ = mapie_factors(wild, SESSIONS, 0.8)
    assert judged[0] == KNOWN - 1 + SESSIONS
    assert np.isnan(before[: judged[0]]).all()
    assert (before[judged[0] : place + SESSIONS] == after[judged[0] : place + SESSIONS]).all()
    assert before[place + SESSIONS] != after[place + SESSIONS]


def test_without_a_year_of_outcomes_nothing_is_judged() -> None:
    factors, judged = mapie_factors(made(KNOWN, SESSIONS), SESSIONS, 0.8)
    assert np.isnan(factors).all()
    assert judged.size == 0


@pytest.mark.parametrize("width", [0.5, 2.0])
def test_both_repair_intervals_of_a_wrong_width_at_much_the_same_cost(width: float) -> None:
    held = {(h.level, h.method): h for h in compared(made(1800, SESSIONS, width=width, seed=3), "1w", SESSIONS)}
    assert len({h.rows for h in held.values()}) == 1
    for level in (0.8, 0.9):
        raw, ours, mapie = (held[level, method] for method in ("as forecast", "calibrated", "mapie"))
        assert abs(raw.coverage - level) > 0.05
        assert mapie.coverage == pytest.approx(level, abs=0.04)
        assert ours.coverage == pytest.approx(level, abs=0.04)
        assert ours.winkler < raw.winkler
        assert ours.winkler == pytest.approx(mapie.winkler, rel=0.1)

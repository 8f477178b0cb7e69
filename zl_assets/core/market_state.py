"""The market around each forecast: the VIX as it was known, the volatility of ZL, and what state may follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time

import polars as pl

from zl_assets.core.conviction import volatility_of_30_sessions
from zl_assets.core.features.matrix import inputs_of
from zl_assets.core.features.volatility import known_vix
from zl_assets.core.forecasts import MarketState
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.core.models.regime_classifier import STATES


def market_state(
    probabilities: pl.DataFrame,
    frame: pl.DataFrame,
    sessions: pl.DataFrame,
    series: Mapping[str, pl.DataFrame],
    at: time,
) -> MarketState:
    """The market at every session that has probabilities of its states.

    Args:
        probabilities: session_number and a column per state of STATES.
        frame: training frame of the horizon.
        sessions: rows of market_data.futures_sessions_1d.
        series: rows of raw_intelligence tables by name without the dataset.
        at: Chicago time of the decision, at which the VIX is looked up.
    """
    [inputs] = inputs_of(sessions, series, at, [FORECAST_SYMBOL])
    own = inputs.decisions.select("session_number").hstack(known_vix(inputs))
    volatile = frame.select("session_number", annual_volatility=volatility_of_30_sessions())
    rows = probabilities
    for known in (own, volatile):
        rows = rows.join(known, on="session_number", how="left", maintain_order="left")
    return MarketState(STATES, rows)

"""Training frames of the two simulated worlds, whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from zl_assets.core.exchange_calendar import session_frame
from zl_assets.core.features.technical import with_technical
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.training_frame import ewma_volatility
from zl_assets.sources.simulated import World, zl_closes

START = date(2010, 6, 6)


def world_frames(
    world: World, horizon: str, seeds: Sequence[int], end: date = date(2022, 12, 31)
) -> list[pl.DataFrame]:
    """One frame per seed of a world; targets by plain row shifts, as simulated sessions have no hole."""
    sessions, closes = zl_closes(world, list(seeds), START, end)
    ahead = HORIZONS[horizon].sessions
    days = pl.DataFrame({"trade_date": sessions}).join(session_frame("grains"), on="trade_date", how="left")
    frames: list[pl.DataFrame] = []
    for column in closes.T:
        priced = days.with_columns(symbol=pl.lit("ZL"), close=pl.Series(column))
        frame = with_technical(priced).with_columns(
            data_date=pl.col("trade_date"),
            target=pl.col("close").shift(-ahead) / pl.col("close") - 1,
            target_date=pl.col("trade_date").shift(-ahead),
            usable=True,
            is_suspect=False,
            sample_weight=100,
            regime_name=pl.lit("simulated"),
            split=pl.lit("train"),
        )
        frame = frame.with_columns(ewma_volatility=ewma_volatility())
        frames.append(frame.filter(pl.col("ma_63").is_not_null()))
    return frames

"""Stored training rows for the gate, and families to judge on them."""

from functools import cache

import polars as pl

from zl_assets.assets.monitoring import GatedFamilies
from zl_assets.assets.training import table_name
from zl_assets.core.horizons import HORIZONS
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

FAMILIES = {"momentum": ("return_5d", "return_21d"), "rsi": ("rsi_14",)}
GATED = GatedFamilies(lambda _: FAMILIES, lambda: ("return_1d",))


@cache
def training_rows(horizon: str, source: str = "databento", length: int = 700) -> pl.DataFrame:
    """Rows of a horizon's training table from a made market."""
    made = training_frame(random_walk(length, 21), HORIZONS[horizon].sessions)
    named = made.drop("ewma_volatility").rename({"target": f"target_{horizon}", "usable": "is_usable"})
    promised = contract(table_name(horizon))
    others = [pl.lit(None).alias(c.name) for c in promised.columns if c.nullable and c.name not in named.columns]
    return promised.validated(named.with_columns(*others, symbol=pl.lit("ZL"), source=pl.lit(source)))


def store(warehouse: Warehouse, horizon: str, source: str = "databento") -> None:
    """Put them into a warehouse."""
    warehouse.merge(table_name(horizon), training_rows(horizon, source))

"""Markets that the vendor of the bars does not have: canola, sugar, and the funds of clean energy and agriculture.

Canola is crushed for the same oil; sugar is Brazil's other fuel crop; the funds show whether money flows to biofuel.
Continuous futures carry the steps of their rolls: five sessions and more are looked at, not single days. Open interest
is stored for single contract months alone, where it follows the contract's own age, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl

from zl_assets.core.features import trailing as over
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.readings import USD_PER_TONNE, RawSeries, at_decisions, closes, finished

MAX_AGE = timedelta(days=7)
_OTHERS = {"sugar": "SB=F", "clean_energy": "ICLN", "solar": "TAN", "agriculture": "DBA", "farming": "VEGI"}
_CANOLA = "ICE_CANOLA"


def _price(symbol: str) -> tuple[RawSeries, ...]:
    return (RawSeries("vendor_prices_daily", {"symbol": symbol}, MAX_AGE, {"value": "close"}),)


def _features() -> Iterator[Feature]:
    yield Feature("canola_ratio_z_63", "1", "ZL over canola, both in USD/t, against 63 sessions", "cross_asset", "z")
    yield Feature("canola_ratio_z_252", "1", "ZL over canola, both in USD/t, against 252 sessions", "cross_asset", "z")
    for n in (5, 21):
        yield Feature(f"canola_return_{n}", "1", f"Change of canola in USD in {n} sessions", "cross_asset", "return")
    yield Feature(
        "canola_zl_correlation_126", "1", "5-session returns of canola with ZL's", "cross_asset", "correlation"
    )
    for name, symbol in _OTHERS.items():
        yield Feature(f"{name}_return_21", "1", f"Change of {symbol} in 21 sessions", "cross_asset", "return")
        yield Feature(
            f"{name}_zl_correlation_126", "1", f"5-session returns of {symbol} with ZL's", "cross_asset", "correlation"
        )


FEATURES = tuple(_features())


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    zl = closes(inputs, "ZL", "zl")
    in_usd, ratio = pl.col("canola") * pl.col("cad"), pl.col("ratio")
    shared = {"price": in_usd, "ratio": (pl.col("zl") * USD_PER_TONNE) / in_usd} | _weeks(in_usd)
    canola = pl.col("price")
    columns = {
        **{f"canola_ratio_z_{n}": over.z_score(ratio, n) for n in (63, 252)},
        **{f"canola_return_{n}": over.gain(canola, n) for n in (5, 21)},
        "canola_zl_correlation_126": _with_zl(),
    }
    frames = [at_decisions(inputs, {"canola": _price(_CANOLA)}, columns, [zl, closes(inputs, "6C", "cad")], shared)]
    for name, symbol in _OTHERS.items():
        price = pl.col("price")
        of_price = {f"{name}_return_21": over.gain(price, 21), f"{name}_zl_correlation_126": _with_zl()}
        frames.append(at_decisions(inputs, {"price": _price(symbol)}, of_price, [zl], _weeks(price)))
    return finished(inputs, [feature.name for feature in FEATURES], frames)


def _weeks(price: pl.Expr) -> dict[str, pl.Expr]:
    """Returns of a price and of ZL over five sessions."""
    return {"week": over.log_gain(price, 5), "zl_week": over.log_gain(pl.col("zl_adjusted"), 5)}


def _with_zl() -> pl.Expr:
    return over.correlation(pl.col("week"), pl.col("zl_week"), 126)


FAMILY = Family(
    name="prices",
    version="v2.5",
    description="Canola, sugar, and funds of clean energy and agriculture beside ZL",
    inputs=("vendor_prices_daily",),
    look_back=320,
    features=FEATURES,
    build=build,
)

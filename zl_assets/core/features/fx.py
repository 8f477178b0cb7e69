"""Exchange rates: Brazil and Argentina first, whose farmers sell against the dollar, then the dollar at large.

The dollar index never stands alone: every score of it comes with the currencies of the exporters and with positioning
(DOMAIN section 7, rule 5). Yahoo's DXY is labelled by its own day; its crosses are stored by trading day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl

from zl_assets.core.features import trailing as over
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.positioning import oil_net_share
from zl_assets.core.features.readings import RawSeries, at_decisions, closes, finished

MAX_AGE = timedelta(days=7)
H10_MAX_AGE = timedelta(days=14)
"""The Federal Reserve publishes a week of H.10 rates on the Monday after."""

BRL_MOVE = 0.03
"""Daily move of USDBRL that counts as a shock (DOMAIN section 7, rule 5)."""

PAIRS: dict[str, str] = {
    "usdbrl": "USDBRL",
    "usdars": "USDARS",
    "dxy": "DXY",
    "usdcny": "USDCNY",
    "usdmyr": "USDMYR",
    "usdcad": "USDCAD",
    "eurusd": "EURUSD",
}
_SOURCES = ("bulk_csv", "yahoo")
_FULL = ("usdbrl", "usdars")
_FULL_RETURNS = (1, 5, 21, 63)
_RETURNS = (5, 21, 63)


def options(name: str) -> tuple[RawSeries, ...]:
    """The daily market closes of a currency; H.10 rates come a week at a time and cannot stand for them."""
    return (RawSeries("fx_daily", {"pair": PAIRS[name]}, MAX_AGE, {"value": "rate"}, _SOURCES),)


_BROAD = (RawSeries("fred_economic", {"series_id": "DTWEXBGS"}, H10_MAX_AGE),)


def _features() -> Iterator[Feature]:
    for name, pair in PAIRS.items():
        for n in _FULL_RETURNS if name in _FULL else _RETURNS:
            yield Feature(f"{name}_return_{n}", "1", f"Relative change of {pair} in {n} sessions", "dollar", "return")
        yield Feature(f"{name}_volatility_21", "1", f"Annual volatility of {pair}, 21 sessions", "dollar", "ratio")
        yield Feature(f"{name}_z_63", "1", f"{pair} against its last 63 sessions", "dollar", "z")
        if name in _FULL:
            yield Feature(f"{name}_z_252", "1", f"{pair} against its last 252 sessions", "dollar", "z")
    yield Feature("usdbrl_shock", "1", "1 where USDBRL moved by more than 3 % in a session", "dollar", "flag")
    yield Feature("usdbrl_dxy_correlation_126", "1", "5-session returns of USDBRL with DXY's", "dollar", "correlation")
    for name in ("usdbrl", "dxy", "usdmyr"):
        yield Feature(
            f"{name}_zl_correlation_126", "1", f"5-session returns of {PAIRS[name]} with ZL's", "dollar", "correlation"
        )
    yield Feature("dxy_z_63_with_brl", "1", "Product of the 63-session scores of DXY and USDBRL", "dollar", "z")
    yield Feature("dxy_less_brl_21", "1", "21-session log return of DXY less that of USDBRL", "dollar", "spread")
    yield Feature(
        "dxy_z_63_with_cot", "1", "DXY's 63-session score times the commercials' net share of ZL", "dollar", "z"
    )
    yield Feature("broad_dollar_z_252", "1", "Broad dollar index against its last 252 sessions", "dollar", "z")
    yield Feature("broad_dollar_return_21", "1", "Relative change of the broad dollar, 21 sessions", "dollar", "return")


FEATURES = tuple(_features())


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    zl = closes(inputs, "ZL", "zl")
    frames = [
        at_decisions(inputs, {name: options(name)}, _of_pair(name), [zl], _moves(name, "zl_adjusted")) for name in PAIRS
    ]
    brl, dxy = pl.col("usdbrl_week"), pl.col("dxy_week")
    dxy_z = over.z_score(pl.col("dxy"), 63)
    together = {
        "usdbrl_dxy_correlation_126": over.correlation(brl, dxy, 126),
        "dxy_z_63_with_brl": dxy_z * over.z_score(pl.col("usdbrl"), 63),
        "dxy_less_brl_21": over.log_gain(pl.col("dxy"), 21) - over.log_gain(pl.col("usdbrl"), 21),
    }
    weeks = _moves("usdbrl", "dxy")
    frames.append(at_decisions(inputs, {n: options(n) for n in ("usdbrl", "dxy")}, together, shared=weeks))
    with_cot = {"dxy_z_63_with_cot": dxy_z * pl.col("net_share")}
    frames.append(at_decisions(inputs, {"dxy": options("dxy")}, with_cot, [oil_net_share(inputs)]))
    broad = pl.col("broad")
    of_broad = {"broad_dollar_z_252": over.z_score(broad, 252), "broad_dollar_return_21": over.gain(broad, 21)}
    frames.append(at_decisions(inputs, {"broad": _BROAD}, of_broad))
    return finished(inputs, [feature.name for feature in FEATURES], frames)


def _moves(*names: str) -> dict[str, pl.Expr]:
    """Log returns of the first over one session, and of all over five."""
    weeks = {f"{name}_week": over.log_gain(pl.col(name), 5) for name in names}
    return {"daily": over.log_gain(pl.col(names[0])), **weeks}


def _of_pair(name: str) -> dict[str, pl.Expr]:
    """Columns of one currency alone, and with ZL."""
    rate = pl.col(name)
    columns = {f"{name}_return_{n}": over.gain(rate, n) for n in (_FULL_RETURNS if name in _FULL else _RETURNS)}
    columns |= {
        f"{name}_volatility_21": over.annual_volatility(pl.col("daily"), 21),
        f"{name}_z_63": over.z_score(rate, 63),
    }
    if name in _FULL:
        columns[f"{name}_z_252"] = over.z_score(rate, 252)
    if name == "usdbrl":
        columns["usdbrl_shock"] = (over.gain(rate, 1).abs() > BRL_MOVE).cast(pl.Float64)
    if name in ("usdbrl", "dxy", "usdmyr"):
        # Currencies and ZL become public at different hours; over five sessions that matters little.
        week, zl = pl.col(f"{name}_week"), pl.col("zl_adjusted_week")
        columns[f"{name}_zl_correlation_126"] = over.correlation(week, zl, 126)
    return columns


FAMILY = Family(
    name="fx",
    version="v2",
    description="Currencies of the exporters and importers of oilseeds, and the dollar paired with them",
    inputs=("fx_daily",),
    look_back=300,
    features=FEATURES,
    build=build,
    rules=(5,),
)

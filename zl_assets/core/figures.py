"""Figures as PNG bytes, rendered without a browser. Every figure of a simulated market says so in its title."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from zl_assets.core.regimes import V0

if TYPE_CHECKING:
    import altair as alt

_WIDTH, _HEIGHT = 900, 320
_SCALE = 1.0


def titled(text: str, *, simulated: bool) -> str:
    """A figure's title, marked where the market is simulated."""
    return f"SIMULATED market, not real prices: {text}" if simulated else text


def price_figure(sessions: pl.DataFrame) -> bytes:
    """ZL close with the v0 regimes as bands, rolls as ticks and suspect sessions as crosses.

    Args:
        sessions: rows of one symbol of market_data.futures_sessions_1d.
    """
    import altair as alt

    first, last = sessions["trade_date"].min(), sessions["trade_date"].max()
    bands = pl.DataFrame(
        [(r.name, r.start, r.end) for r in V0], schema=["regime", "start", "end"], orient="row"
    ).filter((pl.col("start") <= last) & (pl.col("end") >= first))
    bands = bands.with_columns(
        pl.max_horizontal("start", pl.lit(first)).alias("start"), pl.min_horizontal("end", pl.lit(last)).alias("end")
    )
    simulated = sessions["source"].eq("simulated").any()
    price = alt.Y("close:Q", title="US cents per lb", scale=alt.Scale(zero=False))
    band = (
        alt.Chart(bands)
        .mark_rect(opacity=0.18)
        .encode(x=alt.X("start:T", title=None), x2="end:T", color=alt.Color("regime:N", sort=[r.name for r in V0]))
    )
    line = alt.Chart(sessions.select("trade_date", "close")).mark_line(size=1, color="#222")
    rolls = alt.Chart(sessions.filter("is_roll").select("trade_date")).mark_tick(thickness=1, color="#1f77b4", size=8)
    suspects = alt.Chart(sessions.filter("is_suspect").select("trade_date", "close"))
    chart = (
        band
        + line.encode(x="trade_date:T", y=price)
        + rolls.encode(x="trade_date:T", y=alt.value(_HEIGHT - 4))
        + suspects.mark_point(shape="cross", color="#d62728", filled=True, size=50).encode(x="trade_date:T", y=price)
    )
    title = titled(
        "ZL close, regimes, rolls (blue ticks) and suspect sessions (red crosses)", simulated=bool(simulated)
    )
    return _png(chart, title)


def out_of_fold_figure(oof: pl.DataFrame, horizon: str, *, simulated: bool) -> bytes:
    """Out-of-fold forecast returns against the returns that came, over time.

    Args:
        oof: data_date, actual_return and predicted_return of one horizon.
        horizon: its code.
        simulated: whether the market is simulated.
    """
    import altair as alt

    long = oof.select("data_date", actual="actual_return", forecast="predicted_return").unpivot(
        index="data_date", variable_name="series", value_name="return"
    )
    colours = alt.Scale(domain=["actual", "forecast"], range=["#9a9a9a", "#d95f02"])
    chart = (
        alt.Chart(long)
        .mark_line(size=1)
        .encode(
            x=alt.X("data_date:T", title="forecast made after", axis=alt.Axis(format="%Y", tickCount="year")),
            y=alt.Y("return:Q", axis=alt.Axis(format="%"), title=f"return over {horizon}"),
            color=alt.Color("series:N", scale=colours, title=None),
        )
    )
    return _png(chart, titled(f"Out-of-fold {horizon} forecasts against what came", simulated=simulated))


def importance_figure(importance: pl.DataFrame, horizon: str, *, simulated: bool) -> bytes:
    """Share of the total gain per feature.

    Args:
        importance: feature and gain_share.
        horizon: code of the horizon.
        simulated: whether the market is simulated.
    """
    import altair as alt

    chart = (
        alt.Chart(importance.select("feature", "gain_share"))
        .mark_bar(color="#1b9e77")
        .encode(
            x=alt.X("gain_share:Q", axis=alt.Axis(format="%"), title="share of gain"),
            y=alt.Y("feature:N", sort="-x", title=None),
        )
    )
    return _png(chart, titled(f"What the {horizon} model looks at", simulated=simulated))


def _png(chart: alt.Chart | alt.LayerChart | alt.FacetChart, title: str) -> bytes:
    import altair as alt
    import vl_convert as vlc

    sized = chart.properties(width=_WIDTH, height=_HEIGHT, title=title)
    # The limit of 5,000 rows protects web pages; a PNG holds no data.
    with alt.data_transformers.disable_max_rows():  # pyright: ignore[reportUnknownMemberType]
        return vlc.vegalite_to_png(sized.to_json(), scale=_SCALE)

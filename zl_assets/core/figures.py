"""Figures as PNG bytes, rendered without a browser. Every figure of a simulated market says so in its title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS
from zl_assets.core.regimes import V0

if TYPE_CHECKING:
    import altair as alt

    from zl_assets.core.models.ensemble import Blend

_WIDTH, _HEIGHT = 900, 320
_SCALE = 1.0
_YEARS: Any = {"format": "%Y", "tickCount": "year"}


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


def fan_figure(forecasts: pl.DataFrame, title: str, *, simulated: bool) -> bytes:
    """Out-of-fold medians and intervals against the returns that came, over time.

    Args:
        forecasts: data_date, actual_return (null where unknown) and the quantiles of one model and horizon.
        title: which model and horizon.
        simulated: whether the market is simulated.
    """
    import altair as alt

    # One forecast in five is as much as the width of the picture can show.
    shown = forecasts.gather_every(5).select(
        "data_date", "actual_return", "q05", "q10", "q25", "q50", "q75", "q90", "q95"
    )
    base = alt.Chart(shown).encode(x=alt.X("data_date:T", title="forecast made after", axis=_YEARS))
    returns = alt.Axis(format="%", title="return")
    bands = [
        base.mark_area(opacity=opacity, color="#1f77b4").encode(y=alt.Y(f"{low}:Q", axis=returns), y2=f"{high}:Q")
        for low, high, opacity in (("q05", "q95", 0.18), ("q10", "q90", 0.22), ("q25", "q75", 0.3))
    ]
    median = base.mark_line(size=1, color="#d95f02").encode(y="q50:Q")
    actual = base.mark_circle(size=6, color="#333", opacity=0.7).encode(y="actual_return:Q")
    return _png(
        alt.layer(*bands, median, actual), titled(f"{title}: out-of-fold forecasts and what came", simulated=simulated)
    )


def reliability_figure(calibrated: Mapping[str, pl.DataFrame], horizon: str, *, simulated: bool) -> bytes:
    """Share of outcomes at or below each quantile against its level, by model.

    Args:
        calibrated: actual_return and quantiles by model; rows without an outcome are passed over.
        horizon: code of the horizon.
        simulated: whether the market is simulated.
    """
    import altair as alt

    shares = [
        {"model": model, "level": level, "share": known.select((pl.col("actual_return") <= pl.col(q)).mean()).item()}
        for model, known in ((m, rows.drop_nulls("actual_return")) for m, rows in calibrated.items())
        for q, level in zip(QUANTILE_COLUMNS, QUANTILE_LEVELS, strict=True)
    ]
    ideal = alt.Chart(pl.DataFrame({"level": [0.0, 1.0], "share": [0.0, 1.0]})).mark_line(
        color="#bbb", strokeDash=[4, 4]
    )
    lines = alt.Chart(pl.DataFrame(shares)).mark_line(point=True, size=1).encode(color=alt.Color("model:N", title=None))
    x = alt.X("level:Q", title="level of the quantile", axis=alt.Axis(format="%"))
    y = alt.Y("share:Q", title="outcomes at or below it", axis=alt.Axis(format="%"))
    chart = alt.layer(ideal.encode(x=x, y=y), lines.encode(x=x, y=y))
    return _png(chart, titled(f"Reliability of the {horizon} quantiles, out of fold", simulated=simulated))


def crps_figure(calibrated: Mapping[str, pl.DataFrame], horizon: str, *, simulated: bool) -> bytes:
    """CRPS of each quarter over that of no-change in it, by model.

    Args:
        calibrated: data_date, actual_return and quantiles by model, no_change among them.
        horizon: code of the horizon.
        simulated: whether the market is simulated.
    """
    import altair as alt

    from zl_assets.core.evaluation.scores import crps

    parts: list[pl.DataFrame] = []
    for model, rows in calibrated.items():
        known = rows.drop_nulls("actual_return")
        loss = crps(known["actual_return"].to_numpy(), known.select(QUANTILE_COLUMNS).to_numpy())
        scored = known.select(quarter=pl.col("data_date").dt.truncate("1q"), crps=pl.Series(loss))
        parts.append(scored.group_by("quarter").agg(pl.col("crps").mean()).with_columns(model=pl.lit(model)))
    every = pl.concat(parts).sort("quarter")
    benchmark = every.filter(pl.col("model") == "no_change").select("quarter", of="crps")
    ratios = every.join(benchmark, on="quarter").select("quarter", "model", ratio=pl.col("crps") / pl.col("of"))
    chart = (
        alt.Chart(ratios)
        .mark_line(size=1)
        .encode(
            x=alt.X("quarter:T", title="forecast made in", axis=_YEARS),
            y=alt.Y("ratio:Q", title="CRPS / no-change", scale=alt.Scale(zero=False)),
            color=alt.Color("model:N", title=None),
        )
    )
    return _png(chart, titled(f"CRPS of the {horizon} forecasts by quarter", simulated=simulated))


def importance_figure(importance: pl.DataFrame, title: str, *, simulated: bool) -> bytes:
    """What a model's features are worth: their share of the gain where trees count it, else what shuffling them costs.

    Args:
        importance: rows of IMPORTANCE_SCHEMA of one model; gain_share is null for a column that no tree is offered.
        title: which model and horizon.
        simulated: whether the market is simulated.
    """
    import altair as alt

    by_gain = importance["gain_share"].is_not_null().any()
    if by_gain:
        figure, axis, said = "gain_share", "share of gain", "what the trees split on"
    else:
        figure, axis, said = (
            "permutation",
            "rise of CRPS when shuffled",
            "what shuffling a feature costs",
        )
    chart = (
        alt.Chart(importance.select("feature", figure).drop_nulls())
        .mark_bar(color="#1b9e77")
        .encode(
            x=alt.X(f"{figure}:Q", axis=alt.Axis(format="%" if by_gain else ".2%"), title=axis),
            y=alt.Y("feature:N", sort="-x", title=None),
        )
    )
    return _png(chart, titled(f"{title}: {said}", simulated=simulated))


def weights_figure(blend: Blend, horizon: str, *, simulated: bool) -> bytes:
    """Weight of each member of the ensemble in each market state: white is that of equal weights, from 0 to its double.

    Args:
        blend: weights of the members.
        horizon: code of the horizon.
        simulated: whether the market is simulated.
    """
    import altair as alt

    weights = pl.DataFrame(
        [
            {"state": state, "model": member, "weight": weight}
            for state, row in zip(blend.states, blend.weights, strict=True)
            for member, weight in zip(blend.members, row, strict=True)
        ]
    )
    base = alt.Chart(weights).encode(
        x=alt.X("model:N", sort=list(blend.members), title=None, axis=alt.Axis(labelAngle=-30)),
        y=alt.Y("state:N", sort=list(blend.states), title=None),
    )
    equal = 1 / len(blend.members)
    colours = ["#e08214", "#ffffff", "#5e9bd1"]
    around_equal = alt.Scale(domain=[0, equal, 2 * equal], range=colours, interpolate="rgb", clamp=True)
    shade = alt.Color("weight:Q", scale=around_equal, legend=None)
    chart = base.mark_rect().encode(color=shade) + base.mark_text().encode(text=alt.Text("weight:Q", format=".1%"))
    return _png(chart, titled(f"Weight of each member of the {horizon} ensemble by market state", simulated=simulated))


def state_reliability_figure(rows: pl.DataFrame, states: Sequence[str], horizon: str, *, simulated: bool) -> bytes:
    """Share of the sessions after which a state came against the probability it was given, by tenths, by state.

    Args:
        rows: actual_state (null where unknown) and a column of probabilities a state.
        states: their names.
        horizon: code of the horizon.
        simulated: whether the market is simulated.
    """
    import altair as alt

    told = rows.drop_nulls("actual_state").unpivot(
        on=list(states), index="actual_state", variable_name="state", value_name="probability"
    )
    shares = (
        told.group_by("state", tenth=(pl.col("probability") * 10).floor().clip(0, 9))
        .agg(
            pl.col("probability").mean(),
            share=(pl.col("actual_state") == pl.col("state").first()).mean(),
            sessions=pl.len(),
        )
        .sort("state", "tenth")
    )
    ideal = alt.Chart(pl.DataFrame({"probability": [0.0, 1.0], "share": [0.0, 1.0]})).mark_line(
        color="#bbb", strokeDash=[4, 4]
    )
    x = alt.X("probability:Q", title="probability it was given", axis=alt.Axis(format="%"))
    y = alt.Y("share:Q", title="sessions after which it came", axis=alt.Axis(format="%"))
    told_states = alt.Chart(shares).encode(x=x, y=y, color=alt.Color("state:N", sort=list(states), title=None))
    points = told_states.mark_circle(opacity=0.8).encode(size=alt.Size("sessions:Q", title="sessions"))
    chart = alt.layer(ideal.encode(x=x, y=y), told_states.mark_line(size=1), points)
    return _png(
        chart, titled(f"Market states {horizon} ahead, out of fold, and how often they came", simulated=simulated)
    )


def _png(chart: alt.Chart | alt.LayerChart | alt.FacetChart, title: str) -> bytes:
    import altair as alt
    import vl_convert as vlc

    sized = chart.properties(width=_WIDTH, height=_HEIGHT, title=title)
    # The limit of 5,000 rows protects web pages; a PNG holds no data.
    with alt.data_transformers.disable_max_rows():  # pyright: ignore[reportUnknownMemberType]
        return vlc.vegalite_to_png(sized.to_json(), scale=_SCALE)

"""What was known when: the one door through which a series enters a feature.

A stored row says what it is about (`observed_date`) and when the public could know it (`available_at`). A feature of a
session may see a row only if it was public at the session's decision time, and only while it is young enough to speak
of the present: an older one counts as missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import time, timedelta

import polars as pl

from zl_assets.core.exchange_calendar import EXCHANGE_TIMEZONE


def decision_times(sessions: pl.DataFrame, at: time) -> pl.DataFrame:
    """When the forecast of each session is made: at a time of its day, but never before its own close is known.

    Args:
        sessions: `symbol`, `trade_date`, `session_number` and `available_at` (Datetime, UTC) of the instruments that
            forecasts are made for.
        at: Chicago time of the decision.

    Returns:
        symbol, data_date, session_number, decision_time (Datetime, UTC), one row a session, in the order given.
    """
    local = pl.col("trade_date").dt.combine(pl.lit(at)).dt.replace_time_zone(EXCHANGE_TIMEZONE)
    return sessions.select(
        "symbol",
        pl.col("trade_date").alias("data_date"),
        "session_number",
        pl.max_horizontal(local.dt.convert_time_zone("UTC"), "available_at").alias("decision_time"),
    )


def as_of(
    frame: pl.DataFrame, decisions: pl.DataFrame, values: Sequence[str], *, max_age: timedelta, by: Sequence[str] = ()
) -> pl.DataFrame:
    """The newest value of each series that was public at each decision.

    Newest is the latest `observed_date` among the rows public by then; of several rows for that date, the one that
    became public last, which is its latest revision. An older observation that becomes public late never replaces a
    newer one.

    Args:
        frame: `observed_date` (Date), `available_at` (Datetime, UTC), the columns of `by` and of `values`; any order.
        decisions: `data_date` (Date) and `decision_time` (Datetime, UTC), any further columns, any order.
        values: columns to carry over. A null among them is carried as it is: a missing value is not filled from the row
            before.
        max_age: an observation that lies further before the decision's `data_date` counts as missing.
        by: columns that tell the series of `frame` apart.

    Returns:
        One row per decision and series, sorted by series and decision time: the columns of `decisions`, of `by` and of
        `values`, and `age_days` (Int64), which is null exactly where nothing was public or all of it was too old.
    """
    by = list(by)
    in_order = frame.select(*by, "observed_date", "available_at", *values).sort(*by, "available_at", "observed_date")
    newest = pl.col("observed_date").cum_max()
    public = in_order.filter(pl.col("observed_date") >= (newest.over(by) if by else newest))
    wanted = decisions.sort("decision_time")
    if by:
        # A product of what is sorted is sorted: to sort it afterwards would take most of the time.
        wanted = public.select(by).unique().sort(by).join(wanted, how="cross").select(*decisions.columns, *by)
    found = wanted.join_asof(
        public, left_on="decision_time", right_on="available_at", by=by or None, check_sortedness=False
    )
    age = (pl.col("data_date") - pl.col("observed_date")).dt.total_days()
    fresh = age <= max_age / timedelta(days=1)
    seen = [pl.when(fresh).then(v).alias(v) for v in values]
    return found.with_columns(pl.when(fresh).then(age).alias("age_days"), *seen).drop("observed_date", "available_at")

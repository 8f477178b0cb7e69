"""Which models must not forecast the newest session, and why.

Belongs here: the question asked of every model at once. What makes a row unfit is in `dissimilarity`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from zl_assets.core.dissimilarity import ApplicabilityRange, refusal
from zl_assets.core.models.base import STATIONARY_FEATURES, labelled_rows
from zl_assets.core.models.training import newest_usable_row


def refusals(
    columns_used: Mapping[str, Sequence[str]], frame: pl.DataFrame, horizon_sessions: int, as_of: date
) -> dict[str, str]:
    """By model, why it gives no forecast from the newest usable row; models that do are left out.

    A blend knows no more than its members: it refuses where one of them does.

    Args:
        columns_used: columns each model reads; those of a blend are `<member>.<quantile>`.
        frame: training frame of the horizon.
        horizon_sessions: h.
        as_of: day the forecasts are made.
    """
    row = newest_usable_row(frame)
    rows = labelled_rows(frame)
    found: dict[str, str] = {}
    ranges: dict[tuple[str, ...], ApplicabilityRange] = {}
    for model, columns in columns_used.items():
        features = _features(columns, columns_used)
        if features and features not in ranges:
            ranges[features] = ApplicabilityRange.fit(rows, features, horizon_sessions)
        reason = refusal(row, as_of=as_of, columns=features, applicability=ranges.get(features))
        if reason is not None:
            found[model] = reason
    return found


def _features(columns: Sequence[str], columns_used: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Features that columns hold, by themselves or through the members whose forecasts they are."""
    members = dict.fromkeys(c.partition(".")[0] for c in columns if "." in c)
    read = {*columns, *(c for member in members for c in columns_used.get(member, ()))}
    return tuple(c for c in STATIONARY_FEATURES if c in read)

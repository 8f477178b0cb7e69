"""Checks of the forecasts and the published row of each horizon."""

from itertools import pairwise
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.predictions import FORECASTS, LATEST, latest_name
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.partitions import HORIZON_PARTITIONS
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl

_QUANTILES = ("q05", "q10", "q25", "q50", "q75", "q90", "q95")


def evaluate_unique_forecasts(rows: "pl.DataFrame") -> Verdict:
    """One row per as-of date, horizon, model and model version."""
    import polars as pl

    keys = ["as_of_date", "horizon", "model", "model_version"]
    return no_offender(rows.group_by(keys).len().filter(pl.col("len") > 1), rows=rows.height)


def evaluate_quantiles_ordered(rows: "pl.DataFrame") -> Verdict:
    """Quantiles rise, and every price of a forecast is positive and finite; a refusal has none of them."""
    import polars as pl

    from zl_assets.core.forecasts import OK

    # Forecasts that were stored before there were refusals have no state.
    refuses = pl.col("state").fill_null(OK) != OK
    refused = rows.filter(refuses)
    figures = [pl.col(c).is_not_null() for c in (*_QUANTILES, "predicted_price", "predicted_return")]
    told = refused.filter(pl.any_horizontal(figures))
    rows = rows.filter(~refuses)
    falls = pl.any_horizontal(pl.col(a) > pl.col(b) for a, b in pairwise(_QUANTILES))
    prices = [pl.col(c) for c in (*_QUANTILES, "current_price", "predicted_price")]
    unsound = pl.any_horizontal(~p.is_finite() | (p <= 0) for p in prices)
    wrong = pl.concat([rows.filter((falls | unsound).fill_null(value=True)), told])
    return no_offender(wrong, rows=rows.height, refused=refused.height)


def evaluate_trust_in_range(rows: "pl.DataFrame") -> Verdict:
    """The probability lies in 0 to 1, and the scores of a forecast in 0 to 100."""
    import polars as pl

    from zl_assets.core.forecasts import TRUST_COLUMNS

    outside = [~pl.col(c).is_between(0, 100) for c in TRUST_COLUMNS]
    outside.append(~pl.col("direction_probability").is_between(0, 1))
    return no_offender(rows.filter(pl.any_horizontal(outside).fill_null(value=False)), rows=rows.height)


def evaluate_one_row(latest: "pl.DataFrame") -> Verdict:
    """The latest view has exactly one row: the champion of the newest as-of date."""
    passed = (
        latest.height == 1 and latest["is_champion"].all() and latest["as_of_date"].eq_missing(latest["newest"]).all()
    )
    newest = latest["newest"].max() if latest.height else "no row to tell"
    return Verdict(bool(passed), {"rows": latest.height, "newest_as_of": str(newest)})


def evaluate_coherent(published: "pl.DataFrame") -> Verdict:
    """No published median lies outside the 80 % interval that its neighbouring horizons expect."""
    from zl_assets.core.coherence import contradictions
    from zl_assets.core.models.base import matrix

    told = published.drop_nulls(_QUANTILES)
    returns = {
        row["horizon"]: matrix(told[n : n + 1], _QUANTILES) / row["current_price"] - 1
        for n, row in enumerate(told.iter_rows(named=True))
    }
    return no_offender(contradictions(returns).drop("row"), horizons=len(returns))


FORECASTS_CHECKS = (
    Check("unique", "One row per as-of date, horizon, model and version", evaluate_unique_forecasts),
    Check("quantiles_ordered", "Quantiles rise; prices positive and finite", evaluate_quantiles_ordered),
    Check("trust_in_range", "Probability within 0 to 1, scores within 0 to 100", evaluate_trust_in_range),
)
LATEST_CHECKS = (Check("one_row", "Exactly one row, the newest champion", lambda latest, _: evaluate_one_row(latest)),)
COHERENT = Check(
    "coherent",
    "The published forecast agrees with those of the neighbouring horizons",
    lambda _, published: evaluate_coherent(published),
    blocking=False,
    action="two horizons say opposite things: trust neither before you know why",
)


@dg.multi_asset_check(name="zl_forecasts_checks", specs=specs(FORECASTS, FORECASTS_CHECKS, HORIZON_PARTITIONS))
def zl_forecasts_checks(context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Check the forecasts of the partition's horizon."""
    rows = warehouse.read(f"SELECT * FROM {FORECASTS} WHERE horizon = @horizon", {"horizon": context.partition_key})
    yield from evaluated(FORECASTS, FORECASTS_CHECKS, rows)


@dg.multi_asset_check(name="vw_zl_latest_checks", specs=specs(LATEST, (*LATEST_CHECKS, COHERENT), HORIZON_PARTITIONS))
def vw_zl_latest_checks(context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Check the published row of the partition's horizon."""
    horizon = context.partition_key
    newest = f"SELECT MAX(as_of_date) FROM {FORECASTS} WHERE horizon = @horizon"
    latest = warehouse.read(
        f"SELECT as_of_date, is_champion, ({newest}) AS newest FROM {latest_name(horizon)}", {"horizon": horizon}
    )
    published = warehouse.read(
        f"SELECT horizon, as_of_date, current_price, {', '.join(_QUANTILES)} FROM {FORECASTS} "
        f"WHERE is_champion AND as_of_date = (SELECT MAX(as_of_date) FROM {FORECASTS} WHERE horizon = @horizon) "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY horizon ORDER BY created_at DESC, model_version) = 1",
        {"horizon": horizon},
    )
    yield from evaluated(LATEST, (*LATEST_CHECKS, COHERENT), latest, published)

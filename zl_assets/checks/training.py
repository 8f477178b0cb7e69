"""Checks of the training view and the frozen training table of a horizon."""

from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.market_data import SESSIONS
from zl_assets.assets.training import FLAT, MES_VIEW, TABLE, VIEW, table_name, view_name
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.checks.features import COMPLETE_SHARE, span_of
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.instruments import FORECAST_SYMBOL, SECOND_SYMBOL
from zl_assets.partitions import HORIZON_PARTITIONS
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import view_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

TEST_START = date(2023, 1, 1)
FULL_HISTORY_TARGETS = 3_600
"""Rows with a 1m target on the full history; other horizons lose the difference of their sessions."""
TOLERANCE = 1e-9
TARGET_UNKNOWN = "No feature correlates with the target as no honest one does"
MEND_A_FEATURE = "the feature knows the outcome: look at what `no_look_ahead` says of it, and mend its family"
NOT_FEATURES = ("session_number", "is_suspect", "is_usable", "close", "sample_weight")
"""Columns of a training view that hold numbers and are no features; beside them the target."""


def evaluate_enough_targets(view: "pl.DataFrame", horizon: str) -> Verdict:
    """At least 3,600 rows with a 1m target on the full history, and as many less as the horizon is longer."""
    import polars as pl

    labelled = view.filter(pl.col(f"target_{horizon}").is_not_null()).height
    sessions = HORIZONS[horizon].sessions
    span = span_of(view)
    full_need = FULL_HISTORY_TARGETS - max(0, sessions - HORIZONS["1m"].sessions)
    needed = full_need if span.is_full_history else max(1, int(COMPLETE_SHARE * span.sessions) - sessions)
    return Verdict(labelled >= needed, {"rows_with_target": labelled, "needed": needed})


def evaluate_target_recomputed(
    view: "pl.DataFrame", sessions: "pl.DataFrame", horizon: str, symbol: str = FORECAST_SYMBOL
) -> Verdict:
    """The target equals close[t+h]/close[t]-1 recomputed from the sessions, t counted in exchange sessions."""
    import polars as pl

    ahead = HORIZONS[horizon].sessions
    closes = sessions.filter(pl.col("symbol") == symbol).select("session_number", "close")
    outcome = closes.select(pl.col("session_number") - ahead, pl.col("close").alias("outcome"))
    recomputed = closes.join(outcome, on="session_number", how="left").select(
        "session_number", expected=pl.col("outcome") / pl.col("close") - 1
    )
    target = pl.col(f"target_{horizon}")
    both = view.join(recomputed, on="session_number", how="full", coalesce=True)
    equal = (target - pl.col("expected")).abs() <= TOLERANCE
    same = equal | (target.is_null() & pl.col("expected").is_null())
    wrong = both.filter(~same.fill_null(False)).select("data_date", "session_number", target, "expected")
    return no_offender(wrong, compared=both.height)


def evaluate_split(view: "pl.DataFrame") -> Verdict:
    """Test starts at 2023-01-01; no train row's outcome reaches it; a purged row has a reason."""
    import polars as pl

    day, outcome, split = pl.col("data_date"), pl.col("target_date"), pl.col("split")
    learnable = pl.col("is_usable") & pl.col("ma_63").is_not_null()
    wrong = (
        ~split.is_in(["train", "purged", "test"])
        | ((split == "train") & ((day >= TEST_START) | outcome.is_null() | (outcome >= TEST_START)))
        | ((split == "test") & (day < TEST_START))
        | ((split != "purged") & (pl.col("is_suspect") | ~learnable))
        | ((split == "purged") & learnable & ((day >= TEST_START) | (outcome < TEST_START).fill_null(False)))
    )
    numbers = dict(view.group_by(split.fill_null("missing")).len().sort("split").iter_rows())
    return no_offender(view.filter(wrong.fill_null(True)).select("data_date", "target_date", "split"), **numbers)


def evaluate_no_null_target(view: "pl.DataFrame", horizon: str) -> Verdict:
    """No training row lacks its target."""
    import polars as pl

    training = view.filter(pl.col("split") == "train")
    missing = training.filter(pl.col(f"target_{horizon}").is_null() | ~pl.col(f"target_{horizon}").is_finite())
    return no_offender(missing.select("data_date", "split"), training_rows=training.height)


def evaluate_no_target_twin(rows: "pl.DataFrame", columns: "Sequence[str]", horizon: str) -> Verdict:
    """No feature correlates with the target as no honest one does: it would know the outcome."""
    import polars as pl

    from zl_assets.core.features.audit import target_correlated

    found = target_correlated(rows.filter(pl.col("is_usable")), columns, {horizon: f"target_{horizon}"})
    return no_offender(found, columns=len(columns))


def evaluate_no_join(statement: str) -> Verdict:
    """The view's SQL, parsed, holds no JOIN."""
    from zl_assets.warehouse.dialect import joins

    found = joins(statement)
    return Verdict(not found, {"joins": len(found), "found": "; ".join(found)})


def evaluate_frozen(frozen: "pl.DataFrame", view: "pl.DataFrame") -> Verdict:
    """The frozen table holds the view's rows, value by value."""
    return Verdict(
        frozen.select(view.columns).sort("data_date").equals(view.sort("data_date")),
        {"frozen_rows": frozen.height, "view_rows": view.height},
    )


def feature_names(view: "pl.DataFrame") -> list[str]:
    """The features of a training view or table."""
    from zl_assets.core.features.audit import feature_columns

    return [c for c in feature_columns(view) if c not in NOT_FEATURES and not c.startswith("target_")]


def _view_checks(symbol: str) -> tuple[Check, ...]:
    """Checks of an instrument's view, each over the view, the sessions and the horizon."""
    return (
        Check(
            "target_recomputed",
            "The target equals an independent recomputation",
            lambda v, s, h: evaluate_target_recomputed(v, s, h, symbol),
        ),
        Check(
            "split_right",
            "Split at 2023-01-01, no train outcome in the test period",
            lambda v, _s, _h: evaluate_split(v),
        ),
        Check("no_null_target", "No training row without a target", lambda v, _s, h: evaluate_no_null_target(v, h)),
        Check(
            "no_target_twin",
            TARGET_UNKNOWN,
            lambda v, _s, h: evaluate_no_target_twin(v, feature_names(v), h),
            action=MEND_A_FEATURE,
        ),
        Check(
            "no_join",
            "The view's SQL holds no JOIN",
            lambda _v, _s, h: evaluate_no_join(view_sql(FLAT, h, symbol=symbol)),
        ),
    )


MES_CHECKS = _view_checks(SECOND_SYMBOL)
VIEW_CHECKS = (
    Check("enough_targets", "Enough rows with a target", lambda v, _s, h: evaluate_enough_targets(v, h)),
    *_view_checks(FORECAST_SYMBOL),
)
TABLE_CHECKS = (Check("equals_view", "The frozen table holds the view's rows", evaluate_frozen),)


def _view_and_sessions(warehouse: Warehouse, symbol: str, horizon: str) -> "tuple[pl.DataFrame, pl.DataFrame]":
    read = warehouse.read_all(
        {
            "view": f"SELECT * FROM {view_name(horizon, symbol)} ORDER BY data_date",
            "sessions": f"SELECT symbol, session_number, close FROM {SESSIONS} WHERE symbol = '{symbol}'",
        }
    )
    return read["view"], read["sessions"]


@dg.multi_asset_check(name="vw_zl_flat_checks", specs=specs(VIEW, VIEW_CHECKS, HORIZON_PARTITIONS))
def vw_zl_flat_checks(context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Check the view of the partition's horizon."""
    horizon = context.partition_key
    yield from evaluated(VIEW, VIEW_CHECKS, *_view_and_sessions(warehouse, FORECAST_SYMBOL, horizon), horizon)


@dg.multi_asset_check(name="vw_mes_flat_checks", specs=specs(MES_VIEW, MES_CHECKS, HORIZON_PARTITIONS))
def vw_mes_flat_checks(context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Check the second instrument's view of the partition's horizon."""
    horizon = context.partition_key
    yield from evaluated(MES_VIEW, MES_CHECKS, *_view_and_sessions(warehouse, SECOND_SYMBOL, horizon), horizon)


@dg.multi_asset_check(name="zl_training_checks", specs=specs(TABLE, TABLE_CHECKS, HORIZON_PARTITIONS))
def zl_training_checks(context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Check the frozen table of the partition's horizon."""
    horizon = context.partition_key
    both = {"frozen": f"SELECT * FROM {table_name(horizon)}", "view": f"SELECT * FROM {view_name(horizon)}"}
    yield from evaluated(TABLE, TABLE_CHECKS, *warehouse.read_all(both).values())

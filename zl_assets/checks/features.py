"""Checks of the feature matrix."""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.features import MATRIX
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.checks.market_data import MEND_A_BAR, evaluate_consistent_prices, evaluate_no_sunday, evaluate_unique
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl

FULL_HISTORY = (date(2010, 6, 7), date(2025, 8, 1))
FULL_HISTORY_ROWS = 3_800
COMPLETE_SHARE = 0.99
MAX_VOLATILITY = 0.5


@dataclass(frozen=True)
class Span:
    """How much history rows cover: the exchange sessions from first to last, and whether that is the full history."""

    sessions: int
    is_full_history: bool


def span_of(rows: "pl.DataFrame") -> Span:
    """The span of rows with `data_date` and `session_number`; nothing where there is no row."""
    if rows.is_empty():
        return Span(0, False)
    numbers = rows["session_number"].to_numpy()
    days: list[date] = rows["data_date"].to_list()
    return Span(int(numbers.max() - numbers.min()) + 1, min(days) <= FULL_HISTORY[0] and max(days) >= FULL_HISTORY[1])


def evaluate_enough_rows(rows: "pl.DataFrame") -> Verdict:
    """At least 3,800 ZL rows on the full history; on a shorter one, 99 % of the exchange sessions it spans."""
    import polars as pl

    zl = rows.filter(pl.col("symbol") == "ZL")
    span = span_of(zl)
    needed = FULL_HISTORY_ROWS if span.is_full_history else max(1, int(COMPLETE_SHARE * span.sessions))
    return Verdict(zl.height >= needed, {"zl_rows": zl.height, "needed": needed, "sessions_spanned": span.sessions})


def evaluate_regime_present(rows: "pl.DataFrame") -> Verdict:
    """Every row has a regime."""
    import polars as pl

    return no_offender(rows.filter(pl.col("regime_name").is_null()))


def evaluate_between(rows: "pl.DataFrame", column: str, low: float, high: float) -> Verdict:
    """Every value of a column that is there lies between two limits."""
    import polars as pl

    outside = rows.filter(~pl.col(column).is_between(low, high)).select("data_date", "symbol", column)
    numbers = {"lowest": rows[column].min(), "highest": rows[column].max(), "missing": rows[column].null_count()}
    return no_offender(outside, **numbers)


CHECKS = (
    Check("enough_rows", "At least 3,800 ZL rows on the full history", evaluate_enough_rows),
    Check("regime_present", "No row without a regime", evaluate_regime_present),
    Check(
        "prices_consistent", "No null price, every price above 0, high highest, low lowest", evaluate_consistent_prices
    ),
    Check("rsi_in_range", "RSI between 0 and 100", lambda rows: evaluate_between(rows, "rsi_14", 0, 100)),
    Check(
        "volatility_in_range",
        "volatility_21d between 0 and 0.5",
        lambda rows: evaluate_between(rows, "volatility_21d", 0, MAX_VOLATILITY),
        action=MEND_A_BAR,
    ),
    Check("unique", "One row per data_date and symbol", lambda rows: evaluate_unique(rows, ["data_date", "symbol"])),
    Check("no_sunday", "No row dated on a Sunday", lambda rows: evaluate_no_sunday(rows, "data_date")),
)


@dg.multi_asset_check(name="daily_ml_matrix_checks", specs=specs(MATRIX, CHECKS))
def daily_ml_matrix_checks(warehouse: dg.ResourceParam[Warehouse]):
    """Check the matrix."""
    rows = warehouse.read(
        "SELECT data_date, symbol, session_number, market_data.open AS open, market_data.high AS high, "
        "market_data.low AS low, market_data.close AS close, regime.name AS regime_name, rsi_14, volatility_21d "
        f"FROM {MATRIX} ORDER BY symbol, data_date"
    )
    yield from evaluated(MATRIX, CHECKS, rows)

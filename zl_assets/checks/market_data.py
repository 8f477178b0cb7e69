"""Checks of the vendor bars, the quarantine and the sessions."""

from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.market_data import BARS_1D, BARS_1H, QUARANTINE, SESSIONS
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl

_LINEAGE = ("source", "available_at", "ingest_timestamp", "provenance_uuid")


def evaluate_unique(rows: "pl.DataFrame", keys: list[str]) -> Verdict:
    """No two rows share a key."""
    repeated = rows.group_by(keys).len().filter(pl_col("len") > 1).sort(keys)
    return no_offender(repeated, rows=rows.height)


def evaluate_lineage(rows: "pl.DataFrame", columns: tuple[str, ...] = _LINEAGE) -> Verdict:
    """Every lineage column is filled in every row."""
    filled = {c: round(1 - rows[c].null_count() / max(rows.height, 1), 6) for c in columns}
    empty = rows.filter(any_null(columns)).select(columns)
    return no_offender(empty, **{f"{c}_filled": share for c, share in filled.items()})


def evaluate_consistent_prices(rows: "pl.DataFrame") -> Verdict:
    """Prices are positive and finite, high is the highest and low the lowest of each bar."""
    import polars as pl

    prices = [pl.col(c) for c in ("open", "high", "low", "close")]
    broken = (
        pl.any_horizontal(p.is_null() | ~p.is_finite() | (p <= 0) for p in prices)
        | (pl.col("high") < pl.max_horizontal("open", "close"))
        | (pl.col("low") > pl.min_horizontal("open", "close"))
    )
    return no_offender(rows.filter(broken.fill_null(True)), rows=rows.height)


def evaluate_no_session_missing(sessions: "pl.DataFrame", symbols: tuple[str, ...] = (FORECAST_SYMBOL,)) -> Verdict:
    """No exchange session is missing between the first and the last one, but for known outages of the vendor.

    Only the instruments of the matrix must be complete; holes of the others are counted.
    """
    import polars as pl

    from zl_assets.core.exchange_calendar import KNOWN_OUTAGES
    from zl_assets.core.instruments import INSTRUMENTS
    from zl_assets.core.sessions import missing_sessions

    missing = missing_sessions(sessions)
    known = pl.DataFrame(
        [(s, d) for s in INSTRUMENTS for d in KNOWN_OUTAGES.get(INSTRUMENTS[s].market, {})],
        schema={"symbol": pl.String, "trade_date": pl.Date},
        orient="row",
    )
    needed = missing.filter(pl.col("symbol").is_in(list(symbols)))
    unexplained = needed.join(known, on=["symbol", "trade_date"], how="anti")
    return no_offender(
        unexplained,
        known_outages=needed.height - unexplained.height,
        missing_in_other_symbols=missing.height - needed.height,
    )


def evaluate_no_sunday(rows: "pl.DataFrame", day: str) -> Verdict:
    """No row is dated on a Sunday."""
    return no_offender(rows.filter(pl_col(day).dt.weekday() == 7), rows=rows.height)


def evaluate_no_mixed_worlds(rows: "pl.DataFrame") -> Verdict:
    """Real and simulated rows are never in one table."""
    sources = sorted(rows["source"].drop_nulls().unique())
    return Verdict(len(sources) <= 1, {"sources": ", ".join(sources)})


def evaluate_nothing_rejected(rejected: "pl.DataFrame") -> Verdict:
    """No rejected row of a vendor file is left without a sound bar in its place."""
    return no_offender(rejected.select("reason", "symbol", "observed_date", "source_file"))


def pl_col(name: str) -> "pl.Expr":
    """A column, with Polars imported at the point of use."""
    import polars as pl

    return pl.col(name)


def any_null(columns: tuple[str, ...]) -> "pl.Expr":
    """Whether any of the columns is null."""
    import polars as pl

    return pl.any_horizontal(pl.col(c).is_null() for c in columns)


MEND_A_BAR = "where a vendor bar is wrong, run with its right file, --data and --accept-corrections"
_MEND_A_GAP = (
    "add the vendor files of the missing sessions and run again; where a row of theirs was rejected, "
    "raw_intelligence.quarantine tells why"
)
_MEND_A_REJECTED_ROW = (
    "raw_intelligence.quarantine has the rows; mend the file and run again, with --accept-corrections where the "
    "reason is contradicts_stored_bar and the delivered bar is the right one"
)

BARS_1D_CHECKS = (
    Check("unique", "One bar per symbol and UTC day", lambda rows: evaluate_unique(rows, ["symbol", "bar_date"])),
    Check("lineage_complete", "Lineage columns are filled in every row", evaluate_lineage),
    Check("prices_consistent", "Positive prices, high highest, low lowest", evaluate_consistent_prices),
    Check("one_world", "Real and simulated bars are never mixed", evaluate_no_mixed_worlds),
)
BARS_1H_CHECKS = (
    Check("unique", "One bar per symbol and hour", lambda rows: evaluate_unique(rows, ["symbol", "ts_event"])),
    Check("lineage_complete", "Lineage columns are filled in every row", evaluate_lineage),
)
QUARANTINE_CHECKS = (
    Check(
        "nothing_rejected",
        "No rejected row of a vendor file is left without a sound bar in its place",
        evaluate_nothing_rejected,
        blocking=False,
        action=_MEND_A_REJECTED_ROW,
    ),
)
SESSIONS_CHECKS = (
    Check(
        "no_session_missing",
        "Every exchange session of the matrix instruments has a row, but for known outages of the vendor",
        evaluate_no_session_missing,
        action=_MEND_A_GAP,
    ),
    Check("unique", "One row per symbol and trade date", lambda rows: evaluate_unique(rows, ["symbol", "trade_date"])),
    Check("no_sunday", "No session is dated on a Sunday", lambda rows: evaluate_no_sunday(rows, "trade_date")),
    Check("prices_consistent", "Positive prices, high highest, low lowest", evaluate_consistent_prices),
    Check("lineage_complete", "Lineage columns are filled in every row", evaluate_lineage),
)


_REJECTED_AND_NOT_REPLACED = f"""
SELECT q.reason, q.symbol, q.observed_date, q.source_file
FROM {QUARANTINE} AS q
LEFT JOIN (
  SELECT vendor_symbol, ts_event, 35 AS rtype, ingest_timestamp FROM {BARS_1D}
  UNION ALL SELECT vendor_symbol, ts_event, 34 AS rtype, ingest_timestamp FROM {BARS_1H}
) AS b ON b.vendor_symbol = q.symbol AND b.ts_event = q.ts_event AND b.rtype = q.rtype
WHERE q.stage = 'vendor_bars' AND (b.ingest_timestamp IS NULL OR b.ingest_timestamp < q.ingest_timestamp)
ORDER BY q.quarantine_id
"""
"""Rejected rows for which no bar was stored, or changed, since."""


@dg.multi_asset_check(
    name="vendor_bars_checks",
    specs=specs(BARS_1D, BARS_1D_CHECKS) + specs(BARS_1H, BARS_1H_CHECKS) + specs(QUARANTINE, QUARANTINE_CHECKS),
)
def vendor_bars_checks(warehouse: dg.ResourceParam[Warehouse]):
    """Check the bars and the quarantine."""
    prices, lineage = "open, high, low, close", ", ".join(_LINEAGE)
    read = warehouse.read_all(
        {
            BARS_1D: f"SELECT symbol, bar_date, {prices}, {lineage} FROM {BARS_1D}",
            BARS_1H: f"SELECT symbol, ts_event, {lineage} FROM {BARS_1H}",
            QUARANTINE: _REJECTED_AND_NOT_REPLACED,
        }
    )
    yield from evaluated(BARS_1D, BARS_1D_CHECKS, read[BARS_1D])
    yield from evaluated(BARS_1H, BARS_1H_CHECKS, read[BARS_1H])
    yield from evaluated(QUARANTINE, QUARANTINE_CHECKS, read[QUARANTINE])


@dg.multi_asset_check(name="futures_sessions_1d_checks", specs=specs(SESSIONS, SESSIONS_CHECKS))
def futures_sessions_1d_checks(warehouse: dg.ResourceParam[Warehouse]):
    """Check the sessions."""
    yield from evaluated(
        SESSIONS, SESSIONS_CHECKS, warehouse.read(f"SELECT * FROM {SESSIONS} ORDER BY symbol, trade_date")
    )

"""Vendor bars: their schema, which rows are rejected and why, and how overlapping deliveries become one bar a period.

Belongs here: rules about a single vendor bar. How bars become trading sessions is in `sessions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from zl_assets.core.instruments import INSTRUMENTS, NOT_FOLLOWED, ROLL_RULE

HOURLY = 34
DAILY = 35
"""Databento's record types of ohlcv-1h and ohlcv-1d."""

SIMULATED_PUBLISHER = 0
"""Publisher id of simulated bars; the vendor's ids start at 1, so a simulated file is recognised row by row."""

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)

VALUES = ("instrument_id", "open", "high", "low", "close", "volume")
"""What makes two bars of one symbol and period the same bar."""

BAR_SCHEMA: dict[str, pl.DataType] = {
    "ts_event": pl.Datetime("us", "UTC"),
    "rtype": pl.Int64(),
    "publisher_id": pl.Int64(),
    "instrument_id": pl.Int64(),
    "open": pl.Float64(),
    "high": pl.Float64(),
    "low": pl.Float64(),
    "close": pl.Float64(),
    "volume": pl.Int64(),
    "vendor_symbol": pl.String(),
    "source_file": pl.String(),
    "provenance_uuid": pl.String(),
    "row_number": pl.Int64(),
    "original": pl.String(),
}
"""One vendor bar a row: ts_event is the start of the hour (rtype 34) or of the UTC day (rtype 35), prices are in the
vendor's units, row_number counts from 1 in the file, original is the row as delivered (null where the typed values say
it all)."""

_REASON_KEYS = ("symbol", "rtype", "ts_event")


@dataclass(frozen=True)
class SortedBars:
    """Bars after the rules: what goes on, what was rejected, what was not wanted.

    Attributes:
        bars: accepted bars with `symbol` and `source` added, one per (symbol, rtype, ts_event).
        rejected: the bars that broke a rule, with `reason`.
        not_followed: rows by symbol that no feature reads.
    """

    bars: pl.DataFrame
    rejected: pl.DataFrame
    not_followed: dict[str, int]


def sort_out(bars: pl.DataFrame, now: datetime) -> SortedBars:
    """Apply the rules of a vendor bar, then fold overlapping deliveries into one bar a period.

    Args:
        bars: rows of BAR_SCHEMA; a value that could not be read is null.
        now: bars that end after it are from the future (UTC).

    Returns:
        Accepted, rejected and unwanted bars. Identical repeats count once. Two different bars for one symbol and
        period are both rejected: nothing says which one is right.
    """
    root = pl.col("vendor_symbol").str.splitn(".", 2)
    marked = bars.with_columns(
        symbol=root.struct.field("field_0"),
        rule=root.struct.field("field_1"),
        source=pl.when(pl.col("publisher_id") == SIMULATED_PUBLISHER)
        .then(pl.lit("simulated"))
        .otherwise(pl.lit("databento")),
    )
    unwanted = marked["symbol"].is_in(list(NOT_FOLLOWED)) | (
        marked["symbol"].is_in(list(INSTRUMENTS))
        & marked["vendor_symbol"].str.contains(r"\.[cnv]\.\d+$").fill_null(False)
        & ~marked["vendor_symbol"].str.ends_with(f".{ROLL_RULE}.0").fill_null(False)
    )
    unwanted = unwanted.fill_null(False)
    judged = marked.filter(~unwanted).with_columns(reason=_first_broken_rule(now)).drop("rule")
    counts = dict(marked.filter(unwanted).group_by("vendor_symbol").len().sort("vendor_symbol").iter_rows())
    accepted = judged.filter(pl.col("reason").is_null()).sort("symbol", "rtype", "ts_event", "source_file")
    accepted = accepted.unique(["symbol", "rtype", "ts_event", *VALUES], keep="first", maintain_order=True)
    twice = pl.len().over("symbol", "rtype", "ts_event") > 1
    conflicting = accepted.filter(twice).with_columns(reason=pl.lit("two_different_bars"))
    return SortedBars(
        bars=accepted.filter(~twice).drop("reason"),
        rejected=pl.concat([judged.filter(pl.col("reason").is_not_null()), conflicting]),
        not_followed=counts,
    )


def _first_broken_rule(now: datetime) -> pl.Expr:
    """Name of the first rule a bar breaks, null for a sound bar."""
    prices = [pl.col(c) for c in ("open", "high", "low", "close")]
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    daily = pl.col("rtype") == DAILY
    hourly = pl.col("rtype") == HOURLY
    length = pl.when(daily).then(pl.duration(days=1)).otherwise(pl.duration(hours=1))
    ts = pl.col("ts_event")
    rules: dict[str, pl.Expr] = {
        "unknown_symbol": ~pl.col("symbol").is_in(list(INSTRUMENTS)) | (pl.col("rule") != f"{ROLL_RULE}.0"),
        "unknown_record_type": ~(daily | hourly),
        "no_utc_timestamp": ts.is_null(),
        "not_a_number": pl.any_horizontal(p.is_null() | p.is_nan() for p in prices) | pl.col("volume").is_null(),
        "infinite_price": pl.any_horizontal(p.is_infinite() for p in prices),
        "price_not_positive": pl.any_horizontal(p <= 0 for p in prices),
        "volume_not_positive": pl.col("volume") <= 0,
        "high_below_low": pl.col("high") < pl.col("low"),
        "open_or_close_outside_range": (pl.col("high") < top) | (pl.col("low") > bottom),
        "before_1990": ts < EARLIEST,
        "in_the_future": ts + length > now,
        "not_at_utc_midnight": daily & (ts.dt.truncate("1d") != ts),
        "not_on_the_hour": hourly & (ts.dt.truncate("1h") != ts),
        "no_contract_id": pl.col("instrument_id").is_null() | pl.col("publisher_id").is_null(),
    }
    verdict = pl.lit(None, dtype=pl.String)
    for name, broken in reversed(rules.items()):
        verdict = pl.when(broken.fill_null(True)).then(pl.lit(name)).otherwise(verdict)
    return verdict


def daily_bars(bars: pl.DataFrame) -> pl.DataFrame:
    """One bar per symbol and UTC day: delivered daily bars, and hourly bars aggregated where no daily one came.

    Args:
        bars: accepted bars of both record types.

    Returns:
        Daily bars with `built_from` (1d or 1h), sorted by symbol and ts_event.
    """
    delivered = bars.filter(pl.col("rtype") == DAILY).with_columns(built_from=pl.lit("1d"))
    aggregated = (
        bars.filter(pl.col("rtype") == HOURLY)
        .sort("symbol", "ts_event")
        .group_by("symbol", pl.col("ts_event").dt.truncate("1d"), maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("volume").sum(),
            pl.col("rtype", "publisher_id", "instrument_id", "close", "vendor_symbol", "source_file").last(),
            pl.col("provenance_uuid", "row_number", "original", "source").last(),
        )
        .with_columns(rtype=pl.lit(DAILY, dtype=pl.Int64), built_from=pl.lit("1h"))
        .join(delivered, on=["symbol", "ts_event"], how="anti")
    )
    return pl.concat([delivered, aggregated.select(delivered.columns)]).sort("symbol", "ts_event")


def without_conflicts(new: pl.DataFrame, stored: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split new bars into those that agree with what is stored, or are new, and those that contradict it.

    Args:
        new: bars of one record type, accepted.
        stored: symbol, ts_event and VALUES of the stored bars.

    Returns:
        The bars to store, and the contradicting ones with a `reason`. What is stored stays.
    """
    compared = new.join(stored, on=["symbol", "ts_event"], how="left", suffix="_stored", maintain_order="left")
    differs = pl.any_horizontal(pl.col(v) != pl.col(f"{v}_stored") for v in VALUES).fill_null(False)
    conflicting = compared.filter(differs).select(new.columns).with_columns(reason=pl.lit("contradicts_stored_bar"))
    return compared.filter(~differs).select(new.columns), conflicting


def quarantine_rows(rejected: pl.DataFrame, stage: str, now: datetime) -> pl.DataFrame:
    """Rejected bars as rows of raw_intelligence.quarantine.

    Args:
        rejected: bars of BAR_SCHEMA with `symbol`, `source` and `reason`.
        stage: vendor_bars or sessions.
        now: ingest timestamp (UTC).
    """
    values = pl.struct("ts_event", "rtype", "publisher_id", *VALUES, "vendor_symbol").struct.json_encode()
    return rejected.select(
        quarantine_id=pl.format("{}:{}:{}", "provenance_uuid", "row_number", "reason"),
        stage=pl.lit(stage),
        reason="reason",
        symbol="vendor_symbol",
        observed_date=pl.col("ts_event").dt.date(),
        ts_event="ts_event",
        rtype="rtype",
        original=pl.coalesce("original", values),
        source="source",
        source_file="source_file",
        ingest_timestamp=pl.lit(now).cast(pl.Datetime("us", "UTC")),
        provenance_uuid="provenance_uuid",
    ).unique("quarantine_id", keep="first", maintain_order=True)

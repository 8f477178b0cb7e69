"""The bars in the warehouse: reading them back, and adding a delivery without losing or mixing anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

import polars as pl

from zl_assets.core.bars import DAILY, HOURLY, VALUES, SortedBars, daily_bars, quarantine_rows, without_conflicts
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.errors import InputError, VendorFileError
from zl_assets.warehouse.base import NOTHING_MERGED, MergeResult, Value, Warehouse
from zl_assets.warehouse.contracts import contracts

if TYPE_CHECKING:
    from zl_assets.sources.databento_api import Schema

_DAILY = "market_data.databento_futures_ohlcv_1d"
_HOURLY = "market_data.databento_futures_ohlcv_1h"
_QUARANTINE = "raw_intelligence.quarantine"


@dataclass(frozen=True)
class StoreOutcome:
    """What became of a delivery: merges by table, rejected rows by reason, rows of products nobody reads."""

    daily: MergeResult = NOTHING_MERGED
    hourly: MergeResult = NOTHING_MERGED
    quarantine: MergeResult = NOTHING_MERGED
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    not_followed: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class StoredBars:
    """The bar tables of a warehouse."""

    warehouse: Warehouse

    def has_real_bars(self) -> bool:
        """Whether any stored bar comes from the vendor."""
        return self._has("databento")

    def newest(self) -> dict[Schema, date]:
        """UTC day of the newest stored ZL bar of the vendor, by the vendor's schema; a kind without a bar is absent."""
        day = "SELECT CAST(MAX(ts_event) AS DATE) AS newest FROM {} WHERE symbol = 'ZL' AND source = 'databento'"
        kinds: dict[Schema, str] = {"ohlcv-1d": _DAILY, "ohlcv-1h": _HOURLY}
        found: dict[Schema, date | None] = {
            kind: self.warehouse.read(day.format(table))["newest"].item() for kind, table in kinds.items()
        }
        return {kind: newest for kind, newest in found.items() if newest is not None}

    def daily(self) -> pl.DataFrame:
        """Stored daily bars in the columns that sessions are built from."""
        return self._read(_DAILY, DAILY, "built_from")

    def hourly(self) -> pl.DataFrame:
        """Stored hourly bars in the columns that sessions are built from."""
        return self._read(_HOURLY, HOURLY)

    def store(self, delivery: SortedBars | None, now: datetime, *, accept_corrections: bool = False) -> StoreOutcome:
        """Add a delivery; what is stored stays as it is, unless corrections are accepted.

        Args:
            delivery: sorted-out bars; None adds nothing.
            now: ingest timestamp (UTC).
            accept_corrections: whether a delivered bar replaces a stored one that says otherwise. The replaced one
                goes to quarantine; without corrections the delivered one does.

        Raises:
            InputError: simulated bars meet real ones.
            VendorFileError: no usable bar of the instruments the matrix needs; the rejected rows are in quarantine.
        """
        if delivery is None:
            return StoreOutcome()
        replaces_simulated = self._replaces_simulated(delivery.bars)
        quarantine = self.warehouse.merge(_QUARANTINE, quarantine_rows(delivery.rejected, "vendor_bars", now))
        _require_matrix_symbols(delivery)
        if replaces_simulated:
            self._drop_simulated()
        hourly, other_hours = self._new_hourly(delivery.bars)
        if accept_corrections:
            hourly, other_hours = _corrected(hourly, other_hours, self.hourly())
        daily, other_days = self._new_daily(delivery.bars, hourly)
        if accept_corrections:
            daily, other_days = _corrected(daily, other_days, self.daily())
        columns = delivery.rejected.columns
        contradicting = pl.concat([other_hours.select(columns), other_days.select(columns)])
        rejected = pl.concat([delivery.rejected, contradicting])
        # The quarantine first: if the process dies in between, a replaced bar is kept twice and not lost.
        quarantine += self.warehouse.merge(_QUARANTINE, quarantine_rows(contradicting, "vendor_bars", now))
        return StoreOutcome(
            quarantine=quarantine,
            daily=self.warehouse.merge(_DAILY, _daily_rows(daily, now)),
            hourly=self.warehouse.merge(_HOURLY, _hourly_rows(hourly, now)),
            rejected=dict(rejected.group_by("reason").len().sort("reason").iter_rows()),
            not_followed=delivery.not_followed,
        )

    def _new_hourly(self, bars: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        return without_conflicts(bars.filter(pl.col("rtype") == HOURLY), self._stored(_HOURLY))

    def _new_daily(self, bars: pl.DataFrame, hourly: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Delivered daily bars, and days aggregated anew from all hours, stored and new, of the days with new hours.

        A delivered daily bar always stands before an aggregated one: hours may be delivered for a part of a day.
        """
        delivered = bars.filter(pl.col("rtype") == DAILY)
        hours = self._hours_of_days(hourly).select(bars.columns)
        stored = self._stored(_DAILY, "built_from = '1d'")
        built = daily_bars(pl.concat([delivered, hours]))
        aggregated = built.filter(pl.col("built_from") == "1h").join(stored, on=["symbol", "ts_event"], how="anti")
        accepted, contradicting = without_conflicts(built.filter(pl.col("built_from") == "1d"), stored)
        return pl.concat([accepted, aggregated]), contradicting

    def _hours_of_days(self, new: pl.DataFrame) -> pl.DataFrame:
        """All hours, those stored and the new ones, of every symbol's UTC days that have a new hour."""
        if new.is_empty():
            return new
        day = pl.col("ts_event").dt.truncate("1d")
        first, last = new.select(first=day.min(), last=day.max() + pl.duration(days=1)).row(0)
        stored = self._read(_HOURLY, HOURLY, where="ts_event BETWEEN @first AND @last", first=first, last=last)
        key = ["symbol", "day"]
        stored = stored.with_columns(day=day).join(new.with_columns(day=day), on=key, how="semi")
        others = stored.join(new, on=["symbol", "ts_event"], how="anti")
        return pl.concat([others.select(new.columns), new])

    def _replaces_simulated(self, bars: pl.DataFrame) -> bool:
        """Whether a simulated market is stored and real bars, or those of another simulated market, arrive.

        Raises:
            InputError: simulated bars meet real ones, in the delivery or in the store.
        """
        sources = set(bars["source"].unique())
        if {"databento", "simulated"} <= sources:
            raise InputError(
                "the delivery mixes simulated and real bars", action="give --data a directory that holds one of the two"
            )
        if "simulated" in sources and self.has_real_bars():
            raise InputError(
                "this home holds real bars, and simulated ones must not be mixed in",
                action="choose another --home for the simulated market",
            )
        return self._has("simulated") and ("databento" in sources or self._is_another_simulation(bars))

    def _is_another_simulation(self, bars: pl.DataFrame) -> bool:
        """Whether most bars of the delivery contradict the stored simulated market, or share no period with it.

        The same world and seed over a longer range only appends; another seed is another market.
        """
        daily = bars.filter(pl.col("rtype") == DAILY)
        stored = self._stored(_HOURLY if daily.is_empty() else _DAILY)
        kept, contradicting = without_conflicts(bars if daily.is_empty() else daily, stored)
        shared = kept.join(stored, on=["symbol", "ts_event"], how="semi").height
        return contradicting.height >= max(shared, 1) or not shared + contradicting.height

    def _drop_simulated(self) -> None:
        for name, promised in contracts().items():
            columns = {c.name for c in promised.columns}
            if "is_simulated" in columns:
                self.warehouse.delete(name, "is_simulated", {})
            elif "source" in columns:
                self.warehouse.delete(name, "source LIKE 'simulated%'", {})

    def _has(self, source: str) -> bool:
        sql = f"SELECT COUNT(*) AS n FROM (SELECT 1 FROM {_DAILY} WHERE source = @source LIMIT 1)"
        return bool(self.warehouse.read(sql, {"source": source})["n"].item())

    def _stored(self, table: str, where: str = "TRUE") -> pl.DataFrame:
        return self.warehouse.read(f"SELECT symbol, ts_event, {', '.join(VALUES)} FROM {table} WHERE {where}")

    def _read(self, table: str, rtype: int, *more: str, where: str = "TRUE", **params: Value) -> pl.DataFrame:
        names = ("symbol", "ts_event", "publisher_id", *VALUES, "vendor_symbol", "source", "source_file")
        columns = ", ".join((*names, "provenance_uuid", *more))
        rows = self.warehouse.read(f"SELECT {columns} FROM {table} WHERE {where}", params)
        return rows.with_columns(
            rtype=pl.lit(rtype, dtype=pl.Int64),
            row_number=pl.col("ts_event").dt.epoch("s"),
            original=pl.lit(None, dtype=pl.String),
        )


def _corrected(
    kept: pl.DataFrame, contradicting: pl.DataFrame, stored: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All delivered bars, and the stored ones that the contradicting of them replace, with a `reason`."""
    replaced = stored.join(contradicting, on=["symbol", "ts_event"], how="semi")
    replaced = replaced.with_columns(reason=pl.lit("replaced_by_correction")).select(contradicting.columns)
    return pl.concat([kept, contradicting.select(kept.columns)]), replaced


def _require_matrix_symbols(delivery: SortedBars) -> None:
    missing = sorted({FORECAST_SYMBOL} - set(delivery.bars["symbol"].unique()))
    if not missing:
        return
    reasons = dict(delivery.rejected.group_by("reason").len().sort("reason").iter_rows())
    told = ", ".join(f"{count} rows {reason}" for reason, count in reasons.items()) or "no row was rejected"
    raise VendorFileError(
        f"the delivery holds no usable bar of {', '.join(missing)} ({told})",
        action="add its files; rejected rows and their reasons are in raw_intelligence.quarantine",
    )


def _daily_rows(bars: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Rows of market_data.databento_futures_ohlcv_1d."""
    return bars.select(
        "symbol",
        pl.col("ts_event").dt.date().alias("bar_date"),
        "ts_event",
        "vendor_symbol",
        "instrument_id",
        "publisher_id",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "built_from",
        "source",
        "source_file",
        (pl.col("ts_event") + pl.duration(days=1)).alias("available_at"),
        pl.lit(now).alias("ingest_timestamp"),
        "provenance_uuid",
    )


def _hourly_rows(bars: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Rows of market_data.databento_futures_ohlcv_1h."""
    renamed = _daily_rows(bars.with_columns(built_from=pl.lit("1h")), now)
    hour_end = (pl.col("ts_event") + pl.duration(hours=1)).alias("available_at")
    return renamed.drop("bar_date", "built_from").with_columns(hour_end)

"""Rules about rows of raw series: which are rejected and why, which are revisions, which are stored already.

Belongs here: what holds for every source of a table. Where a vendor's own defects are mended is with its source; when
a value is public is in `release_rules`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from zl_assets.core.release_rules import UNKNOWN_PUBLICATION, public_by, published_ahead

SPIKE_SCALES = 8.0
SPIKE_WINDOW = 63
SPIKE_LEAST_SCALE = 0.001
SPIKE_RETURN = 0.3
"""A move is doubtful beyond 8 robust scales (1.4826 times the median absolute move of the 63 observations before it,
at least 0.1 % so that a pegged currency may move at all). It was a spike if the next observation undoes it but for 30 %
of it. On the known spikes of the currency files this finds nine of twelve; a lower limit finds the small ones only with
hundreds of real moves."""

LEAP = "leap_from_the_value_before"
"""Reason of a row that lies further from the observation before it than its series can move."""

_BOOKKEEPING = ("ingest_timestamp", "provenance_uuid", "vintage", "available_at")


@dataclass(frozen=True)
class Limit:
    """What one series can be.

    Attributes:
        low: lowest possible value, itself possible.
        high: highest possible value, itself possible.
        leap: largest change against the observation before, if there is one; as much again for each further `days`
            between the two, so that a hole does not shut the series out.
        days: usual distance of two observations.
        relative: whether `leap` is a share of the observation before, else it is in the unit of the series.
    """

    low: float
    high: float
    leap: float | None = None
    days: int = 31
    relative: bool = False

    def reached(self, value: float, day: date, since: tuple[date, float]) -> bool:
        """Whether the series can have come from `since` to the value."""
        periods = max(1.0, (day - since[0]).days / self.days)
        unit = abs(since[1]) if self.relative else 1.0
        return self.leap is None or abs(value - since[1]) <= self.leap * periods * unit


@dataclass(frozen=True)
class Shape:
    """What the rules have to know of a table.

    Attributes:
        table: without the dataset.
        identity: columns that tell the series of a source apart.
        values: columns that hold what was measured; a row with none of them says nothing.
        bounds: lowest and highest possible value by column; the bounds themselves are possible.
        limits: bounds of `value` and its largest change, by name in the first column of the identity.
        positive: columns that must lie above 0, but for the series in `below_zero`.
        below_zero: names, in the first column of the identity, whose values may be 0 and less.
        spikes_in: column in which spikes are looked for, if any.
        spikes_among: names, in the first column of the identity, of the series that may have them; empty means all.
            Stocks and crude oil fall and rise back by a tenth in two days; a grain has a daily limit.
    """

    table: str
    identity: tuple[str, ...]
    values: tuple[str, ...]
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    limits: Mapping[str, Limit] = field(default_factory=dict[str, Limit])
    positive: tuple[str, ...] = ()
    below_zero: tuple[str, ...] = ()
    spikes_in: str | None = None
    spikes_among: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """Columns that tell apart every series of the table, those of different sources too."""
        return (*self.identity, "source")


_PRICES = ("open", "high", "low", "close")
_YIELD = (-5.0, 25.0)
_HELD = (
    "open_interest", "commercial_long", "commercial_short", "noncommercial_long", "noncommercial_short",
    "managed_money_long", "managed_money_short",
)  # fmt: skip
_TONNES = ("net_sales_t", "exports_t", "outstanding_t")
_MEASURED = ("tmin_c", "tmax_c", "tavg_c", "precip_mm")
_SCORES = ("agricultural_impact", "soybean_relevance")
_CROP = ("area_kha", "production_kt", "yield_t_per_ha")
_COUNT = (0.0, 1e9)
_DEGREES = (-70.0, 60.0)

_POLICY_RATE = Limit(-1.0, 25.0, 2.0, days=1)
_FRED: dict[str, Limit] = {
    "DFF": Limit(-1.0, 25.0),
    **dict.fromkeys(("DFEDTAR", "DFEDTARU", "DFEDTARL"), _POLICY_RATE),
    "FEDFUNDS": Limit(-1.0, 25.0, 8.0),
    **dict.fromkeys(("DGS1MO", "DGS3MO", "DGS1", "DGS2", "DGS5", "DGS10", "DGS30", "SOFR"), Limit(-3.0, 20.0)),
    **dict.fromkeys(("T10Y2Y", "T10Y3M", "T5YIE", "T10YIE"), Limit(-6.0, 8.0)),
    "VIXCLS": Limit(5.0, 150.0),
    "DTWEXBGS": Limit(50.0, 250.0, 0.06, days=1, relative=True),
    "DEXBZUS": Limit(0.5, 20.0),
    "DEXCHUS": Limit(1.0, 20.0),
    "DEXMAUS": Limit(1.5, 10.0),
    "CPIAUCSL": Limit(10.0, 1000.0, 0.03, relative=True),
    "UNRATE": Limit(0.0, 35.0, 12.0),
    "PAYEMS": Limit(20e3, 500e3, 0.2, relative=True),
    "GDPC1": Limit(500.0, 100e3, 0.12, days=92, relative=True),
    "GDP_YOY_PCT_DERIVED": Limit(-30.0, 30.0, 15.0, days=92),
    "DCOILWTICO": Limit(-100.0, 400.0),
    "DHOILNYH": Limit(0.05, 20.0),
    "PPOILUSDM": Limit(50.0, 5000.0, 0.5, relative=True),
    "PSOILUSDM": Limit(100.0, 5000.0, 0.5, relative=True),
    "PSOYBUSDM": Limit(50.0, 2500.0, 0.5, relative=True),
    "PSMEAUSDM": Limit(50.0, 2500.0, 0.5, relative=True),
    "NFCI": Limit(-5.0, 10.0, 3.0, days=7),
}
"""Wide of all that happened: consumer prices moved by 2 % a month at most, unemployment rose by 10.4 points in April
2020, output fell by 8 % in the quarter, crude oil was traded at -37. A series that is not named has no limits."""

SHAPES: dict[str, Shape] = {
    shape.table: shape
    for shape in (
        Shape("fred_economic", ("series_id",), ("value", "frequency"), limits=_FRED),
        Shape("treasury_daily", ("tenor",), _PRICES, dict.fromkeys(_PRICES, _YIELD)),
        Shape("volatility_daily", ("series_id",), _PRICES, dict.fromkeys(_PRICES, (0.0, 150.0)), positive=_PRICES),
        Shape("fx_daily", ("pair",), ("rate",), positive=("rate",), spikes_in="rate"),
        Shape("palm_oil_daily", ("symbol",), (*_PRICES, "volume"), {"volume": _COUNT}, positive=_PRICES),
        Shape(
            "vendor_prices_daily",
            ("symbol",),
            (*_PRICES, "volume", "open_interest", "unit"),
            {"volume": (0.0, 1e12), "open_interest": _COUNT},
            positive=_PRICES,
            below_zero=("CL=F",),
            spikes_in="close",
            spikes_among=("ZL=F", "ZS=F", "ZM=F", "ZC=F", "ZW=F"),
        ),
        Shape("cftc_positioning", ("contract_code", "report"), (*_HELD, "commodity"), dict.fromkeys(_HELD, _COUNT)),
        Shape(
            "weather_daily",
            ("station_id",),
            (*_MEASURED, "region", "adjustments"),
            dict.fromkeys(_MEASURED[:3], _DEGREES) | {"precip_mm": (0.0, 1900.0)},
        ),
        Shape("usda_crop_progress", ("state", "statistic"), ("value_pct",), {"value_pct": (0.0, 100.0)}),
        Shape(
            "usda_export_sales",
            ("commodity", "country", "marketing_year"),
            _TONNES,
            dict.fromkeys(_TONNES[1:], _COUNT),
        ),
        Shape("biofuel", ("item",), ("value", "unit"), {"value": (0.0, 1e12)}),
        Shape("brazil_soy_crop", ("harvest_year",), _CROP, positive=_CROP),
        Shape(
            "policy_events",
            ("event_id",),
            ("category", "title", *_SCORES, "priority"),
            dict.fromkeys(_SCORES, (0.0, 1e6)),
        ),
    )
}
"""By table. Text among the values, such as a unit, is compared with what is stored and is no measurement."""


@dataclass(frozen=True)
class SortedSeries:
    """Rows of one table after the rules.

    Attributes:
        rows: accepted rows with `available_at`, one per key.
        rejected: rows that broke a rule, with `reason`.
        left_alone: rows that are neither, counted by why: they say nothing, or their time has not come.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    left_alone: dict[str, int]


def sort_out(table: str, delivered: pl.DataFrame, now: datetime, before: pl.DataFrame | None = None) -> SortedSeries:
    """Apply the rules of a table to what a source delivers.

    Args:
        table: raw_intelligence table without the dataset.
        delivered: the columns of its contract without `ingest_timestamp`; `available_at` null where the rules shall
            say it.
        now: rows about a later day are from the future (UTC).
        before: stored rows of the same series, which tell how much they usually move.

    Returns:
        Accepted rows, rejected rows, and the rest. A doubtful move is believed once the next observation confirms it,
        and counts as public from then on, in the past as today; one that is undone is rejected and leaves a hole. A
        leap beyond the limit of its series is rejected at once. So no row depends on what came after the moment from
        which it counts.
    """
    shape = SHAPES[table]
    empty = pl.all_horizontal(pl.col(c).is_null() for c in _measured(shape, delivered))
    judged = delivered.filter(~empty).with_columns(reason=_first_broken_rule(shape, delivered.schema, now))
    sound = judged.filter(pl.col("reason").is_null()).drop("reason")
    key = [*shape.series, "observed_date", "available_at"]
    once = sound.unique([*key, *shape.values], keep="first", maintain_order=True)
    twice = once.select(key).is_duplicated()
    public, unknown, waiting = public_by(table, once.filter(~twice), now)
    steady, leaps = _without_leaps(shape, public, before)
    kept, spikes, doubtful = _without_spikes(shape, steady, before)
    waiting += kept.filter(pl.col("available_at") > now).height
    rejected = [
        judged.filter(pl.col("reason").is_not_null()),
        once.filter(twice).with_columns(reason=pl.lit("two_different_values")),
        unknown.with_columns(reason=pl.lit(UNKNOWN_PUBLICATION)),
        leaps.with_columns(reason=pl.lit(LEAP)),
        spikes.with_columns(reason=pl.lit("spike_undone_by_the_next_value")),
    ]
    left = {
        "no_value": delivered.filter(empty).height,
        "not_public_yet": waiting,
        "move_not_confirmed_yet": doubtful,
    }
    return SortedSeries(
        kept.filter(pl.col("available_at") <= now),
        pl.concat([r.select(judged.columns) for r in rejected]),
        {name: count for name, count in left.items() if count},
    )


def _measured(shape: Shape, frame: pl.DataFrame) -> list[str]:
    """Values that are numbers; a policy event has none that it needs, it is there by its title."""
    numbers = [c for c in shape.values if frame.schema[c].is_numeric()]
    return ["title"] if shape.table == "policy_events" else [c for c in numbers if c != "volume"]


def _first_broken_rule(shape: Shape, schema: pl.Schema, now: datetime) -> pl.Expr:
    """Name of the first rule a row breaks, null for a sound row."""
    numbers = [pl.col(c) for c in shape.values if schema[c].is_numeric()]
    may_be_negative = pl.col(shape.identity[0]).cast(pl.String).is_in(list(shape.below_zero))
    observed = pl.col("observed_date")
    rules: dict[str, pl.Expr] = {
        "no_date_or_name": pl.any_horizontal(pl.col(c).is_null() for c in (*shape.series, "observed_date")),
        "not_finite": pl.any_horizontal([pl.lit(value=False), *(~n.is_finite() for n in numbers)]),
        "in_the_future": (observed > now.date()) & ~published_ahead(shape.table),
        "not_positive": pl.any_horizontal([pl.lit(value=False), *(pl.col(c) <= 0 for c in shape.positive)])
        & ~may_be_negative,
        "out_of_bounds": pl.any_horizontal(
            [pl.lit(value=False), *(~pl.col(c).is_between(*pair) for c, pair in shape.bounds.items())]
        ),
    }
    if shape.limits:
        name, nothing = pl.col(shape.identity[0]), pl.Float64()
        low, high = (
            name.replace_strict(
                {n: getattr(m, side) for n, m in shape.limits.items()}, default=None, return_dtype=nothing
            )
            for side in ("low", "high")
        )
        rules["out_of_bounds"] |= ~pl.col("value").is_between(low, high)
    if shape.table == "cftc_positioning":
        rules["position_above_open_interest"] = pl.any_horizontal(
            pl.col(c) > pl.col("open_interest") for c in _HELD[1:]
        )
    if shape.table == "weather_daily":
        rules["minimum_above_maximum"] = pl.col("tmin_c") > pl.col("tmax_c")
    if "high" in shape.values:
        rules["high_below_low"] = pl.col("high") < pl.col("low")
    verdict = pl.lit(None, dtype=pl.String)
    for name, broken in reversed(rules.items()):
        verdict = pl.when(broken.fill_null(value=False)).then(pl.lit(name)).otherwise(verdict)
    return verdict


def without_foreign_range(rows: pl.DataFrame) -> pl.DataFrame:
    """Prices whose close lies outside [low, high] without their open, high and low.

    There the vendor joins two bars: the range of the electronic session and the settlement of the pit. The settlement
    is what the series is about; a range that does not hold it would make false volatilities.
    """
    foreign = ~pl.col("close").is_between("low", "high")
    kept = [pl.when(foreign.fill_null(value=False)).then(None).otherwise(pl.col(c)).alias(c) for c in _PRICES[:3]]
    return rows.with_columns(kept)


def _without_leaps(shape: Shape, rows: pl.DataFrame, before: pl.DataFrame | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to keep, and those further from the observation before than their series can move.

    Compared is what was in force when a row became public, so an index on a new base, which comes with all its past,
    is no leap.
    """
    names = [name for name, limit in shape.limits.items() if limit.leap is not None]
    if not names or rows.is_empty():
        return rows, rows.clear()
    slow = pl.col(shape.identity[0]).is_in(names)
    series, place = list(shape.series), "_place"
    placed = rows.with_row_index(place)
    columns = [place, *series, "observed_date", "available_at", "value"]
    judged = placed.filter(slow).select(columns)
    if before is not None and not before.is_empty():
        others = before.filter(slow).join(rows, on=[*series, "observed_date"], how="anti")
        judged = pl.concat([judged, others.with_columns(pl.lit(None, pl.UInt32).alias(place)).select(columns)])
    leaps: list[int] = []
    for (name, *_), one in judged.group_by(*series):
        in_order = one.sort("available_at", "observed_date").select(place, "observed_date", "value")
        leaps += _leaps(shape.limits[str(name)], in_order.rows())
    is_leap = pl.col(place).is_in(leaps)
    return placed.filter(~is_leap).drop(place), placed.filter(is_leap).drop(place)


def _leaps(limit: Limit, rows: list[tuple[int | None, date, float | None]]) -> list[int]:
    """Places of the leaps among rows of one series, in the order in which they became public.

    A row is compared with the last observation before it that was believed, and with those since that were not: a level
    that two observations in a row tell is the series' own. A row without a place is stored, and believed.
    """
    days: list[date] = []
    seen: dict[date, tuple[float, bool]] = {}
    leaps: list[int] = []
    for place, day, value in rows:
        if value is None:
            continue
        believed = place is None or _follows(limit, value, day, days, seen)
        if place is not None and not believed:
            leaps.append(place)
        if day not in seen:
            insort(days, day)
        if believed or not seen.get(day, (0.0, False))[1]:
            seen[day] = (value, believed)
    return leaps


def _follows(limit: Limit, value: float, day: date, days: list[date], seen: dict[date, tuple[float, bool]]) -> bool:
    """Whether the value can follow what was seen before its day."""
    for n in range(bisect_left(days, day) - 1, -1, -1):
        earlier = days[n]
        known, believed = seen[earlier]
        if limit.reached(value, day, (earlier, known)):
            return True
        if believed:
            return False
    return True


def _without_spikes(
    shape: Shape, rows: pl.DataFrame, before: pl.DataFrame | None
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Rows to keep, spikes, and how many of the newest rows wait for the value that confirms or undoes them."""
    if shape.spikes_in is None or rows.is_empty():
        return rows, rows.clear(), 0
    series, value = list(shape.series), shape.spikes_in
    among = pl.col(shape.identity[0]).is_in(list(shape.spikes_among)) if shape.spikes_among else pl.lit(value=True)
    known = rows.select(*series, "observed_date", "available_at", value).with_columns(own=pl.lit(value=True))
    if before is not None and not before.is_empty():
        others = before.join(rows, on=[*series, "observed_date"], how="anti").select(known.columns[:-1])
        known = pl.concat([known, others.with_columns(own=pl.lit(value=False))])
    judged = _with_doubt(known, series, value).filter("own").drop("own", value)
    joined = rows.join(judged, on=[*series, "observed_date", "available_at"], how="left", maintain_order="left")
    joined = joined.with_columns(doubtful=pl.col("doubtful") & among)
    undone, waits = pl.col("doubtful") & pl.col("undone"), pl.col("doubtful") & pl.col("confirmed_at").is_null()
    late = pl.when("doubtful").then(pl.max_horizontal("available_at", "confirmed_at")).otherwise("available_at")
    kept = joined.filter(~undone & ~waits).with_columns(available_at=late)
    return (
        kept.select(rows.columns),
        joined.filter(undone & ~waits).select(rows.columns),
        joined.filter(waits).height,
    )


def _with_doubt(known: pl.DataFrame, series: list[str], value: str) -> pl.DataFrame:
    """The rows with `doubtful`, `undone` (never null) and `confirmed_at`, when the next observation became public."""
    price = pl.col(value)
    previous, following = price.shift(1).over(series), price.shift(-1).over(series)
    usable = (price > 0) & (previous > 0)
    move = pl.when(usable).then((price / previous).log())
    return (
        known.sort(*series, "observed_date", "available_at")
        .with_columns(move=move, back=pl.when(following > 0).then((following / previous).log()))
        .with_columns(
            scale=1.4826
            * pl.col("move").abs().shift(1).rolling_median(SPIKE_WINDOW, min_samples=SPIKE_WINDOW // 3).over(series),
            confirmed_at=pl.col("available_at").shift(-1).over(series),
        )
        .with_columns(
            doubtful=(
                pl.col("move").abs() > SPIKE_SCALES * pl.col("scale").clip(lower_bound=SPIKE_LEAST_SCALE)
            ).fill_null(value=False),
            undone=(pl.col("back").abs() < SPIKE_RETURN * pl.col("move").abs()).fill_null(value=False),
        )
        .drop("move", "back", "scale")
    )


def revisions(table: str, delivered: pl.DataFrame, stored: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The delivered rows that say something new; nothing stored is ever overwritten.

    Args:
        table: raw_intelligence table without the dataset.
        delivered: accepted rows, with `available_at`.
        stored: its rows in the store: the series, `observed_date`, `available_at` and the values.
        now: when the rows arrived (UTC).

    Returns:
        Rows to store, with `ingest_timestamp`. A value equal to the one in force is left out. One that differs from it
        is a row of its own: as of the day that the vendor gives it with a `vintage`, else as of now, which is its
        vintage too.
    """
    shape = SHAPES[table]
    key, values = [*shape.series, "observed_date"], list(shape.values)
    before = stored.select(*key, "available_at", *values).sort("available_at")
    rows = delivered.with_columns(
        _compared_at=pl.when(pl.col("vintage").is_null()).then(pl.lit(now)).otherwise("available_at"),
        _order=pl.int_range(pl.len()),
    ).sort("_compared_at")
    in_force = before.rename({"available_at": "_since"}).with_columns(_known=pl.lit(value=True))
    found = rows.join_asof(
        in_force.rename({v: f"_{v}" for v in values}),
        left_on="_compared_at",
        right_on="_since",
        by=key,
        check_sortedness=False,
    ).sort("_order")
    differs = pl.any_horizontal(pl.col(v).ne_missing(pl.col(f"_{v}")) for v in values)
    was_there = pl.col("_known").fill_null(value=False)
    revised = was_there & (pl.col("vintage").is_null() | (pl.col("_since") == pl.col("available_at")))
    return (
        found.filter(~was_there | differs)
        .with_columns(
            available_at=pl.when(revised).then(pl.lit(now)).otherwise("available_at").cast(pl.Datetime("us", "UTC")),
            vintage=pl.when(revised).then(pl.lit(now.date())).otherwise("vintage"),
            ingest_timestamp=pl.lit(now).cast(pl.Datetime("us", "UTC")),
        )
        .select(*delivered.columns, "ingest_timestamp")
    )


def quarantine_rows(table: str, rejected: pl.DataFrame, origin: str, now: datetime) -> pl.DataFrame:
    """Rejected rows of a series as rows of raw_intelligence.quarantine.

    Args:
        table: raw_intelligence table without the dataset.
        rejected: rows of it with `reason`.
        origin: the source that delivered them.
        now: ingest timestamp (UTC).
    """
    shape = SHAPES[table]
    name = pl.concat_str([pl.col(c).cast(pl.String) for c in shape.identity], separator=" ", ignore_nulls=True)
    original = rejected.select(pl.struct(pl.all().exclude("reason", *_BOOKKEEPING)).struct.json_encode()).to_series()
    return (
        rejected.with_columns(original=original)
        .select(
            # Not of the file: a file that grows by a row a day would put its old faults here anew each day.
            quarantine_id=pl.format("{}:{}:{}", pl.lit(table), "original", "reason"),
            stage=pl.lit("series"),
            reason="reason",
            symbol=name,
            observed_date="observed_date",
            ts_event=pl.lit(None, pl.Datetime("us", "UTC")),
            rtype=pl.lit(None, pl.Int64),
            original="original",
            source=pl.col("source").fill_null("unknown"),
            source_file=pl.lit(f"{origin}: {table}"),
            ingest_timestamp=pl.lit(now).cast(pl.Datetime("us", "UTC")),
            provenance_uuid="provenance_uuid",
        )
        .unique("quarantine_id", keep="first", maintain_order=True)
    )

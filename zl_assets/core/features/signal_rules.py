"""The twelve signal treatment rules of DOMAIN section 7, as data and as tests on a surface of features.

Two looks at a surface. `broken_rules` reads what the registry says of its columns: their domain, treatment and unit,
and what stands beside them. `disguised` reads the values: a column that moves exactly as a raw series does is that
series, whatever the registry calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from zl_assets.core.features.family import Domain, Feature, Treatment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Floats = NDArray[np.float64]

SAME = 0.9999
"""Correlation above which a column is the raw series itself."""

FEWEST_ROWS = 60
"""Rows that both must have before they are compared."""

SHORTEST_WEATHER_DAYS = 7
DOLLAR_INDEX = frozenset({"dxy", "dollar", "dtwexbgs"})
FUNDAMENTAL: frozenset[Domain] = frozenset(
    {"biofuel", "weather", "crop", "crush", "palm", "china", "positioning", "logistics"}
)
"""Domains that say through which mechanism a headline could move the price."""


@dataclass(frozen=True)
class SignalRule:
    """How one domain may enter a surface.

    Attributes:
        number: as in DOMAIN section 7.
        domain: which columns it is about.
        compute: what to build instead of the raw series.
        never: what it forbids.
        forbidden: treatments that are the raw series, or as good as it.
    """

    number: int
    domain: Domain
    compute: str
    never: str
    forbidden: frozenset[Treatment]


@dataclass(frozen=True)
class Violation:
    """A column that breaks a rule.

    Attributes:
        rule: number of the rule.
        column: name in the surface.
        problem: what is wrong with it.
        action: what to do.
    """

    rule: int
    column: str
    problem: str
    action: str


def _rule(number: int, domain: Domain, compute: str, never: str, *forbidden: Treatment) -> SignalRule:
    return SignalRule(number, domain, compute, never, frozenset(forbidden))


RULES: tuple[SignalRule, ...] = (
    _rule(1, "treasury", "changes, the 10Y-2Y spread, a 30-day z, beside the dollar", "a raw yield", "level", "ema"),
    _rule(2, "vix", "bands at 15/25/30 and z", "the VIX as it is, or as confidence", "level", "ema"),
    _rule(
        3,
        "sentiment",
        "persistence over two or three days, beside a fundamental mechanism",
        "a single headline",
        "level",
        "flag",
        "change",
        "return",
    ),
    _rule(
        4, "fed", "the change of the rate and its path, its correlation with BRL and CNY", "the level", "level", "ema"
    ),
    _rule(5, "dollar", "BRL and ARS first, then DXY's z and CNY, beside COT", "a raw rate, DXY alone", "level", "ema"),
    _rule(6, "biofuel", "volumes in tonnes of oil demand", "policy as text", "level", "count", "persistence"),
    _rule(
        7, "logistics", "queue days, basis, delays of more than 14 days", "freight noise", "level", "return", "change"
    ),
    _rule(
        8,
        "weather",
        "composites of 7 days and more, drought z, growing degrees, flags at two sigma",
        "a single day's anomaly",
        "level",
        "change",
        "return",
    ),
    _rule(9, "positioning", "5-year percentiles, changes of shares, divergence", "raw net counts", "level", "count"),
    _rule(10, "crush", "an EMA of 25 sessions, an alert below 0", "an unsmoothed level", "level", "spread"),
    _rule(11, "palm", "ratio and relative volatility against ZL", "an absolute price", "level", "ema"),
    _rule(12, "china", "imports and sales against their season", "rhetoric", "level", "count", "persistence"),
)
_OF_DOMAIN: dict[str, SignalRule] = {rule.domain: rule for rule in RULES}


def broken_rules(features: Sequence[Feature], surface: Sequence[str]) -> list[Violation]:
    """What of a surface breaks a rule, by what the registry says of its columns.

    Args:
        features: the registry; columns of the surface that it does not know are not judged.
        surface: names of the columns that a model is to see.

    Returns:
        One violation per column and rule, by rule and then in the order of the registry; empty where all is well.
    """
    chosen = [feature for feature in features if feature.name in set(surface)]
    found: list[Violation] = []
    for rule in RULES:
        of_domain = [feature for feature in chosen if feature.domain == rule.domain]
        found += [_violation(rule, f, f"is {rule.never}") for f in of_domain if f.treatment in rule.forbidden]
        judge = _JUDGES.get(rule.number)
        if judge is not None:
            found += judge(rule, of_domain, chosen)
    return list({(v.rule, v.column): v for v in reversed(found)}.values())[::-1]


def disguised(values: pl.DataFrame, raw_as_of: pl.DataFrame) -> list[Violation]:
    """Columns that carry a raw series under another name.

    Args:
        values: columns of a surface, one row per decision; what is no number is left out.
        raw_as_of: raw series as known at the same decisions, named `<domain>:<series>`, e.g. `treasury:DGS10`; a
            station's anomaly of one day is `weather:<station>`.

    Returns:
        One violation per column that is equal to, or correlates in size above `SAME` with, a raw series.
    """
    import numpy as np

    columns = [name for name, dtype in values.schema.items() if dtype.is_numeric() or dtype == pl.Boolean]
    likeness = _likeness(values.select(columns), raw_as_of)
    found: list[Violation] = []
    for at, name in enumerate(columns):
        nearest = int(np.argmax(likeness[at])) if raw_as_of.width else -1
        if nearest >= 0 and likeness[at][nearest] > SAME:
            domain, _, series = raw_as_of.columns[nearest].partition(":")
            rule = _OF_DOMAIN[domain]
            problem = f"moves exactly as {series} does, which is {rule.never}"
            found.append(Violation(rule.number, name, problem, f"build {rule.compute}, or leave the column out"))
    return found


def _likeness(values: pl.DataFrame, raw: pl.DataFrame) -> list[list[float]]:
    """Size of the correlation of every column with every raw series over the rows both have; 0 where too few."""
    import numpy as np

    if not values.width or not raw.width:
        return [[] for _ in values.columns]
    (x, in_x), (y, in_y) = _centred(values), _centred(raw)
    count = in_x.T @ in_y
    with np.errstate(divide="ignore", invalid="ignore"):
        x_sum, y_sum = x.T @ in_y, in_x.T @ y
        covariance = x.T @ y - x_sum * y_sum / count
        x_spread = (x**2).T @ in_y - x_sum**2 / count
        y_spread = in_x.T @ y**2 - y_sum**2 / count
        moves = (x_spread > 1e-12) & (y_spread > 1e-12) & (count >= FEWEST_ROWS)
        size = np.abs(covariance) / np.sqrt(x_spread * y_spread)
    return np.where(moves, size, 0.0).tolist()


def _centred(frame: pl.DataFrame) -> tuple[_Floats, _Floats]:
    """Columns with mean 0 and deviation 1 over their rows, 0 where missing, and which rows are there."""
    import numpy as np

    numbers = frame.select(pl.all().cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    there = np.isfinite(numbers)
    known = np.where(there, numbers, 0.0)
    count = np.maximum(there.sum(axis=0), 1)
    apart = np.where(there, known - known.sum(axis=0) / count, 0.0)
    spread = np.sqrt((apart**2).sum(axis=0) / count)
    return apart / np.where(spread > 0, spread, 1.0), there.astype(np.float64)


def _violation(rule: SignalRule, feature: Feature, problem: str, action: str | None = None) -> Violation:
    return Violation(rule.number, feature.name, problem, action or f"build {rule.compute}")


def _words(feature: Feature) -> frozenset[str]:
    return frozenset(re.split(r"[_.]", feature.name))


def _names(features: Sequence[Feature], *words: str) -> bool:
    """Whether a feature's name holds one of the words, alone or as one side of a pair of currencies."""
    return any(any(word in (w, w.removeprefix("usd")) for w in _words(f)) for f in features for word in words)


def _treasury(rule: SignalRule, own: list[Feature], chosen: list[Feature]) -> Iterator[Violation]:
    if not any(f.domain == "dollar" for f in chosen) and not any(_words(f) & DOLLAR_INDEX for f in own):
        for feature in own:
            yield _violation(
                rule, feature, "stands without the dollar", "add a column of the dollar, or a pair with it"
            )


def _vix(rule: SignalRule, own: list[Feature], _chosen: list[Feature]) -> Iterator[Violation]:
    for feature in own:
        if "confidence" in _words(feature):
            yield _violation(
                rule, feature, "takes the VIX for confidence", "let it widen intervals and raise conviction"
            )


def _sentiment(rule: SignalRule, own: list[Feature], chosen: list[Feature]) -> Iterator[Violation]:
    for feature in own:
        if re.search(r"_1d?$", feature.name):
            yield _violation(rule, feature, "is a single day's headline")
    if not any(f.domain in FUNDAMENTAL for f in chosen):
        for feature in own:
            yield _violation(
                rule, feature, "stands without a fundamental mechanism", "add the fundamental it works through"
            )


def _fed(rule: SignalRule, own: list[Feature], _chosen: list[Feature]) -> Iterator[Violation]:
    together = [f for f in own if f.treatment in ("correlation", "beta")]
    if not _names(together, "brl", "cny"):
        for feature in own:
            yield _violation(rule, feature, "stands without BRL and CNY", "add the path's correlation with BRL or CNY")


def _dollar(rule: SignalRule, own: list[Feature], chosen: list[Feature]) -> Iterator[Violation]:
    exporters = [f for f in own if not _words(f) & DOLLAR_INDEX]
    for feature in own:
        if _words(feature) & DOLLAR_INDEX:
            if not _names(exporters, "brl", "6l") or not _names(exporters, "ars"):
                yield _violation(rule, feature, "stands without BRL and ARS", "add columns of USDBRL and USDARS")
            elif not any(f.domain == "positioning" for f in chosen):
                yield _violation(rule, feature, "stands without positioning", "add a column of the COT reports")


def _biofuel(rule: SignalRule, own: list[Feature], chosen: list[Feature]) -> Iterator[Violation]:
    if any(f.unit in ("Mt", "t", "kt") for f in own):
        return
    for feature in chosen:
        if feature.domain == "biofuel" or "biofuel" in _words(feature):
            yield _violation(rule, feature, "stands without a volume", "add the mandate in tonnes of oil demand")


def _logistics(rule: SignalRule, own: list[Feature], _chosen: list[Feature]) -> Iterator[Violation]:
    for feature in own:
        if "freight" in _words(feature) and feature.treatment not in ("spread", "ratio"):
            yield _violation(rule, feature, "is freight noise")


def _weather(rule: SignalRule, own: list[Feature], _chosen: list[Feature]) -> Iterator[Violation]:
    for feature in own:
        days = [int(found) for found in re.findall(r"_(\d+)d(?:_|$)", feature.name)]
        if min(days, default=SHORTEST_WEATHER_DAYS) < SHORTEST_WEATHER_DAYS:
            yield _violation(rule, feature, f"covers less than {SHORTEST_WEATHER_DAYS} days")


def _positioning(rule: SignalRule, own: list[Feature], _chosen: list[Feature]) -> Iterator[Violation]:
    for feature in own:
        if feature.unit.startswith("contract"):
            yield _violation(rule, feature, "counts contracts")


_JUDGES: dict[int, Callable[[SignalRule, list[Feature], list[Feature]], Iterator[Violation]]] = {
    1: _treasury,
    2: _vix,
    3: _sentiment,
    4: _fed,
    5: _dollar,
    6: _biofuel,
    7: _logistics,
    8: _weather,
    9: _positioning,
}
"""What a rule asks beyond the treatment."""

"""Whether a feature family earns its place: the same walk-forward with it, without it, and with noise in its place.

Belongs here: fitting, comparing and the verdict. What is stored of it is in `family_impact`, the interval in
`bootstrap`, the noise in `noise`.

The rate of false verdicts is controlled per horizon and family-wise (Bonferroni): of m families that say nothing, with
probability at most `family_wise_error` any gets another verdict than 'no effect'. Each family spends an m-th of it,
half on 'keep' and half on 'investigate', as the two ends of its intervals at level 1 - family_wise_error / m.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.evaluation.bootstrap import LEAST_INDEPENDENT, MeanInterval, mean_interval
from zl_assets.core.evaluation.noise import noise_like
from zl_assets.core.evaluation.splits import MIN_FOLDS, Fold
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.base import floats, labelled_rows, require_columns
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.core.models.training import TrainingConfig, plan
from zl_assets.core.models.trees import TreeConfig
from zl_assets.errors import ConfigurationError, InputError

Verdict = Literal["keep", "no effect", "investigate", "not testable"]

TOO_GOOD_LOSS_RATIO = 0.85
"""A family that takes more than this off the mean absolute error is a leak until proven otherwise.

For Gaussian returns the ratio is sqrt(1 - R^2), so it stands for an R^2 of 0.28 from one family. The best honest model
known at any horizon has 0.91 for all of its columns together.
"""

Floats = NDArray[np.float64]
Report = Callable[[str], None]


@dataclass(frozen=True)
class GateConfig:
    """How families are judged.

    Attributes:
        noise_draws: families of noise beside each family.
        family_wise_error: probability of any false verdict among the families of a horizon.
        last_folds: judge only so many of the latest folds; None for all. Each fit is the same as in a full gate, so a
            gate of few folds is the same estimate on fewer sessions: its intervals are wider, never biased.
        threads: fits at a time; each has one thread of its own, so that the bits do not depend on this.
        trees: parameters of the trees, before they are scaled to the horizon.
        walk: of the walk-forward.
    """

    noise_draws: int = 5
    family_wise_error: float = 0.05
    last_folds: int | None = None
    threads: int = 2
    trees: TreeConfig = field(default_factory=TreeConfig)
    walk: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        folds = self.last_folds is None or self.last_folds >= MIN_FOLDS
        if self.noise_draws < 1 or self.threads < 1 or not 0 < self.family_wise_error < 1 or not folds:
            raise ConfigurationError(
                "the gate is not defined",
                where=str(self),
                action=f"give at least one noise draw and thread, {MIN_FOLDS} folds, and a rate between 0 and 1",
            )


QUICK = GateConfig(noise_draws=3, last_folds=4)
"""About a third of the work: four years and three draws."""


@dataclass(frozen=True)
class Evidence:
    """What was measured about one family at one horizon. Losses are absolute errors of the return, as fractions.

    Attributes:
        family: its name.
        columns: its columns.
        base: columns learnt from without it.
        n_rows: out-of-fold sessions, the same in every fit.
        n_independent: label windows among them that do not overlap.
        loss_with: mean loss with the family.
        loss_without: mean loss without.
        mean_difference: loss_with - loss_without: negative helps.
        interval: of `mean_difference`; None where no test is possible.
        against_noise: interval of the mean of loss with the family minus mean loss with noise; None as before.
        level: of both intervals.
        folds: folds judged.
        folds_improved_share: share of them whose mean loss the family lowered.
        noise_differences: `mean_difference` of each noise draw.
    """

    family: str
    columns: tuple[str, ...]
    base: tuple[str, ...]
    n_rows: int
    n_independent: int
    loss_with: float
    loss_without: float
    mean_difference: float
    interval: MeanInterval | None
    against_noise: MeanInterval | None
    level: float
    folds: int
    folds_improved_share: float
    noise_differences: tuple[float, ...]

    @property
    def verdict(self) -> Verdict:
        """What follows; a leak shows on few samples too, so that comes first."""
        if self.loss_with < TOO_GOOD_LOSS_RATIO * self.loss_without:
            return "investigate"
        if self.interval is None or self.against_noise is None:
            return "not testable"
        if self.interval.high < 0 and self.mean_difference < min(self.noise_differences):
            return "keep"
        if self.against_noise.low > 0 and self.mean_difference > max(self.noise_differences):
            return "investigate"
        return "no effect"


def gate(
    frame: pl.DataFrame,
    horizon: Horizon,
    families: Mapping[str, Sequence[str]],
    base: Sequence[str],
    *,
    seed: int,
    config: GateConfig | None = None,
    comparisons: int | None = None,
    report: Report = lambda _: None,
) -> tuple[Evidence, ...]:
    """Judge each family by itself: on top of the base, or where the base holds it, by leaving it out.

    Every fit learns from and is judged on the same rows, also where a family has no value. Its cost is
    folds x (2 + noise_draws) fits a family, less the ones without it that families share.

    Args:
        frame: one row a session, see `models.base.FRAME_COLUMNS`, and the columns of base and families.
        horizon: what is forecast.
        families: columns of each family, numeric or Boolean.
        base: columns the families are judged beside.
        seed: of noise and bootstrap; a family's draws do not depend on which others are judged.
        config: how; the defaults if None.
        comparisons: families among which the rate of false verdicts is controlled, where not all are judged at once.
        report: told in one line which family has been judged.

    Returns:
        One evidence a family, in the order given.

    Raises:
        InputError: a column is missing or not numeric, a family is empty, or fewer comparisons than families.
        NotEnoughHistory: too few labelled rows for three test folds.
    """
    settings = config or GateConfig()
    _check(frame, families, base, comparisons)
    rows = labelled_rows(frame)
    trial = _Trial.of(rows, horizon, settings, seed)
    level = 1 - settings.family_wise_error / (comparisons or len(families) or 1)
    found: list[Evidence] = []
    for name, columns in families.items():
        evidence = trial.judged(name, tuple(columns), tuple(c for c in base if c not in columns), level)
        found.append(evidence)
        report(f"{name}: {evidence.verdict}, {evidence.mean_difference:+.6f} after {trial.fits} fits")
    return tuple(found)


@dataclass
class _Trial:
    """The rows and folds that every fit shares, and the losses already known."""

    rows: pl.DataFrame
    horizon: Horizon
    folds: Sequence[Fold]
    config: GateConfig
    seed: int
    fits: int = 0
    known: dict[tuple[str, ...], Floats] = field(default_factory=dict[tuple[str, ...], Floats])

    @classmethod
    def of(cls, rows: pl.DataFrame, horizon: Horizon, config: GateConfig, seed: int) -> _Trial:
        folds = plan(rows, horizon, config.walk).split(rows["session_number"].to_numpy())
        return cls(rows, horizon, folds[-(config.last_folds or len(folds)) :], config, seed)

    @property
    def actual(self) -> Floats:
        """Returns of the judged rows, shape (n_rows,)."""
        return self.rows["target"].cast(pl.Float64).to_numpy()[np.concatenate([f.test for f in self.folds])]

    def judged(self, name: str, columns: tuple[str, ...], base: tuple[str, ...], level: float) -> Evidence:
        stream = [self.seed, crc32(name.encode())]
        with_it, without, noise = self._forecasts(columns, base, stream)
        actual = self.actual
        loss_with, loss_without = np.abs(with_it - actual), np.abs(without - actual)
        noise_losses = [np.abs(n - actual) for n in noise]
        difference = loss_with - loss_without
        independent = actual.size // self.horizon.sessions
        testable = independent >= LEAST_INDEPENDENT
        against_noise = loss_with - np.mean(noise_losses, axis=0)

        def interval(values: Floats, number: int) -> MeanInterval | None:
            draws = [*stream, number]
            return mean_interval(values, self.horizon.sessions, level=level, seed=draws) if testable else None

        return Evidence(
            family=name,
            columns=columns,
            base=base,
            n_rows=actual.size,
            n_independent=independent,
            loss_with=float(loss_with.mean()),
            loss_without=float(loss_without.mean()),
            mean_difference=float(difference.mean()),
            interval=interval(difference, 0),
            against_noise=interval(against_noise, 1),
            level=level,
            folds=len(self.folds),
            folds_improved_share=float(np.mean([d.mean() < 0 for d in self._by_fold(difference)])),
            noise_differences=tuple(float((n - loss_without).mean()) for n in noise_losses),
        )

    def _forecasts(
        self, columns: tuple[str, ...], base: tuple[str, ...], stream: Sequence[int]
    ) -> tuple[Floats, Floats, list[Floats]]:
        """Out-of-fold forecasts with the family, without it, and with each draw of noise in its place."""
        draws = [
            self.rows.with_columns(noise_like(self.rows, columns, seed=[*stream, 2, n]).get_columns())
            for n in range(self.config.noise_draws)
        ]
        both = (*base, *columns)
        wanted = [(self.rows, both), *((d, both) for d in draws)]
        if base not in self.known:
            wanted.append((self.rows, base))
        with ThreadPoolExecutor(self.config.threads) as pool:
            with_it, *others = [f.result() for f in [pool.submit(self._forecast, *w) for w in wanted]]
        self.fits += len(wanted) * len(self.folds)
        noise, left = others[: len(draws)], others[len(draws) :]
        without = self.known.setdefault(base, left[0]) if left else self.known[base]
        return with_it, without, noise

    def _forecast(self, rows: pl.DataFrame, columns: tuple[str, ...]) -> Floats:
        """Forecasts of the judged rows; no-change in a fold whose training rows give nothing to learn from."""

        def make() -> LightGBMForecaster:
            return LightGBMForecaster(self.config.trees, columns, horizon_sessions=self.horizon.sessions)

        return np.concatenate([_fold_forecast(rows, fold, make()) for fold in self.folds])

    def _by_fold(self, values: Floats) -> list[Floats]:
        return np.split(values, np.cumsum([f.test.size for f in self.folds])[:-1])


def _fold_forecast(rows: pl.DataFrame, fold: Fold, forecaster: LightGBMForecaster) -> Floats:
    train = rows[fold.train]
    if not any(train[c].cast(pl.Float64).fill_nan(None).drop_nulls().n_unique() > 1 for c in forecaster.features):
        return np.zeros(fold.test.size)
    return forecaster.fit(train, floats(train, "target"), floats(train, "sample_weight")).predict(rows[fold.test])


def _check(
    frame: pl.DataFrame, families: Mapping[str, Sequence[str]], base: Sequence[str], comparisons: int | None
) -> None:
    where, action = "feature families", "compare the registry with the training rows"
    if empty := [name for name, columns in families.items() if not columns]:
        raise InputError(f"families without a column: {', '.join(empty)}", where=where, action=action)
    if comparisons is not None and comparisons < len(families):
        raise InputError(f"{len(families)} families in {comparisons} comparisons", where=where, action=action)
    needed = list(dict.fromkeys([*base, *(c for columns in families.values() for c in columns)]))
    require_columns(frame, needed, where)
    types = frame.schema
    if other := [c for c in needed if not (types[c].is_numeric() or types[c] == pl.Boolean)]:
        raise InputError(f"not a number: {', '.join(other)}", where=where, action=action)

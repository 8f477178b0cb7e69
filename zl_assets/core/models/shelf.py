"""The model shelf: every model there is, what it is, and how simple it is.

Belongs here: the list. A model is imported when it is made, so that reading the list costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal, Self

from zl_assets.core.horizons import Horizon
from zl_assets.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from zl_assets.core.models.base import Forecaster
    from zl_assets.core.models.weighting import Weighting

Family = Literal["benchmarks", "statistical", "trees", "neural", "regime", "ensemble"]

NO_CHANGE = "no_change"
ENSEMBLE = "ensemble"

_BUILDS = ("", "-cpu", "-macos")
"""What the name of a distribution ends with on one machine or another."""


@dataclass(frozen=True)
class ModelSpec:
    """One model of the shelf. Its place in SHELF is its rank: simpler ones come first.

    Attributes:
        name: unique.
        family: kind of model; the second part of its asset key.
        title: one clause that says what it is.
        module: below `zl_assets.core.models`.
        maker: class of the forecaster in `module`.
        arguments: by name, for the maker.
        takes_horizon: whether the maker takes `horizon_sessions`.
        package: distribution whose major version may change the figures; its builds for one kind of machine count, too.
        extra: optional dependency of this project that brings the package; None where it always is there.
        standard: whether a plain `zl run` trains it.
        tuned: whether its parameters are searched for in the first fold's training rows.
        weighting: how much each training row counts.
    """

    name: str
    family: Family
    title: str
    module: str
    maker: str
    arguments: tuple[tuple[str, Any], ...] = ()
    takes_horizon: bool = False
    package: str | None = None
    extra: str | None = None
    standard: bool = True
    tuned: bool = False
    weighting: Weighting = "v0"

    def asked(self, **arguments: Any) -> Self:
        """The same with further arguments for the maker, which are part of its version."""
        return replace(self, arguments=(*self.arguments, *arguments.items()))

    @property
    def key(self) -> str:
        """Asset key, dotted."""
        return f"models.{self.family}.{self.name}"

    def of(self) -> type[Forecaster]:
        """The class of the forecaster."""
        return getattr(import_module(f"zl_assets.core.models.{self.module}"), self.maker)

    def make(self, horizon: Horizon, **given: Any) -> Forecaster:
        """A forecaster of one horizon that has not learnt yet.

        The ensemble learns from what the others forecast; `blending` makes it.

        Args:
            horizon: what it will forecast.
            given: further arguments for the maker, such as the configuration that tuning found.

        Raises:
            MissingDependency: the model needs an optional package.
        """
        length = {"horizon_sessions": horizon.sessions} if self.takes_horizon else {}
        return self.of()(**dict(self.arguments), **length, **given)

    def package_major(self) -> str | None:
        """Major version of the package, None without one or where no build of it is installed."""
        for build in _BUILDS if self.package else ():
            with suppress(PackageNotFoundError):
                return version(f"{self.package}{build}").split(".")[0]
        return None


def _statistical(name: str, title: str, maker: str) -> ModelSpec:
    return ModelSpec(name, "statistical", title, "statistical", maker, takes_horizon=True, package="statsforecast")


def _trees(name: str, title: str, module: str, maker: str) -> ModelSpec:
    package = "lightgbm" if name.startswith("lightgbm") else "xgboost"
    return ModelSpec(name, "trees", title, module, maker, takes_horizon=True, package=package, tuned=True)


def _regime(name: str, title: str, module: str, maker: str, package: str) -> ModelSpec:
    return ModelSpec(name, "regime", title, module, maker, takes_horizon=True, package=package, standard=False)


def _net(name: str, title: str) -> ModelSpec:
    return ModelSpec(
        *(name, "neural", title, "neural.forecaster", "NeuralForecaster"),
        arguments=(("architecture", name),),
        takes_horizon=True,
        package="tensorflow",
        extra="neural",
        standard=False,
    )


_NETS: tuple[tuple[str, str], ...] = (
    ("lstm", "One LSTM layer"),
    ("gru", "One GRU layer"),
    ("lstm_stacked", "Two LSTM layers"),
    ("gru_stacked", "Two GRU layers"),
    ("tcn", "Dilated causal convolutions"),
    ("cnn_lstm", "Convolutions, then an LSTM"),
    ("attention", "Attention over an LSTM"),
    ("transformer", "A tiny transformer"),
)
_WEIGHTINGS: tuple[tuple[Weighting, str], ...] = (
    ("equal", "every session counting alike"),
    ("half_life", "a session counting half after five years"),
    ("research", "weighted by the research regimes"),
)
"""Schemes that compete with the weights of the training table."""

SHELF: tuple[ModelSpec, ...] = (
    ModelSpec(NO_CHANGE, "benchmarks", "The price stays, as wide as the market is volatile", "benchmarks", "NoChange"),
    ModelSpec("drift", "benchmarks", "The price goes on as it did on average", "benchmarks", "Drift"),
    ModelSpec(
        "seasonal_naive", "benchmarks", "The price does as in this week of past years", "benchmarks", "SeasonalNaive"
    ),
    _statistical("theta", "Theta: half the trend around a smoothed level", "Theta"),
    _statistical("ets", "Exponential smoothing, chosen by AICc", "Ets"),
    _statistical("arima", "ARIMA, chosen by AICc", "Arima"),
    ModelSpec(
        *("prophet", "statistical", "Prophet: a bending line and the season of the year", "prophet_model", "Prophet"),
        takes_horizon=True,
        package="prophet",
        extra="prophet",
        standard=False,
    ),
    _regime("markov_switching", "Markov-switching volatility", "markov_switching", "MarkovSwitching", "statsmodels"),
    _trees("lightgbm", "LightGBM of the mean", "lightgbm_model", "LightGBMForecaster"),
    _trees("xgboost", "XGBoost of the mean", "xgboost_model", "XGBoostForecaster"),
    _trees("lightgbm_quantile", "LightGBM of the quantiles", "lightgbm_quantile", "LightGBMQuantileForecaster"),
    _trees("xgboost_quantile", "XGBoost of the quantiles", "xgboost_model", "XGBoostQuantileForecaster"),
    *(
        replace(
            _trees(f"lightgbm_{weighting}", f"LightGBM of the mean, {said}", "lightgbm_model", "LightGBMForecaster"),
            weighting=weighting,
            standard=False,
        )
        for weighting, said in _WEIGHTINGS
    ),
    ModelSpec(
        *("mlforecast", "trees", "LightGBM of lagged returns, session by session", "mlforecast_model"),
        "MLForecastTrees",
        takes_horizon=True,
        package="mlforecast",
        extra="mlforecast",
        standard=False,
    ),
    _regime("specialist_crisis", "LightGBM of crisis sessions", "specialists", "SpecialistCrisis", "lightgbm"),
    _regime("specialist_trade_war", "LightGBM of trade wars", "specialists", "SpecialistTradeWar", "lightgbm"),
    _regime("specialist_inflation", "LightGBM of inflation", "specialists", "SpecialistInflation", "lightgbm"),
    *(_net(name, title) for name, title in _NETS),
    ModelSpec(ENSEMBLE, "ensemble", "Blend of all models, by market state", "ensemble", "Ensemble"),
)
"""From the simplest to the least simple, the ensemble last."""

CLASSIFIER = ModelSpec(
    *("regime_classifier", "regime", "Which market state holds at the target date: crisis, bull, bear or normal"),
    *("regime_classifier", "RegimeClassifier"),
    takes_horizon=True,
    package="scipy",
)
"""Tells states and no returns: it is no `Forecaster`, so it is not on the shelf, and no-change is not its measure."""


def models() -> dict[str, ModelSpec]:
    """Models by name, the simplest first."""
    return {spec.name: spec for spec in SHELF}


def chosen_models(asked: str) -> tuple[ModelSpec, ...]:
    """Models that `standard`, `all` or a comma-separated list of names stands for, in the order of the shelf.

    No-change is always among them: every other model is measured by it.

    Raises:
        InputError: a name is not on the shelf.
    """
    if asked in ("standard", "all"):
        return tuple(spec for spec in SHELF if spec.standard or asked == "all")
    names = [name.strip() for name in asked.split(",") if name.strip()]
    return _named(names)


def require_packages(chosen: Sequence[ModelSpec]) -> None:
    """Refuse models whose optional package is not installed, before anything is trained.

    Raises:
        MissingDependency: with every such model by name, and the extras that bring their packages.
    """
    lacking = [spec for spec in chosen if spec.extra and spec.package_major() is None]
    if lacking:
        extras = list(dict.fromkeys(spec.extra for spec in lacking))
        raise MissingDependency(
            f"packages are missing for {', '.join(spec.name for spec in lacking)}",
            where="--models, ZL_MODELS",
            action=f"uv sync {' '.join(f'--extra {extra}' for extra in extras)}, or leave these models out",
        )


def _named(names: Sequence[str]) -> tuple[ModelSpec, ...]:
    known = models()
    strangers = [name for name in names if name not in known]
    if strangers or not names:
        raise InputError(
            f"no such model: {', '.join(strangers) or 'an empty list'}",
            where="--models, ZL_MODELS",
            action=f"choose standard, all, or names among {', '.join(known)}",
        )
    return tuple(spec for spec in SHELF if spec.name in names or spec.name == NO_CHANGE)

"""The calculations of `zl run` as plain function calls in one process: no Dagster, no DuckDB, no model store.

python -m zl_assets_tests.benchmarks.plain_run DATA_DIR [MODELS]

Prints the seconds between the first import of the project and the last figure.
"""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from zl_assets_tests.benchmarks.two_worlds import trained_on


def calculate(directory: Path, models: str) -> None:
    """From vendor files to forecasts and figures, for all horizons."""
    import polars as pl

    from zl_assets.core import regimes
    from zl_assets.core.bars import DAILY, HOURLY, daily_bars, sort_out
    from zl_assets.core.features.matrix import build_matrix
    from zl_assets.core.figures import price_figure
    from zl_assets.core.horizons import HORIZONS
    from zl_assets.core.models.shelf import chosen_models
    from zl_assets.core.sessions import build_sessions, known_by
    from zl_assets.sources.files import read_directory
    from zl_assets.warehouse.contracts import contract

    now = datetime.now(UTC)
    regimes.regime_weights(now)
    regimes.regime_calendar(now.date(), now)
    bars = sort_out(read_directory(directory).bars, now).bars
    hourly = bars.filter(pl.col("rtype") == HOURLY)
    daily = daily_bars(bars)
    sessions = known_by(build_sessions(hourly, daily.with_columns(rtype=pl.lit(DAILY, pl.Int64))).sessions, now)
    sessions = sessions.with_columns(ingest_timestamp=pl.lit(now))
    price_figure(sessions.filter(pl.col("symbol") == "ZL"))
    matrix = build_matrix(sessions, contract("features.daily_ml_matrix").polars_schema(), now)
    for horizon in HORIZONS.values():
        forecast(training_rows(matrix, horizon), sessions, horizon, chosen_models(models), now)


def training_rows(matrix, horizon):
    """What the training view makes of the matrix, by a self-join on the session number."""
    import polars as pl

    market, regime = pl.col("market_data").struct, pl.col("regime").struct
    rows = matrix.filter(pl.col("symbol") == "ZL").with_columns(
        close=market.field("close"),
        vol_percentile=regime.field("vol_percentile"),
        k_vol=regime.field("k_vol"),
        regime_name=regime.field("name"),
        sample_weight=regime.field("weight"),
    )
    outcome = rows.select(
        pl.col("session_number") - horizon.sessions,
        outcome="close",
        target_date="data_date",
        suspect_outcome="is_suspect",
    )
    test_start = pl.date(2023, 1, 1)
    return (
        rows.join(outcome, on="session_number", how="left", maintain_order="left")
        .with_columns(
            (pl.col("outcome") / pl.col("close") - 1).alias(f"target_{horizon.code}"),
            is_usable=~pl.col("is_suspect") & ~pl.col("suspect_outcome").fill_null(False),
        )
        .with_columns(
            split=pl.when(~pl.col("is_usable") | pl.col("ma_63").is_null())
            .then(pl.lit("purged"))
            .when(pl.col("data_date") >= test_start)
            .then(pl.lit("test"))
            .when(pl.col("target_date") < test_start)
            .then(pl.lit("train"))
            .otherwise(pl.lit("purged"))
        )
    )


def forecast(rows, sessions, horizon, chosen, now: datetime) -> None:
    """Train, judge and forecast one horizon, with its figures."""
    from dataclasses import replace

    from zl_assets.core import figures
    from zl_assets.core.evaluation.leaderboard import EvaluationContext, Provenance, evaluation_rows
    from zl_assets.core.evaluation.scores import score
    from zl_assets.core.exchange_calendar import DECISION_TIME, session_after
    from zl_assets.core.forecasts import ForecastContext, ModelForecast, judged, publish
    from zl_assets.core.market_state import market_state
    from zl_assets.core.models.blending import blend_of
    from zl_assets.core.models.regime_classifier import STATES
    from zl_assets.core.models.regime_training import train_classifier
    from zl_assets.core.models.shelf import ENSEMBLE
    from zl_assets.core.refusals import refusals
    from zl_assets.core.training_frame import training_frame

    frame = training_frame(rows, horizon)
    simulated = bool(frame["source"].eq("simulated").any())
    states = train_classifier(frame, horizon)
    figures.state_reliability_figure(states.oof, STATES, horizon.code, simulated=simulated)
    trained = trained_on(frame, horizon, chosen, states.probabilities)
    for found in trained:
        score(found.oof, horizon.sessions)
        figures.fan_figure(found.oof, f"{found.spec.name}, {horizon.code}", simulated=simulated)
        if found.spec.name == ENSEMBLE:
            figures.weights_figure(blend_of(found), horizon.code, simulated=simulated)
    said = [ModelForecast(t.spec.name, t.model_version, "plain", t.oof, t.newest, t.drivers) for t in trained]
    judgement, calibrated = judged(said, horizon)
    origins = {t.spec.name: Provenance(t.model_version, "plain", t.n_effective) for t in trained}
    as_of = trained[0].newest["data_date"].item()
    context = EvaluationContext(as_of, is_simulated=simulated, created_at=now)
    evaluation_rows(judgement, {name: told.head(-1) for name, told in calibrated.items()}, origins, context)
    figures.reliability_figure(calibrated, horizon.code, simulated=simulated)
    figures.crps_figure(calibrated, horizon.code, simulated=simulated)

    reasons = refusals({t.spec.name: t.forecaster.columns_used for t in trained}, frame, horizon.sessions, as_of)
    target_date = session_after("grains", as_of, horizon.sessions)
    made = publish(
        [replace(told, refusal=reasons.get(told.model)) for told in said],
        market_state(states.probabilities, frame, sessions, {}, DECISION_TIME),
        ForecastContext(horizon, target_date, is_simulated=simulated, created_at=now),
    )
    published = made.rows.filter("is_champion").row(0, named=True)
    print(horizon.code, published["as_of_date"], published["model"], published["model_version"], file=sys.stderr)
    figures.fan_figure(made.champion, f"{published['model']}, {horizon.code}", simulated=simulated)


if __name__ == "__main__":
    started = time.perf_counter()
    calculate(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "standard")
    print(time.perf_counter() - started)

"""Spreads: the worked examples, the sessions they are made of, and their windows against pandas."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from zl_assets.core.features.crush import (
    BARRELS_PER_TONNE,
    FAMILY,
    SPREADS,
    board_crush,
    boho,
    crack_321,
    oil_share,
    zl_usd_per_tonne,
)
from zl_assets.core.features.markets import simultaneous
from zl_assets_tests.core.features.made_markets import inputs_of, made_sessions

LEGS = ("ZL", "ZS", "ZM", "CL", "HO", "RB")


def value(expr: pl.Expr) -> float:
    return pl.select(expr).item()


@pytest.mark.parametrize(
    ("spread", "worth"),
    [
        (board_crush(pl.lit(33.40), pl.lit(956.5), pl.lit(297.20)), 0.6474),
        (boho(pl.lit(30.87), pl.lit(2.2164)), 0.0587),
        (oil_share(pl.lit(33.40), pl.lit(297.20)), 3.674 / (3.674 + 6.5384)),
        # Two barrels of gasoline at 88.2, one of distillate at 92.4, three of crude at 75.
        (crack_321(pl.lit(75.0), pl.lit(2.1), pl.lit(2.2)), (2 * 88.2 + 92.4 - 225) / 3),
        (zl_usd_per_tonne(pl.lit(50.0)), 1102.31),
    ],
)
def test_worked_examples(spread: pl.Expr, worth: float) -> None:
    assert value(spread) == pytest.approx(worth, abs=5e-5)


def test_a_tonne_of_beans_and_of_crude_in_dollars() -> None:
    closes = pl.DataFrame({"ZL": [50.0], "ZS": [1000.0], "CL": [75.0]})
    values = {s.name: closes.select(s.value).item() for s in SPREADS if set(s.legs) <= set(closes.columns)}
    # 36.7437 bushels of beans at 10 USD; 7.33 barrels of crude at 75 USD.
    assert values["zl_to_zs"] == pytest.approx(1102.31 / 367.437)
    assert values["zl_to_cl"] == pytest.approx(1102.31 / (BARRELS_PER_TONNE * 75))


@pytest.fixture(scope="module")
def sessions() -> pl.DataFrame:
    return made_sessions(LEGS, date(2011, 1, 3), date(2013, 12, 31))


def test_windows_are_those_of_pandas(sessions: pl.DataFrame) -> None:
    inputs = inputs_of(sessions)
    built = FAMILY.build(inputs)
    for spread in SPREADS:
        rows = simultaneous(sessions, spread.legs)
        series = rows.select(spread.value.alias("x"))["x"].to_pandas()
        windows = {
            "ema_25": series.ewm(span=25, adjust=False, min_periods=25).mean(),
            "z_252": (series - series.rolling(252).mean()) / series.rolling(252).std(),
            "percentile_252": series.rolling(252).rank(method="max", pct=True),
            "change_5d": series.diff(5),
        }
        known = inputs.decisions.join_asof(
            rows.select("available_at", row=pl.int_range(pl.len())), left_on="decision_time", right_on="available_at"
        )
        for name, window in windows.items():
            expected = [None if r is None or np.isnan(window[r]) else window[r] for r in known["row"]]
            got = built[f"{spread.name}_{name}"].to_list()
            assert got == [v if v is None else pytest.approx(v, abs=1e-9) for v in expected], (spread.name, name)


def test_a_spread_is_made_of_one_session_and_known_with_its_last_leg(sessions: pl.DataFrame) -> None:
    rows = simultaneous(sessions, ("ZL", "HO", "RB"))
    sound = {
        (r["symbol"], r["trade_date"]): (r["close"], r["available_at"])
        for r in sessions.iter_rows(named=True)
        if not r["is_suspect"]
    }
    common = sorted(set.intersection(*({d for s, d in sound if s == leg} for leg in ("ZL", "HO", "RB"))))
    assert rows["trade_date"].to_list() == common
    for row in rows.iter_rows(named=True):
        legs = [sound[leg, row["trade_date"]] for leg in ("ZL", "HO", "RB")]
        assert [row[leg] for leg in ("ZL", "HO", "RB")] == [close for close, _ in legs]
        assert row["available_at"] == max(at for _, at in legs)


def bar(symbol: str, day: int, close: float, hour: int) -> dict[str, object]:
    at = datetime(2024, 3, day, tzinfo=UTC) + timedelta(hours=hour)
    return {
        "symbol": symbol,
        "trade_date": date(2024, 3, day),
        "session_number": day,
        "close": close,
        "available_at": at,
        "is_suspect": False,
    }


def test_the_crush_is_of_the_day_and_a_fuel_spread_of_the_day_before() -> None:
    rows = [bar(s, day, 40.0 + day, 19) for s in ("ZL", "ZS", "ZM") for day in range(4, 9)]
    rows += [bar("HO", day, 2.0, 21) for day in range(4, 9)]
    frame = pl.DataFrame(rows)
    sessions = frame.with_columns(pl.col("close").alias(c) for c in ("open", "high", "low")).sort(
        "symbol", "trade_date"
    )
    inputs = inputs_of(sessions)
    assert simultaneous(sessions, ("ZL", "ZS", "ZM"))["available_at"].to_list() == [
        datetime(2024, 3, d, 19, tzinfo=UTC) for d in range(4, 9)
    ]
    after = simultaneous(sessions, ("ZL", "HO"))["available_at"]
    assert (after > inputs.decisions["decision_time"]).all()
    assert (after[:-1] < inputs.decisions["decision_time"][1:]).all()


def test_the_alert_is_a_negative_smoothed_crush(sessions: pl.DataFrame) -> None:
    dear = pl.when(pl.col("symbol") == "ZS").then(pl.col("close") * 1.3).otherwise("close")
    for frame, alarmed in ((sessions, False), (sessions.with_columns(close=dear), True)):
        built = FAMILY.build(inputs_of(frame))
        alert = built["board_crush_negative"]
        assert alert.is_null().equals(built["board_crush_ema_25"].is_null())
        assert alert.cast(pl.Boolean).equals(built["board_crush_ema_25"] < 0)
        assert bool(alert.sum()) is (alarmed or bool((built["board_crush_ema_25"] < 0).sum()))

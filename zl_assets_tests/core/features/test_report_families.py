"""Families of reports against plain Python: what each decision knew, searched row by row."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from zl_assets.core.features import biofuel, brazil, crop, documents, exports, macro, news, palm, policy, positioning
from zl_assets_tests.core.features import made_series as made
from zl_assets_tests.core.features.test_series_families import flat, full

Row = dict[str, Any]
SAMPLED = [5, 33, 61, 117, 170, 201, 260, 299, 333, 390, 444, 500, 521, 580, 640, 700, 777, 812, 850, 905]


def decisions() -> list[Row]:
    return made.inputs().decisions.to_dicts()


def known(rows: Sequence[Row], decision: Row, key: Sequence[str] = ()) -> list[Row]:
    """The latest public version of every observation, ascending."""
    newest: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        of = (row["observed_date"], *(row[k] for k in key))
        if row["available_at"] <= decision["decision_time"] and (
            of not in newest or row["available_at"] > newest[of]["available_at"]
        ):
            newest[of] = row
    return [newest[of] for of in sorted(newest)]


def rows_of(table: str, **where: Any) -> list[Row]:
    return made.series()[table].filter(*[pl.col(k) == v for k, v in where.items()]).to_dicts()


def checked(built: pl.DataFrame, name: str, expected: dict[int, float | None], fewest: int = 3) -> None:
    """The column holds what is expected at the sampled decisions, and some of it is a value."""
    values = flat(built)[name]
    for at, value in expected.items():
        if value is None:
            assert values[at] is None, (name, at)
        else:
            assert values[at] == pytest.approx(value, rel=1e-9, abs=1e-9), (name, at)
    assert sum(value is not None for value in expected.values()) >= fewest, name


def fresh(rows: Sequence[Row], decision: Row, max_age: timedelta) -> bool:
    return bool(rows) and decision["data_date"] - rows[-1]["observed_date"] <= max_age


def net_shares(group: str, report: str, decision: Row) -> list[tuple[date, float]] | None:
    rows = known(rows_of("cftc_positioning", contract_code="007601", report=report), decision)
    if not fresh(rows, decision, positioning.MAX_AGE):
        return None
    newest = rows[-1]["observed_date"]
    return [
        (r["observed_date"], 100 * (r[f"{group}_long"] - r[f"{group}_short"]) / r["open_interest"])
        for r in rows
        if newest - r["observed_date"] < positioning.FIVE_YEARS
    ]


@pytest.mark.parametrize(
    ("group", "report"), [("commercial", "legacy_combined"), ("managed_money", "disaggregated_combined")]
)
def test_positions_are_ranked_and_compared_from_report_to_report(group: str, report: str) -> None:
    rank: dict[int, float | None] = {}
    week: dict[int, float | None] = {}
    score: dict[int, float | None] = {}
    for at in SAMPLED:
        shares = net_shares(group, report, decisions()[at])
        rank[at] = week[at] = score[at] = None
        if shares is None:
            continue
        day, last = shares[-1]
        if len(shares) >= positioning.FEWEST_REPORTS:
            rank[at] = 100 * sum(value <= last for _, value in shares) / len(shares)
        before = [value for d, value in shares if 5 <= (day - d).days <= 9]
        week[at] = last - before[-1] if before else None
        year = [value for d, value in shares if (day - d).days < 364]
        score[at] = (last - statistics.mean(year)) / statistics.stdev(year) if len(year) >= 40 else None
    built = full(positioning.FAMILY)
    checked(built, f"cot_{group}_percentile_5y", rank)
    checked(built, f"cot_{group}_share_change_1w", week)
    checked(built, f"cot_{group}_z_1y", score)


def test_extremes_crowding_and_divergence_follow_from_the_ranks() -> None:
    for row in full(positioning.FAMILY).to_dicts():
        commercial, managed = row["cot_commercial_percentile_5y"], row["cot_managed_money_percentile_5y"]
        speculator = managed if managed is not None else row["cot_noncommercial_percentile_5y"]
        assert row["cot_speculator_percentile_5y"] == speculator
        if speculator is not None:
            assert row["cot_speculator_extreme"] == (speculator >= 90) - (speculator <= 10)
            assert row["cot_speculator_crowded"] == (speculator > 80)
        if speculator is not None and commercial is not None:
            assert row["cot_divergence"] == pytest.approx(speculator - commercial)


def test_a_gap_between_reports_gives_no_weekly_change_and_ages_into_null() -> None:
    built = full(positioning.FAMILY)
    gap = built.filter(pl.col("data_date").is_between(date(2017, 1, 16), date(2017, 3, 6)))
    assert gap["cot_commercial_percentile_5y"].null_count() == gap.height > 30
    after = built.filter(pl.col("data_date").is_between(date(2017, 3, 13), date(2017, 3, 16)))
    assert after["cot_commercial_percentile_5y"].null_count() == 0
    assert after["cot_commercial_share_change_1w"].null_count() == after.height > 0


def by_month(series: str, decision: Row, max_age: timedelta) -> dict[date, float] | None:
    rows = known(rows_of("fred_economic", series_id=series), decision)
    return {r["observed_date"]: r["value"] for r in rows} if fresh(rows, decision, max_age) else None


def back(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 - months
    return date(index // 12, index % 12 + 1, 1)


def test_inflation_and_output_compare_months_within_one_vintage() -> None:
    columns: dict[str, dict[int, float | None]] = {
        n: {} for n in ("cpi_yoy", "cpi_yoy_change_3m", "cpi_3m_annual", "gdp_yoy")
    }
    for at in SAMPLED:
        cpi = by_month("CPIAUCSL", decisions()[at], macro.MONTHLY_AGE)
        assert cpi is not None
        last = max(cpi)
        yoy = [100 * (cpi[back(last, k)] / cpi[back(last, k + 12)] - 1) for k in (0, 3)]
        columns["cpi_yoy"][at] = yoy[0]
        columns["cpi_yoy_change_3m"][at] = yoy[0] - yoy[1]
        columns["cpi_3m_annual"][at] = 100 * ((cpi[last] / cpi[back(last, 3)]) ** 4 - 1)
        gdp = by_month("GDPC1", decisions()[at], macro.QUARTERLY_AGE)
        assert gdp is not None
        columns["gdp_yoy"][at] = 100 * (gdp[max(gdp)] / gdp[back(max(gdp), 12)] - 1)
    for name, expected in columns.items():
        checked(full(macro.FAMILY), name, expected)


def test_unemployment_is_compared_with_its_low_of_the_year_by_sahms_rule() -> None:
    above: dict[int, float | None] = {}
    change: dict[int, float | None] = {}
    for at in SAMPLED:
        rate = by_month("UNRATE", decisions()[at], macro.MONTHLY_AGE)
        assert rate is not None
        last = max(rate)
        means = [statistics.mean(rate[back(last, k + j)] for j in range(3)) for k in range(13)]
        above[at] = means[0] - min(means)
        change[at] = rate[last] - rate[back(last, 12)]
    checked(full(macro.FAMILY), "unemployment_above_low", above)
    checked(full(macro.FAMILY), "unemployment_change_12m", change)


def test_world_prices_of_both_oils_are_compared_as_they_were_known_together() -> None:
    expected: dict[int, float | None] = {}
    for at in SAMPLED:
        soybean = by_month("PSOILUSDM", decisions()[at], palm.MONTHLY_AGE)
        other = by_month("PPOILUSDM", decisions()[at], palm.MONTHLY_AGE)
        assert soybean is not None
        assert other is not None
        months = sorted(set(soybean) & set(other))
        span = timedelta(days=60 * 30.44)
        ratios = [soybean[m] / other[m] for m in months if months[-1] - m < span]
        expected[at] = (ratios[-1] - statistics.mean(ratios)) / statistics.stdev(ratios)
    checked(full(palm.FAMILY), "palm_world_ratio_z_60m", expected)


def test_export_sales_are_measured_against_the_same_weeks_of_past_years() -> None:
    score: dict[int, float | None] = {}
    share: dict[int, float | None] = {}
    for at in SAMPLED:
        decision = decisions()[at]
        table = [r for r in rows_of("usda_export_sales", commodity="soybeans") if r["country"] != "MEXICO"]
        rows = known(table, decision, ("country", "marketing_year"))
        score[at] = share[at] = None
        if not fresh(rows, decision, exports.MAX_AGE):
            continue
        newest = rows[-1]["observed_date"]

        def total(
            year: int, weeks: int, column: str, chinese: bool, rows: list[Row] = rows, newest: date = newest
        ) -> float | None:
            days = range(364 * year - 3, 364 * year - 3 + 7 * weeks)
            wanted = [
                r
                for r in rows
                if r["country"].startswith("CHINA") == chinese and (newest - r["observed_date"]).days in days
            ]
            return sum(r[column] for r in wanted) if len({r["observed_date"] for r in wanted}) == weeks else None

        sold = [total(k, 4, "net_sales_t", chinese=True) for k in range(6)]
        past = [v for v in sold[1:] if v is not None]
        if sold[0] is not None and len(past) >= 3:
            score[at] = (sold[0] - statistics.mean(past)) / statistics.stdev(past)
        pairs = [
            (total(k, 1, "outstanding_t", chinese=True), total(k, 1, "outstanding_t", chinese=False)) for k in range(6)
        ]
        shares = [100 * c / w if c is not None and w is not None else None for c, w in pairs]
        others = [v for v in shares[1:] if v is not None]
        if shares[0] is not None and len(others) >= 3:
            share[at] = shares[0] - statistics.mean(others)
    checked(full(exports.FAMILY), "china_soybean_sales_4w_z", score)
    checked(full(exports.FAMILY), "china_share_of_soybeans", share)


def test_planting_is_late_by_what_past_years_had_done_in_the_same_week() -> None:
    expected: dict[int, float | None] = {}
    for at in SAMPLED:
        decision = decisions()[at]
        rows = known(rows_of("usda_crop_progress", statistic="soybeans_planted"), decision)
        expected[at] = None
        if fresh(rows, decision, crop.WEEKLY_AGE):
            newest = rows[-1]
            past: list[float] = []
            for year in range(1, 6):
                week = [
                    r["value_pct"]
                    for r in rows
                    if abs((newest["observed_date"] - r["observed_date"]).days - 364 * year) <= 3
                ]
                past += week[-1:]
            if len(past) >= 3:
                expected[at] = statistics.mean(past) - newest["value_pct"]
    checked(full(crop.FAMILY), "crop_planting_delay", expected)


def test_the_crops_condition_adds_good_and_excellent() -> None:
    gap: dict[int, float | None] = {}
    change: dict[int, float | None] = {}
    for at in SAMPLED:
        decision = decisions()[at]
        kinds = [
            known(rows_of("usda_crop_progress", statistic=f"soybeans_condition_{k}"), decision)
            for k in ("good", "excellent")
        ]
        gap[at] = change[at] = None
        if not fresh(kinds[0], decision, crop.WEEKLY_AGE):
            continue
        rated = {g["observed_date"]: g["value_pct"] + e["value_pct"] for g, e in zip(*kinds, strict=True)}
        newest = max(rated)
        past = [v for y in range(1, 6) for d, v in rated.items() if abs((newest - d).days - 364 * y) <= 3]
        gap[at] = statistics.mean(past) - rated[newest] if len(past) >= 3 else None
        before = rated.get(newest - timedelta(days=28))
        change[at] = None if before is None else rated[newest] - before
    checked(full(crop.FAMILY), "crop_condition_gap", gap)
    checked(full(crop.FAMILY), "crop_condition_change_4w", change)


def test_brazils_harvest_is_the_estimate_of_the_day() -> None:
    growth: dict[int, float | None] = {}
    per_ha: dict[int, float | None] = {}
    for at in SAMPLED:
        rows = known(rows_of("brazil_soy_crop"), decisions()[at], ("harvest_year",))
        growth[at] = 100 * (rows[-1]["production_kt"] / rows[-2]["production_kt"] - 1)
        mean = statistics.mean(r["yield_t_per_ha"] for r in rows[-6:-1])
        per_ha[at] = 100 * (rows[-1]["yield_t_per_ha"] / mean - 1)
    checked(full(brazil.FAMILY), "brazil_soy_production_yoy_pct", growth)
    checked(full(brazil.FAMILY), "brazil_soy_yield_vs_5y_pct", per_ha)


def test_mandates_count_from_their_publication_and_in_tonnes_of_oil() -> None:
    columns: dict[str, dict[int, float | None]] = {
        n: {} for n in ("rfs_oil_mt", "rfs_oil_change_yoy_mt", "rfs_oil_change_next_mt", "rfs_pending")
    }
    for at in [*SAMPLED, 2, 60, 80, 431]:
        decision = decisions()[at]
        rows = known(rows_of("biofuel", item="rfs_mandate_biodiesel"), decision)
        # A gallon of biodiesel takes 7.37 lb of oil; a tonne has 2204.62 lb.
        oil = {r["observed_date"].year: r["value"] * 1e9 * 7.37 / 2204.62 / 1e6 for r in rows}
        year = decision["data_date"].year
        this, last, following = (oil.get(year + k) for k in (0, -1, 1))
        columns["rfs_oil_mt"][at] = this
        columns["rfs_oil_change_yoy_mt"][at] = None if this is None or last is None else this - last
        columns["rfs_oil_change_next_mt"][at] = None if this is None or following is None else following - this
        columns["rfs_pending"][at] = float(this is None)
    for name, expected in columns.items():
        checked(full(biofuel.FAMILY), name, expected, fewest=2)
    assert {columns["rfs_pending"][at] for at in columns["rfs_pending"]} == {0.0, 1.0}


def test_a_mandate_published_in_the_middle_of_its_year_is_unknown_before() -> None:
    built = full(biofuel.FAMILY).filter(pl.col("data_date").is_between(date(2018, 1, 1), date(2018, 12, 31)))
    before = built.filter(pl.col("data_date") < date(2018, 5, 3))
    assert before["rfs_oil_mt"].null_count() == before.height > 60
    assert built.filter(pl.col("data_date") >= date(2018, 5, 3))["rfs_oil_mt"].null_count() == 0


def test_fuel_use_adds_up_three_months() -> None:
    expected: dict[int, float | None] = {}
    for at in SAMPLED:
        rows = known(rows_of("biofuel", item="soybean_oil_for_biofuel"), decisions()[at])
        used = {r["observed_date"]: r["value"] for r in rows}
        last = max(used)
        now, then = (sum(used[back(last, k + j)] for j in range(3)) for k in (0, 12))
        expected[at] = 100 * (now / then - 1)
    checked(full(biofuel.FAMILY), "soyoil_fuel_use_yoy_pct", expected)


def first_published() -> list[Row]:
    first: dict[tuple[str, str], Row] = {}
    for row in rows_of("policy_events"):
        of = (row["event_id"], row["source"])
        if of not in first or row["available_at"] < first[of]["available_at"]:
            first[of] = row
    return list(first.values())


@pytest.mark.parametrize("days", documents.WINDOWS)
def test_documents_are_counted_by_kind_and_topic_since_the_feed_is_stored(days: int) -> None:
    rules: dict[int, float | None] = {}
    china: dict[int, float | None] = {}
    events = first_published()
    for at in [*range(120, 240, 7), *SAMPLED]:
        now = decisions()[at]["decision_time"]
        came = [e for e in events if e["available_at"] <= now]
        since = [e for e in came if e["available_at"] > now - timedelta(days=days)]
        alive = any(e["available_at"] > now - documents.MAX_SILENCE for e in came)

        def stored(rows: list[Row], now: Any = now) -> bool:
            return any(e["available_at"] <= now - timedelta(days=days) for e in rows)

        is_known = alive and stored([e for e in came if e["category"] == "rule"])
        rules[at] = float(sum(e["category"] == "rule" for e in since)) if is_known else None
        china[at] = float(sum("China" in e["title"] for e in since)) if alive and stored(came) else None
    checked(full(policy.FAMILY), f"policy_rule_count_{days}", rules)
    checked(full(news.FAMILY), f"news_china_count_{days}", china)


def test_a_silent_feed_counts_as_broken_and_not_as_no_policy() -> None:
    silent = pl.col("data_date").is_between(date(2018, 3, 25), date(2018, 4, 30))
    built = full(policy.FAMILY).join(full(news.FAMILY), on=["symbol", "data_date"]).filter(silent)
    assert built.height > 20
    for name in ("news_tariff_count_7", "policy_rule_count_30", "news_tariff_sessions_3"):
        assert built[name].null_count() == built.height


def test_the_struct_has_the_contracts_fields_and_leaves_sentiment_null() -> None:
    from zl_assets.warehouse.contracts import contract

    dtype = contract("features.daily_ml_matrix").polars_schema()["policy"]
    assert full(policy.FAMILY).schema["policy"] == dtype


def test_the_struct_speaks_of_the_last_documents() -> None:
    mentions: dict[int, float | None] = {}
    decay: dict[int, float | None] = {}
    trust: dict[int, float | None] = {}
    events = [e for e in first_published() if date(2017, 1, 20) <= e["observed_date"] <= date(2021, 1, 19)]
    for at in [300, 333, 390, 444, 500, 640, 700, 777, 850, 905]:
        now = decisions()[at]["decision_time"]
        week = [e for e in events if now - timedelta(days=7) < e["available_at"] <= now]
        mentions[at] = len(week)
        trust[at] = statistics.mean(1.0 if e["source"].startswith("federal") else 0.5 for e in week) if week else None
        weighty = [
            e["available_at"]
            for e in events
            if e["available_at"] <= now and any(w in e["title"] for w in ("Tariff", "Clearing", "futures"))
        ]
        decay[at] = 2.718281828459045 ** (-(now - max(weighty)).total_seconds() / 86400)
    checked(full(policy.FAMILY), "policy.trump_mentions", mentions)
    checked(full(policy.FAMILY), "policy.policy_trump_recency_decay", decay)
    checked(full(policy.FAMILY), "policy.trump_confidence", trust)

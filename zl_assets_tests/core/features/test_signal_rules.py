"""Each of the twelve rules: a surface that breaks it, and one that does not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from zl_assets.core.features import family as family_module
from zl_assets.core.features.family import Domain, Feature, Treatment
from zl_assets.core.features.raw_as_of import raw_as_of
from zl_assets.core.features.signal_rules import RULES, broken_rules, disguised
from zl_assets_tests.core.features import made_series as made
from zl_assets_tests.core.features.test_series_families import FAMILIES, flat, full


def feature(name: str, domain: Domain, treatment: Treatment, unit: str = "1") -> Feature:
    return Feature(name, unit, "made", domain, treatment)


BRL, ARS = feature("usdbrl_z_63", "dollar", "z"), feature("usdars_return_5", "dollar", "return")
COT = feature("cot_percentile_5y", "positioning", "percentile", "%")
DXY = feature("dxy_z_63", "dollar", "z")
MANDATE = feature("rfs_oil_mt", "biofuel", "composite", "Mt")
CURVE = feature("curve_10y_2y", "treasury", "spread")
FED = feature("fed_rate_change_63", "fed", "change")
CASES: dict[str, tuple[int, list[Feature], list[Feature]]] = {
    "a raw yield": (1, [feature("rates_10y", "treasury", "level"), BRL], [CURVE, BRL]),
    "a curve without the dollar": (1, [CURVE], [CURVE, feature("rates_with_dxy", "treasury", "z")]),
    "the VIX as it is": (2, [feature("vix", "vix", "level")], [feature("vix_band", "vix", "band")]),
    "the VIX as confidence": (2, [feature("vix_confidence", "vix", "z")], [feature("vix_z_21", "vix", "z")]),
    "a single headline": (
        3,
        [feature("headline", "sentiment", "flag"), COT],
        [feature("news_sessions_3", "sentiment", "persistence"), COT],
    ),
    "a count of one day": (
        3,
        [feature("news_count_1", "sentiment", "count"), COT],
        [feature("news_count_7", "sentiment", "count"), COT],
    ),
    "headlines without a mechanism": (
        3,
        [feature("news_count_7", "sentiment", "count")],
        [feature("news_count_7", "sentiment", "count"), MANDATE],
    ),
    "the policy rate as it is": (
        4,
        [feature("fed_rate", "fed", "level"), feature("fed_brl_correlation", "fed", "correlation")],
        [FED, feature("fed_brl_correlation", "fed", "correlation")],
    ),
    "the path without BRL and CNY": (4, [FED], [FED, feature("fed_cny_correlation", "fed", "correlation")]),
    "a raw exchange rate": (5, [feature("usdbrl", "dollar", "level"), ARS], [BRL, ARS]),
    "DXY without the exporters": (5, [DXY, COT], [DXY, BRL, ARS, COT]),
    "DXY without ARS": (5, [DXY, BRL, COT], [DXY, BRL, ARS, COT]),
    "DXY without positioning": (5, [DXY, BRL, ARS], [BRL, ARS]),
    "policy as text": (6, [feature("biofuel_news", "biofuel", "count"), MANDATE], [MANDATE]),
    "biofuel without a volume": (6, [feature("policy_biofuel_count_30", "sentiment", "count"), COT], [MANDATE, COT]),
    "freight as it is": (7, [feature("freight_index", "logistics", "level")], [feature("queue", "logistics", "count")]),
    "freight noise": (7, [feature("freight_z", "logistics", "z")], [feature("queue_delay", "logistics", "flag")]),
    "a day's weather": (
        8,
        [feature("rain_1d_z", "weather", "composite")],
        [feature("rain_7d_z", "weather", "composite")],
    ),
    "raw weather": (8, [feature("rain", "weather", "level")], [feature("rain_30d_z", "weather", "composite")]),
    "raw net counts": (9, [feature("cot_net", "positioning", "level")], [COT]),
    "changes in contracts": (
        9,
        [feature("cot_change", "positioning", "change", "contracts")],
        [feature("cot_change", "positioning", "change", "%")],
    ),
    "crush unsmoothed": (
        10,
        [feature("board_crush", "crush", "spread")],
        [feature("board_crush_ema_25", "crush", "ema")],
    ),
    "palm's price": (11, [feature("palm", "palm", "level")], [feature("palm_ratio_z_63", "palm", "z")]),
    "China's rhetoric": (12, [feature("china_talk", "china", "count")], [feature("china_sales_z", "china", "season")]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_surface_that_breaks_a_rule_is_told_so_with_its_number(case: str) -> None:
    number, bad, good = CASES[case]
    broken = broken_rules(bad, [f.name for f in bad])
    assert broken
    assert {v.rule for v in broken} == {number}
    assert {v.column for v in broken} <= {f.name for f in bad}
    assert all(v.problem and v.action for v in broken)
    assert broken_rules(good, [f.name for f in good]) == []


def test_only_columns_of_the_surface_are_judged() -> None:
    raw = feature("rates_10y", "treasury", "level")
    assert broken_rules([raw, BRL], ["usdbrl_z_63"]) == []
    # A partner in the registry alone is no partner.
    assert [v.rule for v in broken_rules([DXY, BRL, ARS, COT], ["dxy_z_63"])] == [5]


def test_there_is_one_rule_for_each_number_and_each_is_broken_by_a_case() -> None:
    assert [rule.number for rule in RULES] == list(range(1, 13))
    assert {number for number, _, _ in CASES.values()} == set(range(1, 13))
    assert {rule.domain for rule in RULES} <= set(family_module.Domain.__args__)


def test_the_families_keep_the_rules_once_the_single_headline_is_left_out() -> None:
    features = [f for family in FAMILIES for f in family.features]
    broken = broken_rules(features, [f.name for f in features])
    assert {v.rule for v in broken} == {3}
    left_out = {v.column for v in broken}
    assert all(name.startswith("policy.") for name in left_out)
    assert broken_rules(features, [f.name for f in features if f.name not in left_out]) == []


def test_every_family_names_the_rules_of_its_domains() -> None:
    numbers = {rule.domain: rule.number for rule in RULES}
    for family in FAMILIES:
        assert {numbers[f.domain] for f in family.features if f.domain in numbers} <= set(family.rules), family.name


def built() -> pl.DataFrame:
    frames = [flat(full(family)).drop("symbol", "data_date") for family in FAMILIES]
    return pl.concat(frames, how="horizontal")


def test_no_column_of_the_families_is_a_raw_series() -> None:
    assert disguised(built(), raw_as_of(made.inputs())) == []


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("treasury:10-year yield", 1),
        ("vix:VIX", 2),
        ("fed:policy rate", 4),
        ("dollar:DXY", 5),
        ("weather:S1 made, a day's anomaly", 8),
        ("positioning:net contracts of commercial", 9),
        ("palm:palm oil, USD/t", 11),
    ],
)
@pytest.mark.parametrize("mask", ["as it is", "turned over", "scaled"])
def test_a_raw_series_under_another_name_is_found(raw: str, number: int, mask: str) -> None:
    known = raw_as_of(made.inputs())
    values = {"as it is": known[raw], "turned over": -known[raw], "scaled": 3 * known[raw] + 7}[mask]
    found = disguised(built().with_columns(harmless=values), known)
    assert [(v.rule, v.column) for v in found] == [(number, "harmless")]
    assert raw.partition(":")[2] in found[0].problem


def test_board_crush_unsmoothed_is_found_and_its_ema_is_not() -> None:
    generator = np.random.default_rng(1)
    crush = pl.Series("crush", generator.normal(size=500).cumsum())
    values = pl.DataFrame({"raw": crush * 2, "ema_25": crush.ewm_mean(span=25, adjust=False)})
    found = disguised(values, crush.alias("crush:board crush, USD/bu").to_frame())
    assert [(v.rule, v.column) for v in found] == [(10, "raw")]


def test_correlations_are_those_of_pandas_over_common_rows() -> None:
    import pandas as pd

    generator = np.random.default_rng(2)
    raw = generator.normal(size=400).cumsum()
    columns = {f"n{k}": raw + generator.normal(size=400) * 10.0**-k for k in range(-1, 4)}
    holed = {
        name: [None if (i * 7 + len(name)) % 11 == 0 else v for i, v in enumerate(c)] for name, c in columns.items()
    }
    values, known = pl.DataFrame(holed), pl.DataFrame({"vix:VIX": raw})
    expected = {n for n in columns if abs(pd.Series(holed[n], dtype=float).corr(pd.Series(raw))) > 0.9999}
    assert {v.column for v in disguised(values, known)} == expected
    assert 0 < len(expected) < len(columns)


def test_too_few_rows_or_none_that_move_say_nothing() -> None:
    raw = pl.DataFrame({"vix:VIX": [float(i) for i in range(200)]})
    few = pl.Series("few", [float(i) if i < 40 else None for i in range(200)])
    still = pl.Series("still", [1.0] * 200)
    assert disguised(pl.DataFrame([few, still]), raw) == []
    assert disguised(pl.DataFrame({"a": [1.0]}), pl.DataFrame()) == []

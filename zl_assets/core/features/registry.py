"""Every feature family, in the order of the roadmap."""

from __future__ import annotations

from zl_assets.core.features import (
    base,
    biofuel,
    brazil,
    correlations,
    crop,
    cross_asset,
    crush,
    exports,
    fx,
    golden_zone,
    macro,
    news,
    palm,
    pivots,
    policy,
    positioning,
    prices,
    seasonality,
    technical,
    volatility,
    weather,
)
from zl_assets.core.features.family import Family, Feature

FAMILIES: tuple[Family, ...] = (
    base.FAMILY,
    technical.FAMILY,
    pivots.FAMILY,
    golden_zone.FAMILY,
    cross_asset.FAMILY,
    crush.FAMILY,
    correlations.FAMILY,
    seasonality.FAMILY,
    volatility.FAMILY,
    macro.FAMILY,
    fx.FAMILY,
    positioning.FAMILY,
    weather.FAMILY,
    policy.FAMILY,
    biofuel.FAMILY,
    palm.FAMILY,
    prices.FAMILY,
    crop.FAMILY,
    brazil.FAMILY,
    exports.FAMILY,
    news.FAMILY,
)


def families() -> dict[str, Family]:
    """Families by name."""
    return {family.name: family for family in FAMILIES}


def features() -> dict[str, Feature]:
    """Every feature of the production families by name."""
    return {feature.name: feature for family in FAMILIES for feature in family.features}

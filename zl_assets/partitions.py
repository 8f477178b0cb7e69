"""The partitioning of every asset from the training views on."""

import dagster as dg

from zl_assets.core.horizons import HORIZONS

HORIZON_PARTITIONS = dg.StaticPartitionsDefinition(list(HORIZONS))

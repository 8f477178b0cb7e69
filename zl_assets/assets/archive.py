"""Snapshots of tables, made only when somebody asks for them, and the record of shim views."""

import dagster as dg
from pydantic import Field

from zl_assets.assets.common import WAREHOUSE_POOL, counts, node, utc_now
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.shims import SHIMS

SNAPSHOTS = "archive.legacy_snapshots"


class SnapshotConfig(dg.Config):
    """Which tables to archive."""

    tables: list[str] = Field(default=[], description="Names of tables, dataset.table; none archives nothing")
    replace: bool = Field(default=False, description="Make a snapshot of the same day anew")


@dg.asset(
    **node(
        SNAPSHOTS,
        group="archive",
        kind="sql",
        description="Tables archive.legacy_{yyyymmdd}__{dataset}__{table}: what the tables named in the configuration "
        "held on that day; in no job, materialised only when asked",
    ),
    pool=WAREHOUSE_POOL,
    output_required=False,
)
def legacy_snapshots(context: dg.AssetExecutionContext, config: SnapshotConfig, warehouse: dg.ResourceParam[Warehouse]):
    """Archive the tables of the configuration, as `zl archive` does."""
    from zl_assets.warehouse.archive import archive

    if not config.tables:
        context.log.info("no table is named in the configuration: nothing is archived")
        return
    done = archive(warehouse, config.tables, utc_now().date(), context.log.info, replace=config.replace)
    yield dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(a.rows for a in done),
            "snapshots": counts({a.snapshot: a.rows for a in done}),
            "simulated": any(a.simulated for a in done),
        }
    )


shims = dg.AssetSpec(**node(SHIMS, group="archive", kind="sql"))
"""Written by `zl shims` alone: making every asset of the graph must not make views that somebody has to drop again."""

"""Bring `sql/surfaces/prod.csv` up to date with the registry: `python -m zl_assets_tests.surface_list [FAMILY...]`.

What a line says of its feature is written anew; which features and horizons are listed stays as it was reviewed. The
features of a named family that are not listed yet are added, for all horizons, to be reviewed in the diff.
"""

import csv
import sys
from pathlib import Path

from zl_assets.core.features.registry import FAMILIES
from zl_assets.warehouse.contracts import contract, sql_root

FIELDS = ("feature", "family", "horizons", "type", "unit", "description")
MATRIX = "features.daily_ml_matrix"


def updated(path: Path, added: list[str]) -> list[dict[str, str]]:
    """The lines of the list, in the order of the registry."""
    with path.open(encoding="utf-8", newline="") as file:
        horizons = {row["feature"]: row["horizons"] for row in csv.DictReader(file)}
    nested = {f"{c.name}.{f.name}": f.type for c in contract(MATRIX).columns for f in c.fields}
    return [
        {
            "feature": feature.name,
            "family": family.name,
            "horizons": horizons.get(feature.name, "all"),
            "type": nested.get(feature.name, "FLOAT64"),
            "unit": feature.unit,
            "description": feature.description,
        }
        for family in FAMILIES
        for feature in family.features
        if feature.name in horizons or family.name in added
    ]


def main() -> None:
    """Rewrite the file."""
    path = sql_root() / "surfaces" / "prod.csv"
    rows = updated(path, sys.argv[1:])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} features in {path.name}")


if __name__ == "__main__":
    main()

"""The production surface: which features a horizon's training table holds, read from `sql/surfaces/prod.csv`.

The file is a list to be reviewed, one feature a line; what the lines say about a feature is what the registry of
families says, which a test compares. It is read here without the registry, so that a contract costs no import of what
computes features.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import ContractBroken


@dataclass(frozen=True)
class SurfaceFeature:
    """One line of the list.

    Attributes:
        feature: column of the feature matrix; with a dot for a field of a STRUCT.
        family: the family that computes it.
        horizons: codes of the horizons whose training table holds it.
        type: BigQuery's type.
        unit: of its values.
        description: what it is.
    """

    feature: str
    family: str
    horizons: tuple[str, ...]
    type: str
    unit: str
    description: str

    @property
    def column(self) -> str:
        """Its column in training views and tables, where a STRUCT is flat."""
        return self.feature.replace(".", "_")

    @property
    def documentation(self) -> str:
        """Description with the unit."""
        return f"{self.description} [{self.unit}]"


@cache
def prod_surface(path: Path) -> tuple[SurfaceFeature, ...]:
    """The lines of a list, in its order.

    Raises:
        ContractBroken: a feature is listed twice, or a horizon is not one of ours.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    features = tuple(
        SurfaceFeature(
            feature=row["feature"],
            family=row["family"],
            horizons=tuple(HORIZONS) if row["horizons"] == "all" else tuple(row["horizons"].split()),
            type=row["type"],
            unit=row["unit"],
            description=row["description"],
        )
        for row in rows
    )
    seen: set[str] = set()
    for line in features:
        unknown = [h for h in line.horizons if h not in HORIZONS]
        if line.column in seen or unknown:
            what = f"horizons {unknown} are not ours" if unknown else "it is listed twice"
            raise ContractBroken(what, where=f"{path.name}: {line.feature}", action="mend its line")
        seen.add(line.column)
    return features


@cache
def sql_root() -> Path:
    """Directory of the SQL files: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).resolve().parents[1]
    return next(p for p in (package.parent / "sql", package / "sql") if (p / "tables").is_dir())


def listed_features() -> tuple[SurfaceFeature, ...]:
    """The features of the production surface."""
    return prod_surface(sql_root() / "surfaces" / "prod.csv")


def matrix_columns(features: tuple[SurfaceFeature, ...]) -> str:
    """Lines of a CREATE TABLE for the flat features of the matrix; those in STRUCTs stand there by themselves."""
    return "\n".join(_column(f.feature, f) for f in features if "." not in f.feature)


def training_columns(features: tuple[SurfaceFeature, ...], horizon: str | None) -> str:
    """Lines of a CREATE TABLE for the features of a horizon's training table, or of any horizon's."""
    return "\n".join(_column(f.column, f) for f in features if horizon is None or horizon in f.horizons)


def selected_columns(features: tuple[SurfaceFeature, ...], horizon: str) -> str:
    """Lines of a SELECT over the matrix for the features of a horizon."""
    chosen = (f for f in features if horizon in f.horizons)
    return "\n".join(f"    {f.feature}{'' if f.feature == f.column else f' AS {f.column}'}," for f in chosen)


def _column(name: str, feature: SurfaceFeature) -> str:
    return f'  {name} {feature.type} OPTIONS (description = "{feature.documentation}"),'

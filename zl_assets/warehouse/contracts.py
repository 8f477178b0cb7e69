"""The contract of every table, read from its CREATE TABLE statement under `sql/tables`.

Schemas, keys, column documentation and frame validation all derive from those files, and from nothing else. The
statements are in BigQuery's dialect; a `{horizon}` in a table's name makes one table per horizon, and the features of
the production surface are filled in from `sql/surfaces`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from zl_assets.core.horizons import HORIZONS
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.errors import ContractBroken
from zl_assets.warehouse.surfaces import (
    listed_features,
    matrix_columns,
    selected_columns,
    sql_root,
    training_columns,
)

if TYPE_CHECKING:
    import polars as pl

BOOKKEEPING = frozenset({"ingestion_ts", "ingest_timestamp", "created_at", "provenance_uuid", "source_file"})
"""Columns that say how a row got here. A row that differs in these alone is unchanged and is not rewritten."""

OUR_DATASETS = ("market_data", "raw_intelligence", "features", "training", "predictions", "monitoring", "archive")
FOREIGN_DATASETS = ("vegas_intelligence", "yahoo_finance_comprehensive")
"""Datasets that belong to others: reported, never written."""

LEGACY_DATASETS = ("models_v4",)
"""Datasets of the layout before this one: nothing is written there but the shim views of renamed tables."""

_FULL = "  {full_features}"
"""Where the columns of the full surface stand in a statement."""

_DESCRIPTION = r'OPTIONS \(description = "(?P<description>[^"\\]*)"\)'
_REQUIRED = r"(?P<required> NOT NULL)?"
_STATEMENT = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<name>\w+\.\w+) \(\n"
    r"(?P<columns>(?:.+\n)+)"
    r"  PRIMARY KEY \((?P<keys>\w+(?:, \w+)*)\) NOT ENFORCED\n\)\n"
    r"(?:PARTITION BY (?:\w+_TRUNC\()?(?P<partition>\w+)(?:, (?P<unit>\w+)\))?\n)?"
    r"(?:CLUSTER BY (?P<clusters>.+)\n)?" + _DESCRIPTION + r";?\s*"
)
_COLUMN = re.compile(rf" +(?P<name>\w+) (?P<type>[A-Z0-9]+){_REQUIRED} {_DESCRIPTION},?")
_STRUCT_OPENS = re.compile(r"  (?P<name>\w+) STRUCT<")
_STRUCT_CLOSES = re.compile(rf"  >{_REQUIRED} {_DESCRIPTION},?")
_FORM = "write it as the other files under sql/tables: one described column a line, then the key"


@dataclass(frozen=True)
class Column:
    """One column, or one field of a STRUCT.

    Attributes:
        name: as in the statement.
        type: BigQuery's type name; STRUCT for nested columns.
        description: its documentation.
        nullable: whether a row may lack it.
        fields: the fields of a STRUCT, else empty.
    """

    name: str
    type: str
    description: str
    nullable: bool
    fields: tuple[Column, ...] = ()

    @property
    def full_type(self) -> str:
        """Type with the fields of a STRUCT, e.g. ``STRUCT<P FLOAT64, R1 FLOAT64>``."""
        return f"STRUCT<{', '.join(f'{f.name} {f.full_type}' for f in self.fields)}>" if self.fields else self.type


@dataclass(frozen=True)
class Contract:
    """What a table promises.

    Attributes:
        name: ``dataset.table``.
        description: what a row is.
        columns: in the order of the statement.
        keys: columns that identify a row.
        partition_column: the date or timestamp the table is partitioned by, if any.
        partition_unit: MONTH, DAY or YEAR; empty where the table is not partitioned.
        cluster_columns: columns the rows are clustered by within a partition.
        ddl: the CREATE TABLE IF NOT EXISTS statement, BigQuery's dialect.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    partition_column: str | None
    partition_unit: str
    cluster_columns: tuple[str, ...]
    ddl: str

    @property
    def types(self) -> dict[str, str]:
        """BigQuery's type by column."""
        return {c.name: c.type for c in self.columns}

    @property
    def compared(self) -> tuple[str, ...]:
        """Dotted paths of the values that decide whether a row has changed."""
        plain = (c for c in self.columns if c.name not in self.keys and c.name not in BOOKKEEPING)
        return tuple(f"{c.name}.{f.name}" if c.fields else c.name for c in plain for f in (c.fields or (c,)))

    def polars_schema(self) -> pl.Schema:
        """The Polars schema of the table's frames."""
        import polars as pl

        return pl.Schema({c.name: _polars_type(c) for c in self.columns})

    def validated(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with exactly the contract's columns, order and types.

        Raises:
            ContractBroken: a column is missing or unknown, does not cast without losing something, is null where it
                must not be, or two rows share a key.
        """
        import polars as pl

        names = [c.name for c in self.columns]
        missing, unknown = sorted(set(names) - set(frame.columns)), sorted(set(frame.columns) - set(names))
        if missing or unknown:
            self._broken(f"missing columns {missing}, unknown columns {unknown}")
        try:
            cast = frame.select(names).cast(self.polars_schema())
        except pl.exceptions.PolarsError as error:
            raise ContractBroken(f"a column does not fit its type: {error}", where=self.name) from error
        for name, before, after in _changed_values(frame, cast):
            self._broken(f"{name} would be stored as {after!r} instead of {before!r}")
        for column in self.columns:
            if not column.nullable and cast[column.name].null_count():
                self._broken(f"{cast[column.name].null_count()} rows without {column.name}")
        if self.keys and cast.select(self.keys).is_duplicated().any():
            row = cast.filter(cast.select(self.keys).is_duplicated()).select(self.keys).row(0, named=True)
            self._broken(f"two rows for one key, first {row}")
        return cast

    def _broken(self, what: str) -> None:
        raise ContractBroken(what, where=self.name, action="compare the frame with sql/tables")


@cache
def contracts() -> dict[str, Contract]:
    """Every table of the project by name but those of the full surface, per-horizon tables expanded."""
    return _parsed(text for text in _statements() if _FULL not in text)


@cache
def full_contracts() -> dict[str, Contract]:
    """The tables of the full surface by name: some two thousand columns each, so they are parsed when asked for."""
    from zl_assets.core.features.full_surface import stored_columns

    features = stored_columns({f.feature for f in listed_features()})
    lines = "\n".join(f'  {f.name} FLOAT64 OPTIONS (description = "{f.description} [{f.unit}]"),' for f in features)
    return _parsed(text.replace(_FULL, lines) for text in _statements() if _FULL in text)


def _parsed(texts: Iterable[str]) -> dict[str, Contract]:
    return {c.name: c for text in texts for c in map(_parse, _per_horizon(text))}


def _statements() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted((sql_root() / "tables").glob("*/*.sql"))]


def contract(table: str) -> Contract:
    """Contract of ``dataset.table``.

    Raises:
        ContractBroken: no such table.
    """
    found = contracts().get(table)
    if found is None and "_full" in table:
        found = full_contracts().get(table)
    if found is None:
        raise ContractBroken("no contract for this table", where=table, action="add it under sql/tables")
    return found


def view_sql(view: str, horizon: str, *, model: str = "", symbol: str = FORECAST_SYMBOL) -> str:
    """The CREATE OR REPLACE VIEW statement of ``dataset.view`` for one horizon, BigQuery's dialect.

    Args:
        view: dataset and file name under `sql/views`, e.g. ``training.vw_flat``.
        horizon: code of the horizon.
        model: name of the model, for views that speak of one.
        symbol: the instrument, for views that speak of any.

    Raises:
        ContractBroken: the model's name cannot be part of a view's.
    """
    if not re.fullmatch(r"[a-z0-9_]*", model):
        raise ContractBroken("not a name of a model", where=model, action="small letters, digits and underscores")
    dataset, name = view.split(".")
    text = (sql_root() / "views" / dataset / f"{name}.sql").read_text(encoding="utf-8")
    names = {"{model}": model, "{symbol}": symbol, "{instrument}": symbol.lower()}
    text = _filled(text, horizon)
    for placeholder, value in names.items():
        text = text.replace(placeholder, value)
    return text


def _filled(text: str, horizon: str) -> str:
    text = text.replace("{horizon}", horizon).replace("{sessions}", str(HORIZONS[horizon].sessions))
    return text.replace("  {training_features}", training_columns(listed_features(), horizon)).replace(
        "    {selected_features}", selected_columns(listed_features(), horizon)
    )


def _per_horizon(text: str) -> list[str]:
    """The statements that a file holds: one per horizon where its table is, with the features filled in."""
    text = text.replace("  {matrix_features}", matrix_columns(listed_features())).replace(
        "  {prod_features}", training_columns(listed_features(), None)
    )
    return [_filled(text, code) for code in HORIZONS] if "{horizon}" in text else [text]


def _parse(ddl: str) -> Contract:
    """The contract of one statement. It has one form, so no SQL parser is loaded to read it: the import stays cheap."""
    statement = _STATEMENT.fullmatch(ddl)
    if statement is None:
        raise ContractBroken("not in the form of a contract", where=ddl[:80], action=_FORM)
    return Contract(
        name=statement["name"],
        description=statement["description"],
        columns=_columns(statement["columns"].splitlines(), statement["name"]),
        keys=tuple(statement["keys"].split(", ")),
        partition_column=statement["partition"],
        partition_unit=(statement["unit"] or "DAY") if statement["partition"] else "",
        cluster_columns=tuple(statement["clusters"].split(", ")) if statement["clusters"] else (),
        ddl=ddl,
    )


def _columns(lines: list[str], table: str) -> tuple[Column, ...]:
    columns: list[Column] = []
    fields: list[Column] = []
    struct: str | None = None
    for line in lines:
        if opening := _STRUCT_OPENS.fullmatch(line):
            struct, fields = opening["name"], []
        elif (closing := _STRUCT_CLOSES.fullmatch(line)) and struct:
            required, description = closing["required"], closing["description"]
            columns.append(Column(struct, "STRUCT", description, not required, tuple(fields)))
            struct = None
        elif found := _COLUMN.fullmatch(line):
            column = Column(found["name"], found["type"], found["description"], not found["required"])
            (fields if struct else columns).append(column)
        else:
            raise ContractBroken("not in the form of a column", where=f"{table}: {line.strip()}", action=_FORM)
    return tuple(columns)


def _changed_values(frame: pl.DataFrame, cast: pl.DataFrame) -> Iterator[tuple[str, Any, Any]]:
    """Columns, and fields of STRUCTs, whose values a cast has changed: name, and the first value before and after.

    What comes back from the new type as it was has lost nothing: 1.5 does not come back from an integer, nor does a
    moment from a date. Text is excepted, which is parsed and has many forms of one value. A column that has its type
    already costs nothing.
    """
    import polars as pl

    for name in cast.columns:
        before, after = frame[name], cast[name]
        if before.dtype == after.dtype:
            continue
        if isinstance(after.dtype, pl.Struct) and isinstance(before.dtype, pl.Struct):
            fields = [f.name for f in before.dtype.fields if f.name in after.struct.fields]
            inner = before.struct.unnest().select(fields), after.struct.unnest().select(fields)
            yield from ((f"{name}.{field}", b, a) for field, b, a in _changed_values(*inner))
        elif before.dtype not in (pl.String, pl.Null):
            different = before.ne_missing(after.cast(before.dtype, strict=False)).arg_true()
            if len(different):
                yield name, before[different[0]], after[different[0]]


def _polars_type(column: Column) -> pl.DataType:
    import polars as pl

    if column.fields:
        return pl.Struct({f.name: _polars_type(f) for f in column.fields})
    return {
        "STRING": pl.String(),
        "DATE": pl.Date(),
        "TIMESTAMP": pl.Datetime("us", "UTC"),
        "INT64": pl.Int64(),
        "FLOAT64": pl.Float64(),
        "BOOL": pl.Boolean(),
    }[column.type]

"""Reading the JSON of vendors of raw series: every field is there and of its kind, or the error names it.

Belongs here: what all vendors' answers have in common. What the fields mean belongs to the vendor's own module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from zl_assets.errors import ServiceError
from zl_assets.warehouse.contracts import contract

DATASET = "raw_intelligence"
_ACTION = "the vendor's API may have changed: report this; nothing of the answer was kept"


_GROUPED = r"^-?\d{1,3}(,\d{3})+(\.\d+)?$"
"""Commas between thousands. Any other comma may be a decimal one."""


@dataclass(frozen=True)
class Field:
    """What a field of a vendor's record must be.

    Attributes:
        kind: `number` may be written as a number or as text, with commas between thousands; `day` is text that begins
            with YYYY-MM-DD or YYYY-MM.
        lacking: which records may lack the field or hold null: none, some of them (at least one has it), or all.
        missing: texts that stand for a missing number.
    """

    kind: Literal["text", "number", "day"]
    lacking: Literal["none", "some", "all"] = "none"
    missing: tuple[str, ...] = ()


def drift(what: str, where: str) -> ServiceError:
    """The error for an answer that is not in its documented shape."""
    return ServiceError(f"the answer is not in its documented shape: {what}", where=where, action=_ACTION)


def member(value: Any, kind: type, *path: str, where: str) -> Any:
    """What lies at a path of objects, of a kind.

    Raises:
        ServiceError: a step is missing, or what is there is of another kind.
    """
    for step in path:
        if not isinstance(value, dict) or step not in value:
            raise drift(f"there is no `{'.'.join(path)}`", where)
        value = value[step]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        name = f"`{'.'.join(path)}`" if path else "the whole"
        raise drift(f"{name} is a {type(value).__name__} instead of a {kind.__name__}", where)
    return value


def records(value: Any, fields: Mapping[str, Field], where: str) -> pl.DataFrame:
    """A list of objects as a frame of the fields named, the others left out.

    Returns:
        One row a record in the order given: String, Float64 and Date columns by the kinds of the fields.

    Raises:
        ServiceError: a record is no object, lacks a field it must have, or holds another kind of value.
    """
    if not isinstance(value, list) or not all(isinstance(r, dict) for r in value):
        raise drift("it is not a list of records", where)
    return pl.DataFrame([column([r.get(name) for r in value], name, f, where) for name, f in fields.items()])


def column(values: Sequence[Any], name: str, field: Field, where: str) -> pl.Series:
    """One field of all records as a column.

    Raises:
        ServiceError: as of `records`.
    """
    found = [v for v in values if v is not None]
    if values and ((field.lacking == "none" and len(found) < len(values)) or (field.lacking == "some" and not found)):
        raise drift(f"{len(values) - len(found)} of {len(values)} records have no `{name}`", where)
    kinds = (str, int, float) if field.kind == "number" else (str,)
    wrong = next((v for v in found if not isinstance(v, kinds) or isinstance(v, bool)), None)
    if wrong is not None:
        raise drift(f"`{name}` is a {type(wrong).__name__} instead of a {field.kind}", where)
    text = pl.Series(name, [None if v is None else str(v) for v in values], pl.String)
    return text if field.kind == "text" else _parsed(text, field, where)


def _parsed(text: pl.Series, field: Field, where: str) -> pl.Series:
    name = pl.col(text.name)
    stripped = name.str.strip_chars()
    if field.kind == "number":
        grouped = pl.when(stripped.str.contains(_GROUPED)).then(stripped.str.replace_all(",", "", literal=True))
        given = pl.when(~stripped.is_in(field.missing)).then(grouped.otherwise(stripped))
        parsed = given.cast(pl.Float64, strict=False)
        wrong = given.is_not_null() & (parsed.is_null() | ~parsed.is_finite())
    else:
        whole = pl.when(stripped.str.contains(r"^\d{4}-\d{2}$")).then(stripped + "-01").otherwise(stripped)
        parsed = whole.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
        wrong = name.is_not_null() & parsed.is_null()
    frame = text.to_frame().select(parsed.alias("parsed"), wrong.fill_null(False).alias("wrong"), name)
    if frame["wrong"].any():
        raise drift(f"`{text.name}` holds {frame.filter('wrong')[text.name][0]!r:.60}, which is no {field.kind}", where)
    return frame["parsed"].alias(text.name)


def rows(table: str, frame: pl.DataFrame, *, source: str, where: str) -> pl.DataFrame:
    """Rows of a raw_intelligence table as a source delivers them.

    Args:
        table: without the dataset.
        frame: the columns of values and keys, and `provenance_uuid`; `vintage` and `available_at` where the vendor says
            them.
        source: who published them.
        where: what was asked, for messages.

    Returns:
        The columns of the contract without ingest_timestamp, sorted by key, equal rows once; columns that the vendor
        has nothing for are null.

    Raises:
        ServiceError: two rows for one key say otherwise.
    """
    promised = contract(f"{DATASET}.{table}")
    schema = {n: t for n, t in promised.polars_schema().items() if n != "ingest_timestamp"}
    full = frame.with_columns(pl.lit(source).alias("source"))
    full = full.with_columns(pl.lit(None).alias(n) for n in schema if n not in full.columns)
    keys = [k for k in promised.keys if k in schema]
    done = full.select(pl.col(n).cast(t) for n, t in schema.items()).sort(*keys, nulls_last=True, maintain_order=True)
    values = [n for n in schema if n != "provenance_uuid"]
    done = done.unique(values, keep="first", maintain_order=True)
    twice = done.filter(pl.struct(keys).is_duplicated())
    if len(twice):
        raise drift(f"two values for one key, first {twice.select(keys).row(0)}", where)
    return done

"""From BigQuery's SQL dialect to DuckDB's, and the guard for SQL that a user types."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from zl_assets.errors import QueryRefused

if TYPE_CHECKING:
    from sqlglot import exp


@cache
def to_duckdb(sql: str) -> str:
    """One BigQuery statement in DuckDB's dialect; partitioning, clustering, keys and documentation are dropped."""
    import sqlglot
    from sqlglot import exp

    statement = sqlglot.parse_one(sql, dialect="bigquery")
    if isinstance(statement, exp.Create) and statement.kind == "TABLE":
        statement.set("properties", None)
        for node in list(statement.find_all(exp.PrimaryKey)):
            node.pop()
        for definition in statement.find_all(exp.ColumnDef):
            kept = [
                c for c in definition.args.get("constraints") or [] if isinstance(c.kind, exp.NotNullColumnConstraint)
            ]
            definition.set("constraints", kept)
    return statement.transform(_sunday_is_one).sql(dialect="duckdb")


def _sunday_is_one(node: exp.Expr) -> exp.Expr:
    """DAYOFWEEK as BigQuery counts it, 1 for Sunday; DuckDB starts at 0, and the transpiler leaves it at that."""
    from sqlglot import exp

    if isinstance(node, exp.Extract) and node.name.upper() == "DAYOFWEEK":
        return exp.paren(exp.Add(this=node.copy(), expression=exp.Literal.number(1)))
    return node


def single_select(sql: str) -> str:
    """The statement itself, if it is exactly one SELECT over tables.

    Raises:
        QueryRefused: it does not parse, is more than one statement, or is anything but a SELECT.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    advice = "zl query takes one SELECT in BigQuery's dialect, e.g. SELECT * FROM predictions.vw_zl_1m_latest"
    try:
        statements = [s for s in sqlglot.parse(sql, dialect="bigquery") if s is not None]
    except SqlglotError as error:
        raise QueryRefused(f"not valid SQL: {str(error).splitlines()[0]}", where=sql, action=advice) from error
    selects = (exp.Select, exp.SetOperation, exp.Subquery)
    if len(statements) != 1 or not isinstance(statements[0], selects):
        kinds = ", ".join(type(s).__name__.upper() for s in statements) or "nothing"
        raise QueryRefused(f"refused: got {kinds}, not one SELECT", where=sql, action=advice)
    if any(statements[0].find_all(exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Into)):
        raise QueryRefused("refused: the query writes", where=sql, action=advice)
    return sql


def canonical(sql: str, *, dialect: str = "bigquery", project: str = "") -> str:
    """The SELECT of a view in one form, so that two texts of the same statement are equal.

    Args:
        sql: a SELECT, or the CREATE VIEW around it.
        dialect: bigquery or duckdb.
        project: the project whose name before a dataset says nothing.

    Returns:
        BigQuery's dialect without quotes; the text itself where the parser does not know it.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        statement = sqlglot.parse_one(sql, dialect=dialect)
    except SqlglotError:
        return sql
    body = statement.expression if isinstance(statement, exp.Create) else statement
    for table in body.find_all(exp.Table):
        # What remains of backticks around a whole path.
        table.meta.pop("quoted_table", None)
        if project and table.catalog == project:
            table.set("catalog", None)
    for identifier in body.find_all(exp.Identifier):
        identifier.set("quoted", False)
    return body.sql(dialect="bigquery", comments=False)


@cache
def type_of_duckdb(name: str) -> str:
    """DuckDB's name of a type as BigQuery's, where it has one: ``STRUCT(a DOUBLE)`` is ``STRUCT<a FLOAT64>``."""
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        return exp.DataType.build(name, dialect="duckdb").sql(dialect="bigquery").replace("`", "")
    except SqlglotError:
        return name


def joins(sql: str) -> list[str]:
    """The joins of a statement, as parsed (comma joins included), not as searched in its text."""
    import sqlglot
    from sqlglot import exp

    return [join.sql() for join in sqlglot.parse_one(sql, dialect="bigquery").find_all(exp.Join)]

"""The guard for SQL that a user types, the transpiler, and the search for joins."""

import duckdb
import pytest

from zl_assets.errors import QueryRefused
from zl_assets.warehouse.dialect import canonical, joins, single_select, to_duckdb, type_of_duckdb


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "select data_date from training.vw_zl_1w_flat",
        "SELECT 1;",
        "  SELECT 1  -- DROP TABLE t",
        "/* INSERT */ SELECT 1",
        "(SELECT 1)",
        "WITH a AS (SELECT 1 AS x) SELECT * FROM a",
        "SELECT 1 UNION ALL SELECT 2",
        "SELECT 1 INTERSECT DISTINCT SELECT 1",
        "SELECT 1 EXCEPT DISTINCT SELECT 2",
        "SELECT '; DROP TABLE t'",
        "SELECT a.x FROM a JOIN b USING (x)",
        "SELECT * FROM t WHERE x IN (SELECT y FROM u) QUALIFY ROW_NUMBER() OVER (ORDER BY x) = 1",
    ],
)
def test_one_select_of_any_shape_goes_through_as_it_stands(sql: str) -> None:
    assert single_select(sql) == sql


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE t",
        "INSERT INTO t SELECT 1",
        "UPDATE t SET a = 1 WHERE TRUE",
        "DELETE FROM t WHERE TRUE",
        "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
        "TRUNCATE TABLE t",
        "ALTER TABLE t ADD COLUMN x INT64",
        "CREATE TABLE t AS SELECT 1",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "COPY t TO 'x.csv'",
        "ATTACH 'x.db' AS y",
        "PRAGMA database_list",
        "SET x = 1",
        "USE x",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CALL f()",
        "EXECUTE IMMEDIATE 'DROP TABLE t'",
        "EXPORT DATA OPTIONS (uri = 'x') AS SELECT 1",
        "BEGIN TRANSACTION",
        "GRANT x TO y",
        "EXPLAIN SELECT 1",
        "DESCRIBE t",
    ],
)
def test_any_other_statement_is_refused(sql: str) -> None:
    with pytest.raises(QueryRefused) as raised:
        single_select(sql)
    assert raised.value.where == sql
    assert "SELECT" in raised.value.action


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * INTO t FROM u",
        "SELECT 1 INTO t",
        "WITH a AS (INSERT INTO t VALUES (1)) SELECT 1",
        "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
    ],
)
def test_a_select_that_writes_is_refused(sql: str) -> None:
    with pytest.raises(QueryRefused, match="writes"):
        single_select(sql)


@pytest.mark.parametrize("sql", ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE t", "DROP TABLE t; SELECT 1"])
def test_two_statements_are_refused(sql: str) -> None:
    with pytest.raises(QueryRefused, match="not one SELECT"):
        single_select(sql)


@pytest.mark.parametrize("sql", ["", "   ", ";", "-- nothing but a comment"])
def test_nothing_is_refused(sql: str) -> None:
    with pytest.raises(QueryRefused, match="got nothing"):
        single_select(sql)


@pytest.mark.parametrize(
    "sql", ["SELEC 1", "what is the price", "SELECT (", "SELECT * FROM t WHERE 'a", "x = 1", "1", "prices"]
)
def test_garbage_is_refused(sql: str) -> None:
    with pytest.raises(QueryRefused):
        single_select(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM a JOIN b USING (x)",
        "SELECT * FROM a, b WHERE a.x = b.x",
        "SELECT * FROM a CROSS JOIN b",
        "SELECT * FROM a, UNNEST(a.xs)",
        "WITH c AS (SELECT * FROM a LEFT JOIN b ON a.x = b.x) SELECT * FROM c",
        "SELECT * FROM (SELECT * FROM a NATURAL JOIN b)",
        "SELECT * FROM a WHERE x IN (SELECT y FROM b, c)",
        "SELECT * FROM a UNION ALL SELECT b.* FROM b FULL OUTER JOIN c ON b.x = c.x",
        "CREATE OR REPLACE VIEW v AS SELECT * FROM a join b ON TRUE",
    ],
)
def test_a_join_is_found_wherever_it_hides(sql: str) -> None:
    assert len(joins(sql)) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM a",
        "SELECT 'a JOIN b' AS text FROM a",
        "SELECT x AS `join` FROM a -- JOIN b\n",
        "SELECT x /* a, b JOIN c */ FROM a",
        "SELECT x, y FROM a UNION ALL SELECT x, y FROM b",
        "WITH c AS (SELECT * FROM a) SELECT MAX(x) OVER (ORDER BY y) FROM c",
    ],
)
def test_the_word_alone_is_no_join(sql: str) -> None:
    assert joins(sql) == []


def test_what_duckdb_does_not_know_is_dropped_from_a_table_and_the_columns_stay() -> None:
    ddl = (
        "CREATE TABLE IF NOT EXISTS d.t (a DATE NOT NULL OPTIONS (description = 'x'), "
        "s STRUCT<b FLOAT64 OPTIONS (description = 'y'), c INT64>, PRIMARY KEY (a) NOT ENFORCED) "
        "PARTITION BY DATE_TRUNC(a, MONTH) CLUSTER BY a OPTIONS (description = 'z')"
    )
    assert to_duckdb(ddl) == "CREATE TABLE IF NOT EXISTS d.t (a DATE NOT NULL, s STRUCT(b DOUBLE, c BIGINT))"


def test_the_day_of_the_week_counts_from_sunday_as_bigquery_does() -> None:
    sql = (
        "SELECT EXTRACT(DAYOFWEEK FROM DATE '2025-08-31') AS sunday, 2 * EXTRACT(DAYOFWEEK FROM DATE '2025-09-06') AS n"
    )
    assert duckdb.sql(to_duckdb(sql)).fetchall() == [(1, 14)]


@pytest.mark.parametrize(
    ("sql", "dialect"),
    [
        ("SELECT * FROM d.t", "bigquery"),
        ("select *\nfrom `d`.`t` -- all of it", "bigquery"),
        ("SELECT * FROM `my-project`.d.t", "bigquery"),
        ("SELECT * FROM `my-project.d.t`;", "bigquery"),
        ("CREATE OR REPLACE VIEW d.v AS SELECT * FROM d.t", "bigquery"),
        ('CREATE VIEW d.v AS SELECT * FROM "d"."t";', "duckdb"),
    ],
)
def test_texts_of_the_same_view_are_equal(sql: str, dialect: str) -> None:
    assert canonical(sql, dialect=dialect, project="my-project") == "SELECT * FROM d.t"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM other.d.t",
        "SELECT * FROM d.u",
        "SELECT a FROM d.t",
        "SELECT * FROM d.t WHERE TRUE",
        "SELECT * FROM d.t LIMIT 1",
        "SELECT * FROM d.t, d.u",
        "SELECT * EXCEPT (a) FROM d.t",
        "SELECT DISTINCT * FROM d.t",
        "what is this (",
    ],
)
def test_another_view_is_not(sql: str) -> None:
    assert canonical(sql, project="my-project") != "SELECT * FROM d.t"


@pytest.mark.parametrize(
    ("duckdb_name", "name"),
    [
        ("BIGINT", "INT64"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP"),
        ("VARCHAR", "STRING"),
        ('STRUCT("close" DOUBLE, n BIGINT)[]', "ARRAY<STRUCT<close FLOAT64, n INT64>>"),
        ("ENUM('a', 'b')", "ENUM('a', 'b')"),
        ("what ( is", "what ( is"),
    ],
)
def test_a_type_has_bigquerys_name_where_it_has_one(duckdb_name: str, name: str) -> None:
    assert type_of_duckdb(duckdb_name) == name

"""The contracts are read without an SQL parser; sqlglot's parser is the oracle of that reading."""

import pytest
import sqlglot
from sqlglot import exp

from zl_assets.errors import ContractBroken
from zl_assets.warehouse.contracts import Column, Contract, _parse, contracts


def _described(properties: list[exp.Expression]) -> str:
    return next(p.args["value"].name for p in properties if p.name == "description")


def _column(definition: exp.ColumnDef) -> Column:
    kinds = [constraint.args["kind"] for constraint in definition.args["constraints"]]
    data_type = definition.args["kind"]
    fields = tuple(_column(f) for f in data_type.expressions)
    return Column(
        name=definition.name,
        type="STRUCT" if fields else data_type.sql("bigquery"),
        description=_described([p for k in kinds if isinstance(k, exp.Properties) for p in k.expressions]),
        nullable=not any(isinstance(k, exp.NotNullColumnConstraint) for k in kinds),
        fields=fields,
    )


def _parsed(ddl: str) -> Contract:
    statement = sqlglot.parse_one(ddl, dialect="bigquery")
    table, key = statement.find(exp.Table), statement.find(exp.PrimaryKey)
    partition, clusters = statement.find(exp.PartitionedByProperty), statement.find(exp.ClusterProperty)
    return Contract(
        name=f"{table.db}.{table.name}",
        description=_described(statement.args["properties"].expressions),
        columns=tuple(_column(c) for c in statement.this.expressions if isinstance(c, exp.ColumnDef)),
        keys=tuple(identifier.name for identifier in key.expressions),
        partition_column=partition.find(exp.Column).name if partition else None,
        partition_unit=partition.this.args["unit"].name if partition else "",
        cluster_columns=tuple(c.name for c in clusters.expressions) if clusters else (),
        ddl=ddl,
    )


@pytest.mark.parametrize("name", sorted(contracts()))
def test_a_contract_reads_as_the_sql_parser_reads_it(name: str) -> None:
    contract = contracts()[name]
    assert contract == _parsed(contract.ddl)
    assert contract.columns
    assert set(contract.keys) <= {c.name for c in contract.columns}


STATEMENT = """CREATE TABLE IF NOT EXISTS features.example (
  day DATE NOT NULL OPTIONS (description = "Day"),
  bar STRUCT<
    close FLOAT64 OPTIONS (description = "Close")
  > OPTIONS (description = "Bar"),
  PRIMARY KEY (day) NOT ENFORCED
)
OPTIONS (description = "Example");
"""


def test_the_example_of_the_following_test_is_a_contract() -> None:
    assert _parse(STATEMENT) == _parsed(STATEMENT)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (' OPTIONS (description = "Day")', ""),
        (' OPTIONS (description = "Close")', ""),
        ("DATE NOT NULL", "DATE DEFAULT CURRENT_DATE()"),
        ("  PRIMARY KEY (day) NOT ENFORCED\n", ""),
        ("features.example", "example"),
        ('OPTIONS (description = "Example")', ""),
        ("  bar STRUCT<\n", ""),
        ("CREATE TABLE IF NOT EXISTS", "CREATE TABLE"),
    ],
)
def test_a_statement_of_another_form_is_refused(part: str, instead: str) -> None:
    assert part in STATEMENT
    with pytest.raises(ContractBroken, match="not in the form"):
        _parse(STATEMENT.replace(part, instead))

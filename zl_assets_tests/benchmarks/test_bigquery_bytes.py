"""The byte counter against sizes worked out by hand."""

from datetime import date

import polars as pl
import pytest

from zl_assets_tests.benchmarks.bigquery_bytes import LEAST_BILLED, Sizes, bill, measured, processed

MATRIX, STAGING = "features.daily_ml_matrix", "features.zl_staging__x"
DAYS = [date(2025, 7, 31), date(2025, 8, 1), date(2025, 8, 29)]


@pytest.fixture
def sizes() -> dict[str, Sizes]:
    rows = pl.DataFrame(
        {
            "data_date": DAYS,
            "symbol": ["ZL", "ZL", "MES"],
            "is_suspect": [False, None, True],
            "regime": [{"name": "é", "weight": 1}, {"name": "a", "weight": None}, {"name": None, "weight": 3}],
            "rsi_14": [50.0, None, None],
        }
    )
    return {MATRIX: measured(rows, "data_date"), STAGING: measured(rows[2:], None)}


# By day: date 8, symbol 2 + 2 or 2 + 3, boolean 1 or 0, regime 4 + 8, 3 + 0 and 0 + 8, number 8 or 0.
JULY, AUGUST = 8 + 4 + 1 + 12 + 8, (8 + 4 + 0 + 3 + 0) + (8 + 5 + 1 + 8 + 0)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (f"SELECT * FROM {MATRIX}", {MATRIX: JULY + AUGUST}),
        (f"SELECT COUNT(*) AS n FROM {MATRIX}", {MATRIX: 0}),
        (f"SELECT symbol, regime.name FROM {MATRIX}", {MATRIX: 4 + 4 + 5 + 12 + 3 + 8}),
        ("SELECT * FROM training.vw_zl_1w_flat", {MATRIX: JULY + AUGUST}),
        (
            f"MERGE INTO {MATRIX} AS t USING (SELECT * FROM {STAGING} AS r WHERE r.data_date BETWEEN "
            "DATE '2025-08-29' AND DATE '2025-08-29') AS s ON t.data_date = s.data_date AND t.data_date BETWEEN "
            "DATE '2025-08-29' AND DATE '2025-08-29' WHEN MATCHED THEN UPDATE SET rsi_14 = s.rsi_14",
            {MATRIX: AUGUST, STAGING: 22},
        ),
    ],
    ids=["all", "a_count", "some_columns", "a_view", "a_merge_of_one_day"],
)
def test_a_statement_processes_what_it_names_of_the_partitions_it_meets(
    sizes: dict[str, Sizes], sql: str, expected: dict[str, int]
) -> None:
    assert processed(sql, sizes) == expected


def test_a_bill_counts_ten_megabytes_a_table_at_least(sizes: dict[str, Sizes]) -> None:
    found = bill([f"SELECT * FROM {MATRIX}"] * 2, sizes)
    assert found == {
        "statements": 2,
        "bytes_processed": 2 * (JULY + AUGUST),
        "bytes_billed": 2 * LEAST_BILLED,
    }

"""What is proven of the surfaces after each build: no look into the future, nothing invented, no signal rule broken."""

from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.common import utc_now
from zl_assets.assets.features import MATRIX, sessions_and_series
from zl_assets.assets.full_surface import FULL_MATRIX
from zl_assets.assets.market_data import SESSIONS
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.checks.full_surface import CHECKS as FULL_CHECKS
from zl_assets.checks.signal_rules import CHECKS as SIGNAL_RULES
from zl_assets.checks.signal_rules import violations
from zl_assets.checks.training import feature_names
from zl_assets.core.instruments import FORECAST_SYMBOL, MATRIX_SYMBOLS
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract
from zl_assets.warehouse.surfaces import listed_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    import polars as pl

    from zl_assets.core.features.family import Inputs
    from zl_assets.core.features.lookahead import BuildSince

COMPARED_SESSIONS = 63
"""Sessions up to each moment that are computed again; a leak shows nearest to the moment."""


def evaluate_no_look_ahead(found: "pl.DataFrame") -> Verdict:
    """No stored value changes where it is computed again without what came later."""
    return no_offender(found, sessions_compared_at_each_moment=COMPARED_SESSIONS)


def evaluate_not_constant(rows: "pl.DataFrame", columns: "Sequence[str]") -> Verdict:
    """No column holds one single value."""
    import polars as pl

    from zl_assets.core.features.audit import constant_columns

    return no_offender(pl.DataFrame({"feature": constant_columns(rows, columns)}), columns=len(columns))


def evaluate_not_mostly_null(rows: "pl.DataFrame", columns: "Sequence[str]") -> Verdict:
    """Every column with a value has one in half of the sessions; one without any is that of an absent family."""
    from zl_assets.core.features.audit import mostly_null_columns

    filled = [c for c in columns if rows[c].null_count() < rows.height]
    return no_offender(mostly_null_columns(rows, filled), columns=len(filled), empty=len(columns) - len(filled))


def evaluate_not_duplicated(rows: "pl.DataFrame", columns: "Sequence[str]") -> Verdict:
    """No column says what another one says."""
    from zl_assets.core.features.audit import duplicated_columns

    return no_offender(duplicated_columns(rows, columns), columns=len(columns))


def evaluate_not_held(rows: "pl.DataFrame", limits: "Mapping[str, int]") -> Verdict:
    """No value is carried forward for longer than its series may stand."""
    from zl_assets.core.features.audit import held_beyond_limit

    return no_offender(held_beyond_limit(rows, limits), columns=len(limits))


NO_LOOK_AHEAD = Check(
    "no_look_ahead",
    "No value changes where it is computed again on what was known at the time, at a random session of each weekday",
    evaluate_no_look_ahead,
    action="the family that computes the column reads the future: mend it, and build again",
)
REPORTED = (
    Check(
        "not_constant",
        "No column holds one single value",
        lambda rows, columns, _limits: evaluate_not_constant(rows, columns),
        blocking=False,
        action="deliver more of its series, or take it off the surface",
    ),
    Check(
        "not_mostly_null",
        "Every column that has a value has one in half of the sessions",
        lambda rows, columns, _limits: evaluate_not_mostly_null(rows, columns),
        blocking=False,
        action="missing values stay missing; deliver more of its series, or take it off the surface",
    ),
    Check(
        "not_duplicated",
        "No column says what another one says",
        lambda rows, columns, _limits: evaluate_not_duplicated(rows, columns),
        blocking=False,
        action="take one of the two off the surface",
    ),
    Check(
        "not_held",
        "No value stands for longer than its series may",
        lambda rows, _columns, limits: evaluate_not_held(rows, limits),
        blocking=False,
        action="look at its series or its bars: holes may have been filled, or the market hardly traded",
    ),
)
"""Each over the rows, the names of the columns, and how many sessions a value of a column may stand."""


def look_ahead(stored: "pl.DataFrame", build: "BuildSince", inputs: "Inputs") -> "pl.DataFrame":
    """Columns of one instrument that use the future, at moments that differ with its newest session."""
    from zl_assets.core.features.lookahead import differs_from_stored, moments_of_a_week

    newest: date = inputs.decisions["data_date"][-1]
    moments = moments_of_a_week(inputs, seed=newest.toordinal())
    return differs_from_stored(stored, build, inputs, moments, COMPARED_SESSIONS)


def matrix_look_ahead(
    matrix: "pl.DataFrame", sessions: "pl.DataFrame", series: "Mapping[str, pl.DataFrame]", settings: Settings
) -> "pl.DataFrame":
    """Columns of the stored matrix that use the future, for any instrument."""
    import polars as pl

    from zl_assets.core.features.lookahead import FOUND_SCHEMA
    from zl_assets.core.features.matrix import inputs_of, instrument_rows

    schema, now = contract(MATRIX).polars_schema(), utc_now()

    def build(inputs: "Inputs", since: int) -> "pl.DataFrame":
        return instrument_rows(inputs, schema, now, since=since).drop("ingestion_ts")

    stored = matrix.drop("ingestion_ts")
    instruments = inputs_of(sessions, series, settings.decision_time, MATRIX_SYMBOLS)
    found = [look_ahead(stored.filter(pl.col("symbol") == i.symbol), build, i) for i in instruments]
    return pl.concat([pl.DataFrame(schema=FOUND_SCHEMA), *found])


def full_look_ahead(matrix: "pl.DataFrame", sessions: "pl.DataFrame", settings: Settings) -> "pl.DataFrame":
    """Columns of the stored wide matrix, those of the production surface apart, that use the future."""
    from zl_assets.core.features.full_surface import build_full, full_columns, traded_symbols
    from zl_assets.core.features.matrix import inputs_of

    symbols = traded_symbols(sessions)
    [inputs] = inputs_of(sessions, {}, settings.decision_time, [FORECAST_SYMBOL])

    keys, generated = ["symbol", "data_date"], {f.name for f in full_columns(symbols)}
    columns = [*keys, *(c for c in matrix.columns if c in generated)]
    return look_ahead(matrix.select(columns), lambda past, since: build_full(past, symbols, since)[columns], inputs)


@dg.multi_asset_check(name="production_surface_checks", specs=specs(MATRIX, (NO_LOOK_AHEAD, *REPORTED, *SIGNAL_RULES)))
def production_surface_checks(warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]):
    """Check the values of the production surface, and what its columns are declared as."""
    import polars as pl

    from zl_assets.core.features.audit import flattened, held_limits
    from zl_assets.core.features.registry import FAMILIES

    matrix = warehouse.read(f"SELECT * FROM {MATRIX} ORDER BY symbol, data_date")
    sessions, series = sessions_and_series(warehouse)
    found = matrix_look_ahead(matrix, sessions, series, settings)
    yield from evaluated(MATRIX, (NO_LOOK_AHEAD,), found)

    own = matrix.filter(pl.col("symbol") == FORECAST_SYMBOL)
    columns = [f.feature for f in listed_features()]
    yield from evaluated(MATRIX, REPORTED, flattened(own), columns, held_limits(FAMILIES, columns))

    flat = own.select(c for c in columns if "." not in c)
    yield from evaluated(MATRIX, SIGNAL_RULES, violations(flat, sessions, series, settings))


@dg.multi_asset_check(name="full_surface_checks", specs=specs(FULL_MATRIX, (NO_LOOK_AHEAD, *REPORTED, *FULL_CHECKS)))
def full_surface_checks(warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]):
    """Check the values of the wide matrix."""
    from zl_assets.core.features.audit import held_limits
    from zl_assets.core.features.full_surface import SURFACE_SYMBOLS, full_family

    queries = {FULL_MATRIX: f"SELECT * FROM {FULL_MATRIX} ORDER BY data_date", SESSIONS: f"SELECT * FROM {SESSIONS}"}
    read = warehouse.read_all(queries)
    matrix, sessions = read[FULL_MATRIX], read[SESSIONS]
    yield from evaluated(FULL_MATRIX, (NO_LOOK_AHEAD,), full_look_ahead(matrix, sessions, settings))

    columns = feature_names(matrix)
    limits = held_limits([full_family(SURFACE_SYMBOLS)], set(columns))
    yield from evaluated(FULL_MATRIX, REPORTED, matrix, columns, limits)
    yield from evaluated(FULL_MATRIX, FULL_CHECKS, matrix)

"""Every calculation of the project: pure functions, no I/O, no Dagster, no warehouse."""

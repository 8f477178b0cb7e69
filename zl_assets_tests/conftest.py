"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Directory of the licensed vendor files, read in place; skips where it is missing."""
    directory = Path(os.environ.get("ZL_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not (directory / "databento").is_dir():
        pytest.skip(f"licensed vendor files not found in {directory}: set ZL_TEST_DATA to run this test")
    return directory

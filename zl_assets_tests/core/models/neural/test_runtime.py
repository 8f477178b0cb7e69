"""What loading the libraries of nets leaves behind in the process."""

import subprocess
import sys
from pathlib import Path

REDIRECTED = """
import logging.config, sys
from zl_assets.core.models.neural.runtime import load_keras

with open(sys.argv[1], "w") as somebodys:
    sys.stderr = somebodys
    load_keras()
    sys.stderr = sys.__stderr__
    logging.config.dictConfig({"version": 1})
    somebodys.write("still open")
"""


def test_a_stream_that_was_standard_error_stays_open_when_logging_is_configured_anew(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", REDIRECTED, str(tmp_path / "err")], check=True, timeout=300)
    assert (tmp_path / "err").read_text().endswith("still open")

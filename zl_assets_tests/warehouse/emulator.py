"""A local server that speaks BigQuery's API: installed into a cache directory of its own, started, and stopped.

It pins packages that would hold the project's back, so it lives in its own environment. `python -m
zl_assets_tests.warehouse.emulator` installs it and prints where.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DUCKDB = "1.5.5"
REQUIREMENTS = ("bqemulator==1.4.0", f"duckdb=={DUCKDB}", f"duckdb-extension-spatial=={DUCKDB}", "numpy>=2")
START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


def cache() -> Path:
    """Directory of the environment; the version in its name makes a change of pins a new one."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "zl_assets" / f"bqemulator-1.4.0-duckdb-{DUCKDB}"


def install() -> Path:
    """The server's program, installed where it is missing; several processes may ask at once."""
    directory = cache()
    program = directory / "venv" / "bin" / "bqemulator"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "complete").exists():
            uv = shutil.which("uv") or "uv"
            venv = directory / "venv"
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", "3.11", str(venv)], check=True)
            subprocess.run([uv, "pip", "install", "--quiet", "--python", str(venv), *REQUIREMENTS], check=True)
            _place_extension(venv, directory / "home")
            (directory / "complete").touch()
    return program


def _place_extension(venv: Path, home: Path) -> None:
    """Put DuckDB's extension where DuckDB looks for it, so that nothing is downloaded at start."""
    (source,) = venv.glob("lib/*/site-packages/duckdb_extension_spatial/extensions/*/spatial.duckdb_extension")
    code = "import duckdb; print(duckdb.sql('PRAGMA platform').fetchone()[0])"
    platform = subprocess.run(
        [venv / "bin" / "python", "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
    target = home / ".duckdb" / "extensions" / f"v{DUCKDB}" / platform
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Address of a server that starts empty, on a free port, and ends with the block or with this process.

    Args:
        directory: for its log.
    """
    program, log = install(), directory / "bqemulator.log"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cache() / "home"),
        "TMPDIR": str(directory),
        "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false",
        "BQEMU_UPLOAD_STAGING_DIR": str(directory / "uploads"),
    }
    command = [str(program), "start", "--rest-port", "0", "--grpc-port", "0", "--log-format", "json"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent
        )
    try:
        yield f"http://127.0.0.1:{_port(process, log)}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for line in log.read_text(encoding="utf-8").splitlines():
            if '"rest.listen"' in line:
                return int(json.loads(line)["port"])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the BigQuery emulator did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")


def _end_with_parent() -> None:
    """Have the kernel end the server when the tests are killed; other systems rely on the block's end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    print(install())

"""What is made once for all processes of a test session."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A directory that the first process to ask for it fills, while the others wait; read only.

    Args:
        factory: of this process, whose directory lies in that of the session.
        name: of the directory, unique in the session.
        make: fills it, and is called again in the next process where it fails.
    """
    own = factory.getbasetemp()
    # The directory of a process of pytest-xdist lies in that of the session.
    session = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    directory, done = session / name, session / f"{name}.done"
    with (session / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            directory.mkdir(exist_ok=True)
            make(directory)
            done.touch()
    return directory

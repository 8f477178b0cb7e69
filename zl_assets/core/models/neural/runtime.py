"""Keras on TensorFlow: where it comes from, how precisely it counts, and what it leaves in memory.

Belongs here: everything global about TensorFlow. Importing this module does not import it.
"""

# TensorFlow and Keras carry no complete types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingImports=false

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zl_assets.errors import ConfigurationError, MissingDependency


@dataclass(frozen=True)
class Memory:
    """Memory of this process around a fit, in bytes: what it holds on Linux, the most it ever held elsewhere."""

    before: int
    after: int


def load_keras() -> Any:
    """The keras module on TensorFlow, from now on deterministic: sums are taken in one order.

    Raises:
        MissingDependency: TensorFlow is not installed.
        ConfigurationError: Keras is configured for another backend.
    """
    # Read when the libraries are imported for the first time; what the user has set stays.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Sums in the order of this processor's fastest routines would give other last bits on another processor.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import keras
        import tensorflow as tf
    except ImportError as error:
        raise MissingDependency(
            f"neural nets need TensorFlow: {error}", action="uv sync --extra neural, or pip install 'zl-assets[neural]'"
        ) from error
    if keras.config.backend() != "tensorflow":
        raise ConfigurationError(
            f"Keras runs on {keras.config.backend()}", where="KERAS_BACKEND", action="set KERAS_BACKEND to tensorflow"
        )
    tf.config.experimental.enable_op_determinism()
    _leave_streams_open()
    # A walk forward compiles a net for each length of its training rows, which TensorFlow takes for a mistake.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return keras


def _leave_streams_open() -> None:
    """Let the logger that comes with TensorFlow write to the process's own standard error.

    It keeps what standard error was when it was imported, and closes that when logging is configured anew: a file that
    somebody had redirected to would be gone.
    """
    from absl import logging as absl_logging

    absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__  # pyright: ignore


def versions() -> tuple[str, str]:
    """Of Keras and TensorFlow."""
    import tensorflow as tf

    return str(load_keras().__version__), str(tf.__version__)


@contextmanager
def precision(keras: Any) -> Generator[None]:
    """Layers made inside count with 16 bits where there is a GPU, with 32 elsewhere: processors gain nothing by it."""
    import tensorflow as tf

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if tf.config.list_physical_devices("GPU") else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def numpy_1_calls() -> Generator[None]:
    """Keras's variables offer NumPy their values as NumPy 1 asked for them, and NumPy 2 complains when it copies."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        yield


def release(keras: Any) -> None:
    """Give back what nets that nobody refers to any more still hold."""
    keras.backend.clear_session()
    gc.collect()


def resident_bytes() -> int:
    """Memory of this process: what it holds on Linux, the most it ever held elsewhere."""
    held = Path("/proc/self/statm")
    if held.is_file():
        return int(held.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024

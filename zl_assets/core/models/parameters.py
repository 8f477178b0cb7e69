"""Numbers of a fitted model as a JSON file that says whose they are.

Belongs here: writing, reading and refusing that file. What the numbers mean is their model's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zl_assets.errors import InputError


def write_parameters(path: Path, model: str, held: Mapping[str, Any]) -> None:
    """Write numbers, texts and lists of them under the name of their model; floats are read back to the bit.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps({"model": model, **held}, indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def read_parameters(path: Path, model: str) -> dict[str, Any]:
    """Read what `write_parameters` wrote for that model.

    Raises:
        InputError: the file is missing, is not JSON, or belongs to another model.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["model"] != model:
            raise ValueError(f"it is of {held['model']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable(path, error) from error
    return held


def unreadable(path: Path, error: Exception) -> InputError:
    """The error of a stored model that cannot be used."""
    return InputError(f"the model cannot be read: {error}", where=str(path), action="train this horizon again")

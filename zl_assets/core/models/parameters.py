"""Numbers of a fitted model as a JSON file.

Belongs here: writing, reading and refusing that file. What the numbers mean is their model's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from zl_assets.errors import InputError


def write_parameters(path: Path, model: str, held: Mapping[str, Any]) -> None:
    """Write numbers, texts and lists of them under the name of their model; floats are read back to the bit.

    Raises:
        OSError: the file cannot be written.
    """
    write_json(path, {"model": model, **held})


def read_parameters(path: Path, model: str) -> dict[str, Any]:
    """Read what `write_parameters` wrote for that model.

    Raises:
        InputError: the file is missing, is not JSON, or belongs to another model.
    """
    held = read_json(path, "model")
    if held["model"] != model:
        raise unreadable(path, f"it is of {held['model']}")
    return held


def write_json(path: Path, held: Mapping[str, Any]) -> None:
    """Write numbers, texts and lists of them by name, in order of the names; floats are read back to the bit.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text(json.dumps(held, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path, *names: str) -> dict[str, Any]:
    """Read an object that `write_json` wrote, these names among its own.

    Raises:
        InputError: the file is missing, is no JSON object, or lacks a name.
    """
    try:
        held: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not isinstance(held, dict):
        raise unreadable(path, "it holds no names")
    if missing := [name for name in names if name not in held]:
        raise unreadable(path, f"it lacks {', '.join(missing)}")
    return cast("dict[str, Any]", held)


def unreadable(path: Path, why: Exception | str) -> InputError:
    """The error of a stored model that cannot be used."""
    return InputError(f"the model cannot be read: {why}", where=str(path), action="train this horizon again")

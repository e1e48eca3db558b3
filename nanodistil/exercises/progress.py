"""What a learner has passed: a small file beside his own, exercises.json.

An exercise is done if the file that passed is the one that is there now, told by its hash. Nothing is written into the
package, and a folder that cannot be written to loses the notes and nothing else.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from nanodistil.weights.errors import InputError
from nanodistil.weights.saving import written
from nanodistil.weights.small_files import read_json

FILE = "exercises.json"


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def notes(folder: Path) -> dict[str, Any]:
    """Exercise -> {"passed": hash}. Raises CheckpointError for a file that is not ours, or broken."""
    path = folder / FILE
    return read_json(path) if path.exists() else {}


def note(folder: Path, name: str, path: Path) -> None:
    """This file has passed. Raises InputError if that cannot be written."""
    found = notes(folder)
    found[name] = {"file": path.name, "passed": digest(path)}
    text = json.dumps(found, indent=1) + "\n"
    written(folder / FILE, lambda new: new.write_text(text, encoding="utf-8"))


def state(folder: Path, name: str, found: dict[str, Any]) -> str:
    """ "done", "changed" since it passed, "begun", or "open"."""
    entry = found.get(name)
    entry = entry if isinstance(entry, dict) else {}
    path = folder / str(entry.get("file", f"{name}.py"))
    try:
        if not path.is_file():
            return "done" if entry else "open"
        return ("done" if entry.get("passed") == digest(path) else "changed") if entry else "begun"
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None

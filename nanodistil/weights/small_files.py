"""Text and JSON files read with suspicion: size first, then UTF-8, then form; CheckpointError otherwise.

The files of a model come from strangers. Nothing in them is executed or dispatched on, nothing is allocated from a
number they hold, and whatever is wrong with one ends in one line that names the file and what to do.
"""

import json
from pathlib import Path
from typing import Any

from .errors import CheckpointError

LARGEST = 64 << 20  # bytes; the largest honest one, the multilingual tokenizer.json, has 3 MB


def read_text(path: Path) -> str:
    """The file as text. Raises CheckpointError: missing, unreadable, too large, not UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CheckpointError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(raw) > LARGEST:
        raise CheckpointError(f"{path}: larger than any file of its kind ({LARGEST} bytes); get the file again")
    try:
        return raw.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")  # as Python's text files
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: is not UTF-8 text; get the file again, or re-encode it") from None


def read_json(path: Path, unique: bool = False) -> dict[str, Any]:
    """The object a JSON file holds; of names that stand twice the last counts, unless they have to be `unique`.

    Raises CheckpointError: as read_text, broken, nested too deeply, a name twice, not an object.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if unique and len(found) != len(pairs):
            raise ValueError("a name stands in it twice")
        return found

    text = read_text(path)
    try:
        content = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
        raise CheckpointError(f"{path}: cannot be read as JSON ({reason}); get the file again") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not an object; get the file again")
    return content

"""Text and JSON files read with suspicion: size first, then UTF-8, then form; CheckpointError otherwise.

The files of a model come from strangers. Nothing in them is executed or dispatched on, nothing is allocated from a
number they hold, and whatever is wrong with one ends in one line that names the file and what to do.

JSON is bounded before it is parsed, by kind of file: its bytes, how many values it holds, and how deep they lie in each
other. A parser makes 20 bytes of memory out of one of the file, and whoever walks what it gives (copy, compare, print)
may recurse as deep as the stranger liked. Both are counted on the brackets and commas that remain when the strings are
gone, which `bytes.replace` and `bytes.split` do at memory speed: 2 ms for the tokenizer.json of BERT.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .errors import CheckpointError


class Limits(NamedTuple):
    """The most a file of some kind may hold: bytes, values, how many of them objects and lists, levels of nesting."""

    size: int
    values: int
    parts: int
    depth: int = 32


FOR_SETTINGS = Limits(1 << 20, 50_000, 10_000)  # an index of shards, a run's settings: honest ones have some kB
FOR_CONFIG = Limits(16 << 20, 500_000, 50_000)  # config.json, with names for 100,000 labels
FOR_TOKENS = Limits(
    48 << 20, 3_000_000, 250_000
)  # vocab.txt, tokenizer_config.json and the like, with 200,000 added tokens
FOR_TOKENIZER = Limits(
    64 << 20, 4_000_000, 250_000
)  # tokenizer.json, with a million tokens; the multilingual one has 3 MB
FOR_RECORDS = Limits(1 << 40, 1 << 40, 1 << 40, 100)  # of a user's own data: as large as he likes

_NOT_FORM = bytes(set(range(256)) - set(b'"[]{},'))
_INNERMOST = re.compile(rb"\[\]|\{\}")


def read_text(path: Path, limits: Limits = FOR_SETTINGS) -> str:
    """The file as text. Raises CheckpointError: missing, unreadable, too large, not UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(limits.size + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CheckpointError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(raw) > limits.size:
        raise CheckpointError(f"{path}: larger than any file of its kind ({limits.size:,} bytes); get the file again")
    try:
        return raw.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")  # as Python's text files
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: is not UTF-8 text; get the file again, or re-encode it") from None


def read_json(path: Path, limits: Limits = FOR_SETTINGS, unique: bool = False) -> dict[str, Any]:
    """The object a JSON file holds; of names that stand twice the last counts, unless they have to be `unique`.

    Raises CheckpointError: as read_text, and as `parsed` says, a name twice, not an object.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands in it twice")
        return found

    text = read_text(path, limits)
    try:
        content = parsed(text, limits, once if unique else None)
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({str(error)[:120]}); get the file again") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not an object; get the file again")
    return content


def parsed(
    text: str | bytes, limits: Limits = FOR_RECORDS, hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """The value that JSON text is, within limits. hook: json.loads' object_pairs_hook.

    Raises ValueError, in one line: not JSON, not UTF-8, more values or levels than the limits say.

    >>> parsed('{"a": [1, 2]}')
    {'a': [1, 2]}
    >>> parsed("[" * 200 + "]" * 200)
    Traceback (most recent call last):
    ValueError: nested more than 100 deep
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if raw.count(b"[") + raw.count(b"{") > limits.depth or raw.count(b",") > limits.values:
        check_form(raw, limits)
    try:
        return json.loads(text, object_pairs_hook=hook)
    except RecursionError:  # the caller's own stack was nearly full
        raise ValueError("nested too deep") from None
    except ValueError as error:
        if "integer string conversion" in str(error):  # Python's advice there is for programmers
            raise ValueError("a number of thousands of digits") from None
        raise


def check_form(raw: bytes, limits: Limits) -> None:
    """Raises ValueError if JSON text holds more values, or nests them deeper, than the limits say."""
    bare = raw.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NOT_FORM)
    bare = b"".join(bare.split(b'"')[::2])  # what stands outside of strings
    brackets = bare.replace(b",", b"")
    if len(bare) - len(brackets) + len(brackets) // 2 > limits.values:
        raise ValueError(f"more than {limits.values:,} values")
    if len(brackets) // 2 > limits.parts:
        raise ValueError(f"more than {limits.parts:,} objects and lists")
    for _ in range(limits.depth):
        brackets, before = _INNERMOST.sub(b"", brackets), len(brackets)
        if len(brackets) == before:  # none left, or some without a partner, of which the parser will tell
            return
    if _INNERMOST.search(brackets):
        raise ValueError(f"nested more than {limits.depth} deep")

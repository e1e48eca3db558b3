"""The bytes of a tokenizer's files, read with suspicion: size first, then UTF-8, then form; CheckpointError otherwise.

The files come from strangers. Nothing here is executed or dispatched on, nothing is allocated from a number in a file,
and whatever is wrong ends in one line that names the file and what to do.
"""

import json
from pathlib import Path
from typing import Any

from nanodistil.weights.errors import CheckpointError

MAX_BYTES = 64 << 20  # the multilingual tokenizer.json has 3 MB
MAX_TOKENS = 1_000_000
MAX_TOKEN_LENGTH = 1_000  # code points; the longest of any BERT vocabulary has 20


def read_text(path: Path) -> str:
    """The file as text. Raises CheckpointError: unreadable, too large, not UTF-8."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path}: larger than any tokenizer file is ({MAX_BYTES} bytes); get the file again")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: is not UTF-8 text; get the file again, or re-encode it") from None
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: cannot be read ({error})") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object a JSON file holds. Raises CheckpointError: broken, too deep, not an object."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise CheckpointError(f"{path}: cannot be read as JSON ({reason}); get the file again") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not an object; get the file again")
    return content


def read_vocab_txt(path: Path) -> dict[str, int]:
    """Token -> id from a vocab.txt: one token a line, the line's number is the id, of duplicates the last counts.

    Lines end at \\n (or \\r\\n) only. `str.splitlines` would also cut at U+2028 and five others, and shift every id
    behind them. Raises CheckpointError.
    """
    lines = read_text(path).split("\n")
    if not lines[-1]:
        lines.pop()
    if lines and lines[0].lstrip("\ufeff").lstrip().startswith("{"):
        raise CheckpointError(f"{path}: holds JSON, not one token a line; pass it as tokenizer_file, or get vocab.txt")
    vocabulary = {token: number for number, token in enumerate(lines)}
    check_vocabulary(vocabulary, str(path))
    return vocabulary


def check_vocabulary(vocabulary: dict[str, int], where: str) -> None:
    """Raises CheckpointError for a vocabulary no DistilBERT can have."""
    if not vocabulary:
        raise CheckpointError(f"{where}: holds no tokens; get the file again")
    if len(vocabulary) > MAX_TOKENS:
        raise CheckpointError(f"{where}: {len(vocabulary)} tokens, more than {MAX_TOKENS}; not a DistilBERT vocabulary")
    if max(map(len, vocabulary)) > MAX_TOKEN_LENGTH:
        raise CheckpointError(f"{where}: a token of over {MAX_TOKEN_LENGTH} characters; not a DistilBERT vocabulary")

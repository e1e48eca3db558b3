"""vocab.txt, and what any vocabulary must be."""

from pathlib import Path
from typing import Any

from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.small_files import FOR_TOKENS, read_text

MAX_TOKENS = 1_000_000
MAX_TOKEN_LENGTH = 1 << 22  # code points; BERT's longest has 20, but a line of a million dashes teaches one of as many


def read_vocab_txt(path: Path) -> dict[str, int]:
    """Token -> id from a vocab.txt: one token a line, the line's number is the id, of duplicates the last counts.

    Lines end at \\n (or \\r\\n) only. `str.splitlines` would also cut at U+2028 and five others, and shift every id
    behind them. Raises CheckpointError.
    """
    text = read_text(path, FOR_TOKENS)
    if text.count("\n") > MAX_TOKENS:
        raise CheckpointError(f"{path}: more than {MAX_TOKENS:,} lines; not a DistilBERT vocabulary")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    if lines and lines[0].lstrip("\ufeff").lstrip().startswith("{"):
        raise CheckpointError(f"{path}: holds JSON, not one token a line; pass it as tokenizer_file, or get vocab.txt")
    vocabulary = {token: number for number, token in enumerate(lines)}
    check_vocabulary(vocabulary, str(path))
    return vocabulary


def check_vocabulary(vocabulary: dict[str, Any], where: str) -> None:
    """Raises CheckpointError for a vocabulary that none of the models can have."""
    if not vocabulary:
        raise CheckpointError(f"{where}: holds no tokens; get the file again")
    if len(vocabulary) > MAX_TOKENS:
        raise CheckpointError(f"{where}: {len(vocabulary)} tokens, more than {MAX_TOKENS}; no such vocabulary")
    if max(map(len, vocabulary)) > MAX_TOKEN_LENGTH:
        raise CheckpointError(f"{where}: a token of over {MAX_TOKEN_LENGTH} characters; no such vocabulary")


def check_ids(vocabulary: dict[str, Any], where: str) -> None:
    """Every id from 0 on, each once. Raises CheckpointError."""
    seen = bytearray(len(vocabulary))
    for token, number in vocabulary.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(seen):
            raise CheckpointError(f"{where}: {excerpt(token)} has the id {excerpt(number)}, not of 0..{len(seen) - 1}")
        if seen[number]:
            raise CheckpointError(f"{where}: the id {number} is given twice, once to {excerpt(token)}")
        seen[number] = 1

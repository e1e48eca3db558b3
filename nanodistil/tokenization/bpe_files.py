"""vocab.json and merges.txt as a whole tokenizer, and back.

vocab.json is an object of tokens and ids. merges.txt has a merge a line, its two halves with a space between, the most
important first. It is read as transformers reads it: the first line, which says "#version: 0.2", and what follows the
last line end are passed over whatever they are; a warning says so if either was a merge.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from nanodistil.tokenization.bpe import ByteBPE, Pair
from nanodistil.tokenization.byte_level import join
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.files import check_ids, check_vocabulary
from nanodistil.tokenization.template import Template
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.small_files import FOR_TOKENIZER, FOR_TOKENS, read_json, read_text

MERGES = "merges.txt"
VERSION = "#version: 0.2"


def description_of(
    path: Path, special: dict[str, str], *, framing: Template, merges: Path | None = None
) -> Description:
    """The tokenizer of a vocab.json and a merges.txt, which is beside it unless another is named.

    special: role -> token; those tokens that the vocabulary lacks come after it, in that order. Raises CheckpointError
    for files that are none.
    """
    vocabulary = read_vocabulary(path)
    pieces = from_pairs(vocabulary, read_merges(merges or path.with_name(MERGES)), None, str(merges or path))
    missing = dict.fromkeys(token for token in special.values() if token not in vocabulary)
    ids = {**vocabulary, **{token: len(vocabulary) + n for n, token in enumerate(missing)}}
    template = framing.filled(lambda role: (special[role], ids[special[role]]) if role in special else None)
    return Description(str(path), pieces, template, join)


def read_vocabulary(path: Path) -> dict[str, int]:
    """Token -> id: every id from 0 on, each once. Raises CheckpointError."""
    vocabulary = read_json(path, FOR_TOKENIZER)
    check_vocabulary(vocabulary, str(path))
    check_ids(vocabulary, str(path))
    return vocabulary


def read_merges(path: Path) -> list[Pair]:
    """The merges of a merges.txt; of the same one twice the first counts. Raises CheckpointError naming the line."""
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file, without which vocab.json is no tokenizer; get it too")
    first, *lines = read_text(path, FOR_TOKENS).replace("\r\n", "\n").split("\n")
    last = lines.pop() if lines else ""
    for line, which in ((first, "first line is"), (last, "last line, which has no end, is")):
        if len(line.split()) == 2 and not line.startswith("#version"):
            warnings.warn(f"{path}: the {which} {excerpt(line)}, and is passed over, as in transformers", stacklevel=6)
    pairs: dict[Pair, None] = {}
    for number, line in enumerate(lines, start=2):
        halves = line.split()
        if len(halves) != 2:
            raise CheckpointError(f"{path}: line {number} is {excerpt(line)}, not two halves of a token; get it again")
        pairs[halves[0], halves[1]] = None
    return list(pairs)


def from_pairs(vocabulary: dict[str, int], pairs: list[Pair], unknown: str | None, where: str) -> ByteBPE:
    """The two as one. Raises CheckpointError for a merge of which the vocabulary lacks a part."""
    try:
        return ByteBPE(vocabulary, pairs, unknown)
    except KeyError as error:
        token = error.args[0]
        raise CheckpointError(
            f"{where}: the vocabulary lacks {excerpt(token)}, which a merge needs; get the files again"
        ) from None


def vocabulary_texts(state: Any) -> dict[str, str]:
    """vocab.json and merges.txt, as the reference writes them."""
    pieces = state.encoder.pieces
    by_id = dict(sorted(pieces.vocabulary.items(), key=lambda entry: entry[1]))
    if any(part != part.strip() or len(part.split()) != 1 for pair in pieces.pairs for part in pair):
        raise InputError(f"a merge has a space in it, which {MERGES} cannot say; pass legacy_format=False")
    lines = [VERSION, *(f"{a} {b}" for a, b in pieces.pairs)]
    return {
        "vocab.json": json.dumps(by_id, ensure_ascii=False, separators=(",", ":")),
        MERGES: "".join(f"{line}\n" for line in lines),
    }

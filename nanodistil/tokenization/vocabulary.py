"""A vocab.txt as a whole tokenizer: what tokenizer.json spells out, taken from the class's conventions instead."""

from __future__ import annotations

import warnings
from pathlib import Path

from nanodistil.tokenization.files import read_vocab_txt
from nanodistil.tokenization.tokenizer_json import Backend
from nanodistil.weights.errors import CheckpointError, excerpt

CASED_SHARE = 0.05  # of the tokens out of an uncased model's reach; 0 in uncased vocabularies, over 0.3 in cased ones


def backend_of(path: Path, special: dict[str, str]) -> Backend:
    """The tokenizer of a vocab.txt. special: role -> token; those the vocabulary lacks come after it, in that order.

    Raises CheckpointError for a file that is none, and for a vocabulary without the unknown token.
    """
    vocabulary, source = read_vocab_txt(path), str(path)
    unknown = special["unk_token"]
    if unknown not in vocabulary:
        raise CheckpointError(
            f"{source}: lacks the unknown token {excerpt(unknown)}; this is not a DistilBERT vocabulary"
        )
    missing = dict.fromkeys(token for token in special.values() if token not in vocabulary)
    ids = {**vocabulary, **{token: len(vocabulary) + n for n, token in enumerate(missing)}}
    cls, sep = (special[role] for role in ("cls_token", "sep_token"))
    return Backend(source, vocabulary, unknown, (cls, ids[cls]), (sep, ids[sep]))


def warn_if_cased(backend: Backend) -> None:
    """A vocabulary full of capitals under do_lower_case=True: most likely somebody forgot to say False."""
    words = [token for token in backend.vocabulary if not token.startswith("[")]
    lost = sum(token != token.lower() for token in words)
    if lost > CASED_SHARE * len(words):
        warnings.warn(
            f"{backend.source}: {lost} of {len(words)} tokens have capitals, which do_lower_case=True never "
            "reaches; for a cased model pass do_lower_case=False",
            stacklevel=4,
        )

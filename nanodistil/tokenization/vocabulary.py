"""A vocab.txt as a whole tokenizer: what tokenizer.json spells out, taken from BERT's conventions instead; and back."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from nanodistil.tokenization.description import Description
from nanodistil.tokenization.files import read_vocab_txt
from nanodistil.tokenization.template import Template
from nanodistil.tokenization.wordpiece import WordPiece
from nanodistil.tokenization.wordpiece_sections import Joined
from nanodistil.weights.errors import CheckpointError, InputError, excerpt

CASED_SHARE = 0.05  # of the tokens out of an uncased model's reach; 0 in uncased vocabularies, over 0.3 in cased ones
TEMPLATE = Template.of("cls_token A sep_token", "cls_token A sep_token B:1 sep_token:1")


def description_of(path: Path, special: dict[str, str]) -> Description:
    """The tokenizer of a vocab.txt. special: role -> token; those the vocabulary lacks come after it, in that order.

    Raises CheckpointError for a file that is none, and for a vocabulary without the unknown token, InputError if a role
    has no token.
    """
    for role in ("unk_token", "sep_token", "cls_token"):
        if role not in special:
            raise InputError(f"{role} is None, but a vocab.txt cannot do without; name it, or load a tokenizer.json")
    vocabulary, source = read_vocab_txt(path), str(path)
    unknown = special["unk_token"]
    if unknown not in vocabulary:
        raise CheckpointError(
            f"{source}: lacks the unknown token {excerpt(unknown)}; this is not a DistilBERT vocabulary"
        )
    missing = dict.fromkeys(token for token in special.values() if token not in vocabulary)
    ids = {**vocabulary, **{token: len(vocabulary) + n for n, token in enumerate(missing)}}
    template = TEMPLATE.filled(lambda role: (special[role], ids[special[role]]))
    return Description(source, WordPiece(vocabulary, unknown=unknown), template, Joined())


def vocabulary_texts(state: Any) -> dict[str, str]:
    """vocab.txt, whose line n is token n. Raises InputError if that cannot be said in lines."""
    vocabulary = state.encoder.vocabulary
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
        raise InputError("the vocabulary names a token twice, which leaves a hole among its ids; mend it and try again")
    if any("\n" in token or "\r" in token for token in tokens):
        raise InputError("a token of the vocabulary holds a line end, which vocab.txt cannot; pass legacy_format=False")
    return {"vocab.txt": "".join(f"{token}\n" for token in tokens)}


def warn_if_cased(description: Description) -> None:
    """A vocabulary full of capitals under do_lower_case=True: most likely somebody forgot to say False."""
    words = [token for token in description.pieces.vocabulary if not token.startswith("[")]
    lost = sum(token != token.lower() for token in words)
    if lost > CASED_SHARE * len(words):
        warnings.warn(
            f"{description.source}: {lost} of {len(words)} tokens have capitals, which do_lower_case=True never "
            "reaches; for a cased model pass do_lower_case=False",
            stacklevel=4,
        )

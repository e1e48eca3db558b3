"""WordPiece in a tokenizer.json: the four sections that say how texts are cut and put together again.

  normalizer      BertNormalizer        pre_tokenizer   BertPreTokenizer
  model           WordPiece             decoder         WordPiece

Anything else in their place is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nanodistil.tokenization.decoding import join
from nanodistil.tokenization.files import check_ids, check_vocabulary
from nanodistil.tokenization.json_part import Part
from nanodistil.tokenization.wordpiece import Normalizer, WordPiece
from nanodistil.weights.errors import CheckpointError, excerpt


@dataclass(frozen=True)
class Joined:
    """The decoder: tokens as one text."""

    prefix: str = "##"
    cleans: bool = True

    def __call__(self, tokens: list[str]) -> str:
        return join(tokens, self.prefix, self.cleans)


def read_sections(file: Part) -> tuple[WordPiece, Joined]:
    """How the file cuts and joins. Raises CheckpointError naming the field that does not fit."""
    model = file.part("model")
    model.expect("WordPiece", otherwise="WordPiece" if "max_input_chars_per_word" in model.value else None)
    vocabulary = read_vocabulary(model)
    unknown = model.get("unk_token", str)
    if unknown not in vocabulary:
        raise CheckpointError(f"{model.where}.vocab: lacks the unknown token {excerpt(unknown)}; get the file again")

    normalizer = file.part("normalizer")
    normalizer.expect("BertNormalizer")
    clean, cjk, lower = (normalizer.get(key, bool) for key in ("clean_text", "handle_chinese_chars", "lowercase"))
    strip = None if normalizer.value.get("strip_accents") is None else normalizer.get("strip_accents", bool)
    file.part("pre_tokenizer").expect("BertPreTokenizer")
    decoder = file.part("decoder")
    decoder.expect("WordPiece")
    prefix, longest = model.get("continuing_subword_prefix", str), model.get("max_input_chars_per_word", int)
    return (
        WordPiece(vocabulary, Normalizer(lower, strip, cjk, clean), unknown, prefix, longest),
        Joined(decoder.get("prefix", str), decoder.get("cleanup", bool)),
    )


def read_vocabulary(model: Part) -> dict[str, int]:
    """Token -> id: every id from 0 on, each once. Raises CheckpointError."""
    vocabulary = model.get("vocab", dict)
    where = f"{model.where}.vocab"
    check_vocabulary(vocabulary, where)
    check_ids(vocabulary, where)
    return vocabulary


def write_sections(state: Any) -> dict[str, Any]:
    """The same of a tokenizer, whose settings are what the class was given."""
    pieces, decoder = state.encoder.pieces, state.encoder.description.join
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": pieces.normalizer.cleans,
            "handle_chinese_chars": state.tokenize_chinese_chars,
            "strip_accents": state.strip_accents,
            "lowercase": state.do_lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": decoder.prefix, "cleanup": decoder.cleans},
        "model": {
            "type": "WordPiece",
            "unk_token": pieces.unknown,
            "continuing_subword_prefix": pieces.prefix,
            "max_input_chars_per_word": pieces.longest_word,
            "vocab": dict(sorted(pieces.vocabulary.items(), key=lambda entry: entry[1])),
        },
    }

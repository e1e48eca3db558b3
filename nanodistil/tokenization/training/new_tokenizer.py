"""A tokenizer like another, with a vocabulary learnt from texts: `tokenizer.train_new_from_iterator` of transformers.

The new one has the class, the settings and the special tokens of the old one, and nothing of its vocabulary. Special
tokens come first, in their order, then the alphabet, then what was merged; words like "[MASK]" in the texts are text.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from nanodistil.tokenization.adding import with_flags
from nanodistil.tokenization.bpe import ByteBPE
from nanodistil.tokenization.byte_level import alphabet
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.files import MAX_TOKENS
from nanodistil.tokenization.special_tokens import MORE, SPECIAL, tokens
from nanodistil.tokenization.state import State
from nanodistil.tokenization.template import Slot, Template
from nanodistil.tokenization.training.beginning import begin
from nanodistil.tokenization.training.definition import Pair
from nanodistil.tokenization.training.merging import learn
from nanodistil.tokenization.training.words import count_words
from nanodistil.tokenization.wordpiece import WordPiece
from nanodistil.weights.errors import InputError, excerpt, meant

Watch = Callable[[int], None]


class Trainer(NamedTuple):
    """The arguments of the reference's trainers that change something."""

    min_frequency: int = 0  # rarer pairs are not merged
    limit_alphabet: int | None = None  # letters at most; the most frequent are kept
    initial_alphabet: Iterable[str] = ()  # letters that are kept whether they occur or not; bytes: all of them, always
    continuing_subword_prefix: str = "##"  # WordPiece's


NOTHING = ("show_progress", "end_of_word_suffix", "max_token_length")  # which these kinds do not have


def train_new_from_iterator(
    state: State,
    text_iterator: Iterable[Any],
    vocab_size: int,
    length: int | None = None,
    new_special_tokens: list[Any] | None = None,
    special_tokens_map: dict[str, str] | None = None,
    watch: Watch | None = None,
    **kwargs: Any,
) -> Any:
    """A new tokenizer of the same class, settings and special tokens, whose vocabulary is learnt from texts.

    text_iterator: strings, or lists of strings. vocab_size: tokens of the new vocabulary; fewer if the texts have no
    more pairs to merge, and more (with a warning) if the alphabet alone has more. length: taken, as by transformers.
    new_special_tokens: more of them. special_tokens_map: old special token -> what it is called in the new tokenizer.
    watch: called with the number of tokens as they become more. kwargs: min_frequency (0), limit_alphabet (None),
    initial_alphabet and continuing_subword_prefix, of the reference's trainers.

    Raises InputError for texts that are no strings, and for arguments out of range.

    >>> from nanodistil.tokenization import DistilBertTokenizer
    >>> old = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    >>> new = old.train_new_from_iterator(["low low lower", "newer Newer newest"], 26)
    >>> new.tokenize("lowest newer"), len(new)
    (['low', '##e', '##st', 'newer'], 26)
    """
    pieces = state.encoder.pieces
    if not isinstance(pieces, WordPiece | ByteBPE):
        raise InputError("only WordPiece's and byte-level BPE's vocabularies can be learnt; this tokenizer is another")
    trainer = _trainer(kwargs)
    _check_whole("vocab_size", vocab_size, 1, MAX_TOKENS)
    renamed = _renamed(special_tokens_map)
    more = tokens(new_special_tokens or [], "new_special_tokens")
    if "" in map(str, more):
        raise InputError("new_special_tokens has an empty token; leave it out")
    special = [
        replace(token, content=renamed(token.content)) for token in state.added_tokens_decoder.values() if token.special
    ] + [with_flags(token, special=True) for token in more]

    numbers = {content: n for n, content in enumerate(dict.fromkeys(token.content for token in special))}
    template = _filled(state.encoder.template, renamed, numbers)
    unknown = renamed(pieces.unknown)
    if isinstance(pieces, WordPiece) and unknown not in numbers:
        raise InputError(f"the unknown token {excerpt(unknown)} is no special token of the tokenizer; add it first")

    if isinstance(pieces, ByteBPE):
        trainer = trainer._replace(continuing_subword_prefix="", initial_alphabet=alphabet())
    prefix = trainer.continuing_subword_prefix
    words = count_words(text_iterator, pieces)
    names, coded = begin(words, numbers, trainer.initial_alphabet, trainer.limit_alphabet, prefix)
    if len(names) > vocab_size:
        warnings.warn(
            f"special tokens and alphabet alone are {len(names):,} tokens, more than the {vocab_size:,} asked for",
            stacklevel=2,
        )
    pairs = learn(coded, list(words.values()), names, vocab_size, trainer.min_frequency, prefix, watch)

    vocabulary = {name: number for number, name in enumerate(names)}
    old = state.encoder.description
    description = Description(
        source="the vocabulary learnt",
        pieces=_retaught(pieces, vocabulary, pairs, unknown, prefix),
        template=template,
        join=old.join,
        added=tuple((vocabulary[token.content], token) for token in special),
    )
    new = type(state)(tokenizer_file=description, **_settings(state, renamed, more))  # type: ignore[call-arg]
    new.tokenizer_class = state.tokenizer_class
    return new


def _retaught(
    pieces: WordPiece | ByteBPE, vocabulary: dict[str, int], pairs: list[Pair], unknown: str, prefix: str
) -> WordPiece | ByteBPE:
    """With another vocabulary."""
    if isinstance(pieces, ByteBPE):
        known = unknown if unknown in vocabulary else None
        return ByteBPE(vocabulary, pairs, known, pieces.adds_space, pieces.trims)
    return WordPiece(vocabulary, pieces.normalizer, unknown, prefix, pieces.longest_word)


def _trainer(kwargs: dict[str, Any]) -> Trainer:
    """Raises InputError for an argument that is unknown, or out of range."""
    given = {}
    for name, value in kwargs.items():
        if name in Trainer._fields:
            given[name] = value
        elif name not in NOTHING:
            raise InputError(f"{excerpt(name)} is no argument of training{meant(name, (*Trainer._fields, *NOTHING))}")
        elif value and name != "show_progress":
            raise InputError(f"{name} cannot be {excerpt(value)} here; leave it out")
    trainer = Trainer(**given)
    _check_whole("min_frequency", trainer.min_frequency, 0)
    if trainer.limit_alphabet is not None:
        _check_whole("limit_alphabet", trainer.limit_alphabet, 0)
    if not isinstance(trainer.continuing_subword_prefix, str):
        raise InputError(
            f"continuing_subword_prefix must be a string, not {excerpt(trainer.continuing_subword_prefix)}"
        )
    letters: list[Any] = list(trainer.initial_alphabet) if isinstance(trainer.initial_alphabet, Iterable) else [None]
    if not all(isinstance(letter, str) for letter in letters):
        raise InputError(f"initial_alphabet must be a list of letters, not {excerpt(trainer.initial_alphabet)}")
    return trainer._replace(initial_alphabet=[letter[:1] for letter in letters if letter])


def _check_whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    if type(value) is not int or value < low or (high is not None and value > high):
        most = "" if high is None else f" to {high:,}"
        raise InputError(f"{name}={excerpt(value)}: must be a whole number from {low}{most}")


def _renamed(renaming: Any) -> Callable[[str], str]:
    if renaming is None:
        return str
    if not isinstance(renaming, dict) or not all(isinstance(t, str) and t for p in renaming.items() for t in p):
        raise InputError(f"special_tokens_map must be old token -> new token, not {excerpt(renaming)}")
    return lambda token: renaming.get(token, token)


def _filled(template: Template, renamed: Callable[[str], str], numbers: dict[str, int]) -> Template:
    """With the new tokens' ids. Raises InputError if one is not there."""

    def slot(old: Slot) -> Slot:
        if old.text is not None:
            return old
        token = renamed(old.token)
        if token not in numbers:
            raise InputError(f"{excerpt(token)} goes around a text, but is no special token; add it to the tokenizer")
        return old._replace(token=token, number=numbers[token])

    return Template(tuple(map(slot, template.single)), tuple(map(slot, template.pair)))


def _settings(state: State, renamed: Callable[[str], str], more: list[Any]) -> dict[str, Any]:
    """What the new tokenizer is made with: all that the old one was."""
    roles: dict[str, Any] = dict.fromkeys(SPECIAL)
    for role, value in state.roles.named():
        if role != MORE:
            name = renamed(str(value))
            roles[role] = name if isinstance(value, str) else replace(value, content=name).as_special()
    return {
        **{name: getattr(state, name) for name in state.kind.settings},
        **roles,
        MORE: [*(state.roles.tokens[MORE] or []), *more],
        "model_max_length": state.model_max_length,
        "model_input_names": state.model_input_names,
        "padding_side": state.padding_side,
        "truncation_side": state.truncation_side,
        "clean_up_tokenization_spaces": state.clean_up_tokenization_spaces,
        "split_special_tokens": state.split_special_tokens,
        "name_or_path": state.name_or_path,
    }

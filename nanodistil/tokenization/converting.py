"""Ids to tokens to texts, and tokens to ids: methods of a tokenizer, whose state is their first argument."""

from __future__ import annotations

from typing import Any

from nanodistil.tokenization import decoding
from nanodistil.tokenization.arguments import id_list
from nanodistil.tokenization.state import State
from nanodistil.weights.errors import InputError, excerpt


def decode(
    state: State,
    token_ids: Any,
    skip_special_tokens: bool = False,
    clean_up_tokenization_spaces: bool | None = None,
    *,
    spaces_between_special_tokens: bool = True,
) -> str:
    """The text of one id or a sequence of ids; ids the tokenizer does not know are left out.

    spaces_between_special_tokens: there always are, as in the fast tokenizer, where it is not looked at.
    Raises InputError for what is no id: negative, or no integer.
    """
    if spaces_between_special_tokens is not True:
        raise InputError("spaces_between_special_tokens must be True: fast tokenizers know no other way")
    special = state.encoder.added.special if skip_special_tokens else ()
    found = (state.encoder.names.get(number) for number in id_list(token_ids))
    text = convert_tokens_to_string(state, [t for t in found if t is not None and t not in special])
    if clean_up_tokenization_spaces is None:
        clean_up_tokenization_spaces = state.clean_up_tokenization_spaces
    return decoding.clean_up(text) if clean_up_tokenization_spaces else text


def batch_decode(state: State, sequences: Any, *how: Any, **named: Any) -> list[str]:
    """`decode` for each of several sequences of ids, with the same arguments."""
    if not hasattr(sequences, "__iter__"):
        raise InputError(f"batch_decode takes a list of sequences of ids, not {type(sequences).__name__}")
    return [decode(state, ids, *how, **named) for ids in sequences]


def convert_tokens_to_string(state: State, tokens: list[str]) -> str:
    """Tokens as one text."""
    if not isinstance(tokens, list | tuple) or not all(isinstance(token, str) for token in tokens):
        raise InputError(f"convert_tokens_to_string takes a list of tokens, not {excerpt(tokens)}")
    return state.encoder.description.join(list(tokens))


def convert_tokens_to_ids(state: State, tokens: Any) -> Any:
    """The id of a token, or a list of ids for a list; the unknown token's id for what is not in the vocabulary."""
    if isinstance(tokens, str):
        return state.id_of(tokens)
    listed: list[Any] = list(tokens) if hasattr(tokens, "__iter__") else [None]
    if not all(isinstance(token, str) for token in listed):
        raise InputError(f"convert_tokens_to_ids takes a token or a list of them, not {excerpt(tokens)}")
    return list(map(state.id_of, listed))


def convert_ids_to_tokens(state: State, ids: Any, skip_special_tokens: bool = False) -> Any:
    """The token of an id, None if there is none, or a list of tokens for a sequence of ids."""
    return state.tokens_of(ids, set(state.all_special_ids) if skip_special_tokens else ())

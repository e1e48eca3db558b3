"""Ids to tokens to texts, and tokens to ids: methods of DistilBertTokenizer, which is their first argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanodistil.tokenization import decoding
from nanodistil.tokenization.arguments import id_list
from nanodistil.weights.errors import InputError, excerpt

if TYPE_CHECKING:
    from nanodistil.tokenization.tokenizer import DistilBertTokenizer


def decode(
    tokenizer: DistilBertTokenizer,
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
    special = tokenizer.encoder.added.special if skip_special_tokens else ()
    found = (tokenizer.encoder.names.get(number) for number in id_list(token_ids))
    text = tokenizer.convert_tokens_to_string([t for t in found if t is not None and t not in special])
    if clean_up_tokenization_spaces is None:
        clean_up_tokenization_spaces = tokenizer.clean_up_tokenization_spaces
    return decoding.clean_up(text) if clean_up_tokenization_spaces else text


def batch_decode(
    tokenizer: DistilBertTokenizer,
    sequences: Any,
    skip_special_tokens: bool = False,
    clean_up_tokenization_spaces: bool | None = None,
    *,
    spaces_between_special_tokens: bool = True,
) -> list[str]:
    """`decode` for each of several sequences of ids."""
    spaces = spaces_between_special_tokens
    if not hasattr(sequences, "__iter__"):
        raise InputError(f"batch_decode takes a list of sequences of ids, not {type(sequences).__name__}")
    return [
        tokenizer.decode(ids, skip_special_tokens, clean_up_tokenization_spaces, spaces_between_special_tokens=spaces)
        for ids in sequences
    ]


def convert_tokens_to_string(tokenizer: DistilBertTokenizer, tokens: list[str]) -> str:
    """Tokens as one text."""
    if not isinstance(tokens, list | tuple) or not all(isinstance(token, str) for token in tokens):
        raise InputError(f"convert_tokens_to_string takes a list of tokens, not {excerpt(tokens)}")
    return decoding.join(tokens, tokenizer.encoder.backend.decoder_prefix, tokenizer.encoder.backend.decoder_cleans)


def convert_tokens_to_ids(tokenizer: DistilBertTokenizer, tokens: Any) -> Any:
    """The id of a token, or a list of ids for a list; the unknown token's id for what is not in the vocabulary."""
    if isinstance(tokens, str):
        number = _id_of(tokenizer, tokens)
        return _id_of(tokenizer, tokenizer.unk_token) if number is None and tokenizer.unk_token is not None else number
    listed = list(tokens) if hasattr(tokens, "__iter__") else [None]
    if not all(isinstance(token, str) for token in listed):
        raise InputError(f"convert_tokens_to_ids takes a token or a list of them, not {excerpt(tokens)}")
    return [tokenizer.convert_tokens_to_ids(token) for token in listed]


def _id_of(tokenizer: DistilBertTokenizer, token: str) -> int | None:
    return tokenizer.encoder.added.ids.get(token, tokenizer.encoder.backend.vocabulary.get(token))


def convert_ids_to_tokens(tokenizer: DistilBertTokenizer, ids: Any, skip_special_tokens: bool = False) -> Any:
    """The token of an id, None where there is none, or a list of tokens for a sequence of ids."""
    if hasattr(ids, "__index__") and not hasattr(ids, "__len__"):  # an int, or NumPy's
        return tokenizer.encoder.names.get(id_list(ids)[0])
    skipped = set(tokenizer.all_special_ids) if skip_special_tokens else set()
    return [tokenizer.encoder.names.get(number) for number in id_list(ids) if number not in skipped]

"""New tokens, from a user or from the files: methods of a tokenizer, whose state is their first argument."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.special_tokens import MORE, ROLES, Token, tokens
from nanodistil.tokenization.state import State
from nanodistil.weights.errors import CheckpointError, InputError, excerpt


def add_tokens(state: State, new_tokens: Any, special_tokens: bool = False) -> int:
    """Add a token or a list of them, each a string or an AddedToken; how many were new, or new in a flag.

    special_tokens: whether all of them are special. A model needs resize_token_embeddings(len(tokenizer)) after it.
    Raises InputError for what is no token, and for one of which the normalizer leaves nothing.
    """
    if not new_tokens:
        return 0
    new_tokens = tokens(new_tokens if isinstance(new_tokens, list | tuple) else [new_tokens], "new_tokens")
    return state.encoder.add([with_flags(token, special_tokens) for token in new_tokens])


def add_special_tokens(
    state: State, special_tokens_dict: dict[str, Any], replace_additional_special_tokens: bool = True
) -> int:
    """Give tokens a role, and add those that are new: {"pad_token": "<pad>", "additional_special_tokens": [...]}.

    Returns how many were new. Raises InputError for an unknown role and for what is no token.
    """
    if not special_tokens_dict:
        return 0
    if not isinstance(special_tokens_dict, dict):
        raise InputError(f"add_special_tokens takes role -> token, not {type(special_tokens_dict).__name__}")
    added: list[AddedToken] = []
    for role, value in special_tokens_dict.items():
        if role not in ROLES:
            raise InputError(f"{excerpt(role)} is no role of a special token; those are {', '.join(ROLES)}")
        given = tokens(value if role == MORE else [value], role)
        new = [AddedToken(token, special=True) if isinstance(token, str) else token for token in given]
        if role != MORE:
            again = new[0] in added  # then the reference adds it once, and this role's keeps its flags as given
            state.roles.set(role, new[0] if again else new[0].as_special())
            added += [] if again else new
            continue
        known = state.roles.tokens[MORE] or []
        if not replace_additional_special_tokens:
            new = [token for token in new if str(token) not in map(str, known)]
        marked = [token.as_special() for token in new]
        state.roles.set(MORE, marked if replace_additional_special_tokens and new else known + marked)
        added += new
    return add_tokens(state, added, special_tokens=True)


def sanitize_special_tokens(state: State) -> int:
    """Add the tokens with a role that the tokenizer lacks; how many were new."""
    state.roles.mark_as_special(keep_normalized=False)
    return add_tokens(state, state.all_special_tokens_extended, special_tokens=True)


def add_from_files(state: State, entries: Iterable[tuple[int, AddedToken]]) -> None:
    """Add tokens, in the order of their ids; a warning says so if they get others than the files say.

    The next free id is the reference's choice too: after a hole in added_tokens.json, or if it begins beyond the
    vocabulary's end, its fast tokenizers count on (its slow ones did not). Raises CheckpointError for what cannot be.
    """
    source, entries = state.encoder.description.source, list(entries)
    try:
        state.encoder.add([token for _, token in entries])
    except InputError as error:
        raise CheckpointError(f"{source}: {error}") from None
    held = state.encoder.added.ids
    moved = [(number, token) for number, token in entries if token.content and held.get(token.content) != number]
    if moved:
        number, token = moved[0]
        more = f" (and {len(moved) - 1} more have others)" if len(moved) > 1 else ""
        warnings.warn(
            f"{source}: the added token {excerpt(token.content)} has the id {number} in the files and gets "
            f"{held.get(token.content)}{more}, as in transformers' fast tokenizers: a model that was trained with "
            "other ids will not know it",
            stacklevel=5,
        )


def with_flags(token: Token, special: bool) -> AddedToken:
    """A token somebody gave, as an AddedToken; `special` makes it one."""
    if isinstance(token, str):
        return AddedToken(token, special=special)
    return token.as_special() if special else token

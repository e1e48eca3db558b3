"""The tokens with a role: unknown, separator, padding, classifier, mask, and further ones a user calls special.

A role is a name that points to a token; it adds nothing to the vocabulary and changes nothing of what is put around a
text, which the tokenizer's files say. So `tokenizer.pad_token = "x"` is one thing, and another is
`add_special_tokens({"pad_token": "x"})`, which also adds the token. `tokenizer.mask_token` is text and
`tokenizer.mask_token_id` its id; both may be set, and None means that the tokenizer has no such token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from nanodistil.tokenization.added_tokens import FLAGS, AddedToken
from nanodistil.weights.errors import InputError, excerpt

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MORE = "additional_special_tokens"
ROLES = (*SPECIAL, MORE)
Token = str | AddedToken


def role_of(name: str) -> tuple[str | None, bool]:
    """The role an attribute speaks of, and whether of its id: mask_token, mask_token_id, additional_special_tokens_ids.

    >>> role_of("mask_token_id"), role_of("additional_special_tokens"), role_of("vocab_size")
    (('mask_token', True), ('additional_special_tokens', False), (None, False))
    """
    return _NAMES.get(name, (None, False))


_NAMES = {role + ending: (role, ending != "") for role in ROLES for ending in ("", "_id", "_ids")}


class SpecialTokens:
    """Role -> token, or a list of tokens for `additional_special_tokens`.

    >>> special = SpecialTokens({"mask_token": AddedToken("[MASK]", special=True)}, ["[A]", "[MASK]"])
    >>> special.text("mask_token"), special.text("pad_token"), special.all()
    ('[MASK]', None, ['[MASK]', '[A]'])
    """

    def __init__(self, named: dict[str, Token | None], more: Iterable[Token] = ()) -> None:
        self.tokens: dict[str, Any] = dict.fromkeys(ROLES)
        self.set(MORE, more)
        for role, token in named.items():
            self.set(role, token)

    def set(self, role: str, value: Any) -> None:
        """Raises InputError for what is no token, or no list of tokens."""
        if role == MORE and value is not None:
            value = tokens(value, role)
        elif role != MORE:
            value = own(value)
            if not isinstance(value, str | AddedToken | None):
                raise InputError(f"{role}={excerpt(value)}: must be a string, an AddedToken or None")
        self.tokens[role] = value

    def text(self, role: str) -> Any:
        """The token as text, or a list of them, or None."""
        value = self.tokens[role]
        if value is None:
            return None
        return str(value) if role != MORE else list(map(str, value))

    def named(self) -> Iterator[tuple[str, Any]]:
        """Role and token or tokens, if there are any."""
        return ((role, value) for role, value in self.tokens.items() if value and str(value))

    def all_with_flags(self) -> list[Token]:
        """Every token of every role, as given; but one that an earlier role has is left out."""
        found: list[Token] = []
        seen: set[str] = set()
        for _, value in self.named():
            new = [token for token in (value if isinstance(value, list) else [value]) if str(token) not in seen]
            seen.update(map(str, new))
            found += new
        return found

    def mark_as_special(self, keep_normalized: bool) -> None:
        """Set the flag of the tokens all_with_flags gives; one with a role is special, whatever it was made as.

        keep_normalized: whether every token stays as normalized as it was made, also if nobody has said so.
        """
        given = [token for token in self.all_with_flags() if isinstance(token, AddedToken)]

        def marked(token: Token) -> Token:
            if not isinstance(token, AddedToken):
                return token
            special = token.special or any(token is other for other in given)
            return replace(token, special=special) if keep_normalized else token.as_special(special)

        for role, value in list(self.named()):
            self.tokens[role] = list(map(marked, value)) if isinstance(value, list) else marked(value)

    def all(self) -> list[str]:
        """The same as text."""
        return list(map(str, self.all_with_flags()))


def tokens(value: Any, name: str) -> list[Token]:
    """A list of tokens, checked. Raises InputError."""
    found: list[Any] = [own(token) for token in value] if isinstance(value, list | tuple) else [None]
    if not all(isinstance(token, str | AddedToken) for token in found):
        raise InputError(f"{name} must be a list of strings or AddedTokens, not {excerpt(value)}")
    return found


def own(token: Any) -> Any:
    """An AddedToken of the tokenizers library (and so of transformers) as one of ours; anything else as it is."""
    if isinstance(token, str | AddedToken) or not all(hasattr(token, name) for name in ("content", *FLAGS)):
        return token
    return AddedToken(token.content, **{flag: getattr(token, flag) for flag in FLAGS})

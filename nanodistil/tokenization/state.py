"""What a tokenizer is, between two calls: its tokens, their roles, and its settings. Everything else is done with it.

This is the bottom of three floors. The verbs stand on it, as functions that take a State first: calling.py,
padding.py, ready_ids.py, converting.py, adding.py, saving.py, explain.py. The classes that users know stand on the
verbs (facade.py, tokenizer.py). So a verb knows the state and no class, and none of them imports what imports it.

`mask_token`, `mask_token_id` and the like are attributes, one for every role; the other attributes are transformers'.
Warnings that transformers gives once per tokenizer go to the logger "nanodistil.tokenization".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any, ClassVar

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.arguments import id_list, yes_or_no
from nanodistil.tokenization.conventions import ALONE, Conventions
from nanodistil.tokenization.encoder import Encoder
from nanodistil.tokenization.kind import Kind
from nanodistil.tokenization.special_tokens import SpecialTokens, Token, role_of
from nanodistil.tokenization.template import Template
from nanodistil.weights.errors import excerpt

logger = logging.getLogger("nanodistil.tokenization")


class State:
    """The attributes of a tokenizer, and what can be read off them."""

    kind: ClassVar[Kind]
    encoder: Encoder
    roles: SpecialTokens
    tokenizer_class: str  # transformers' name for what the files of this tokenizer are, in tokenizer_config.json
    name_or_path: str  # where it was loaded from
    model_max_length: int
    model_input_names: list[str]
    padding_side: str
    truncation_side: str
    split_special_tokens: bool  # whether a [MASK] in a text is text like any other
    clean_up_tokenization_spaces: bool  # whether decode tidies up
    pad_token_type_id = 0
    is_fast = True
    _warned: set[str]

    def warn_once(self, message: str, verbose: bool = True) -> None:
        """Log a warning, unless it was given before, with whatever numbers in it."""
        kind = re.sub(r"\d+", "N", message)
        if verbose and kind not in self._warned:
            self._warned.add(kind)
            logger.warning(message)

    def wants(self, name: str, asked: bool | None) -> bool:
        """Whether a call returns `name`: as it was asked, else if the model is given it."""
        return name in self.model_input_names if asked is None else asked

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """2 for a text, 3 for a pair."""
        return self.encoder.around(yes_or_no("pair", pair))

    @property
    def takes_words(self) -> bool:
        """Whether texts may be given as words."""
        return True

    @property
    def conventions(self) -> Conventions:
        """What is so for the class that this tokenizer's files are of."""
        return self.kind.classes.named(self.tokenizer_class) or self.kind.classes.own

    def role_and_id(self, role: str) -> tuple[str, int] | None:
        """The token that has a role now, with its id."""
        token = self.roles.text(role)
        number = None if token is None else self.id_of(token)
        return None if number is None else (token, number)

    def template_of_roles(self) -> Template | None:
        """What goes around ready ids: the kind's template of the tokens that have the roles now; None if one lacks."""
        if not self.conventions.roles:
            return ALONE
        filled = self.kind.framing.filled(self.role_and_id)
        return filled if filled.around(pair=True) == self.kind.framing.around(pair=True) else None

    # ---- the vocabulary

    def id_of(self, token: str) -> int | None:
        """The id of a token, or that of the unknown token; None if there is no such token either."""
        number = self._held(token)
        unknown = self.roles.text("unk_token") if number is None else None
        return number if unknown is None else self._held(unknown)

    def _held(self, token: str) -> int | None:
        return self.encoder.added.ids.get(token, self.encoder.vocabulary.get(token))

    def tokens_of(self, ids: Any, skipped: Iterable[int] = ()) -> Any:
        """The token of an id, None if there is none, or a list of tokens for a sequence of ids, without those skipped.

        Raises InputError for what is no id.
        """
        if hasattr(ids, "__index__") and not hasattr(ids, "__len__"):  # an int, or NumPy's
            return self.encoder.names.get(id_list(ids)[0])
        return [self.encoder.names.get(number) for number in id_list(ids) if number not in skipped]

    def __len__(self) -> int:
        """Tokens of the vocabulary and added ones: a model needs at least so many embedding rows."""
        return len(self.get_vocab())

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary, without those added beyond it."""
        return len(self.encoder.vocabulary)

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return {**self.encoder.vocabulary, **self.encoder.added.ids}

    @property
    def vocab(self) -> dict[str, int]:
        """Another name for get_vocab()."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> added token, special ones included."""
        return dict(sorted(self.encoder.added.tokens.items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Added token -> id, by id."""
        return {token.content: number for number, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Another name for added_tokens_encoder."""
        return self.added_tokens_encoder

    # ---- special tokens

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Role -> token, as text, if there is one."""
        return {role: self.roles.text(role) for role, _ in self.roles.named()}

    @property
    def special_tokens_map_extended(self) -> dict[str, Any]:
        """The same with the tokens as they were given, with their flags."""
        return dict(self.roles.named())

    @property
    def all_special_tokens(self) -> list[str]:
        """Every token with a role, once."""
        return self.roles.all()

    @property
    def all_special_tokens_extended(self) -> list[Token]:
        """The same as they were given, with their flags."""
        return self.roles.all_with_flags()

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        ids: list[Any] = [self.id_of(token) for token in self.all_special_tokens]
        return ids

    def __getattr__(self, name: str) -> Any:
        """`mask_token`, `mask_token_id` and the like; None if the tokenizer has no such token."""
        role, is_id = role_of(name)
        if role is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {excerpt(name)}")
        value = self.__dict__["roles"].text(role)
        if value is None or not is_id:
            return value
        return self.id_of(value) if isinstance(value, str) else [self.id_of(token) for token in value]

    def __setattr__(self, name: str, value: Any) -> None:
        """`tokenizer.pad_token = "[MASK]"`, by token or by id. Raises InputError for what is no token."""
        role, is_id = role_of(name)
        if role is None:
            object.__setattr__(self, name, value)
        else:
            self.roles.set(role, self.tokens_of(value) if is_id and value is not None else value)

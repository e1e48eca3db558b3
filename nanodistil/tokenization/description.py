"""What a tokenizer's files say, whichever files they were: the one value from which a tokenizer is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.pieces import PieceMaker
from nanodistil.tokenization.template import Template


@dataclass
class Description:
    """Read from tokenizer.json (tokenizer_json.py), or from a vocabulary alone."""

    source: str  # the file, for messages
    pieces: PieceMaker  # as the file has it; a class may cut otherwise, though its added tokens are looked for so
    template: Template
    join: Callable[[list[str]], str]  # tokens as one text
    added: tuple[tuple[int, AddedToken], ...] = ()
    padding_side: str = "right"
    truncation_side: str = "right"
    padding_token: str | None = None  # of the section on padding

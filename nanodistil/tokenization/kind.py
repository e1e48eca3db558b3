"""Kinds of tokenizers: everything in which one differs from another, as one value.

A new kind is one file: a way to cut texts (a PieceMaker), the template of its special tokens, the classes of
transformers that it stands for, how its vocabulary and its sections of a tokenizer.json are read and written; and a
class over facade.py that has the kind. bert_kind.py is the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nanodistil.tokenization.added_tokens import AddedTokens
from nanodistil.tokenization.conventions import Classes, Conventions
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.json_part import Part
from nanodistil.tokenization.pieces import PieceMaker
from nanodistil.tokenization.special_tokens import Token
from nanodistil.tokenization.template import Template

Join = Callable[[list[str]], str]
T = TypeVar("T")
logger = logging.getLogger("nanodistil.tokenization")


def _nothing(*_: Any) -> dict[str, Any]:
    return {}


def _no_scan(*_: Any) -> None:
    return None


def _as_it_is(_: Any, encoding: Encoding) -> Encoding:
    return encoding


def able(scanner: Callable[[], T]) -> T | None:
    """A compiled scan as it is made, or None if it cannot do what these tokens ask for."""
    try:
        return scanner()
    except ValueError as error:  # what it does not do is slow, and the same
        logger.info("tokens are found without the compiled scan: %s", error)
        return None


@dataclass(frozen=True)
class Kind:
    """What facade.py, settings.py, tokenizer_json.py and saving.py ask of a kind."""

    model: str  # what messages call its model
    classes: Classes  # of transformers, whose files it reads
    framing: Template  # by role; also what a tokenizer.json must have
    roles: Mapping[str, Token | None]  # role -> the token that has it unless another is named
    needed: tuple[str, ...]  # the roles without which there is no tokenizer
    vocabulary_file: str  # the name of the file from which it is read without a tokenizer.json
    from_vocabulary: Callable[..., Description]  # of a Path and of role -> token
    vocabulary_texts: Callable[[Any], dict[str, str]]  # a State -> name -> content of the files without tokenizer.json
    read_sections: Callable[[Part], tuple[PieceMaker, Join]]  # model, normalizer, pre_tokenizer and decoder
    write_sections: Callable[[Any], dict[str, Any]]  # a State -> the same; a post_processor of its own
    processing: str = ""  # another name under which a tokenizer.json may have the template, with cls and sep alone
    also: tuple[Template, ...] = ()  # other templates that a tokenizer.json may have
    settings: Mapping[str, tuple[type, ...]] = field(default_factory=dict)  # further arguments, and of what types
    settle: Callable[[Path, dict[str, Any], Conventions, Description | None], dict[str, Any]] = _nothing
    # folder, what config and caller say, the class, tokenizer.json -> further arguments that follow from these
    compiled: Callable[[Any, AddedTokens], Any] = _no_scan  # a compiled way to the same pieces, or None
    finish: Callable[[Any, Encoding], Encoding] = _as_it_is  # the last to be done to a text, after it was cut to length

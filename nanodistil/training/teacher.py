"""What any teacher is asked, whether it teaches masked words (distill.py) or answers (finetune.py).

Two things go wrong without a word about it. A checkpoint that lacks the head is loaded with a random one, with which
one can fine-tune, but which has nothing to teach. And ids mean words only together with a vocabulary: a teacher with
another one, even of the same size, speaks of other words than its student.

What it does not do: sizes (vocabulary, positions, width), which differ in what they must be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nanodistil.auto import AutoTokenizer
from nanodistil.family import class_of, family_of
from nanodistil.loader import load_pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import InputError, MissingExtraError, ModelNotFoundError


def load_whole(ending: str, name: str, folder: Path, backend: str, dtype: str, kind: str | None = None) -> Any:
    """A teacher from the folder that `name` stands for, of its family's class with this ending, or of family `kind`.

    Raises InputError if weights of its head would be drawn at random, and as from_pretrained.
    """
    teacher = load_pretrained(
        lambda config: class_of(kind or family_of(config, name), ending), folder, backend=backend, dtype=dtype
    )
    if teacher.initialised:
        raise InputError(f"{name}: lacks {teacher.initialised[0]}, so it has nothing to teach")
    return teacher


def check_words(teacher: str, tokenizer: Tokenizer) -> None:
    """Raises InputError if a tokenizer is with the teacher and has other words, or the same under other ids."""
    try:
        theirs = AutoTokenizer.from_pretrained(teacher)
    except (ModelNotFoundError, MissingExtraError):  # it has none: their number has to do
        return
    if theirs.get_vocab() != tokenizer.get_vocab():
        raise InputError(f"{teacher} has another vocabulary than the student: what it says of a word is of another")

"""What any teacher is asked, whether it teaches masked words (distill.py) or answers (finetune.py).

Two things go wrong without a word about it. A checkpoint that lacks the head is loaded with a random one, with which
one can fine-tune, but which has nothing to teach. And ids mean words only together with a vocabulary: a teacher with
another one, even of the same size, speaks of other words than its student.

What it does not do: sizes (vocabulary, positions, width), which differ in what they must be, and a BERT, whose loading
in family/bert.py refuses what is not whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from nanodistil import DistilBertForMaskedLM, DistilBertForQuestionAnswering, DistilBertTokenizer
from nanodistil.weights.errors import InputError, MissingExtraError, ModelNotFoundError

Teacher = TypeVar("Teacher", DistilBertForMaskedLM, DistilBertForQuestionAnswering)


def load_distilbert(kind: type[Teacher], name: str, folder: Path, backend: str, dtype: str) -> Teacher:
    """A DistilBERT as a teacher, from the folder that `name` stands for.

    Raises InputError if weights of its head would be drawn at random, and as from_pretrained.
    """
    teacher = kind.from_pretrained(folder, backend=backend, dtype=dtype)
    if teacher.initialised:
        raise InputError(f"{name}: lacks {teacher.initialised[0]}, so it has nothing to teach")
    return teacher


def check_words(teacher: str, tokenizer: DistilBertTokenizer) -> None:
    """Raises InputError if a tokenizer is with the teacher and has other words, or the same under other ids."""
    try:
        theirs = DistilBertTokenizer.from_pretrained(teacher)
    except (ModelNotFoundError, MissingExtraError):  # it has none: their number has to do
        return
    if theirs.get_vocab() != tokenizer.get_vocab():
        raise InputError(f"{teacher} has another vocabulary than the student: what it says of a word is of another")

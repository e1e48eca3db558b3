"""What can be fine-tuned and evaluated: one file a task, from a file of examples to the batches of a head's call.

    file -> examples -> rows: ids, cut to the longest that is allowed, and what is to be learned of them -> batches

A task is an object of a class that has what `Task` says; its fields are its settings, the flags of `nanodistil
finetune TASK` and `nanodistil evaluate TASK`. There is nothing to inherit: finetune.py and evaluate.py hold the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from nanodistil.config import Config
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer

TASKS = {  # name on the command line -> module of this folder, class in it
    "classification": ("classification", "Classification"),
    "token-classification": ("token_classification", "TokenClassification"),
    "question-answering": ("question_answering", "QuestionAnswering"),
    "multiple-choice": ("multiple_choice", "MultipleChoice"),
    "sentence-similarity": ("sentence_similarity", "SentenceSimilarity"),
    "masked-lm": ("masked_lm", "MaskedLM"),
    "causal-lm": ("causal_lm", "CausalLM"),
}


def settings_of(task: Task) -> dict[str, Any]:
    """A task's settings by name, those not given as they are preset."""
    return {field.name: getattr(task, field.name) for field in fields(task) if field.init}  # type: ignore[arg-type]


class Evaluation(NamedTuple):
    """How well a model does."""

    metrics: dict[str, Any]  # figures by name
    files: dict[str, Any]  # what it said of each example, by the name of a file, ready for JSON


class Task(Protocol):
    """What finetune.py and evaluate.py ask of a task."""

    HEAD: ClassVar[str]  # what the name of the model's class ends with

    @property
    def max_seq_length(self) -> int:
        """The tokens of the longest row."""
        ...

    def best(self, config: Config) -> tuple[str, bool]:
        """The metric that says which of several models is best, and whether more of it is better."""
        ...

    def read(self, file: str | Path) -> list[Any]:
        """The examples of a file. Raises InputError, with the place, for one that cannot be used."""
        ...

    def config(self, examples: Sequence[Any], config: Config) -> dict[str, Any]:
        """The fields of a model's config that training on these examples sets: labels' names, kind of problem."""
        ...

    def rows(self, examples: Sequence[Any], tokenizer: Tokenizer, config: Config) -> list[Any]:
        """What is learned from: one row or several an example, or none. Raises InputError for an unknown label."""
        ...

    def length(self, row: Any) -> int:
        """The tokens of a row."""
        ...

    def batch(self, rows: Sequence[Any], key: int = 0) -> dict[str, Any]:
        """The keyword arguments of the head's call, labels among them. key: 64 bits, for what is left to chance."""
        ...

    def evaluate(self, model: Pretrained, tokenizer: Tokenizer, examples: Sequence[Any]) -> Evaluation:
        """How well the model does on the examples."""
        ...

"""Which of several continuations fits: SWAG and its like.

    SWAG's CSV     sent1, sent2, ending0, ending1, ..., label       the pair (sent1, sent2 + ending) a choice
    JSONL          {"prompt": ..., "choices": [...], "label": 2}    the pair (prompt, choice)

A label is the number of the right choice, from 0. A pair that is too long loses from its end, of both texts the longer
one first, and how many did is said. All questions of a batch need as many choices; a file that mixes them is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.config import Config
from nanodistil.heads.multiple_choice import ForMultipleChoice
from nanodistil.pipelines.batching import Row, by_length, inputs_of, pace_of
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training.tasks import Evaluation
from nanodistil.training.tasks.cutting import cut_rows
from nanodistil.training.tasks.tables import names_in, rows_of
from nanodistil.weights.errors import InputError, excerpt

ENDING = re.compile("ending[0-9]+")


class Example(NamedTuple):
    prompt: str
    choices: list[str]
    label: int


class Learned(NamedTuple):
    rows: list[Row]  # of the choices
    label: int


@dataclass(frozen=True)
class MultipleChoice:
    max_seq_length: int = 128
    format: str | None = None

    HEAD: ClassVar[str] = "ForMultipleChoice"

    def best(self, config: Config) -> tuple[str, bool]:
        return "acc", True

    def read(self, file: str | Path) -> list[Example]:
        found = names_in(file, self.format)
        endings = sorted((name for name in found if ENDING.fullmatch(name)), key=lambda name: int(name[6:]))
        if "sent1" in found and endings:
            columns = [f"choices={ending}" for ending in endings]
            needed = ["sent1", "sent2", "choices", "label"]
        else:
            columns, needed = [], ["prompt", "choices", "label"]
        lacking = [name for name in needed if name not in found and not (columns and name == "choices")]
        if lacking:
            raise InputError(
                f"{file} has no column {excerpt(lacking[0])} (it has {', '.join(map(repr, found))[:200]}): "
                "sent1, sent2, ending0, ending1 and label are needed, or in JSONL prompt, choices and label"
            )
        examples: list[Example] = []
        for place, fields, *_ in rows_of(file, needed, (), columns, self.format):
            choices, begun = fields["choices"], fields.get("sent2")
            prompt = fields["sent1"] if begun is not None else fields["prompt"]
            if (
                not isinstance(prompt, str)
                or not isinstance(choices, list)
                or not all(isinstance(c, str) for c in choices)
            ):
                raise InputError(f"{place}: a prompt and a list of choices, all texts, are needed")
            if examples and len(choices) != len(examples[0].choices):
                raise InputError(f"{place} has {len(choices)} choices and those before it {len(examples[0].choices)}")
            label = str(fields["label"]).strip()
            if not (label.isdecimal() and label.isascii() and int(label) < len(choices)):
                raise InputError(
                    f"{place}: the label must number one of the {len(choices)} choices from 0, not {excerpt(label)}"
                )
            examples.append(Example(prompt, [f"{begun} {c}" if begun is not None else c for c in choices], int(label)))
        if not examples:
            raise InputError(f"{file} has no examples")
        return examples

    def config(self, examples: Sequence[Example], config: Config) -> dict[str, Any]:
        if len(examples[0].choices) == 1:
            raise InputError("the examples have one choice each, so there is nothing to choose")
        if len({one.label for one in examples}) == 1:
            warnings.warn(f"in all examples choice {examples[0].label} is the right one", stacklevel=2)
        return {}

    def rows(self, examples: Sequence[Example], tokenizer: Tokenizer, config: Config) -> list[Learned]:
        pairs = [(one.prompt, choice) for one in examples for choice in one.choices]
        rows = iter(cut_rows(pairs, tokenizer, config, self.max_seq_length))
        return [Learned([next(rows) for _ in one.choices], one.label) for one in examples]

    def length(self, row: Learned) -> int:
        return sum(map(len, row.rows))

    def batch(self, rows: Sequence[Learned], key: int = 0) -> dict[str, Any]:
        inputs = inputs_of([choice for row in rows for choice in row.rows])  # (B choices, T) each
        together = {name: array.reshape(len(rows), -1, array.shape[1]) for name, array in inputs.items()}
        return {**together, "labels": np.array([row.label for row in rows])}

    def evaluate(self, model: ForMultipleChoice, tokenizer: Tokenizer, examples: Sequence[Example]) -> Evaluation:
        rows = self.rows(examples, tokenizer, model.config)

        def compute(inputs: dict[str, Any]) -> Array:
            alone = {name: array[:, None] for name, array in inputs.items()}  # (B choices, 1, T)
            return np.asarray(model(**alone, return_dict=True).logits[:, 0])  # (B choices,)

        scores = by_length([choice for row in rows for choice in row.rows], compute, pace_of(model))
        best = np.reshape(scores, (len(rows), -1)).argmax(1)  # (n,)
        right = best == np.array([row.label for row in rows])
        return Evaluation({"acc": float(right.mean())}, {"predictions": best.tolist()})

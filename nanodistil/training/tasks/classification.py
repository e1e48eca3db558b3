"""Classes of sentences and of pairs of sentences, numbers for them, or several labels at once: GLUE and its like.

    sst2's train.tsv     sentence  label           {"sentence": ..., "label": ...}      JSONL
    rte's                index  sentence1  sentence2  label

The kind of problem follows from the labels, as in transformers' scripts: lists are several labels at once, numbers of
which one has a fraction a regression, anything else classes. Classes are named in the model's config. If their names
are not given they are the labels as they stand, in order (numbers by size); a model that has these names already keeps
its own order, and so its head. If names are given and the file has numbers, these number the names.

A text that is too long is cut, the longer of two first, and how many were is said.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.config import Config
from nanodistil.heads.sequence_classification import ForSequenceClassification
from nanodistil.pipelines.batching import Row, by_length, inputs_of, pace_of
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training import metrics
from nanodistil.training.tasks import Evaluation
from nanodistil.training.tasks.cutting import cut_rows
from nanodistil.training.tasks.labels import check_names, classes_of, number_of
from nanodistil.training.tasks.tables import names_in, rows_of
from nanodistil.weights.errors import InputError, excerpt

SINGLE, SEVERAL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
LAYOUTS = (  # text, second text, label: the first whose columns are all there
    ("sentence1", "sentence2", "gold_label"),  # MNLI
    ("sentence1", "sentence2", "score"),  # STS-B
    ("sentence1", "sentence2", "label"),  # RTE, WNLI
    ("#1 String", "#2 String", "Quality"),  # MRPC
    ("question1", "question2", "is_duplicate"),  # QQP
    ("question", "sentence", "label"),  # QNLI
    ("premise", "hypothesis", "label"),
    ("text", "text_pair", "label"),
    ("sentence", None, "label"),  # SST-2, and CoLA if it has a header
    ("text", None, "label"),
)
NAMES = {  # of GLUE's classes, if files number them
    "cola": ("unacceptable", "acceptable"),
    "mnli": ("entailment", "neutral", "contradiction"),
    "mrpc": ("not_equivalent", "equivalent"),
    "qnli": ("entailment", "not_entailment"),
    "qqp": ("not_duplicate", "duplicate"),
    "rte": ("entailment", "not_entailment"),
    "sst2": ("negative", "positive"),
    "wnli": ("not_entailment", "entailment"),
}
UNDECIDED = "-"  # MNLI's label if the annotators did not agree


class Example(NamedTuple):
    place: str  # for messages
    text: str
    pair: str | None
    label: Any  # as the file has it


class Learned(NamedTuple):
    row: Row
    label: Any  # a class, a number, or (C,) ones and zeros


@dataclass(frozen=True)
class Classification:
    """Settings: task_name is one of metrics.GLUE or None; labels the names of the classes; columns "field=name" for the
    fields sentence, sentence2 and label; problem_type one of the config's, None to tell it from the labels."""

    task_name: str | None = None
    problem_type: str | None = None
    labels: tuple[str, ...] = ()
    max_seq_length: int = 128
    columns: tuple[str, ...] = ()
    format: str | None = None
    no_header: bool = False

    HEAD: ClassVar[str] = "ForSequenceClassification"

    def __post_init__(self) -> None:
        check_names(self.labels)

    def best(self, config: Config) -> tuple[str, bool]:
        if config.problem_type == REGRESSION:
            return metrics.deciding_number()
        return metrics.deciding(self.task_name), True

    def read(self, file: str | Path) -> list[Example]:
        text, pair, label, headless = self._layout(file)
        columns = [f"sentence={text}", f"label={label}", *([f"sentence2={pair}"] if pair else [])]
        needed = ["sentence", "sentence2", "label"] if pair else ["sentence", "label"]
        examples = []
        for place, fields, *_ in rows_of(file, needed, (), columns, self.format, headless):
            one = Example(place, fields["sentence"], fields.get("sentence2"), fields["label"])
            for value in (one.text, one.pair):
                if not isinstance(value, str | None):
                    raise InputError(f"{place}: a text is needed, not {excerpt(value)}")
            labels = one.label if isinstance(one.label, list) else [one.label]
            if not all(isinstance(value, str | int | float) and str(value).strip() for value in labels):
                raise InputError(f"{place}: a label is needed, or a list of labels, not {excerpt(one.label)}")
            if not (one.label == UNDECIDED and label == "gold_label"):
                examples.append(one)
        if not examples:
            raise InputError(f"{file} has no examples")
        return examples

    def _layout(self, file: str | Path) -> tuple[str, str | None, str, bool]:
        """The columns of text, second text and label, and whether the first row is an example."""
        asked = dict(column.split("=", 1) for column in self.columns if "=" in column)
        unknown = [
            column for column in self.columns if column.partition("=")[0] not in ("sentence", "sentence2", "label")
        ]
        if unknown or len(asked) != len(self.columns):
            raise InputError("--column takes sentence=NAME, sentence2=NAME or label=NAME")
        found = names_in(file, self.format)
        if asked:
            text, label = asked.get("sentence", "sentence"), asked.get("label", "label")
            return text, asked.get("sentence2"), label, self.no_header
        for layout in LAYOUTS:
            if not self.no_header and all(name in found for name in layout if name):
                return *layout, False
        if self.task_name == "cola" and len(found) in (
            2,
            4,
        ):  # CoLA's own files: source, label, the author's mark, text
            return ("4", None, "2", True) if len(found) == 4 else ("1", None, "2", True)
        if self.no_header and len(found) in (2, 3):
            return "1", "2" if len(found) == 3 else None, str(len(found)), True
        has = ", ".join(map(repr, found))[:200]
        raise InputError(
            f"{file}: no columns that are known, such as sentence and label (it has {has}); name them with "
            "--column sentence=NAME --column label=NAME, and pass --no-header where the first row is an example"
        )

    def kind(self, examples: Sequence[Example]) -> str:
        """The kind of problem that the labels are of."""
        if self.problem_type is not None:
            return self.problem_type
        if self.task_name is not None:
            return REGRESSION if self.task_name == "stsb" else SINGLE
        if all(isinstance(one.label, list) for one in examples):
            return SEVERAL
        if any(isinstance(one.label, bool) for one in examples):  # float() would take them
            return SINGLE
        try:
            fractions = [
                str(float(one.label)) for one in examples if str(one.label).strip().lstrip("+-").isdigit() is False
            ]
        except (TypeError, ValueError):
            return SINGLE
        return REGRESSION if fractions else SINGLE

    def config(self, examples: Sequence[Example], config: Config) -> dict[str, Any]:
        kind = self.kind(examples)
        if kind != SINGLE and self.problem_type is None and self.task_name is None:
            warnings.warn(f"note: as the labels are, this is a {kind} (--problem-type)", stacklevel=2)
        lists = next((one for one in examples if isinstance(one.label, list)), None)
        if kind == SINGLE and lists is not None:
            raise InputError(
                f"{lists.place}: one label is needed, not a list; or lists in all lines, for several at once"
            )
        if kind == REGRESSION:
            if len({one.label for one in examples if not isinstance(one.label, list)}) == 1:
                warnings.warn(f"all examples have the number {str(examples[0].label)[:40]}", stacklevel=2)
            return {"problem_type": kind, "id2label": {0: "LABEL_0"}}
        labels = (label for one in examples for label in (one.label if kind == SEVERAL else [one.label]))
        none = kind == SEVERAL and any(one.label == [] for one in examples)
        return {"problem_type": kind, "id2label": classes_of(labels, self._names(), config, may_lack=none)}

    def _names(self) -> tuple[str, ...]:
        """The classes' names, if they are given."""
        return self.labels or NAMES.get(self.task_name or "", ())

    def rows(self, examples: Sequence[Example], tokenizer: Tokenizer, config: Config) -> list[Learned]:
        pairs: Any = [(one.text, one.pair or "") for one in examples] if examples[0].pair is not None else None
        rows = cut_rows(pairs or [one.text for one in examples], tokenizer, config, self.max_seq_length)
        return [Learned(row, label) for row, label in zip(rows, self._labels(examples, config), strict=True)]

    def _labels(self, examples: Sequence[Example], config: Config) -> list[Any]:
        """Labels as the loss wants them. Raises InputError for one that the model does not know."""
        if config.problem_type == REGRESSION or (config.problem_type is None and config.num_labels == 1):
            for one in examples:
                if not _is_number(one.label):
                    raise InputError(f"{one.place}: the label {excerpt(one.label)} is not a number")
            return [float(one.label) for one in examples]
        names = self._names()
        if config.problem_type != SEVERAL:
            return [number_of(one.label, config, one.place, names) for one in examples]
        rows = np.zeros((len(examples), config.num_labels))
        for row, one in zip(rows, examples, strict=True):
            if not isinstance(one.label, list):
                raise InputError(f"{one.place}: a list of labels is needed, not {excerpt(one.label)}")
            row[[number_of(label, config, one.place, names) for label in one.label]] = 1
        return list(rows)

    def length(self, row: Learned) -> int:
        return len(row.row)

    def batch(self, rows: Sequence[Learned], key: int = 0) -> dict[str, Any]:
        return {**inputs_of([row.row for row in rows]), "labels": np.array([row.label for row in rows])}

    def evaluate(
        self, model: ForSequenceClassification, tokenizer: Tokenizer, examples: Sequence[Example]
    ) -> Evaluation:
        rows = self.rows(examples, tokenizer, model.config)

        def compute(inputs: dict[str, Any]) -> Array:
            return model(**inputs, return_dict=True).logits  # (B, C)

        logits = np.stack(by_length([row.row for row in rows], compute, pace_of(model), model.config.pad_token_id))
        truth = np.array([row.label for row in rows])
        names = model.config.id2label
        if truth.dtype.kind == "f" and truth.ndim == 1:
            return Evaluation(metrics.regression(logits[:, 0], truth), {"predictions": logits[:, 0].tolist()})
        if truth.ndim == 2:
            said = logits > 0
            labels = [[names[c] for c in np.nonzero(row)[0].tolist()] for row in said]
            return Evaluation(metrics.several_classes(said.astype(int), truth.astype(int)), {"predictions": labels})
        best = logits.argmax(1)
        name = self.task_name
        found = metrics.glue(name, best, truth) if name else metrics.classes(best, truth)
        return Evaluation(found, {"predictions": [names[c] for c in best.tolist()]})


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False

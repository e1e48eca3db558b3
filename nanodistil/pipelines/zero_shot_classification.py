"""zero-shot-classification: sorting texts into classes that the model was never trained on.

    text, labels -> a pair (text, "This example is {label}.") for each label -> does the first entail the second?

The model is one trained for inference between sentences (NLI): it says of two whether the second follows from the
first (entailment), is contradicted, or neither (Yin et al. 2019). The logits of entailment, compared between labels,
are the scores; with multi_label each label is instead asked about by itself, entailment against contradiction.

Arguments and results follow transformers' pipeline (4.57), also in cutting a text that does not fit (never a
hypothesis), and in taking the class that is first, or last, for contradiction. One thing differs: upstream's softmax
overflows to NaN at large logits, and this one does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.heads.sequence_classification import ForSequenceClassification
from nanodistil.pipelines.base import Pipeline, Prepared, Row
from nanodistil.pipelines.inputs import a_text, check_pace, strings
from nanodistil.pipelines.scores import finite, softmax
from nanodistil.pipelines.tokens import encoded, warn_of_nothing
from nanodistil.weights.errors import InputError, excerpt

TEMPLATE = "This example is {}."


class Settings(NamedTuple):
    """A call's arguments, checked."""

    labels: list[str]
    hypotheses: list[str]
    each_by_itself: bool


class ZeroShotClassificationPipeline(Pipeline[ForSequenceClassification, Settings]):
    """Sorts texts into classes named on the spot. Made by nanodistil.pipeline("zero-shot-classification", ...)."""

    def made(self) -> None:
        if self.entailment_id == -1:
            labels = ", ".join(self.model.config.id2label.values())[:60]
            warnings.warn(f"none of the labels ({labels}) is 'entailment'; the last one is taken for it", stacklevel=4)

    @property
    def entailment_id(self) -> int:
        """The first label that starts with "entail"; -1, the last, if there is none."""
        labels = self.model.config.id2label.items()
        return next((number for number, label in sorted(labels) if label.lower().startswith("entail")), -1)

    def __call__(
        self,
        sequences: str | Iterable[str],
        candidate_labels: str | Iterable[str],
        *,
        hypothesis_template: str = TEMPLATE,
        multi_label: bool = False,
        multi_class: bool | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> Any:
        """Every label's score for each text, as {"sequence", "labels", "scores"}, best first.

        sequences: a text, a list of texts (or tuple, array, column), or an iterator, which is streamed; the result is
        one such dict, a list, or an iterator. candidate_labels: several, or a string with commas between.
        hypothesis_template: what is asked of a label, which stands for {}. multi_label: score each label by itself, as
        is done with a single one; else the scores sum to 1. multi_class: the old name of multi_label, with a warning.
        batch_size, num_workers: taken, and change nothing. A text that does not fit beside the hypothesis is cut to
        what does.
        Raises InputError for an empty text, no labels, a template without {}, and a hypothesis that leaves no room.
        """
        check_pace(batch_size, num_workers)
        settings = self.settings(candidate_labels, hypothesis_template, multi_label, multi_class)
        return self.answer(sequences, settings)

    def settings(
        self,
        candidate_labels: str | Iterable[str],
        hypothesis_template: str = TEMPLATE,
        multi_label: bool = False,
        multi_class: bool | None = None,
    ) -> Settings:
        if multi_class is not None:
            warnings.warn("multi_class is old: say multi_label", stacklevel=3)
            multi_label = multi_class
        labels = parsed_labels(candidate_labels)
        found = Settings(labels, hypotheses(hypothesis_template, labels), multi_label or len(labels) == 1)
        self.check(found)
        return found

    def check(self, settings: Settings) -> None:
        """Raises InputError for what such a model cannot say; one of entailment can say it all."""

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        text = a_text(one, name)
        if not text:
            raise InputError(f"{name} is empty: there is nothing to classify")
        return Prepared(self.rows(text, settings.hypotheses, name), text)

    def rows(self, text: str, hypotheses: list[str], name: str) -> list[Row]:
        """What the model is asked about a text. Raises InputError."""
        return [self._row(text, hypothesis, name) for hypothesis in hypotheses]

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Iterable[Array]:
        return finite(self.model(**inputs, return_dict=True).logits)  # (B, C)

    def scores(self, results: list[Array], settings: Settings) -> Array:
        """Of what the model says of a text's rows: (labels,)."""
        logits, entailment = np.stack(results), self.entailment_id  # (labels, C)
        if settings.each_by_itself:
            contradiction = -1 if entailment == 0 else 0
            return softmax(logits[:, [contradiction, entailment]])[:, 1]  # (labels,)
        return softmax(logits[:, entailment])

    def finish(self, prepared: Prepared, results: list[Array], settings: Settings) -> Any:
        scores = self.scores(results, settings)  # (labels,)
        order = np.argsort(scores, kind="stable")[::-1]  # of equal ones the last comes first, as upstream has it
        return {
            "sequence": prepared.rest,
            "labels": [settings.labels[i] for i in order.tolist()],
            "scores": scores[order].tolist(),
        }

    def _row(self, text: str, hypothesis: str, name: str) -> Row:
        """The checked row of a text and what is asked of it, the text cut to fit.

        If the hypothesis alone fills the tokenizer's limit nothing is cut, as upstream: the model may have more
        positions than that. Raises InputError if it has not.
        """
        pair = ([(text, hypothesis)],)
        try:
            row, _ = encoded(self.model, self.tokenizer, pair, name, {"truncation": "only_first"})
        except InputError:
            row, _ = encoded(self.model, self.tokenizer, pair, name, {})
        if len(row) > 1 and row.ids[1] == self.tokenizer.sep_token_id:
            warn_of_nothing()
        if len(row) > self.model.config.max_tokens:
            raise InputError(f"{name}: the hypothesis {excerpt(hypothesis)} leaves no room for a text; shorten it")
        return row


def parsed_labels(candidate_labels: Any) -> list[str]:
    """Labels, of which there must be one at least, as a list. Raises InputError.

    >>> parsed_labels("politics, public health,"), parsed_labels(["politics"])
    (['politics', 'public health'], ['politics'])
    """
    if isinstance(candidate_labels, str):
        candidate_labels = [label.strip() for label in candidate_labels.split(",") if label.strip()]
    if not isinstance(candidate_labels, Iterable):
        raise InputError(f"candidate_labels must be strings, not {type(candidate_labels).__name__}")
    labels = strings(candidate_labels, "candidate_labels")
    if not labels:
        raise InputError("candidate_labels are needed, at least one")
    return labels


def hypotheses(template: Any, labels: list[str]) -> list[str]:
    """The template filled with each label. Raises InputError if it is no template, or the same for any label.

    >>> hypotheses("This is {}.", ["sport", "art"])
    ['This is sport.', 'This is art.']
    """
    if not isinstance(template, str):
        raise InputError(f"hypothesis_template must be a string, not {type(template).__name__}")
    try:
        filled = [template.format(label) for label in labels]
        told_apart = template.format("a") != template.format("b") and len(set(filled)) == len(set(labels))
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"hypothesis_template {excerpt(template)} cannot be filled with a label: {error}") from None
    if not told_apart:
        raise InputError(
            f"hypothesis_template {excerpt(template)} has no {{}} where the label should go: "
            "it says the same of every label"
        )
    return filled

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
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints, Mask
from nanodistil.family.distilbert import DistilBertForSequenceClassification
from nanodistil.pipelines.batching import Prepared, answered, check_pace, pace_of, several
from nanodistil.pipelines.pairing import check_pair
from nanodistil.pipelines.preset import settings_of
from nanodistil.pipelines.scores import finite, softmax
from nanodistil.pipelines.tokens import encoded, warn_of_nothing
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.weights.errors import InputError, excerpt

TEMPLATE = "This example is {}."

Settings = tuple[list[str], list[str], bool]  # labels, their hypotheses, whether each is asked about by itself


class ZeroShotClassificationPipeline:
    """Sorts texts into classes named on the spot. Made by nanodistil.pipeline("zero-shot-classification", ...)."""

    def __init__(self, model: DistilBertForSequenceClassification, tokenizer: DistilBertTokenizer) -> None:
        """Raises CheckpointError where the tokenizer's vocabulary and the model's embedding rows do not fit."""
        check_pair(model, tokenizer)
        self.model = model
        self.tokenizer = tokenizer
        if self.entailment_id == -1:
            labels = ", ".join(model.config.id2label.values())[:60]
            warnings.warn(f"none of the labels ({labels}) is 'entailment'; the last one is taken for it", stacklevel=3)

    @property
    def entailment_id(self) -> int:
        """The first label that starts with "entail"; -1, the last, where there is none."""
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
        settings = self._settings(candidate_labels, hypothesis_template, multi_label, multi_class)
        if isinstance(sequences, str):
            return next(self._classify([sequences], settings))
        sequences = several(sequences)
        answers = self._classify(sequences, settings)
        return list(answers) if isinstance(sequences, list) else answers

    def each(self, sequences: Iterable[Any], first: int = 0, **options: Any) -> Iterator[Any]:
        """An answer for every text, in order; arguments as in a call.

        first: how many texts came before these, for the messages of errors. A text that cannot be answered raises its
        error after the answers to those before it.
        """
        return self._classify(sequences, settings_of(self, options), first)

    def _settings(
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
        return labels, hypotheses(hypothesis_template, labels), multi_label or len(labels) == 1

    def _classify(self, sequences: Iterable[Any], settings: Settings, first: int = 0) -> Iterator[Any]:
        """Answers to the texts, in order; `first` is how many came before, for messages."""
        labels, asked, each_by_itself = settings
        entailment = self.entailment_id
        contradiction = -1 if entailment == 0 else 0

        def prepare(text: Any, name: str) -> Prepared:
            if not isinstance(text, str):
                raise InputError(f"{name} is not a string but {type(text).__name__}")
            if not text:
                raise InputError(f"{name} is empty: there is nothing to classify")
            return Prepared([self._ids(text, hypothesis, name) for hypothesis in asked], text)

        def compute(ids: Ints, real: Mask) -> Array:
            return finite(self.model(ids, real, return_dict=True).logits)  # (B, C)

        def finish(prepared: Prepared, results: list[Array]) -> Any:
            logits = np.stack(results)  # (labels, C)
            if each_by_itself:
                scores = softmax(logits[:, [contradiction, entailment]])[:, 1]  # (labels,)
            else:
                scores = softmax(logits[:, entailment])
            order = np.argsort(scores, kind="stable")[::-1]  # of equal ones the last comes first, as upstream has it
            return {
                "sequence": prepared.rest,
                "labels": [labels[i] for i in order.tolist()],
                "scores": scores[order].tolist(),
            }

        return answered(sequences, prepare, compute, finish, first, pace_of(self.model))

    def _ids(self, text: str, hypothesis: str, name: str) -> Ints:
        """Checked ids (T,) of a text and what is asked of it, the text cut to fit.

        Where the hypothesis alone fills the tokenizer's limit nothing is cut, as upstream: the model may have more
        positions than that. Raises InputError where it has not.
        """
        pair = [(text, hypothesis)]
        try:
            ids, _ = encoded(self.model, self.tokenizer, pair, None, name, {"truncation": "only_first"})
        except InputError:
            ids, _ = encoded(self.model, self.tokenizer, pair, None, name, {})
        if len(ids) > 1 and ids[1] == self.tokenizer.sep_token_id:
            warn_of_nothing()
        if len(ids) > self.model.config.max_position_embeddings:
            raise InputError(f"{name}: the hypothesis {excerpt(hypothesis)} leaves no room for a text; shorten it")
        return ids


def parsed_labels(candidate_labels: Any) -> list[str]:
    """Labels, of which there must be one at least, as a list. Raises InputError.

    >>> parsed_labels("politics, public health,"), parsed_labels(["politics"])
    (['politics', 'public health'], ['politics'])
    """
    if isinstance(candidate_labels, str):
        candidate_labels = [label.strip() for label in candidate_labels.split(",") if label.strip()]
    if not isinstance(candidate_labels, Iterable):
        raise InputError(f"candidate_labels must be strings, not {type(candidate_labels).__name__}")
    labels = list(candidate_labels.to_pylist() if hasattr(candidate_labels, "to_pylist") else candidate_labels)
    if not labels:
        raise InputError("candidate_labels are needed, at least one")
    wrong = [label for label in labels if not isinstance(label, str)]
    if wrong:
        raise InputError(f"candidate_labels must be strings, not {type(wrong[0]).__name__}")
    return labels


def hypotheses(template: Any, labels: list[str]) -> list[str]:
    """The template filled with each label. Raises InputError where it is no template, or the same for any label.

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

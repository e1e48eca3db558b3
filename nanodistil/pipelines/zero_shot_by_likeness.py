"""zero-shot-classification by a model of sentences: which label's sentence is nearest in meaning to the text?

    text, labels -> the text, and "This example is {label}." for each label -> a vector each -> the nearest

A model of entailment reads a text and a hypothesis together and can tell what follows from what; a model of sentences
has seen neither beside the other, and only compares two means of tokens. So it finds topics and not judgements: whether
a text is about sport, not whether it is for or against it. What it needs in return is a body without any head, and the
one inside the package (nanodistil-mini-sentences) does.

    score(label) = softmax over labels of cos(text, label's sentence) / 0.05

0.05 is the temperature at which such vectors are learned (training/tasks/sentence_similarity.py), where that softmax is
the probability that a sentence belongs to another and not to those beside it. It says nothing of a label by itself, so
there have to be two at least, and multi_label is refused. Vectors are the means of all tokens, whatever a folder of
sentence-transformers says of its own. Labels are computed with every text anew: L + 1 short rows a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nanodistil.backend import Array
from nanodistil.pipelines.base import Row
from nanodistil.pipelines.feature_extraction import hidden_states, pooled
from nanodistil.pipelines.scores import softmax
from nanodistil.pipelines.tokens import row_of, said_if_nothing
from nanodistil.pipelines.zero_shot_classification import Settings, ZeroShotClassificationPipeline
from nanodistil.weights.errors import InputError, excerpt

TEMPERATURE = 0.05


class ZeroShotByLikenessPipeline(ZeroShotClassificationPipeline):
    """Sorts texts into classes named on the spot, by vectors that are means of tokens.

    Made by nanodistil.pipeline("zero-shot-classification", ...) of a model that is a body alone. A call's arguments and
    results are those of the class above.

    >>> from nanodistil import DistilBertModel, DistilBertTokenizer
    >>> body = DistilBertModel.from_pretrained("nanodistil-mini-sentences", backend="numpy")
    >>> sort = ZeroShotByLikenessPipeline(body, DistilBertTokenizer.from_pretrained("nanodistil-mini-sentences"))
    >>> sort("The striker scored twice in the final minutes.", "politics, sport, cooking")["labels"][0]
    'sport'
    """

    def made(self) -> None:
        pass  # there are no labels of its own to look through

    def check(self, settings: Settings) -> None:
        if settings.each_by_itself:
            raise InputError(
                "a model of sentences says which of several labels is nearest, not whether one holds: name two or more "
                "without multi_label, or choose a model of entailment, such as typeform/distilbert-base-uncased-mnli"
            )

    def rows(self, text: str, hypotheses: list[str], name: str) -> list[Row]:
        row = said_if_nothing(row_of(self.model, self.tokenizer, (text,), name, {"truncation": True}), self.tokenizer)
        return [row, *(self._asked(hypothesis, name) for hypothesis in hypotheses)]

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Iterator[Array]:
        return (pooled(x, "mean", True) for x in hidden_states(self.model, inputs))  # (D,) each

    def scores(self, results: list[Array], settings: Settings) -> Array:
        vectors = np.stack(results)  # (1 + labels, D)
        return softmax(vectors[1:] @ vectors[0] / TEMPERATURE)  # (labels,)

    def _asked(self, hypothesis: str, name: str) -> Row:
        try:
            return row_of(self.model, self.tokenizer, (hypothesis,), name, {})
        except InputError:
            raise InputError(f"{name}: the hypothesis {excerpt(hypothesis)} is too long; shorten it") from None

"""text-classification: what kind of text is this? Sentiment, topic, whether one sentence follows from another.

    text, or a pair of texts -> ids -> a logit for every class -> a score for every class -> the best, or all of them

Arguments and results follow transformers' pipeline (4.57). A class's score is a probability among the classes
(softmax) if one of them holds, a probability by itself (sigmoid) if several may or there is only one, and the
bare logit if the model predicts a quantity (regression): config.problem_type and the number of labels decide, and
`function_to_apply` overrules them. Its documented value "default" works here; upstream it is a KeyError.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Unpack

import numpy as np

from nanodistil.backend import Array
from nanodistil.heads.sequence_classification import ForSequenceClassification
from nanodistil.pipelines.base import Pipeline, Prepared
from nanodistil.pipelines.inputs import a_text, check_pace
from nanodistil.pipelines.scores import finite, ranked, sigmoid, softmax
from nanodistil.pipelines.tokens import TokenizerOptions, checked_options, row_of, said_if_nothing
from nanodistil.signatures import spelled_out
from nanodistil.tokenization.arguments import whole_number
from nanodistil.weights.errors import InputError, excerpt

FUNCTIONS: dict[str, Callable[[Array], Array]] = {"sigmoid": sigmoid, "softmax": softmax, "none": np.asarray}
UNSET = ""  # top_k if it is not given: None means all

Class = dict[str, Any]  # {"label": str, "score": float}


class Settings(NamedTuple):
    """A call's arguments, checked."""

    function: Callable[[Array], Array]
    top_k: int | str | None  # UNSET: the best class alone, not in a list
    unsorted: bool  # all classes in the model's order, instead
    options: dict[str, Any]  # the tokenizer's


class TextClassificationPipeline(Pipeline[ForSequenceClassification, Settings]):
    """Sorts texts into a model's classes. Made by nanodistil.pipeline("text-classification", ...)."""

    one_input = (str, dict)

    @spelled_out(TokenizerOptions, refuse=False, add_special_tokens=True, padding=False, verbose=True)
    def __call__(
        self,
        inputs: str | dict[str, str] | Iterable[Any],
        *,
        top_k: int | str | None = UNSET,
        function_to_apply: str | None = None,
        return_all_scores: bool | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        **tokenizer_kwargs: Unpack[TokenizerOptions],
    ) -> Any:
        """The class of each text, or its classes.

        inputs: a text; a pair as {"text", "text_pair"}; a list of these, or what is as good as one (a tuple, an array,
        a column); or an iterator, which is streamed. A class is {"label", "score"}. Without top_k each input has the
        best one: a text gives a list of it, a pair it alone, a list of inputs a list of them, an iterable an iterator.
        top_k: that many, best first, as a list for each input; None: all. function_to_apply: "softmax", "sigmoid",
        "none", or "default", see above. return_all_scores: transformers' former way to ask for all classes, in the
        model's order. tokenizer_kwargs: e.g. truncation=True, max_length=128. batch_size, num_workers: taken, and
        change nothing.
        Raises InputError for a text longer than the model's positions, and for unusable arguments.
        """
        check_pace(batch_size, num_workers)
        settings = self.settings(top_k, function_to_apply, return_all_scores, **tokenizer_kwargs)
        answer = self.answer(inputs, settings)
        return [answer] if isinstance(inputs, str) and top_k == UNSET else answer

    def settings(
        self,
        top_k: int | str | None = UNSET,
        function_to_apply: str | None = None,
        return_all_scores: bool | None = None,
        **tokenizer_kwargs: Any,
    ) -> Settings:
        if return_all_scores is None:
            return_all_scores = self.model.config.extra.get("return_all_scores")
        if top_k != UNSET:
            top_k, return_all_scores = None if top_k is None else whole_number("top_k", top_k, 0), None
        elif return_all_scores is not None:
            warnings.warn("return_all_scores is deprecated: top_k=None gives all classes, best first", stacklevel=3)
        function = self._function(function_to_apply)
        return Settings(function, top_k, bool(return_all_scores), checked_options(tokenizer_kwargs))

    def _function(self, name: str | None) -> Callable[[Array], Array]:
        """The function of that name; for None and "default" the one that fits what the model was trained for."""
        config = self.model.config
        if name is not None and not isinstance(name, str):
            raise InputError(f"function_to_apply must be a string, not {type(name).__name__}")
        if name is None or name.lower() == "default":
            if config.problem_type == "regression":
                name = "none"
            elif config.problem_type == "multi_label_classification" or config.num_labels == 1:
                name = "sigmoid"
            else:
                name = "softmax"
        if name.lower() not in FUNCTIONS:
            raise InputError(f"function_to_apply={excerpt(name)}: must be one of {', '.join(FUNCTIONS)}, default")
        return FUNCTIONS[name.lower()]

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        row = row_of(self.model, self.tokenizer, text_and_pair(one, name), name, settings.options)
        return Prepared([said_if_nothing(row, self.tokenizer)])

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Array:
        return finite(self.model(**inputs, return_dict=True).logits)  # (B, C)

    def finish(self, prepared: Prepared, results: list[Array], settings: Settings) -> Any:
        scores = settings.function(results[0])  # (C,)
        order = np.arange(len(scores)) if settings.unsorted else ranked(scores)
        if isinstance(settings.top_k, int):
            order = order[: settings.top_k]
        labels = self.model.config.id2label
        classes = [{"label": labels[i], "score": float(scores[i])} for i in order.tolist()]
        return classes[0] if settings.top_k == UNSET and not settings.unsorted else classes


def text_and_pair(one: Any, name: str) -> tuple[str, str | None]:
    """An input as a text and its second text, if it has one. Raises InputError for what is neither.

    >>> text_and_pair({"text": "a", "text_pair": "b"}, "the input"), text_and_pair([["a", "b"]], "the input")
    (('a', 'b'), ('a', 'b'))
    """
    if isinstance(one, list) and len(one) == 1 and isinstance(one[0], list) and len(one[0]) == 2:
        one = {"text": one[0][0], "text_pair": one[0][1]}  # transformers' former way to give a pair
    if isinstance(one, list | tuple):
        raise InputError(f'{name} is a {type(one).__name__}: give a pair of texts as {{"text": ..., "text_pair": ...}}')
    if not isinstance(one, dict):
        return a_text(one, name), None
    if "text" not in one or not set(one) <= {"text", "text_pair"}:
        keys = ", ".join(map(str, one))[:60]
        raise InputError(f'{name} must have the keys "text" and, for a pair, "text_pair", not {keys or "none"}')
    text, pair = one["text"], one.get("text_pair")
    if not isinstance(text, str) or not (pair is None or isinstance(pair, str)):
        raise InputError(f'{name}: "text" and "text_pair" must be strings')
    return text, pair

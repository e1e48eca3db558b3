"""multiple-choice: which of several continuations, or answers, fits?

    prompt, choices -> a pair (prompt, choice) for each choice -> a logit each -> softmax over the choices -> best first

transformers has the model (DistilBertForMultipleChoice) and no pipeline; pairs are made as its documentation makes
them. Nothing is cut unless asked for with `tokenizer_kwargs`: a choice without its end would be another choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints, Mask
from nanodistil.family.distilbert import DistilBertForMultipleChoice
from nanodistil.pipelines.batching import Prepared, answered, check_pace, pace_of, several
from nanodistil.pipelines.pairing import check_pair
from nanodistil.pipelines.scores import finite, ranked, softmax
from nanodistil.pipelines.tokens import checked_options, row_of, said_if_nothing
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.weights.errors import InputError

Choice = dict[str, Any]  # {"choice": str, "index": int, "score": float}


class MultipleChoicePipeline:
    """Ranks choices by how well they go with a prompt. Made by nanodistil.pipeline("multiple-choice", ...)."""

    def __init__(self, model: DistilBertForMultipleChoice, tokenizer: DistilBertTokenizer) -> None:
        """Raises CheckpointError where the tokenizer's vocabulary and the model's embedding rows do not fit."""
        check_pair(model, tokenizer)
        self.model = model
        self.tokenizer = tokenizer

    def __call__(
        self,
        inputs: str | dict[str, Any] | Iterable[Any],
        choices: Iterable[str] | None = None,
        *,
        tokenizer_kwargs: dict[str, Any] | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> Any:
        """The choices, best first, as [{"choice", "index", "score"}]; scores sum to 1.

        inputs: a prompt, or {"prompt", "choices"}; a list of these, which gives a list of such lists; or any other
        iterable of them, which is then streamed. choices: of the prompts that do not bring their own.
        tokenizer_kwargs: e.g. {"truncation": "only_first"}. batch_size, num_workers: taken, and change nothing.
        Raises InputError for a prompt without choices, a pair longer than the model's positions, unusable arguments.
        """
        check_pace(batch_size, num_workers)
        if isinstance(inputs, str | dict):
            return next(self.each([inputs], choices=choices, tokenizer_kwargs=tokenizer_kwargs))
        inputs = several(inputs, "a prompt")
        answers = self.each(inputs, choices=choices, tokenizer_kwargs=tokenizer_kwargs)
        return list(answers) if isinstance(inputs, list) else answers

    def each(
        self,
        inputs: Iterable[Any],
        first: int = 0,
        *,
        choices: Iterable[str] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
    ) -> Iterator[list[Choice]]:
        """The ranked choices for every prompt, in order; arguments as in a call.

        first: how many inputs came before these, for the messages of errors. An input that cannot be answered raises
        its error after the answers to those before it.
        """
        options = checked_options(tokenizer_kwargs)
        common = None if choices is None else checked_choices(choices, "choices")

        def prepare(one: Any, name: str) -> Prepared:
            prompt, several = self._prompt(one, common, name)
            rows = [
                row_of(self.model, self.tokenizer, [(prompt, choice)], None, f"{name}, with choice {i},", options)
                for i, choice in enumerate(several, start=1)
            ]
            for row in rows:
                said_if_nothing(row, self.tokenizer)
            return Prepared(rows, several)

        def compute(ids: Ints, real: Mask) -> Array:
            return finite(self.model(ids[:, None], real[:, None], return_dict=True).logits[:, 0])  # (B,)

        def finish(prepared: Prepared, results: list[Any]) -> list[Choice]:
            scores = softmax(np.stack(results))  # (choices,)
            return [
                {"choice": prepared.rest[i], "index": i, "score": float(scores[i])} for i in ranked(scores).tolist()
            ]

        return answered(inputs, prepare, compute, finish, first, pace_of(self.model))

    def _prompt(self, one: Any, common: list[str] | None, name: str) -> tuple[str, list[str]]:
        """An input as a prompt and its choices. Raises InputError."""
        prompt, choices = one, common
        if isinstance(one, dict):
            if "prompt" not in one or not set(one) <= {"prompt", "choices"}:
                keys = ", ".join(map(str, one))[:60]
                raise InputError(f'{name} must have the keys "prompt" and "choices", not {keys or "none"}')
            prompt = one["prompt"]
            if "choices" in one:
                choices = checked_choices(one["choices"], f"the choices of {name}")
        if not isinstance(prompt, str):
            raise InputError(f"{name} is not a prompt, which is a string, but {type(prompt).__name__}")
        if choices is None:
            raise InputError(f'{name} has no choices: pass choices=[...], or {{"prompt": ..., "choices": [...]}}')
        return prompt, choices


def checked_choices(choices: Any, name: str) -> list[str]:
    """At least one choice, all of them strings, as a list. Raises InputError."""
    if isinstance(choices, str) or not isinstance(choices, Iterable):
        raise InputError(f"{name} must be a list of strings, not {type(choices).__name__}")
    several = list(choices.to_pylist() if hasattr(choices, "to_pylist") else choices)
    if not several:
        raise InputError(f"{name} are empty; at least one is needed")
    wrong = [choice for choice in several if not isinstance(choice, str)]
    if wrong:
        raise InputError(f"{name} must be strings, not {type(wrong[0]).__name__}")
    return several

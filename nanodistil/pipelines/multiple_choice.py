"""multiple-choice: which of several continuations, or answers, fits?

    prompt, choices -> a pair (prompt, choice) for each choice -> a logit each -> softmax over the choices -> best first

transformers has the model (...ForMultipleChoice) and no pipeline; pairs are made as its documentation makes them.
Nothing is cut unless asked for with `tokenizer_kwargs`: a choice without its end would be another choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.heads.multiple_choice import ForMultipleChoice
from nanodistil.pipelines.base import Pipeline, Prepared
from nanodistil.pipelines.inputs import check_pace, strings
from nanodistil.pipelines.scores import finite, ranked, softmax
from nanodistil.pipelines.tokens import checked_options, row_of, said_if_nothing
from nanodistil.weights.errors import InputError

Choice = dict[str, Any]  # {"choice": str, "index": int, "score": float}


class Settings(NamedTuple):
    """A call's arguments, checked."""

    choices: list[str] | None  # of the prompts that do not bring their own
    options: dict[str, Any]  # the tokenizer's


class MultipleChoicePipeline(Pipeline[ForMultipleChoice, Settings]):
    """Ranks choices by how well they go with a prompt. Made by nanodistil.pipeline("multiple-choice", ...)."""

    one_input = (str, dict)
    called = "a prompt"

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
        return self.answer(inputs, self.settings(choices, tokenizer_kwargs))

    def settings(
        self, choices: Iterable[str] | None = None, tokenizer_kwargs: dict[str, Any] | None = None
    ) -> Settings:
        options = checked_options(tokenizer_kwargs)
        return Settings(None if choices is None else checked_choices(choices, "choices"), options)

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        prompt, choices = prompt_and_choices(one, settings.choices, name)
        rows = []
        for number, choice in enumerate(choices, start=1):
            called = f"{name}, with choice {number},"
            rows.append(row_of(self.model, self.tokenizer, ([(prompt, choice)],), called, settings.options))
        return Prepared([said_if_nothing(row, self.tokenizer) for row in rows], choices)

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Array:
        alone = {name: array[:, None] for name, array in inputs.items()}  # (B, 1, T): each row the only choice
        return finite(self.model(**alone, return_dict=True).logits[:, 0])  # (B,)

    def finish(self, prepared: Prepared, results: list[Any], settings: Settings) -> list[Choice]:
        scores = softmax(np.stack(results))  # (choices,)
        return [{"choice": prepared.rest[i], "index": i, "score": float(scores[i])} for i in ranked(scores).tolist()]


def prompt_and_choices(one: Any, common: list[str] | None, name: str) -> tuple[str, list[str]]:
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
    listed = strings(choices, name)
    if not listed:
        raise InputError(f"{name} are empty; at least one is needed")
    return listed

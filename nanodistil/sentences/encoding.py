"""Texts through a model and the steps behind it: the pipeline of a SentenceEncoder.

    text -> prompt before it -> ids, cut to max_seq_length -> hidden states (T, D) -> steps.py -> vector (E,)

It is a pipeline like the others (pipelines/base.py), so texts of similar length share a batch without padding, and what
comes of one is the same to the last bit alone and among others. The steps are float64, of a text at a time; their
result is rounded once, to the model's dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from nanodistil.heads.base import Encoder
from nanodistil.pipelines.base import Pipeline, Prepared, Row
from nanodistil.pipelines.feature_extraction import hidden_states
from nanodistil.pipelines.inputs import a_text
from nanodistil.pipelines.tokens import Texts, row_of, said_if_nothing
from nanodistil.pretrained import Pretrained
from nanodistil.sentences.steps import SENTENCE, TOKENS, Pooling, Reading, Step, Widths, of_length_one, through
from nanodistil.tokenization.arguments import one_of, whole_number
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import InputError, TooLongError

CUT = {"truncation": True}


def cut_or_refused(model: Pretrained, tokenizer: Tokenizer, texts: Texts, name: str, truncation: bool) -> Row:
    """A text's or pair's row, cut to what is read of it, or refused if it is longer. Raises InputError."""
    row = row_of(model, tokenizer, texts, name, CUT if truncation else {})
    return not_longer(row, int(min(tokenizer.model_max_length, model.config.max_tokens)), name)


def not_longer(row: Row, most: int, name: str) -> Row:
    """The row as it is. Raises TooLongError if it has more tokens than are read."""
    if len(row) > most:
        raise TooLongError(
            f"{name} has {len(row)} tokens, more than the {most} that are read: shorten it or pass truncation=True"
        )
    return row


class Wanted(NamedTuple):
    """What a text becomes."""

    prompt: int  # how many of its tokens are the prompt's
    tokens: bool  # whether their vectors are wanted too


class Settings(NamedTuple):
    """A call's arguments, checked."""

    prompt: str
    wanted: Wanted
    output: str | None
    normalize: bool
    width: int | None  # numbers of a vector that are kept


class SentencePipeline(Pipeline[Encoder, Settings]):
    """Turns texts into vectors, by a model and the steps behind it."""

    def __init__(self, model: Encoder, tokenizer: Tokenizer, steps: list[Step]) -> None:
        super().__init__(model, tokenizer)
        self.steps = steps
        self.lower: Callable[[str], str] | None = None  # what is done to a text first

    def settings(
        self,
        prompt: str | None = None,
        output_value: str | None = SENTENCE,
        normalize: bool = False,
        truncate_dim: int | None = None,
    ) -> Settings:
        if output_value is not None:
            one_of("output_value", output_value, (SENTENCE, TOKENS))
        if truncate_dim is not None:
            whole_number("truncate_dim", truncate_dim, 1)
        text = "" if prompt is None else a_text(prompt, "prompt")
        wanted = Wanted(self._prompt_tokens(text), output_value != SENTENCE)
        return Settings(text, wanted, output_value, bool(normalize), truncate_dim)

    def _prompt_tokens(self, prompt: str) -> int:
        """How many tokens a prompt is, [CLS] included and a [SEP] behind it not; 0 if nothing depends on it."""
        if not prompt or all(step.include_prompt for step in self.steps if isinstance(step, Pooling)):
            return 0
        ids = row_of(self.model, self.tokenizer, (self._lowered(prompt),), "prompt", CUT).ids
        return len(ids) - int(ids[-1] in self.tokenizer.all_special_ids)

    def _lowered(self, text: str) -> str:
        return self.lower(text) if self.lower else text

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        text = self._lowered(settings.prompt + a_text(one, name))
        row = said_if_nothing(row_of(self.model, self.tokenizer, (text,), name, CUT), self.tokenizer)
        if len(row) <= settings.wanted.prompt:
            raise InputError(
                f"{name}: the prompt alone has {len(row)} tokens, all that are read: nothing is left of it"
            )
        return Prepared([replace(row, wanted=settings.wanted)])

    def compute(self, inputs: dict[str, Any], wanted: list[Wanted]) -> Iterator[Reading]:
        for x, asked in zip(hidden_states(self.model, inputs), wanted, strict=True):
            reading = through(x.astype(np.float64), self.steps, asked.prompt)
            yield reading if asked.tokens else reading._replace(tokens=np.zeros((0, 0)))

    def finish(self, prepared: Prepared, results: list[Reading], settings: Settings) -> Any:
        """(E,) of the model's dtype; (T, D) of its tokens; or, for output_value None, all there is, in a dict."""
        tokens, vector = results[0].tokens.astype(self.dtype), results[0].sentence
        if settings.output == TOKENS:
            return tokens
        assert vector is not None
        vector = vector[: settings.width]
        if settings.output is None:
            ids = prepared.rows[0].ids
            all_there_is: dict[str, Any] = {"input_ids": ids, "attention_mask": np.ones_like(ids), TOKENS: tokens}
            return {**all_there_is, SENTENCE: vector.astype(self.dtype)}
        return (of_length_one(vector) if settings.normalize else vector).astype(self.dtype)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all that comes out."""
        return np.dtype(self.model.weights.word_embeddings.dtype)

    @property
    def widths(self) -> Widths:
        """How many numbers a token's and a text's vector have."""
        now = Widths(self.model.config.dim, None)
        for step in self.steps:
            now = step.widths(now)
        return now

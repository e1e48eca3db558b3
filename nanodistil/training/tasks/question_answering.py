"""Where in a text the answer to a question stands: SQuAD's JSON, versions 1.1 and 2.0.

    context and question -> windows [CLS] question [SEP] part of the context [SEP] -> where the answer starts and ends

A context that is too long is read in windows that begin `doc_stride` tokens apart, as in run_squad (in the pipeline of
the same name doc_stride is by how much they overlap). A window without the answer, or without all of it, is taught to
answer [CLS], and so is, in version 2, a question that has none. Questions are cut to max_query_length.

An answer's tokens are those that overlap with its characters. run_squad takes whole words and looks among their pieces
for the answer's own; the two differ if an answer ends inside a piece, which then counts here and there brings the
whole words. An answer that does not stand where the file says so is left out, and how many are is said.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.config import Config
from nanodistil.heads.question_answering import ForQuestionAnswering
from nanodistil.pipelines.batching import Row, by_length, inputs_of, pace_of
from nanodistil.pipelines.overlap import overlapping
from nanodistil.pipelines.scores import finite
from nanodistil.pipelines.tokens import tells_apart
from nanodistil.reading.lines import lines_of
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training import squad
from nanodistil.training.squad import Window, widest
from nanodistil.training.tasks import Evaluation
from nanodistil.weights.errors import InputError, excerpt
from nanodistil.weights.small_files import parsed


class Example(NamedTuple):
    id: str
    question: str
    context: str
    answers: list[tuple[str, int]]  # text, and the character at which it starts; none if there is no answer


class Learned(NamedTuple):
    row: Row
    window: Window
    start: int  # tokens of the row
    end: int


class Context(NamedTuple):
    """A context of n tokens."""

    ids: list[int]
    offsets: list[tuple[int, int]]  # characters [start, end) of each
    inside: list[bool]  # whether it goes on with the word of the one before


@dataclass(frozen=True)
class QuestionAnswering:
    """Settings as run_squad has them. version_2_with_negative: questions may have no answer; those that have none are
    refused without it. null_score_diff_threshold: above it a question's null odds mean that it has none."""

    version_2_with_negative: bool = False
    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    n_best_size: int = 20
    max_answer_length: int = 30
    null_score_diff_threshold: float = 0.0

    HEAD: ClassVar[str] = "ForQuestionAnswering"

    def best(self, config: Config) -> tuple[str, bool]:
        return "f1", True

    def read(self, file: str | Path) -> list[Example]:
        examples = list(self._examples(file))
        if not examples:
            raise InputError(f"{file} has no questions")
        return examples

    def _examples(self, file: str | Path) -> Iterator[Example]:
        try:
            with lines_of(str(file)) as lines:
                content = parsed(b"\n".join(lines).decode("utf-8"))
        except ValueError as error:
            raise InputError(f"{file} is not JSON: {str(error)[:80]}") from None
        try:
            for article in content["data"]:
                for paragraph in article["paragraphs"]:
                    context = paragraph["context"]
                    for qa in paragraph["qas"]:
                        answers = [(a["text"], int(a["answer_start"])) for a in qa.get("answers", [])]
                        one = Example(
                            str(qa["id"]), qa["question"], context, [] if qa.get("is_impossible") else answers
                        )
                        if not all(isinstance(text, str) for text in (one.question, context, *dict(answers))):
                            raise TypeError
                        if not answers and not self.version_2_with_negative:
                            raise InputError(
                                f"{file}: question {one.id[:60]} has no answer; "
                                "pass --version-2-with-negative if such are meant"
                            )
                        if not one.question.strip() or not context.strip():
                            raise InputError(f"{file}: question {one.id[:60]} or its context is empty")
                        yield one
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{file} is not SQuAD's JSON: data, paragraphs, context, qas, id, question, answers"
            ) from None

    def config(self, examples: Sequence[Example], config: Config) -> dict[str, Any]:
        return {} if config.num_labels == 2 else {"num_labels": 2}

    def rows(self, examples: Sequence[Example], tokenizer: Tokenizer, config: Config) -> list[Learned]:
        contexts = self._contexts(examples, tokenizer)
        rows: list[Learned] = []
        lost = 0
        for one, windows in zip(examples, self._windows(examples, contexts, tokenizer, config), strict=True):
            place = (0, -1)  # tokens of the context, first and last; none
            if one.answers:
                found = _place(one, contexts[one.context].offsets)
                if found is None:
                    lost += 1
                    continue
                place = found
            rows += [Learned(row, window, *_targets(window, *place)) for row, window in windows]
        if lost:
            warnings.warn(
                f"note: {lost} of {len(examples)} questions are left out: their answers are not where the file says",
                stacklevel=2,
            )
        return rows

    def _contexts(self, examples: Sequence[Example], tokenizer: Tokenizer) -> dict[str, Context]:
        """Each context once, as tokens."""
        texts = list(dict.fromkeys(one.context for one in examples))
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        contexts = {}
        for i, (text, ids, offsets) in enumerate(
            zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ):
            words = encoded.word_ids(i)
            inside = [word == before for before, word in zip([None, *words], words, strict=False)]
            contexts[text] = Context(ids, offsets, inside)
        return contexts

    def _windows(
        self, examples: Sequence[Example], contexts: dict[str, Context], tokenizer: Tokenizer, config: Config
    ) -> Iterator[list[tuple[Row, Window]]]:
        """The windows of each question: its row, and what part of the context it has."""
        template = tokenizer.encoder.template
        told = tells_apart(config, tokenizer)
        questions = tokenizer([one.question for one in examples], add_special_tokens=False, verbose=False)["input_ids"]
        for one, question in zip(examples, questions, strict=True):
            question, ids = question[: self.max_query_length], contexts[one.context].ids
            before = template.before(len(question))
            room = self.max_seq_length - len(question) - template.around(pair=True)
            if not 0 < self.doc_stride <= room and len(ids) > room:
                raise InputError(
                    f"question {one.id}: {max(room, 0)} tokens of max_seq_length={self.max_seq_length} are left for "
                    f"the context, and windows begin doc_stride={self.doc_stride} apart, so some would be passed over; "
                    "change one of these, or max_query_length"
                )
            second = before if told else None
            parts = overlapping(len(ids), room, room - self.doc_stride)
            yield [
                (Row(np.array(template.ids(question, ids[a:b]), np.int64), second=second), Window(before, a, mask))
                for (a, b), mask in zip(parts, widest(parts), strict=True)
            ]

    def length(self, row: Learned) -> int:
        return len(row.row)

    def batch(self, rows: Sequence[Learned], key: int = 0) -> dict[str, Any]:
        start, end = (np.array(places) for places in zip(*((row.start, row.end) for row in rows), strict=True))
        return {**inputs_of([row.row for row in rows]), "start_positions": start, "end_positions": end}

    def evaluate(self, model: ForQuestionAnswering, tokenizer: Tokenizer, examples: Sequence[Example]) -> Evaluation:
        twice = [key for key, n in Counter(one.id for one in examples).items() if n > 1]
        if twice:
            raise InputError(f"two questions have the id {excerpt(twice[0])}, by which answers are told apart")
        contexts = self._contexts(examples, tokenizer)
        windows = list(self._windows(examples, contexts, tokenizer, model.config))

        def compute(inputs: dict[str, Any]) -> Iterator[tuple[Array, Array]]:
            output = model(**inputs, return_dict=True)
            lengths = inputs["attention_mask"].sum(1)  # (B,)
            for start, end, n in zip(output.start_logits, output.end_logits, lengths, strict=True):
                yield finite(start[:n]), finite(end[:n])  # (T,) each, without padding

        logits = iter(by_length([row for several in windows for row, _ in several], compute, pace_of(model)))
        found = {
            one.id: squad.answered(
                one.context,
                contexts[one.context].offsets,
                contexts[one.context].inside,
                [window for _, window in several],
                [next(logits) for _ in several],
                n_best=self.n_best_size,
                longest=self.max_answer_length,
                may_be_none=self.version_2_with_negative,
            )
            for one, several in zip(examples, windows, strict=True)
        }
        truths = {one.id: [text for text, _ in one.answers] for one in examples}
        odds = {key: a.null_odds for key, a in found.items()} if self.version_2_with_negative else None
        scores = squad.metrics(truths, {key: a.best for key, a in found.items()}, odds, self.null_score_diff_threshold)
        return Evaluation(scores, self._files(found, odds))

    def _files(self, found: dict[str, squad.Answered], odds: dict[str, float] | None) -> dict[str, Any]:
        """What run_squad writes: predictions, nbest_predictions and, for version 2, null_odds."""
        finite = {key: odd if math.isfinite(odd) else 1e9 for key, odd in (odds or {}).items()}
        files: dict[str, Any] = {
            "predictions": {
                key: "" if a.null_odds > self.null_score_diff_threshold else a.best for key, a in found.items()
            },
            "nbest_predictions": {
                key: [
                    {"text": c.text, "probability": p, "start_logit": c.start_logit, "end_logit": c.end_logit}
                    for c, p in zip(a.nbest, a.probabilities, strict=True)
                ]
                for key, a in found.items()
            },
        }
        return files if odds is None else {**files, "null_odds": finite}


def _place(one: Example, offsets: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """The first and last token of the first answer; None if the context has something else there, or nothing."""
    text, begin = one.answers[0]
    end = begin + len(text)
    if begin < 0 or one.context[begin:end].split() != text.split():
        return None
    at = [i for i, (a, b) in enumerate(offsets) if a < end and b > begin]
    return (at[0], at[-1]) if at else None


def _targets(window: Window, first: int, last: int) -> tuple[int, int]:
    """Where the answer starts and ends in a window; (0, 0), [CLS], if it has not all of it."""
    n = len(window.widest)
    if first < window.first or last >= window.first + n or last < first:
        return 0, 0
    return window.before + first - window.first, window.before + last - window.first

"""question-answering: where in a context does the answer to a question stand?

    question, context -> windows of the context, each behind the question -> start and end logits at every token
        -> the best spans of each window (spans.py) -> whole words of the context -> equal answers added up -> the best

Arguments, fields and numbers follow transformers' pipeline (4.57) with a fast tokenizer. Known and kept: `doc_stride`
is how far windows overlap (in SQuAD's scripts it is how far they advance), scores of different windows are compared as
they are, and the score of an answer that several spans or windows give is their sum, which may exceed 1.

Not kept: spans that end before they start, or touch [CLS], with which transformers fills its list, at a score of 0,
if a context has fewer spans than it wants; a "[CLS]" that stands in a question, which can there be an answer; and
the context before the question, if a tokenizer pads on the left, which lets the question be an answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np

from nanodistil.backend import Array
from nanodistil.heads.question_answering import ForQuestionAnswering
from nanodistil.pipelines.base import Prepared, Row
from nanodistil.pipelines.inputs import check_pace
from nanodistil.pipelines.overlap import overlapping
from nanodistil.pipelines.questions import question_and_context, sole_input
from nanodistil.pipelines.scores import finite
from nanodistil.pipelines.spans import best_spans
from nanodistil.pipelines.tokens import tells_apart
from nanodistil.pipelines.windowed import WindowedPipeline
from nanodistil.signatures import spelled_out
from nanodistil.tokenization.arguments import whole_number
from nanodistil.weights.errors import InputError

LONGEST_WINDOW, LONGEST_OVERLAP = 384, 128  # in tokens, if nothing is said

Answer = dict[str, Any]  # {"score": float, "start": int, "end": int, "answer": str}


class Options(TypedDict, total=False):
    """Arguments of a call."""

    top_k: int | None
    doc_stride: int | None
    max_answer_len: int | None
    max_seq_len: int | None
    max_question_len: int | None
    handle_impossible_answer: bool | None
    align_to_words: bool | None
    padding: Any
    topk: int | None


class Settings(NamedTuple):
    """A call's arguments, checked."""

    top_k: int
    doc_stride: int
    max_answer_len: int
    max_seq_len: int
    max_question_len: int | None
    handle_impossible_answer: bool
    align_to_words: bool


class Question(NamedTuple):
    """One question with its context of n tokens."""

    context: str
    offsets: list[tuple[int, int]]  # n, of the context's tokens
    words: list[int | None]  # n, the word each is part of
    windows: list[tuple[int, int]]
    before: int  # tokens of a row before those of the context


class QuestionAnsweringPipeline(WindowedPipeline[ForQuestionAnswering, Settings]):
    """Finds answers in contexts. Made by nanodistil.pipeline("question-answering", ...)."""

    one_input = ()  # questions.py tells what is one
    called = "a question with its context"
    one_of_a_list_is_alone = True

    @spelled_out(Options)
    def __call__(
        self,
        *args: Any,
        question: str | list[str] | None = None,
        context: str | list[str] | None = None,
        data: Any = None,
        X: Any = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """The best answers to every question, best first.

        question, context: strings; or a list of questions with one context, or with as many. Or, by place or as `data`
        or `X`: a dict {"question", "context"} (whatever else it has is not looked at), an object with question_text and
        context_text, a list of such (or tuple, array, data set), or an iterator, which is streamed. Returns for one
        question its answer, a dict {"score", "start", "end", "answer"}, and for top_k > 1 a list of such if there are
        several; for a list of questions a list of that (a list of one gives what the question alone would); for a
        stream an iterator.

        top_k: how many answers. max_answer_len: in tokens. max_seq_len: tokens of a window, question and all (default:
        384, or what the model takes). doc_stride: tokens by which windows overlap (default: half a window, or 128).
        max_question_len: cut the question to so many tokens (default: do not, as transformers with fast tokenizers,
        whatever is given). handle_impossible_answer: let "" compete, with the score that [CLS] gets. align_to_words:
        widen spans to whole words. padding: taken and without effect, since nothing attends to padding. topk: the old
        name of top_k, with a warning. batch_size, num_workers: taken, and change nothing, see batching.py.
        Raises InputError for an empty question or context, a question that leaves no room, and unusable arguments.
        """
        check_pace(batch_size, num_workers)
        settings = self.settings(**options)
        return self.answer(sole_input(args, question, context, data, X), settings)

    @spelled_out(Options)
    def settings(self, **options: Unpack[Options]) -> Settings:
        def whole(name: str, default: Any, least: int = 1) -> Any:
            value = options.get(name)
            return default if value is None else whole_number(name, value, least)

        if options.get("topk") is not None and options.get("top_k") is None:
            warnings.warn("topk is old: say top_k", stacklevel=5)
            options["top_k"] = options["topk"]
        size = whole("max_seq_len", min(self.limit, LONGEST_WINDOW), 4)
        if size > self.limit:
            raise InputError(f"max_seq_len={size} is more than the {self.limit} tokens that the model takes")
        overlap = whole("doc_stride", min(size // 2, LONGEST_OVERLAP), 0)
        if overlap >= size - 2:
            raise InputError(f"doc_stride={overlap}: windows of {size} tokens can overlap by {size - 3} at most")
        align = options.get("align_to_words")
        return Settings(
            whole("top_k", 1),
            overlap,
            whole("max_answer_len", 15),
            size,
            whole("max_question_len", None),
            bool(options.get("handle_impossible_answer")),
            align is None or bool(align),
        )

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        question, context = question_and_context(one, name)
        try:
            encoded = self.tokenizer(
                [question, context], add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        asked, ids = encoded["input_ids"]
        if not asked:
            raise InputError(f"the question of {name} has no words: nothing is asked")
        asked = self._cut(asked, settings.max_question_len)
        windows = self._windows(len(asked), len(ids), name, settings)
        before = self.template.before(len(asked))
        second = before if tells_apart(self.model.config, self.tokenizer) else None
        rows = [Row(np.array(self.template.ids(asked, ids[a:b])), second=second) for a, b in windows]
        offsets, words = encoded["offset_mapping"][1], encoded.word_ids(1)
        return Prepared(rows, Question(context, offsets, words, windows, before))

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Iterator[tuple[Array, Array]]:
        output = self.model(**inputs, return_dict=True)
        yield from zip(finite(output.start_logits), finite(output.end_logits), strict=True)  # (T,) each

    def finish(self, prepared: Prepared, results: list[tuple[Array, Array]], settings: Settings) -> Any:
        return self._best(prepared.rest, results, settings)

    def _cut(self, ids: list[int], length: int | None) -> list[int]:
        """At most so many ids, from the side that the tokenizer keeps."""
        if length is None or len(ids) <= length:
            return ids
        return ids[-length:] if self.from_right else ids[:length]

    def _windows(self, asked: int, n: int, name: str, settings: Settings) -> list[tuple[int, int]]:
        """The windows in which n tokens of context are read behind a question of `asked`."""
        room = settings.max_seq_len - asked - self.template.around(pair=True)
        if n <= room:
            return [(0, n)]
        if room <= settings.doc_stride:
            raise InputError(
                f"{name}: a question of {asked} tokens leaves {max(room, 0)} of max_seq_len={settings.max_seq_len} for "
                f"the context, and doc_stride={settings.doc_stride} of these are to overlap; set max_question_len, or "
                "change one of these"
            )
        return overlapping(n, room, settings.doc_stride, self.from_right)

    def _best(self, asked: Question, results: list[tuple[Array, Array]], settings: Settings) -> Any:
        """The best answers of all windows."""
        wanted = settings.top_k * 2 + 10 if settings.align_to_words else settings.top_k  # several may be one answer
        answers: dict[str, Answer] = {}  # by their text in lower case
        none = 1.0
        for (a, b), (start, end) in zip(asked.windows, results, strict=True):
            kept = [0, *range(asked.before, asked.before + b - a)]  # [CLS] and the context
            if self.template.pair[0].text is not None:  # without a [CLS] nothing says that there is no answer
                start, end = (np.append(logits.dtype.type(-np.inf), logits[1:]) for logits in (start, end))
            spans, none_here = best_spans(start[kept], end[kept], wanted, settings.max_answer_len)
            none = min(none, none_here)
            for span in spans:
                first, last = a + span.first, a + span.last
                if settings.align_to_words:
                    first, last = widened(asked.words, first, last, a, b)
                begin, stop = asked.offsets[first][0], asked.offsets[last][1]
                text = asked.context[begin:stop]
                answer = answers.setdefault(text.lower(), {"score": 0.0, "start": begin, "end": stop, "answer": text})
                answer["score"] += span.score
        ranked = list(answers.values())
        if settings.handle_impossible_answer or not ranked:
            score = none if settings.handle_impossible_answer else 0.0
            ranked.append({"score": score, "start": 0, "end": 0, "answer": ""})
        ranked = sorted(ranked, key=lambda answer: -answer["score"])[: settings.top_k]
        return ranked[0] if len(ranked) == 1 else ranked


def widened(words: list[int | None], first: int, last: int, a: int, b: int) -> tuple[int, int]:
    """Tokens first to last, and what else of the window [a, b) belongs to the words they begin and end in.

    >>> widened([0, 1, 1, 1, 2], 2, 2, 0, 5), widened([0, 1, 1, 1, 2], 2, 2, 2, 5)
    ((1, 3), (2, 3))
    """
    while first > a and words[first - 1] == words[first]:
        first -= 1
    while last < b - 1 and words[last + 1] == words[last]:
        last += 1
    return first, last

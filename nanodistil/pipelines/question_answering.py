"""question-answering: where in a context does the answer to a question stand?

    question, context -> windows of the context, each behind the question -> start and end logits at every token
        -> the best spans of each window (spans.py) -> whole words of the context -> equal answers added up -> the best

Arguments, fields and numbers follow transformers' pipeline (4.57) with a fast tokenizer. Known and kept: `doc_stride`
is how far windows overlap (in SQuAD's scripts it is how far they advance), scores of different windows are compared as
they are, and the score of an answer that several spans or windows give is their sum, which may exceed 1.

Not kept: spans that end before they start, or touch [CLS], with which transformers fills its list, at a score of 0,
where a context has fewer spans than it wants; a "[CLS]" that stands in a question, which can there be an answer; and
the context before the question, where a tokenizer pads on the left, which lets the question be an answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints, Mask
from nanodistil.family.distilbert import DistilBertForQuestionAnswering
from nanodistil.pipelines.batching import Prepared, answered, by_number, check_pace, pace_of, several
from nanodistil.pipelines.overlap import overlapping
from nanodistil.pipelines.pairing import check_pair, longest_row
from nanodistil.pipelines.preset import settings_of
from nanodistil.pipelines.scores import finite
from nanodistil.pipelines.spans import best_spans
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.tokenization.arguments import whole_number
from nanodistil.weights.errors import InputError, excerpt

LONGEST_WINDOW, LONGEST_OVERLAP = 384, 128  # in tokens, where nothing is said

Answer = dict[str, Any]  # {"score": float, "start": int, "end": int, "answer": str}


class Settings(NamedTuple):
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


class QuestionAnsweringPipeline:
    """Finds answers in contexts. Made by nanodistil.pipeline("question-answering", ...)."""

    def __init__(self, model: DistilBertForQuestionAnswering, tokenizer: DistilBertTokenizer) -> None:
        """Raises CheckpointError where the tokenizer's vocabulary and the model's embedding rows do not fit."""
        check_pair(model, tokenizer)
        self.model = model
        self.tokenizer = tokenizer
        self.cls, self.sep = tokenizer("")["input_ids"]

    @property
    def limit(self) -> int:
        """The most tokens of a row, as model and tokenizer are now: both may be changed after the pipeline is made."""
        return longest_row(self.model, self.tokenizer)

    def __call__(
        self,
        *args: Any,
        question: str | list[str] | None = None,
        context: str | list[str] | None = None,
        data: Any = None,
        X: Any = None,
        top_k: int | None = None,
        doc_stride: int | None = None,
        max_answer_len: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        handle_impossible_answer: bool | None = None,
        align_to_words: bool | None = None,
        padding: Any = None,
        topk: int | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
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
        settings = self._settings(
            top_k,
            doc_stride,
            max_answer_len,
            max_seq_len,
            max_question_len,
            handle_impossible_answer,
            align_to_words,
            padding,
            topk,
        )
        inputs = sole_input(args, question, context, data, X)
        if isinstance(inputs, list):
            answers = list(self._answer(inputs, settings))
            return answers[0] if len(answers) == 1 else answers
        return self._answer(inputs, settings)

    def each(self, inputs: Iterable[Any], first: int = 0, **options: Any) -> Iterator[Any]:
        """The answers one by one, as they are ready; inputs: dicts or objects, other arguments as in a call.

        first: how many came before these, for the messages of errors. One that cannot be answered raises its error
        after the answers to those before it.
        """
        return self._answer(inputs, settings_of(self, options), first)

    def _settings(
        self,
        top_k: int | None = None,
        doc_stride: int | None = None,
        max_answer_len: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        handle_impossible_answer: bool | None = None,
        align_to_words: bool | None = None,
        padding: Any = None,
        topk: int | None = None,
    ) -> Settings:
        if topk is not None and top_k is None:
            warnings.warn("topk is old: say top_k", stacklevel=3)
            top_k = topk
        size = min(self.limit, LONGEST_WINDOW) if max_seq_len is None else whole_number("max_seq_len", max_seq_len, 4)
        if size > self.limit:
            raise InputError(f"max_seq_len={size} is more than the {self.limit} tokens that the model takes")
        overlap = min(size // 2, LONGEST_OVERLAP) if doc_stride is None else whole_number("doc_stride", doc_stride, 0)
        if overlap >= size - 2:
            raise InputError(f"doc_stride={overlap}: windows of {size} tokens can overlap by {size - 3} at most")
        return Settings(
            1 if top_k is None else whole_number("top_k", top_k, 1),
            overlap,
            15 if max_answer_len is None else whole_number("max_answer_len", max_answer_len, 1),
            size,
            None if max_question_len is None else whole_number("max_question_len", max_question_len, 1),
            bool(handle_impossible_answer),
            align_to_words is None or bool(align_to_words),
        )

    def _answer(self, inputs: Iterable[Any], settings: Settings, first: int = 0) -> Iterator[Any]:
        """Answers to the questions, in order; `first` is how many came before, for messages."""

        def prepare(item: Any, name: str) -> Prepared:
            question, context = question_and_context(item, name)
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
            before = [self.cls, *asked, self.sep]
            rows = [np.array([*before, *ids[a:b], self.sep]) for a, b in windows]
            offsets, words = encoded["offset_mapping"][1], encoded.word_ids(1)
            return Prepared(rows, Question(context, offsets, words, windows, len(before)))

        def compute(ids: Ints, real: Mask) -> Iterator[tuple[Array, Array]]:
            output = self.model(ids, real, return_dict=True)
            yield from zip(finite(output.start_logits), finite(output.end_logits), strict=True)  # (T,) each

        def finish(prepared: Prepared, results: list[tuple[Array, Array]]) -> Any:
            return self._best(prepared.rest, results, settings)

        return answered(inputs, prepare, compute, finish, first, pace_of(self.model))

    def _cut(self, ids: list[int], length: int | None) -> list[int]:
        """At most so many ids, from the side that the tokenizer keeps."""
        if length is None or len(ids) <= length:
            return ids
        return ids[-length:] if self.tokenizer.truncation_side == "left" else ids[:length]

    def _windows(self, asked: int, n: int, name: str, settings: Settings) -> list[tuple[int, int]]:
        """The windows in which n tokens of context are read behind a question of `asked`."""
        room = settings.max_seq_len - asked - 3
        if n <= room:
            return [(0, n)]
        if room <= settings.doc_stride:
            raise InputError(
                f"{name}: a question of {asked} tokens leaves {max(room, 0)} of max_seq_len={settings.max_seq_len} for "
                f"the context, and doc_stride={settings.doc_stride} of these are to overlap; set max_question_len, or "
                "change one of these"
            )
        return overlapping(n, room, settings.doc_stride, self.tokenizer.truncation_side == "left")

    def _best(self, asked: Question, results: list[tuple[Array, Array]], settings: Settings) -> Any:
        """The best answers of all windows."""
        wanted = settings.top_k * 2 + 10 if settings.align_to_words else settings.top_k  # several may be one answer
        answers: dict[str, Answer] = {}  # by their text in lower case
        none = 1.0
        for (a, b), (start, end) in zip(asked.windows, results, strict=True):
            places = [0, *range(asked.before, asked.before + b - a)]  # [CLS] and the context
            spans, none_here = best_spans(start[places], end[places], wanted, settings.max_answer_len)
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


def sole_input(args: tuple[Any, ...], question: Any, context: Any, data: Any, X: Any) -> Any:
    """What a call was given in one of many ways, as a list, or a stream as it is. Raises InputError."""
    given = [value for value in (data, X) if value is not None]
    if len(args) == 2 and all(isinstance(arg, str) for arg in args):
        given.append({"question": args[0], "context": args[1]})
    elif args:
        given.append(args[0] if len(args) == 1 else list(args))
    if question is not None or context is not None:
        given.append({"question": question, "context": context})
    if len(given) != 1:
        raise InputError("pass question=... and context=..., or dicts with both, and only one of these")
    (inputs,) = given
    if isinstance(inputs, dict):
        return one_by_one(inputs)
    if hasattr(inputs, "question_text"):
        return [inputs]
    if isinstance(inputs, str | bytes) or not isinstance(by_number(inputs), Iterable):
        raise InputError(f"a question needs its context: pass question=... and context=..., not {excerpt(inputs)}")
    return several(inputs, "a question with its context")


def one_by_one(item: dict[str, Any]) -> list[dict[str, Any]]:
    """A dict of several questions, with one context or as many, as a dict each; any other as it is.

    >>> one_by_one({"question": ["Who?", "Where?"], "context": "Bo in Rome."})[1]
    {'question': 'Where?', 'context': 'Bo in Rome.'}
    """
    questions, contexts = (
        value if value is None or isinstance(value, str) or not isinstance(value, Iterable) else several(value)
        for value in (item.get("question"), item.get("context"))
    )
    if isinstance(contexts, list) and not isinstance(questions, list):
        raise InputError("several contexts need as many questions: pass lists of the same length")
    if not isinstance(questions, list):
        return [item]
    contexts = contexts if isinstance(contexts, list) else [contexts] * len(questions)
    if len(questions) != len(contexts):
        raise InputError(
            f"{len(questions)} questions and {len(contexts)} contexts: pass as many of each, or one context"
        )
    return [{"question": q, "context": c} for q, c in zip(questions, contexts, strict=True)]


def question_and_context(item: Any, name: str) -> tuple[str, str]:
    """The two strings of a dict or a SquadExample, checked."""
    if isinstance(item, dict):
        found = {key: item.get(key) for key in ("question", "context")}
    elif hasattr(item, "question_text") and hasattr(item, "context_text"):
        found = {"question": item.question_text, "context": item.context_text}
    else:
        raise InputError(f"{name} should be a dict with question and context, not {type(item).__name__}")
    for key, text in found.items():
        if text is None:
            raise InputError(f"{name} lacks a {key}")
        if not isinstance(text, str):
            raise InputError(f"the {key} of {name} is not a string but {type(text).__name__}")
        if not text:
            raise InputError(f"the {key} of {name} is empty")
    question, context = found.values()
    return str(question), str(context)

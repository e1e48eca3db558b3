"""Inputs to answers: prepared here, computed by the engine among the rows of others, finished here.

What takes long enough to be felt by others (a long text to be tokenized, a thousand vectors to be written out) is done
on threads beside the loop that talks to clients; what is short is done at once, which is sooner than to hand it over.

Only arguments that are listed may come from outside, and each within bounds: a template is a format string, and
`{:>999999999}` is a gigabyte; a stride of one token less than the window is a window a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from time import perf_counter
from typing import Any, TypeVar

from nanodistil.pipelines.preset import settings_of
from nanodistil.serve.body import Gone
from nanodistil.serve.call import Call
from nanodistil.serve.engine import Alone, Engine, Ticket
from nanodistil.serve.limits import Limits
from nanodistil.serve.problems import Problem, of, overloaded, too_large, unusable
from nanodistil.serve.writing import News
from nanodistil.weights.errors import NanoDistilError, excerpt, meant

T = TypeVar("T")

PARAMETERS = {  # task -> arguments of its pipeline that a client may give
    "fill-mask": "top_k targets whole_words joint beams",
    "text-classification": "top_k function_to_apply truncation max_length",
    "zero-shot-classification": "candidate_labels hypothesis_template multi_label",
    "token-classification": "aggregation_strategy ignore_labels stride truncation",
    "question-answering": "top_k doc_stride max_answer_len max_seq_len max_question_len handle_impossible_answer "
    "align_to_words",
    "multiple-choice": "choices",
    "feature-extraction": "pooling normalize truncation",
}
MOST = {"top_k": 1000, "beams": 64, "max_answer_len": 512, "max_question_len": 512}
MOST_OF_A_LIST = 1000  # targets, labels
SHORT = 4_000  # characters that are tokenized at once, in a fraction of a millisecond or a few
WORDS = ["mean", "cls", "none", "own", "simple", "sigmoid", "softmax"]  # of options that are remembered
BRIEF = 20_000  # numbers of an answer that are written at once


class Asking:
    """Asks the engine. One for a server."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine, self.limits = engine, limits
        self.beside = ThreadPoolExecutor(2, "nanodistil-texts")

    async def apart(self, is_long: bool, function: Callable[..., T], *arguments: Any) -> T:
        """function(*arguments), here or on a thread beside."""
        if not is_long:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self.beside, partial(function, *arguments))

    async def answers(self, call: Call, pipe: Any, inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        """The answer to every input, with the options of a call. Raises Problem, Gone."""
        length = characters(inputs)
        if length > self.limits.texts:
            raise too_large(f"the texts have {length} characters, and at most {self.limits.texts} are taken at once")
        call.inputs = len(inputs)
        try:
            with call.stage("prepare"):
                settings = _settings(pipe, options)
                ready = await self.apart(length > SHORT, self._prepared, pipe, inputs, settings)
            works: list[Any] = []
            for one in ready:
                works += one.rows or [Alone(partial(pipe.finish, one, [], settings), self.limits.batch_tokens)]
            call.tokens = sum(len(work) for work in works if not isinstance(work, Alone))
            call.held.more_tokens(call.tokens + sum(work.tokens for work in works if isinstance(work, Alone)))
            size = len(works) + self._entries(pipe, ready, settings) + self._numbers(pipe, ready, settings)
            results = iter(await self.computed(call, pipe, works))
            with call.stage("finish"):
                return await self.apart(size > BRIEF, self._finished, pipe, ready, settings, results)
        except NanoDistilError as error:
            raise of(error) from None

    @staticmethod
    def _prepared(pipe: Any, inputs: list[Any], settings: Any) -> list[Any]:
        if len(inputs) == 1:
            return [pipe.prepare(inputs[0], settings)]
        return [pipe.prepare(one, settings, f"input {i}") for i, one in enumerate(inputs, start=1)]

    @staticmethod
    def _finished(pipe: Any, ready: list[Any], settings: Any, results: Any) -> list[Any]:
        return [
            pipe.finish(one, [next(results) for _ in one.rows], settings) if one.rows else next(results)
            for one in ready
        ]

    async def computed(self, call: Call, pipe: Any, works: list[Any]) -> list[Any]:
        """The results of works, or the end of waiting, upon which they leave the queue. Raises Problem, Gone."""
        with self._waiting(call, pipe, works) as (ticket, results, watching):
            await self._moved(ticket, watching, results)
            return results.result()

    async def growing(
        self, call: Call, pipe: Any, works: list[Any], arrived: asyncio.Queue[list[News]]
    ) -> AsyncIterator[list[News]]:
        """What arrives of prompts, until the last of them is answered. Raises Problem, Gone."""
        with self._waiting(call, pipe, works) as (ticket, results, watching):
            results.add_done_callback(lambda _: arrived.put_nowait([]))
            while True:
                if arrived.empty():
                    getting = asyncio.ensure_future(arrived.get())
                    try:
                        await self._moved(ticket, watching, getting)
                        news = getting.result()
                    finally:
                        getting.cancel()
                else:
                    news = arrived.get_nowait()
                if not news:
                    results.result()
                    return
                yield news

    @contextmanager
    def _waiting(
        self, call: Call, pipe: Any, works: list[Any]
    ) -> Iterator[tuple[Ticket, asyncio.Future[list[Any]], asyncio.Future[None]]]:
        """A ticket, its results, and the client's going away; whatever ends it, nothing is left in the queue.

        Raises Problem (429) if the queue stands, before anything is in it.
        """
        if self.engine.refuses(call.client, pipe, works):
            raise overloaded("more is asked for than can be answered; try again", call.held.load.retry_after())
        ticket = self.engine.submit(call.client, pipe, works)
        results: asyncio.Future[list[Any]] = asyncio.wrap_future(ticket.future)
        watching = asyncio.ensure_future(call.gone())
        try:
            yield ticket, results, watching
        except NanoDistilError as error:
            raise (of(error) if of(error).status == 413 else Problem(424, "Backend", str(error))) from None
        except (Problem, Gone):
            raise
        except Exception as error:
            raise Problem(424, "Backend", f"the model failed ({type(error).__name__})") from error
        finally:
            watching.cancel()
            results.cancel()
            call.told(ticket)

    async def _moved(self, ticket: Ticket, watching: asyncio.Future[None], wanted: asyncio.Future[Any]) -> None:
        """Wait for what is wanted, as long as a client may wait; a text that is written begins anew with each token."""
        began, seconds = perf_counter(), self.limits.seconds
        while (left := max(began, ticket.moved) + seconds - perf_counter()) > 0:
            both: set[asyncio.Future[Any]] = {wanted, watching}
            await asyncio.wait(both, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if wanted.done():
                return
            if watching.done():
                raise Gone
        raise overloaded(f"there was no answer within {seconds:g} seconds; try again", int(seconds) or 1)

    def _numbers(self, pipe: Any, ready: list[Any], settings: Any) -> int:
        """How many numbers the answers will be, if they are vectors. Raises Problem (413) for too many."""
        wanted: Any = getattr(settings, "wanted", None)
        count: int
        if hasattr(settings, "most"):  # words: as many as there are, if it comes to the worst
            count = len(ready) * (settings.most or pipe.model.config.vocab_size)
        elif hasattr(wanted, "normalize"):
            every = sum(len(row) for one in ready for row in one.rows)
            count = pipe.model.config.dim * (every if wanted.kind == "none" else len(ready))
        else:
            return 0
        if count > self.limits.numbers:
            raise too_large(f"the vectors asked for are {count} numbers, and at most {self.limits.numbers} are given")
        return count

    def _entries(self, pipe: Any, ready: list[Any], settings: Any) -> int:
        """How many entries the answers will have, if they are fillings. Raises Problem (413) for too many."""
        if not hasattr(settings, "beams"):
            return 0
        count: int = sum(int((one.rest == pipe.tokenizer.mask_token_id).sum()) for one in ready) * settings.top_k
        if count > self.limits.entries:
            raise too_large(f"{count} fillings are asked for, and at most {self.limits.entries} are given at once")
        return count


def _settings(pipe: Any, options: dict[str, Any]) -> Any:
    """What the pipeline makes of the options, remembered if they are plain: it takes a while."""
    if all(value is None or isinstance(value, bool | int) or value in WORDS for value in options.values()):
        return _remembered(pipe, tuple((name, type(value), value) for name, value in options.items()))  # True is not 1
    return settings_of(pipe, options)


@lru_cache(1024)
def _remembered(pipe: Any, options: tuple[tuple[str, type, Any], ...]) -> Any:
    return settings_of(pipe, {name: value for name, _, value in options})


def characters(value: Any) -> int:
    """How long all strings in it are together.

    >>> characters([{"question": "ab", "context": "c"}, "d"])
    4
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(characters, value)) if isinstance(value, list) else 0


def parameters(task: str, given: Any, inputs: int, limits: Limits) -> dict[str, Any]:
    """The options of a call, out of what a client sent. Raises Problem (422, 413)."""
    if not isinstance(given, dict):
        raise unusable("`parameters` must be an object", "parameters")
    known = PARAMETERS[task].split()
    options = {}
    for name, value in given.items():
        if name not in known:
            hint = meant(name, known) or f"; there are {', '.join(known)}"
            raise unusable(f"{task} has no parameter {excerpt(name)}{hint}", name[:60])
        most = MOST.get(name)
        if most is not None and isinstance(value, int) and value > most:
            raise unusable(f"`{name}` may be {most} at most", name)
        if isinstance(value, list) and len(value) > MOST_OF_A_LIST:
            raise too_large(f"`{name}` has {len(value)} entries, and may have {MOST_OF_A_LIST}")
        if value is not None or name == "top_k":
            options[name] = value
    template = options.get("hypothesis_template", "{}")
    if isinstance(template, str) and set(template.replace("{}", "")) & {"{", "}"}:
        raise unusable("`hypothesis_template` may have {} for the label, and no other braces", "hypothesis_template")
    labels = options.get("candidate_labels")
    labels = labels.split(",") if isinstance(labels, str) else labels
    if isinstance(labels, list) and len(labels) * inputs > limits.inputs:
        raise too_large(f"{inputs} texts with {len(labels)} labels are more than {limits.inputs} pairs")
    for stride, room in (("stride", None), ("doc_stride", options.get("max_seq_len", 384))):
        value = options.get(stride)
        if isinstance(value, int) and value > (room // 2 if isinstance(room, int) else 255):
            raise unusable(f"`{stride}`: windows may overlap by half of their length at most", stride)
    return options

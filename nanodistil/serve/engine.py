"""The thread that computes: takes a batch from the queue, has the pipeline compute it, hands results to requests.

    submit(client, works) -> Ticket, whose future has the results in order, or the error
    refuses(client, works) -> whether they should be asked again later, for a queue stands

It never waits for more rows to come: while a batch is computed the next one gathers. An error of one row is no other's:
a batch that fails is computed again row by row. A ticket whose future was cancelled leaves the queue; what is being
computed is finished and dropped.

Kernels use all processors, so one thread would be enough, if those were its own. But requests are read and answered on
them too, and whenever a kernel's thread is put aside for that, all others wait for its share of the op. So while a
whole batch waits, a second thread computes it beside the first, on half of the processors each: who is put aside then
holds up half. Over HTTP two gave 1.18 to 1.29 times what one gave (measurements.md). With less to do there is one, and
a text has all processors.

Texts that are written (writing.py) take many steps, with all that is written by one model in each. Where there are
both, batches and steps take turns, so that either has half of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import Condition, RLock, Thread
from time import perf_counter
from typing import Any, NamedTuple

from nanodistil.pipelines.base import Pipeline, Row
from nanodistil.pipelines.batching import computed
from nanodistil.serve.queue import Queue, Unit
from nanodistil.serve.standing import BATCHES, Standing
from nanodistil.serve.writing import Prompt, Writing

SMOOTHING = 0.1  # how much of what was measured before is forgotten with each batch


class Alone(NamedTuple):
    """Work that is no row: a call, and the tokens it counts as."""

    call: Callable[[], Any]
    tokens: int


class Batch(NamedTuple):
    """What was computed at once, for whoever counts."""

    rows: int
    tokens: int
    seconds: float
    step: bool = False  # of texts that are written


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's rows."""

    results: list[Any]
    left: int
    future: Future[list[Any]] = field(default_factory=Future)
    queued: float = field(default_factory=perf_counter)
    begun: float = 0.0  # when the first of them was taken
    ended: float = 0.0
    moved: float = 0.0  # when a text of it that is written was a token further


class Engine:
    """Computes. `watch` is told of every batch and step, on the engine's thread."""

    def __init__(self, batch_tokens: int, watch: Callable[[Batch], None] = lambda batch: None) -> None:
        self.queue = Queue(batch_tokens)
        self.divided: Callable[[], AbstractContextManager[None]] = nullcontext
        self.writings: dict[Any, Writing] = {}  # of each pipeline that was asked to write
        self.watch = watch
        self.pace = (0.0, 0.0)  # tokens and seconds, of late
        self.ahead = 0.0  # seconds that batches have had more than steps, while there were both
        self.standing = Standing(self.queue, BATCHES * batch_tokens)
        self.computing = 0  # batches, at this moment
        lock = RLock()
        self.changed, self.full = Condition(lock), Condition(lock)  # something waits; a whole batch does
        self.ending = False
        self.threads: list[Thread] = []

    def start(self) -> None:
        self._begin(self._run)

    def divide(self, divided: Callable[[], AbstractContextManager[None]]) -> None:
        """Have a second thread from now on. divided: what both are in while they compute (kernels/runtime/pool.py)."""
        self.divided = divided
        self._begin(self._help)

    def _begin(self, run: Callable[[], None]) -> None:
        self.threads.append(Thread(target=run, name="nanodistil-engine", daemon=True))
        self.threads[-1].start()

    def stop(self) -> None:
        """Let it end after the batch it is at."""
        with self.changed:
            self.ending = True
            self.changed.notify()
            self.full.notify()

    def join(self, seconds: float) -> None:
        """Wait for its end, so long at most."""
        until = perf_counter() + seconds
        for thread in self.threads:
            thread.join(until - perf_counter())

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self.threads)

    @property
    def speed(self) -> float:
        """Tokens a second; 0: not known yet."""
        tokens, seconds = self.pace
        return tokens / seconds if seconds else 0.0

    @property
    def waiting(self) -> int:
        """How many rows and prompts wait."""
        return len(self.queue) + sum(len(one.queue) for one in list(self.writings.values()))

    @property
    def written(self) -> int:
        """How many answers are being written."""
        return sum(one.together.busy for one in list(self.writings.values()) if one.together is not None)

    def refuses(self, client: str, pipe: Pipeline[Any, Any], works: Sequence[Row | Alone | Prompt]) -> bool:
        """Whether a client should come back later with these, for the queue that they would wait in stands."""
        writes = any(isinstance(work, Prompt) for work in works)
        with self.changed:
            if writes:
                return pipe in self.writings and self.writings[pipe].refuses(client, perf_counter())
            return self.standing.refuses(client, perf_counter())

    def submit(self, client: str, pipe: Pipeline[Any, Any], works: Sequence[Row | Alone | Prompt]) -> Ticket:
        """Queue rows, prompts and calls, of one request."""
        ticket = Ticket([None] * len(works), len(works))
        units = [
            Unit(pipe, work, len(work) if isinstance(work, Row) else work.tokens, ticket, i, isinstance(work, Alone))
            for i, work in enumerate(works)
        ]
        if not units:
            ticket.future.set_result([])
        ticket.future.add_done_callback(lambda future: self._forget(ticket) if future.cancelled() else None)
        prompts = [unit for unit in units if isinstance(unit.work, Prompt)]
        with self.changed:
            self.queue.push(client, [unit for unit in units if not isinstance(unit.work, Prompt)])
            if prompts:
                self.writings.setdefault(pipe, Writing(pipe, self.queue.batch_tokens)).queue.push(client, prompts)
            self.changed.notify()
            if self._whole:
                self.full.notify()
        return ticket

    def _forget(self, ticket: Ticket) -> None:
        with self.changed:
            self.queue.forget(ticket)
            for one in self.writings.values():
                one.queue.forget(ticket)

    @property
    def _whole(self) -> bool:
        """Whether a whole batch waits, and its turn is now: calls are left to the first thread."""
        first = self.queue.next() if self.queue.tokens >= self.queue.batch_tokens else None
        return first is not None and not first.alone

    def _run(self) -> None:
        while True:
            with self.changed:
                while not self.ending and not self.queue.waiting and all(one.idle for one in self.writings.values()):
                    self.changed.wait()
                if self.ending:
                    return
                writing = [one for one in self.writings.values() if not one.idle]
                if not writing or not self.queue.waiting:
                    self.ahead = 0.0
                batch = self._taken() if self.ahead <= 0 else []
                joining = [] if batch else [one.joining(perf_counter()) for one in writing]
            with self.divided():
                if batch:
                    self._compute(batch)
                for one, fresh in zip(writing, joining, strict=False):
                    self._write(one, fresh)

    def _help(self) -> None:
        """The second thread: batches alone."""
        while True:
            with self.full:
                while not self.ending and not self._whole:
                    self.full.wait()
                if self.ending:
                    return
                batch = self._taken()
            with self.divided():
                self._compute(batch)

    def _taken(self) -> list[Unit]:
        """The next batch, out of the queue; under the lock."""
        batch = self.queue.pop()
        if batch:
            self.standing.look(perf_counter())
            self.computing += 1
        if self._whole:
            self.full.notify()
        return batch

    def _compute(self, batch: list[Unit]) -> None:
        """Compute a batch."""
        began, beside = _begun(batch), self.computing
        try:
            results: list[Any] = _results(batch)
        except Exception as error:
            results = [error] if len(batch) == 1 else [_result_or_error(unit) for unit in batch]
        ended = perf_counter()
        tokens, seconds = sum(unit.tokens for unit in batch), ended - began
        self.watch(Batch(len(batch), tokens, seconds))  # first, so that what was answered has been counted
        with self.changed:
            self.computing -= 1
            self.ahead += seconds
            if not batch[0].alone:
                self._paced(tokens, seconds / beside)
            for unit, result in zip(batch, results, strict=True):
                _deliver(unit, result, ended)

    def _write(self, writing: Writing, fresh: list[Unit]) -> None:
        """A step of the texts that are written, and of those that join."""
        began, answered = _begun(fresh), []
        try:
            texts, tokens = writing.step(fresh, lambda unit, result: answered.append((unit, result)))
        except Exception as error:
            texts = tokens = 0
            writing.fail(error, lambda unit, result: answered.append((unit, result)))
        ended = perf_counter()
        for unit in writing.open:
            unit.ticket.moved = ended
        if texts:
            self.watch(Batch(texts, tokens, ended - began, step=True))
        with self.changed:
            self.ahead -= ended - began
            if texts:
                self._paced(tokens, ended - began)
            for unit, result in answered:
                _deliver(unit, result, ended)

    def _paced(self, tokens: int, seconds: float) -> None:
        self.pace = tokens + (1 - SMOOTHING) * self.pace[0], max(seconds, 1e-9) + (1 - SMOOTHING) * self.pace[1]


def _begun(units: list[Unit]) -> float:
    """Now, when these are begun with."""
    now = perf_counter()
    for unit in units:
        unit.ticket.begun = unit.ticket.begun or now
    return now


def _results(batch: list[Unit]) -> list[Any]:
    if batch[0].alone:
        return [batch[0].work.call()]
    pipe: Any = batch[0].kind
    return computed([unit.work for unit in batch], pipe.together)


def _result_or_error(unit: Unit) -> Any:
    try:
        return _results([unit])[0]
    except Exception as error:
        return error


def _deliver(unit: Unit, result: Any, now: float) -> None:
    """A result, or an error, to the request it belongs to, which is told when it has all, or one error."""
    ticket: Ticket = unit.ticket
    if ticket.future.done():
        return
    ticket.ended = now
    ticket.results[unit.place] = result
    ticket.left -= 1
    if isinstance(result, Exception):
        _tell(ticket, result)
    elif ticket.left == 0:
        _tell(ticket, None)


def _tell(ticket: Ticket, error: Exception | None) -> None:
    if not ticket.future.set_running_or_notify_cancel():  # cancelled this moment
        return
    if error is None:
        ticket.future.set_result(ticket.results)
    else:
        ticket.future.set_exception(error)

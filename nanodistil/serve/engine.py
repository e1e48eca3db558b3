"""The one thread that computes: takes a batch from the queue, has the pipeline compute it, hands results to requests.

    submit(client, works) -> Ticket, whose future has the results in order, or the error

One thread is enough, since the kernels use all others, and it makes order simple. It never waits for more rows to
come: while a batch is computed the next one gathers. An error of one row is no other's: a batch that fails is computed
again row by row. A ticket whose future was cancelled leaves the queue; what is being computed is finished and dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from time import perf_counter
from typing import Any, NamedTuple

from nanodistil.pipelines.base import Pipeline, Row
from nanodistil.pipelines.batching import computed
from nanodistil.serve.queue import Queue, Unit

SMOOTHING = 0.1  # of the measured speed, towards the last batch's


class Alone(NamedTuple):
    """Work that is no row: a call, and the tokens it counts as."""

    call: Callable[[], Any]
    tokens: int


class Batch(NamedTuple):
    """What was computed at once, for whoever counts."""

    rows: int
    tokens: int
    seconds: float


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's rows."""

    results: list[Any]
    left: int
    future: Future[list[Any]] = field(default_factory=Future)
    queued: float = field(default_factory=perf_counter)
    begun: float = 0.0  # when the first of them was taken
    ended: float = 0.0


class Engine:
    """Computes. `watch` is told of every batch, on the engine's thread."""

    def __init__(self, batch_tokens: int, watch: Callable[[Batch], None] = lambda batch: None) -> None:
        self.queue = Queue(batch_tokens)
        self.watch = watch
        self.speed = 0.0  # tokens a second; 0: not known yet
        self.changed = Condition()
        self.ending = False
        self.thread = Thread(target=self._run, name="nanodistil-engine", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Let it end after the batch it is at."""
        with self.changed:
            self.ending = True
            self.changed.notify()

    @property
    def alive(self) -> bool:
        return self.thread.is_alive()

    def submit(self, client: str, pipe: Pipeline[Any, Any], works: Sequence[Row | Alone]) -> Ticket:
        """Queue rows, and calls, of one request."""
        ticket = Ticket([None] * len(works), len(works))
        units = [
            Unit(pipe, work, work.tokens if isinstance(work, Alone) else len(work), ticket, i, isinstance(work, Alone))
            for i, work in enumerate(works)
        ]
        if not units:
            ticket.future.set_result([])
        ticket.future.add_done_callback(lambda future: self._forget(ticket) if future.cancelled() else None)
        with self.changed:
            self.queue.push(client, units)
            self.changed.notify()
        return ticket

    def _forget(self, ticket: Ticket) -> None:
        with self.changed:
            self.queue.forget(ticket)

    def _run(self) -> None:
        while True:
            with self.changed:
                while not self.ending and not self.queue.waiting:
                    self.changed.wait()
                if self.ending:
                    return
                batch = self.queue.pop()
            self._compute(batch)

    def _compute(self, batch: list[Unit]) -> None:
        began = perf_counter()
        for unit in batch:
            unit.ticket.begun = unit.ticket.begun or began
        try:
            results: list[Any] = _results(batch)
        except Exception as error:
            results = [error] if len(batch) == 1 else [_result_or_error(unit) for unit in batch]
        ended = perf_counter()
        tokens, seconds = sum(unit.tokens for unit in batch), ended - began
        if not batch[0].alone:
            speed = tokens / max(seconds, 1e-9)
            self.speed += (speed - self.speed) * (SMOOTHING if self.speed else 1.0)
        self.watch(Batch(len(batch), tokens, seconds))  # first, so that what was answered has been counted
        for unit, result in zip(batch, results, strict=True):
            _deliver(unit, result, ended)


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

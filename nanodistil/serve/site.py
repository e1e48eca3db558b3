"""All that a server has: models, engine, limits, counters; and its life, from the first probe to the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from nanodistil.pipelines.batching import pace_of
from nanodistil.serve.admission import Load
from nanodistil.serve.asking import Asking
from nanodistil.serve.call import Call
from nanodistil.serve.engine import Alone, Engine
from nanodistil.serve.journal import Journal
from nanodistil.serve.limits import Limits
from nanodistil.serve.metrics import Metrics
from nanodistil.serve.probing import probe
from nanodistil.serve.problems import Problem, cannot
from nanodistil.serve.served import RANKING, SPARSE, Served

SHARE = 4  # of what a pipeline computes at once: about as fast, and who comes meanwhile waits a quarter as long
HELD = 128  # batches of all requests at once
CANNOT = {
    RANKING: "rank texts, which takes a classifier with one label",
    SPARSE: "make sparse vectors, which a SparseEncoder's folder does, or MODEL:sparse-embedding",
}


class Site:
    """What the endpoints are given."""

    def __init__(
        self,
        models: dict[str, Served],
        limits: Limits,
        *,
        api_key: str | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.models, self.limits = models, limits
        self.api_key = api_key
        self.journal = journal or Journal(None)
        self.engine = Engine(limits.batch_tokens, self._watch)
        self.load = Load(limits, lambda: self.engine.speed)
        self.metrics = Metrics(self.load, limits.batch_tokens, lambda: self.engine.waiting, lambda: self.engine.written)
        self.asking = Asking(self.engine, limits)
        self.ready = False  # probed, and not about to end

    def _watch(self, batch: Any) -> None:
        self.metrics.batch(batch)

    def start(self) -> None:
        """Begin to compute: the probes first, whatever is asked meanwhile."""
        self.engine.start()
        names = list(self.models)
        works = [Alone(partial(probe, self.models[name], self.limits.batch_tokens), 1) for name in names]
        ticket = self.engine.submit("probe", None, works)  # type: ignore[arg-type]
        results = asyncio.wrap_future(ticket.future)
        results.add_done_callback(self._probed)

    def _probed(self, results: asyncio.Future[list[Any]]) -> None:
        if results.cancelled():
            return
        error = results.exception()
        if error is None:
            if (divided := dividing(self.models)) is not None:
                self.engine.divide(divided)
            self.ready = True
            self.journal.write("ready", models=list(self.models))
        else:  # it lives, and says that it is not ready
            self.journal.write("probe failed", error=f"{type(error).__name__}: {error}")

    def stop(self) -> None:
        self.ready = False
        self.engine.stop()
        self.asking.beside.shutdown(wait=False, cancel_futures=True)

    def model(self, name: str | None, *tasks: str) -> Served:
        """The model of that name, or if none is given the first that has one of these tasks.

        Raises Problem: 404 if there is none of that name, 424 if it has no head for the task.
        """
        if name is not None and name not in self.models:
            message = f"there is no model {name[:100]!r}; there are {', '.join(self.models)}"
            raise Problem(404, "ModelNotFound", message, param="model", code="model_not_found")
        for one in [self.models[name]] if name is not None else self.models.values():
            if not tasks or any(task in one.pipes for task in tasks):
                return one
        what = CANNOT.get(tasks[0]) or f"do {' or '.join(tasks)}"
        raise cannot(f"{name or 'the model'} cannot {what}; it was made for {self._tasks(name)}")

    def _tasks(self, name: str | None) -> str:
        return ", ".join(one.task for one in self.models.values() if name in (None, one.name))

    def asked_for(self, call: Call, *tasks: str) -> Served:
        """The model that `?model=NAME` asks for, or the first that can do it."""
        found = self.model(call.query.get("model", [None])[0], *tasks)
        call.model = found.name
        return found


def dividing(models: dict[str, Served]) -> Callable[[], AbstractContextManager[None]] | None:
    """What threads that compute beside each other are in; None if these models' backend has no more than one."""
    every: list[Any] = [one.model.ops for one in models.values()]
    if every and all(hasattr(ops, "divided") and ops.threads() > 1 for ops in every):
        return every[0].divided  # type: ignore[no-any-return]
    return None


def limits_for(models: dict[str, Served], batch_tokens: int | None, **others: Any) -> Limits:
    """The limits that suit the models' backend, unless said otherwise. others: of Limits, None as not said."""
    batch_tokens = batch_tokens or max(pace_of(one.model).tokens for one in models.values()) // SHARE
    others = {name: value for name, value in others.items() if value is not None}
    return Limits(**{"batch_tokens": batch_tokens, "tokens": HELD * batch_tokens, **others})

"""Which rows are computed next: first come, first served, and fair between clients.

    push(units)      rows of one request
    pop()            the next batch: rows of one pipeline, in order, up to a number of tokens
    next()           the first unit of that batch, which stays
    forget(ticket)   a request that nobody waits for any more
    before(client)   the tokens that may be served before what this client asks for now

The order is that of start-time fair queueing (Goyal 1996). Each row has a start: when it came, or when its client's
row before it ends, whichever is later, in a time that runs by the tokens served. A client that asks for a thousand
texts has starts far into the future, and one that then asks for a single text starts now. Clients that do not overlap
are served as they came. That time goes on even while all who are served are new, or others would wait as long as there
are new ones. Nothing here knows of threads or of clocks.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

MOST_CLIENTS = 4096  # who are remembered, before those are forgotten that have no claim any more


@dataclass(eq=False, slots=True)
class Unit:
    """A piece of work: a row, or what must be done by itself."""

    kind: Hashable  # a pipeline: only what is alike is put together
    work: Any
    tokens: int
    ticket: Any  # the request it is part of
    place: int = 0  # in the request
    alone: bool = False  # no batch, whatever there is
    client: str = ""  # whose it is, once it waits


class Queue:
    """Units, waiting.

    >>> queue = Queue(batch_tokens=8)
    >>> queue.push("a", [Unit("m", f"a{i}", 4, "A") for i in range(4)])
    >>> queue.push("b", [Unit("m", "b0", 4, "B")])
    >>> [[unit.work for unit in queue.pop()] for _ in range(3)]
    [['a0', 'b0'], ['a1', 'a2'], ['a3']]
    """

    def __init__(self, batch_tokens: int) -> None:
        self.batch_tokens = batch_tokens
        self.tokens = 0  # of all that waits
        self.now = 0  # the start of what was served last, or what each had of all before it, whichever is later
        self.due = 0  # what each has had, if all who wait had the same
        self.ends: dict[str, int] = {}  # client -> the end of its last unit
        self.waiting: dict[Hashable, list[tuple[int, int, Unit]]] = {}  # kind -> heap of (start, order of coming, unit)
        self.count = 0  # of all that ever came

    def __len__(self) -> int:
        return sum(map(len, self.waiting.values()))

    def push(self, client: str, units: Iterable[Unit]) -> None:
        for unit in units:
            start = max(self.now, self.ends.get(client, 0))
            self.ends[client] = start + unit.tokens
            self.count += 1
            unit.client = client
            self.tokens += unit.tokens
            heapq.heappush(self.waiting.setdefault(unit.kind, []), (start, self.count, unit))
        if len(self.ends) > MOST_CLIENTS:
            self.ends = {client: end for client, end in self.ends.items() if end > self.now}

    def next(self) -> Unit | None:
        """The unit that is first in turn; None if none waits."""
        return self.waiting[self._kind()][0][2] if self.waiting else None

    def before(self, client: str) -> int:
        """Tokens of all units whose turn comes before that of a unit which this client asked for now.

        If the client has had more than others of late, also what others may ask for until its turn, and have first.

        >>> queue = Queue(batch_tokens=8)
        >>> queue.push("a", [Unit("m", f"a{i}", 4, "A") for i in range(4)])
        >>> queue.before("a"), queue.before("b")
        (16, 4)
        >>> queue.push("b", [Unit("m", "b0", 4, "B")])  # of a turn at 16, "b" may have what is left of its own 16
        >>> queue.before("a")
        32
        """
        start = max(self.now, self.ends.get(client, 0))
        waiting = sum(unit.tokens for heap in self.waiting.values() for begin, _, unit in heap if begin <= start)
        others = (end for name, end in self.ends.items() if name != client and end < start)
        return waiting + sum(start - max(self.now, end) for end in others)

    def _kind(self) -> Hashable:
        return min(self.waiting, key=lambda kind: self.waiting[kind][0][:2])

    def pop(self) -> list[Unit]:
        """The units of the next batch, at least one; [] if none waits."""
        if not self.waiting:
            return []
        kind = self._kind()
        heap, tokens = self.waiting[kind], 0
        batch: list[Unit] = []
        was = self.now
        while heap and (not batch or self._fits(batch[0], heap[0][2], tokens)):
            self.now, _, unit = heapq.heappop(heap)
            batch.append(unit)
            tokens += unit.tokens
        self.tokens -= tokens
        clients = {unit.client for heap in self.waiting.values() for _, _, unit in heap} | {one.client for one in batch}
        self.now = max(self.now, self.due)
        self.due = max(self.due, was) + tokens // len(clients)
        if not heap:
            del self.waiting[kind]
        if not self.waiting:  # nobody has a claim on anything
            self.now, self.due, self.ends = 0, 0, {}
        return batch

    def _fits(self, first: Unit, unit: Unit, tokens: int) -> bool:
        return not (first.alone or unit.alone) and tokens + unit.tokens <= self.batch_tokens

    def forget(self, ticket: Any) -> int:
        """Take out what a request still has here; how many units that was."""
        before = len(self)
        for kind, heap in list(self.waiting.items()):
            kept = [entry for entry in heap if entry[2].ticket is not ticket]
            self.tokens -= sum(unit.tokens for _, _, unit in heap) - sum(unit.tokens for _, _, unit in kept)
            heapq.heapify(kept)
            if kept:
                self.waiting[kind] = kept
            else:
                del self.waiting[kind]
        return before - len(self)

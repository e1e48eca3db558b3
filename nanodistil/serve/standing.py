"""When a queue stands: more is asked for than can be answered, and not just for a moment.

A queue is there to wait out a burst, and one that empties again is as long as it needs to be. One that has been long
for a while only makes everybody wait, and at last give up. So it is judged by how long it has been long, not by its
length alone (CoDel: Nichols and Jacobson 2012). While it stands, whoever has that much before him is told at once to
come back later; so whoever is let in waits no longer than that much takes, whatever is asked for. It stands until
nobody was told so for as long: with them gone it is short, but if they were let in again it would not be.

It is looked at whenever somebody comes and whenever a batch is taken, so no batch that takes long delays it. Lengths
are in batches, not in seconds: they take what they take on this machine with this model, and no guess of its speed
decides who is refused. What a client asks for himself does not count: long texts are let in like short ones.
"""

from __future__ import annotations

from nanodistil.serve.queue import Queue

PATIENCE = 0.25  # seconds a queue may be long
BATCHES = 2  # that may wait, so that who is let in waits 3 times as long as on a busy server (measurements.md)


class Standing:
    """Judges a queue, in which `most` tokens may wait.

    >>> from nanodistil.serve.queue import Unit
    >>> queue = Queue(10)
    >>> standing = Standing(queue, most=30)
    >>> for now in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
    ...     if not standing.refuses("a", now):
    ...         queue.push("a", [Unit("m", "a text", 20, "a ticket")])
    ...     print(queue.tokens, end=" ")
    20 40 60 80 100 100
    """

    def __init__(self, queue: Queue, most: int) -> None:
        self.queue, self.most = queue, most
        self.since: float | None = None  # when it was found to be long, if it has been ever since
        self.refused = float("-inf")  # when somebody was
        self.long = False

    def look(self, now: float) -> None:
        """At how much waits now."""
        if self.queue.tokens > self.most:
            self.since = now if self.since is None else self.since
            self.long = self.long or now - self.since > PATIENCE
        else:
            self.since = None
            self.long = self.long and now - self.refused < PATIENCE

    def refuses(self, client: str, now: float) -> bool:
        """Whether who comes now should come back later."""
        self.look(now)
        if not self.long or self.queue.before(client) <= self.most:
            return False
        self.refused = now
        return True

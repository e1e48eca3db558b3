"""When a queue stands: more is asked for than can be answered, and not just for a moment.

A queue is there to wait out a burst, and one that empties again is as long as it needs to be. One that has not been
short for a while only makes everybody wait, and at last give up. So it is judged by how short it has been of late, not
by its length (CoDel: Nichols and Jacobson 2012). While it stands, whoever would not be in the next batch is told at
once to come back later; the others wait as long as on a busy server, and no longer. It stands until nobody was told so
for as long: with them gone it is short, but if they were let in again it would not be.
"""

from __future__ import annotations

PATIENCE = 1.0  # seconds a queue may be long


class Standing:
    """Told how much waits whenever a batch has been taken.

    >>> standing = Standing()
    >>> for now, tokens in (0.0, 900), (0.5, 20), (0.6, 900), (1.5, 900), (1.7, 900):
    ...     standing.left(tokens, 100, now)
    ...     print(standing.long, end=" ")
    False False False False True
    """

    def __init__(self) -> None:
        self.since: float | None = None  # when it was short last
        self.refused = float("-inf")  # when somebody was
        self.long = False

    def left(self, tokens: int, batch: int, now: float) -> None:
        """So many tokens wait at that time; a queue of no more than a batch is short."""
        if tokens > batch:
            self.since = now if self.since is None else self.since
            self.long = self.long or now - self.since > PATIENCE
        else:
            self.since = None
            self.long = self.long and now - self.refused < PATIENCE

"""What is held for all requests together, and when that is enough: before memory grows, not after.

A request is let in, holds the bytes of its body as they arrive, then the tokens of its rows until its answer has been
sent. What does not fit now, but would if others were done, is refused with 429 and the seconds that is likely to take;
what would never fit, with 413.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nanodistil.serve.limits import Limits
from nanodistil.serve.problems import overloaded, too_large


@dataclass
class Load:
    """What all requests together hold."""

    limits: Limits
    speed: Callable[[], float]  # tokens a second
    requests: int = 0
    bytes: int = 0
    tokens: int = 0

    def retry_after(self, tokens: int = 0) -> int:
        """Seconds until there is likely to be room for so many tokens: 1 at least.

        >>> load = Load(Limits(tokens=1000, seconds=30), lambda: 100.0, tokens=900)
        >>> load.retry_after(500), load.retry_after(50)
        (4, 1)
        """
        speed = self.speed()
        over = self.tokens + tokens - self.limits.tokens
        seconds = over / speed if speed and over > 0 else 0.0
        return max(1, min(-int(-seconds // 1), int(self.limits.seconds)))


class Held:
    """One request's share of it; `free` gives everything back."""

    def __init__(self, load: Load) -> None:
        """Raises Problem (429) if there are as many requests as are let in."""
        if load.requests >= load.limits.requests:
            raise overloaded(f"{load.requests} requests are being answered; try again", load.retry_after())
        self.load = load
        self.bytes = self.tokens = 0
        load.requests += 1

    def more_bytes(self, count: int) -> None:
        """Raises Problem: 413 for a body that is too large, 429 if all together are."""
        if self.bytes + count > self.load.limits.body:
            raise too_large(f"the body has more than {self.load.limits.body} bytes; send fewer texts at once")
        if self.load.bytes + count > self.load.limits.bodies:
            raise overloaded("too much is being received at once; try again", self.load.retry_after())
        self.bytes += count
        self.load.bytes += count

    def more_tokens(self, count: int) -> None:
        """Raises Problem: 413 for more than are ever queued, 429 for more than there is room for now."""
        limit = self.load.limits.tokens
        if self.tokens + count > limit:
            raise too_large(f"the request has {count} tokens, and at most {limit} are taken; send fewer texts at once")
        if self.load.tokens + count > limit:
            raise overloaded("the queue is full; try again", self.load.retry_after(count))
        self.tokens += count
        self.load.tokens += count

    def free(self) -> None:
        self.load.requests -= 1
        self.load.bytes -= self.bytes
        self.load.tokens -= self.tokens
        self.bytes = self.tokens = 0

"""How much is taken on: of one request, and of all at once. What goes beyond is refused with 413, or 429 for now."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Every figure that bounds memory or time."""

    batch_tokens: int = 512  # computed at once
    tokens: int = 65_536  # of all requests from when they are queued until they are answered
    requests: int = 512  # at once
    inputs: int = 2048  # of a request; or pairs of a text and a label
    body: int = 2_000_000  # bytes of a request
    bodies: int = 64_000_000  # bytes of all requests at once
    texts: int = 500_000  # characters of a request
    numbers: int = 2_000_000  # of an answer that is vectors
    entries: int = 5_000  # of an answer that is a list of words or spans, all inputs together
    body_seconds: float = 10.0  # for a request's body to arrive
    seconds: float = 30.0  # for an answer; then its rows leave the queue

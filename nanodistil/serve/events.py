"""Server-sent events: an answer in pieces, each as soon as it is known.

    data: {"choices": ...}

    data: [DONE]

What goes wrong before the first piece is an answer like any other, with its status; behind it nothing is left but to
say so in an event, and to end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

from nanodistil.serve.answering import written
from nanodistil.serve.call import Call
from nanodistil.serve.problems import Problem, of
from nanodistil.weights.errors import NanoDistilError

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # for proxies, which would collect pieces


async def events(call: Call, pieces: AsyncIterator[Any], last: bytes = b"") -> StreamingResponse:
    """The pieces as JSON, and what stands behind them. Raises what the first piece raises."""
    return Events(call, pieces, await anext(pieces, None), last)


class Events(StreamingResponse):
    """Written as they come. Raises Gone if the client goes away."""

    def __init__(self, call: Call, pieces: AsyncIterator[Any], first: Any, last: bytes) -> None:
        super().__init__(iter(()), media_type="text/event-stream", headers=HEADERS)
        self.call, self.pieces, self.first, self.last = call, pieces, first, last

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for event in self._all():
                await send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            await self.pieces.aclose()  # type: ignore[attr-defined]  # so that nothing is written for nobody
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _all(self) -> AsyncIterator[bytes]:
        try:
            if self.first is not None:
                yield event(written(self.first))
            async for piece in self.pieces:
                yield event(written(piece))
            if self.last:
                yield event(self.last)
        except (Problem, NanoDistilError) as error:
            problem = error if isinstance(error, Problem) else of(error)
            yield event(problem.body(self.call.openai))


def event(data: bytes) -> bytes:
    r"""One event.

    >>> event(b"[DONE]")
    b'data: [DONE]\n\n'
    """
    return b"data: " + data + b"\n\n"

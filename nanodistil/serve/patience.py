"""Connections that say nothing, or say it a byte a minute, are closed; and there is a most of them.

uvicorn waits for ever for the head of a request, and for a client to take its answer. Here a connection that has begun
no new request since it was last looked at is closed, and one that again and again has not taken what was sent to it.
How long an answer may take is no matter of the connection: asking.py sees to that, and a stream may be long.

What reads HTTP is httptools, or without it h11, at several times the cost; h11 has an end to how long a head may be,
and the other is given one here.
"""

from __future__ import annotations

import asyncio
from typing import Any

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
except ImportError:
    from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol  # type: ignore[assignment, unused-ignore]

MOST_CONNECTIONS = 4096
HEAD_SECONDS = 15.0  # for the head of a request, twice at most
LOOKS = 8  # so often an answer may be found waiting to be taken


MOST_HEAD = 65_536  # bytes of a request's head, give or take what is read at once


class Patient(Protocol):
    """A connection, looked at now and then."""

    head: int | None = None  # bytes since a head began that is not whole yet

    looking: asyncio.TimerHandle | None = None
    seen: Any = None  # the request that was being answered, or the last one
    looks = 0  # at a request whose answer waits to be taken

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self.looking = self.loop.call_later(HEAD_SECONDS, self.look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.looking is not None:
            self.looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.head is not None:
            self.head += len(data)
            if self.head > MOST_HEAD:
                self.send_400_response("the head is too long")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:  # of httptools
        self.head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:  # of httptools
        self.head = None
        super().on_headers_complete()

    def look(self) -> None:
        unfinished = self.cycle is not None and not self.cycle.response_complete
        same = self.cycle is self.seen
        self.looks = self.looks + 1 if same and unfinished and self.flow.write_paused else 0
        if (same and not unfinished) or self.looks >= LOOKS:
            self.transport.abort()
            return
        self.seen = self.cycle
        self.looking = self.loop.call_later(HEAD_SECONDS, self.look)

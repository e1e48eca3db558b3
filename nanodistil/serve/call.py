"""One request on its way: what it is, what it holds, how long each part of it took."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from random import getrandbits
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs

from nanodistil.serve.admission import Held
from nanodistil.serve.body import Receive, parsed, received
from nanodistil.serve.engine import Ticket

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # an id that a client may choose: it is written into the journal


class Call:
    """A request, from its first byte to the last of its answer."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self.client: str = (scope.get("client") or ("local",))[0]  # none on a Unix socket
        given = self.headers.get("x-request-id", "")
        # uuid4 asks the system, and whoever does that gives the interpreter away, to be had back from the engine.
        self.id = given if GIVEN_ID.fullmatch(given) else f"{getrandbits(128):032x}"
        self.receive = receive
        self.held: Held = None  # type: ignore[assignment]  # of a request that is let in
        self.began = perf_counter()
        self.stages: dict[str, float] = {}  # seconds
        self.inputs = self.tokens = 0
        self.model = ""  # the name of the one that answers

    @property
    def openai(self) -> bool:
        """Whether its client is one of OpenAI's, by the path."""
        return self.path.startswith("/v1/")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A part of it whose time is taken."""
        began = perf_counter()
        try:
            yield
        finally:
            self.stages[name] = perf_counter() - began

    def told(self, ticket: Ticket) -> None:
        """How long its rows waited, and were computed."""
        if ticket.begun:
            self.stages["queue"] = ticket.begun - ticket.queued
        if ticket.ended:
            self.stages["compute"] = ticket.ended - ticket.begun

    async def json(self) -> dict[str, Any]:
        """Its body. Raises Problem, Gone."""
        with self.stage("read"):
            return parsed(await received(self.receive, self.headers, self.held, self.held.load.limits.body_seconds))

    async def gone(self) -> None:
        """Ends when the client has closed the connection. After the body, nothing else is to come."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

"""Where every request comes in and every answer goes out: the ASGI application itself.

    a request -> its key -> let in, if there is room -> its route -> an answer, or a problem -> counted, written down

Every answer has the id of its request. What goes wrong in a way that nobody thought of is answered with 500 and written
down with the place in the code, without the message of the error, in which there may be a text.
"""

from __future__ import annotations

import hmac
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from starlette.responses import Response

from nanodistil.serve.admission import Held
from nanodistil.serve.body import Gone, Receive
from nanodistil.serve.call import Call
from nanodistil.serve.problems import Problem, of
from nanodistil.serve.routes import OPEN, Found, find
from nanodistil.serve.site import Site

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Door:
    """The application: called by whatever speaks HTTP."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(Call(scope, receive), scope, receive, send)
        else:  # a web socket
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.site.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.site.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, call: Call, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        route, status = "none", 499  # as others count a client that has gone
        try:
            try:
                found = find(call.method, call.path)
                route = found.route
                response = await self._within(call, found)
            except Problem as problem:
                response = refused(problem, call.openai)
            except Gone:
                self.site.metrics.cancelled.inc()
                return
            except Exception as error:
                self._write_down(call, error)
                response = refused(of(error), call.openai)
            status = response.status_code
            response.headers["x-request-id"] = call.id
            try:
                await response(scope, receive, send)
            except Gone:  # while it was being told, piece by piece
                self.site.metrics.cancelled.inc()
                status = 499
        finally:
            if call.held is not None:
                call.held.free()
            self._count(call, route, status)

    async def _within(self, call: Call, found: Found) -> Response:
        if found.route not in OPEN:
            self._check_key(call)
        if call.method == "POST":
            call.held = Held(self.site.load)
        return await found.handler(self.site, call, **found.arguments)

    def _check_key(self, call: Call) -> None:
        """Raises Problem (401) if there is a key and the request has another, or none."""
        if self.site.api_key is None:
            return
        kind, _, key = call.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(key.strip().encode(), self.site.api_key.encode()):
            message = "an API key is needed, as `Authorization: Bearer KEY`"
            raise Problem(401, "Unauthorized", message, code="invalid_api_key")

    def _count(self, call: Call, route: str, status: int) -> None:
        seconds = perf_counter() - call.began
        self.site.metrics.request(call, route, status, seconds)
        if route in OPEN:
            return
        self.site.journal.write(
            "request",
            id=call.id,
            client=call.client,
            route=route,
            model=call.model,
            status=status,
            inputs=call.inputs,
            tokens=call.tokens,
            ms={name: round(1e3 * took, 2) for name, took in {**call.stages, "all": seconds}.items()},
        )

    def _write_down(self, call: Call, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        places = [f"{frame.filename.rpartition('nanodistil')[2]}:{frame.lineno} {frame.name}" for frame in frames]
        self.site.journal.write("bug", id=call.id, error=type(error).__name__, at=places)


def refused(problem: Problem, openai: bool) -> Response:
    """A problem as an answer."""
    response = Response(problem.body(openai), problem.status, media_type="application/json")
    if problem.retry_after is not None:
        response.headers["retry-after"] = str(problem.retry_after)
    if problem.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response

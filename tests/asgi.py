"""Asks an ASGI application without a socket: requests one by one, or several at once, and clients that go away."""

import asyncio
import json as json_of
from contextlib import contextmanager
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json_of.loads(self.body)


class Asker:
    """Calls an application on a loop of its own."""

    def __init__(self, app):
        self.app = app
        self.loop = asyncio.new_event_loop()
        self.life = None

    def run(self, coroutine):
        """Its result. The time is for kernels that have to be compiled, on a machine with much else to do."""
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 600))

    def get(self, path, **more):
        return self.run(self.ask("GET", path, **more))

    def post(self, path, json=None, **more):
        return self.run(self.ask("POST", path, json, **more))

    async def ask(self, method, path, json=None, *, body=None, headers=(), client="127.0.0.1", gone=None, parts=None):
        """gone: an event after which the client has closed the connection; parts: of the body, as they arrive."""
        path, _, query = path.partition("?")
        if body is None:
            body = b"" if json is None else json_of.dumps(json).encode()
        waiting = [{"type": "http.request", "body": body}]
        if parts is not None:
            waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        names = dict(headers)
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in names.items()],
            "client": (client, 1234),
        }
        sent = []

        async def receive():
            if waiting:
                return waiting.pop(0)
            if gone is None:
                await asyncio.Event().wait()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        if not sent:
            return None
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(one.get("body", b"") for one in sent[1:]))

    async def begin(self):
        """The application's start, as a server does it."""
        self.ending, started = asyncio.Event(), asyncio.Event()
        waiting = ["lifespan.startup"]

        async def receive():
            if waiting:
                return {"type": waiting.pop()}
            await self.ending.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message):
            started.set()

        self.life = asyncio.ensure_future(self.app({"type": "lifespan"}, receive, send))
        await started.wait()

    async def end(self):
        self.ending.set()
        await self.life


@contextmanager
def asking(app, begin=True):
    """An Asker of the application, which lives meanwhile."""
    asker = Asker(app)
    try:
        if begin:
            asker.run(asker.begin())
        yield asker
    finally:
        if begin:
            asker.run(asker.end())
        asker.loop.close()

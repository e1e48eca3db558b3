"""Which path is answered by whom. A handler is a coroutine of the site and the call, which gives a response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from starlette.responses import Response

from nanodistil.serve import about, completions, inference, inside, openai, tei
from nanodistil.serve.problems import Problem

Handler = Callable[..., Awaitable[Response]]

TABLE: dict[str, dict[str, Handler]] = {
    "/": {"GET": about.page, "POST": inference.any_task},
    "/docs": {"GET": about.page},
    "/page": {"GET": inside.inside},
    "/openapi.json": {"GET": about.openapi},
    "/info": {"GET": about.info},
    "/health": {"GET": about.health},
    "/ping": {"GET": about.health},
    "/ready": {"GET": about.ready},
    "/metrics": {"GET": about.metrics},
    "/embed": {"POST": tei.embed},
    "/embed_all": {"POST": tei.embed_all},
    "/embed_sparse": {"POST": tei.embed_sparse},
    "/similarity": {"POST": tei.similarity},
    "/predict": {"POST": tei.predict},
    "/rerank": {"POST": tei.rerank},
    "/tokenize": {"POST": tei.tokenize},
    "/decode": {"POST": tei.decode},
    "/v1/embeddings": {"POST": openai.embeddings},
    "/v1/models": {"GET": openai.models},
    "/v1/completions": {"POST": completions.completions},
    "/v1/chat/completions": {"POST": completions.no_chat},
}
OPEN = {"/", "/docs", "/openapi.json", "/health", "/ping", "/ready"}  # GET of them without a key, and not written down
BY_NAME: dict[
    str, dict[str, Handler]
] = {  # what begins so and goes on with a model's name, in which there may be slashes
    "/v1/models/": {"GET": openai.model},
    "/models/": {"POST": inference.of_model, "GET": about.of_model},
    "/pipeline/": {"POST": inference.of_task},
}


class Found(NamedTuple):
    """Who answers, under which route, with what arguments out of the path."""

    route: str
    handler: Handler
    arguments: dict[str, Any]


def find(method: str, path: str) -> Found:
    """Raises Problem: 404 for no such path, 405 for a method that it does not take.

    >>> find("POST", "/models/a/b").arguments
    {'name': 'a/b'}
    """
    route, arguments, handlers = path, {}, TABLE.get(path)
    if handlers is None:
        for prefix, those in BY_NAME.items():
            if path.startswith(prefix) and len(path) > len(prefix):
                route, handlers, arguments = f"{prefix}NAME", those, {"name": path.removeprefix(prefix)}
    if handlers is None:
        raise Problem(404, "NotFound", "there is no such path; /openapi.json lists all", code="not_found")
    handler = handlers.get("GET" if method == "HEAD" else method)
    if handler is None:
        raise Problem(405, "MethodNotAllowed", f"this path takes {' and '.join(handlers)}", code="method_not_allowed")
    if method == "POST" and route == "/":
        route = "/ (POST)"
    return Found(route, handler, arguments)

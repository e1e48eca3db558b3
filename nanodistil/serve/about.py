"""What is asked about the server itself: whether it lives, whether it is ready, what it serves, what it counted."""

from __future__ import annotations

from typing import Any

from starlette.responses import HTMLResponse, Response

from nanodistil import __version__
from nanodistil.serve.answering import as_json
from nanodistil.serve.call import Call
from nanodistil.serve.description import described
from nanodistil.serve.page import POLICY, page_html
from nanodistil.serve.problems import Problem
from nanodistil.serve.served import SPARSE, Served
from nanodistil.serve.site import Site


async def health(site: Site, call: Call) -> Response:
    """Whether it lives: its engine runs. Raises Problem (503) if not: time to begin again."""
    if not site.engine.alive:
        raise Problem(503, "Unhealthy", "the engine has ended")
    return as_json({"status": "ok"})


async def ready(site: Site, call: Call) -> Response:
    """Whether requests should be sent here: the models have answered their probes, and it is not about to end."""
    if not site.ready:
        raise Problem(
            503, "Unhealthy", "not ready: it has not probed its models yet, or is about to end", retry_after=1
        )
    return as_json({"status": "ready"})


async def info(site: Site, call: Call) -> Response:
    return as_json(facts(site, site.asked_for(call)))


async def of_model(site: Site, call: Call, name: str) -> Response:
    """GET /models/NAME/info and /models/NAME/health, as InferenceClient asks for them; /models/NAME as the first."""
    for ending, handler in (("/health", health), ("/info", None)):
        if name.endswith(ending) and name not in site.models:
            name = name.removesuffix(ending)
            if handler is not None:
                site.model(name)
                return await handler(site, call)
    return as_json(facts(site, site.model(name)))


def facts(site: Site, served: Served) -> dict[str, Any]:
    """TEI's facts about a model, and ours."""
    config, limits = served.model.config, site.limits
    return {
        "model_id": served.name,
        "model_sha": None,
        "model_dtype": str(served.model.dtype),
        "model_type": kind(served),
        "task": served.task,
        "tasks": list(served.pipes),
        "backend": served.model.backend,
        "max_concurrent_requests": limits.requests,
        "max_input_length": min(config.max_position_embeddings, served.tokenizer.model_max_length),
        "max_batch_tokens": limits.batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": limits.inputs,
        "max_queue_tokens": limits.tokens,
        "auto_truncate": False,
        "version": __version__,
        "models": list(site.models),
    }


def kind(served: Served) -> dict[str, Any]:
    """What a model is, in TEI's words; in the task's where TEI has none."""
    if served.task == "feature-extraction":
        return {"embedding": {"pooling": served.pooling}}
    if served.task == SPARSE:
        return {"embedding": {"pooling": "splade"}}
    labels = served.model.config.id2label
    if served.task == "text-classification":
        named = {"id2label": {str(i): one for i, one in labels.items()}, "label2id": {v: k for k, v in labels.items()}}
        return {"reranker" if served.ranks else "classifier": named}
    return {served.task: {}}


async def metrics(site: Site, call: Call) -> Response:
    return Response(site.metrics.shown(), media_type=site.metrics.content_type)


async def openapi(site: Site, call: Call) -> Response:
    return as_json(described(site.limits, list(site.models), site.api_key is not None))


async def page(site: Site, call: Call) -> Response:
    return HTMLResponse(page_html(), headers={"content-security-policy": POLICY, "x-content-type-options": "nosniff"})

"""OpenAI's endpoints: /v1/embeddings and /v1/models; completions.py has /v1/completions.

Their errors have OpenAI's form too (problems.py).

Vectors have length 1, as OpenAI's have. `encoding_format="base64"`, which their own client asks for unless told
otherwise, is float32 in little-endian order: the same bits in a quarter of the bytes. `dimensions` takes the first so
many numbers, at length 1 again: sensible for models that were trained for it, allowed for all.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from starlette.responses import Response

from nanodistil.serve.answering import as_json, shortened
from nanodistil.serve.call import Call
from nanodistil.serve.fields import Fields, texts
from nanodistil.serve.problems import unusable
from nanodistil.serve.site import Site
from nanodistil.serve.tei import vectors


async def embeddings(site: Site, call: Call) -> Response:
    fields = Fields(
        await call.json(), "input model encoding_format dimensions user"
    )  # user: whose, for OpenAI's own use
    name = fields.get("model")
    if not isinstance(name, str):
        raise unusable("`model` must be a string", "model")
    served = site.model(name, "feature-extraction")
    call.model = served.name
    inputs = texts(fields.get("input"), "input", site.limits)
    dimensions = fields.whole("dimensions", 1, served.model.config.dim)
    packed = fields.word("encoding_format", ("float", "base64")) == "base64"
    pooling = "mean" if served.pooling == "none" else served.pooling
    found = await vectors(site, call, served, inputs, pooling=pooling, normalize=True)

    def answer() -> Response:
        data = [
            {"object": "embedding", "index": i, "embedding": encoded(shortened(vector, dimensions), packed)}
            for i, vector in enumerate(found)
        ]
        usage = {"prompt_tokens": call.tokens, "total_tokens": call.tokens}
        return as_json({"object": "list", "data": data, "model": served.name, "usage": usage})

    return await site.asking.apart(len(found) > 8, answer)


def encoded(vector: Any, packed: bool) -> Any:
    """A vector as OpenAI sends it: numbers, or base64 of float32.

    >>> encoded(np.array([1.0, 2.0], np.float32), True)
    'AACAPwAAAEA='
    """
    if not packed:
        return vector.tolist()
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")


def _described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "nanodistil"}


async def models(site: Site, call: Call) -> Response:
    return as_json({"object": "list", "data": [_described(name) for name in site.models]})


async def model(site: Site, call: Call, name: str) -> Response:
    return as_json(_described(site.model(name).name))

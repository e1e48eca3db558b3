"""The endpoints of Text Embeddings Inference: the same fields, the same answers; a model by `?model=NAME`.

Not done, and refused rather than passed over: prompts, and cutting from the left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from starlette.responses import Response

from nanodistil.serve.answering import as_json, lists, shortened, written
from nanodistil.serve.call import Call
from nanodistil.serve.fields import Fields, counted, texts
from nanodistil.serve.problems import unusable
from nanodistil.serve.served import RANKING, SPARSE, Served
from nanodistil.serve.site import Site

LEFT = "texts are cut at their end only; leave it out"
PROMPT = "this server knows no prompts; put it before the text"
CUT = "truncate truncation_direction"


def cut(fields: Fields) -> bool:
    """Whether texts that are too long are cut. Raises Problem for cutting them from the left."""
    fields.refuse("truncation_direction", ("Right", "right"), LEFT)
    return fields.flag("truncate")


async def vectors(site: Site, call: Call, served: Served, inputs: list[str], **options: Any) -> list[Any]:
    """Arrays, (D,) or (T, D) each."""
    pipe = served.pipes["feature-extraction"]
    return await site.asking.answers(call, pipe, inputs, {"return_tensors": True, **options})


async def embed(site: Site, call: Call) -> Response:
    fields = Fields(await call.json(), f"inputs normalize dimensions prompt_name {CUT}")
    served = site.asked_for(call, "feature-extraction")
    inputs = texts(fields.get("inputs"), "inputs", site.limits)
    dimensions = fields.whole("dimensions", 1, served.model.config.dim)
    fields.refuse("prompt_name", (None,), PROMPT)
    options = {"normalize": fields.flag("normalize", True), "truncation": cut(fields), "pooling": served.pooling}
    found = await vectors(site, call, served, inputs, **options)

    def answer() -> Response:
        return as_json(lists([shortened(vector, dimensions) for vector in found]))

    return await site.asking.apart(len(found) > 8, answer)


async def embed_all(site: Site, call: Call) -> Response:
    fields = Fields(await call.json(), f"inputs prompt_name {CUT}")
    served = site.asked_for(call, "feature-extraction")
    inputs = texts(fields.get("inputs"), "inputs", site.limits)
    fields.refuse("prompt_name", (None,), PROMPT)
    found = await vectors(site, call, served, inputs, truncation=cut(fields))

    def answer() -> Response:  # a text at a time: as Python's numbers all would take several times their place
        rows = b",".join(written(x[0].tolist()) for x in found)
        return Response(b"[" + rows + b"]", media_type="application/json")

    return await site.asking.apart(True, answer)


async def embed_sparse(site: Site, call: Call) -> Response:
    """Words of the vocabulary, by their ids, and how much a text is about each."""
    fields = Fields(await call.json(), f"inputs prompt_name {CUT}")
    served = site.asked_for(call, SPARSE)
    inputs = texts(fields.get("inputs"), "inputs", site.limits)
    fields.refuse("prompt_name", (None,), PROMPT)
    options = {**served.usual, "truncation": cut(fields)}
    found = await site.asking.answers(call, served.pipes[SPARSE], inputs, options)

    def answer() -> Response:
        pairs = ((one.indices.tolist(), one.values.tolist()) for one in found)
        return as_json([[{"index": i, "value": x} for i, x in zip(*pair, strict=True)] for pair in pairs])

    return await site.asking.apart(True, answer)


async def similarity(site: Site, call: Call) -> Response:
    fields = Fields(await call.json(), "inputs parameters")
    options = Fields(_object(fields.body.get("parameters", {}), "parameters"), f"prompt_name {CUT}")
    options.refuse("prompt_name", (None,), PROMPT)
    served = site.asked_for(call, "feature-extraction")
    return as_json(await similarities(site, call, served, fields.get("inputs"), cut(options)))


async def similarities(site: Site, call: Call, served: Served, inputs: Any, truncate: bool) -> list[float]:
    """The cosine of a text and each of others, in float64."""
    pair = Fields(_object(inputs, "inputs"), "source_sentence sentences")
    source = pair.get("source_sentence")
    others = texts(pair.get("sentences"), "sentences", site.limits)
    if not isinstance(source, str):
        raise unusable("`source_sentence` must be a string", "source_sentence")
    options = {"pooling": "mean" if served.pooling == "none" else served.pooling, "truncation": truncate}
    found = await vectors(site, call, served, [source, *others], normalize=False, **options)
    first, *rest = (vector.astype(np.float64) for vector in found)
    return [float(first @ other / max(np.linalg.norm(first) * np.linalg.norm(other), 1e-300)) for other in rest]


async def predict(site: Site, call: Call) -> Response:
    """Classes of texts, best first; of one text one list, of a batch a list of them."""
    fields = Fields(await call.json(), f"inputs raw_scores {CUT}")
    served = site.asked_for(call, "text-classification")
    single, inputs = sequences(fields.get("inputs"))
    counted(inputs, "inputs", site.limits)
    options: dict[str, Any] = {"top_k": None, "truncation": cut(fields)}
    if fields.flag("raw_scores"):
        options["function_to_apply"] = "none"
    found = await site.asking.answers(call, served.pipes["text-classification"], inputs, options)
    return as_json(found[0] if single else found)


def sequences(inputs: Any) -> tuple[bool, list[Any]]:
    """TEI's ways to say a text, a pair of texts, and a batch of either, as the pipeline takes them.

    >>> sequences("a"), sequences(["a", "b"]), sequences([["a"], ["b", "c"]])
    ((True, ['a']), (True, [{'text': 'a', 'text_pair': 'b'}]), (False, ['a', {'text': 'b', 'text_pair': 'c'}]))
    """
    if isinstance(inputs, str):
        return True, [inputs]
    if isinstance(inputs, list) and inputs and all(isinstance(one, str) for one in inputs):
        return True, [_sequence(inputs)]
    if not isinstance(inputs, list):
        raise unusable('`inputs` must be a string, a pair ["a", "b"], or a batch [["a"], ["b"]]', "inputs")
    return False, [_sequence(one) for one in inputs]


def _sequence(one: Any) -> Any:
    strings = [one] if isinstance(one, str) else one
    if not isinstance(strings, list) or len(strings) not in (1, 2) or not all(isinstance(s, str) for s in strings):
        raise unusable('`inputs`: a text is "a" or ["a"], a pair ["a", "b"], a batch [["a"], ["b"], ["c"]]', "inputs")
    return strings[0] if len(strings) == 1 else {"text": strings[0], "text_pair": strings[1]}


async def rerank(site: Site, call: Call) -> Response:
    """Texts by how well they go with a query, best first; scores as the folder's activation makes them, or raw."""
    fields = Fields(await call.json(), f"query texts raw_scores return_text {CUT}")
    served = site.asked_for(call, RANKING)
    query, others = fields.get("query"), texts(fields.get("texts"), "texts", site.limits)
    if not isinstance(query, str):
        raise unusable("`query` must be a string", "query")
    options = {"truncation": cut(fields), "activation": "Identity" if fields.flag("raw_scores") else None}
    found = await site.asking.answers(call, served.pipes[RANKING], [(query, text) for text in others], options)
    scores = [float(score) for score in found]
    with_text = fields.flag("return_text")
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return as_json([{"index": i, "score": scores[i], **({"text": others[i]} if with_text else {})} for i in order])


async def tokenize(site: Site, call: Call) -> Response:
    fields = Fields(await call.json(), "inputs add_special_tokens prompt_name")
    served = site.asked_for(call)
    inputs = texts(fields.get("inputs"), "inputs", site.limits)
    fields.refuse("prompt_name", (None,), PROMPT)
    framed = fields.flag("add_special_tokens", True)
    return await site.asking.apart(True, _tokens, served.tokenizer, inputs, framed)


def _tokens(tokenizer: Any, inputs: list[str], framed: bool) -> Response:
    rows = tokenizer(
        inputs,
        add_special_tokens=framed,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,
    )
    answer = []
    for i, ids in enumerate(rows["input_ids"]):
        names = tokenizer.convert_ids_to_tokens(ids)
        parts = zip(ids, names, rows["special_tokens_mask"][i], rows["offset_mapping"][i], strict=True)
        answer.append(
            [
                {
                    "id": n,
                    "text": name,
                    "special": bool(mark),
                    "start": None if mark else a,
                    "stop": None if mark else b,
                }
                for n, name, mark, (a, b) in parts
            ]
        )
    return as_json(answer)


async def decode(site: Site, call: Call) -> Response:
    fields = Fields(await call.json(), "ids skip_special_tokens")
    served = site.asked_for(call)
    ids, skip = fields.get("ids"), fields.flag("skip_special_tokens", True)
    rows = ids if isinstance(ids, list) and ids and isinstance(ids[0], list) else [ids]
    for listed in (rows, *rows):
        if listed == []:
            raise unusable("`ids` must not be empty", "ids")
    counted(rows, "ids", site.limits)
    vocabulary = served.tokenizer.encoder.names
    for row in rows:
        if not isinstance(row, list) or not all(type(n) is int and n in vocabulary for n in row):
            raise unusable("`ids` must be a list of token ids of this model's vocabulary, or a list of such", "ids")
    return await site.asking.apart(True, _decoded, served.tokenizer, rows, skip)


def _decoded(tokenizer: Any, rows: list[list[int]], skip: bool) -> Response:
    return as_json([tokenizer.decode(row, skip_special_tokens=skip) for row in rows])


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise unusable(f"`{name}` must be an object", name)
    return value

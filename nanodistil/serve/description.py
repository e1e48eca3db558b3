"""The server in OpenAPI 3.1: every path, what it takes, what it gives, what it refuses."""

from __future__ import annotations

from typing import Any

from nanodistil import __version__
from nanodistil.pipelines import TASKS
from nanodistil.serve.limits import Limits

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
SCORE: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
CUT: dict[str, Any] = {"truncate": FLAG, "truncation_direction": {"enum": ["Right", "right"]}}
REFUSALS = {
    "400": "The body is no JSON.",
    "401": "An API key is needed.",
    "404": "There is no such model, or task.",
    "408": "The body did not arrive in time.",
    "413": "Too many bytes, inputs or tokens.",
    "415": "The body is packed.",
    "422": "Something in it cannot be used.",
    "424": "The model failed, or has no head for this.",
    "429": "Not now; Retry-After says when.",
    "500": "An error of the server's own.",
}


def obj(needed: str = "", **properties: Schema) -> Schema:
    """An object with these properties and no others, of which some are needed."""
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": needed.split()} if needed else found


def some(items: Schema, most: int | None = None) -> Schema:
    found: Schema = {"type": "array", "items": items}
    return {**found, "minItems": 1, "maxItems": most} if most else found


def answered(schema: Schema, what: str = "The answer.") -> Schema:
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def streamed(answer: Schema) -> Schema:
    """The same, or in server-sent events if the request says so."""
    return {**answer, "content": {**answer["content"], "text/event-stream": {"schema": TEXT}}}


def described(limits: Limits, names: list[str], with_key: bool) -> Schema:
    """The whole description, as JSON is written of it. names: of the models."""
    error = obj("error error_type", error=TEXT, error_type=TEXT)
    inner = obj("message type param code", message=TEXT, type=TEXT, param={"type": ["string", "null"]})
    inner["properties"]["code"] = {"type": ["string", "null"]}
    openai_error = obj("error", error=inner)
    parts = {"Error": error, "OpenAIError": openai_error}
    found: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "nanodistil", "version": __version__, "description": "DistilBERT models behind a port."},
        "paths": {path: _path(path, methods, names) for path, methods in _paths(limits, names).items()},
        "components": {"schemas": parts},
    }
    if with_key:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    return found


def _path(path: str, methods: dict[str, tuple[str, Schema | None, Schema]], names: list[str]) -> Schema:
    form = "OpenAIError" if path.startswith("/v1/") else "Error"
    refusal = {"$ref": f"#/components/schemas/{form}"}
    found: Schema = {}
    for method, (what, body, good) in methods.items():
        codes = REFUSALS if body is not None else {"401": REFUSALS["401"], "404": REFUSALS["404"], "503": "Not ready."}
        responses = {"200": good, **{code: answered(refusal, words) for code, words in codes.items()}}
        one: Schema = {"summary": what, "operationId": _name(method, path), "responses": responses}
        if body is not None:
            one["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        one["parameters"] = [
            {"name": word, "in": "path", "required": True, "schema": {"enum": words}}
            for word, words in (("task", list(TASKS)), ("name", names))
            if f"{{{word}}}" in path
        ]
        if body is not None and not path.startswith(("/v1/", "/models/", "/pipeline/")):
            one["parameters"].append({"name": "model", "in": "query", "required": False, "schema": {"enum": names}})
        found[method] = one
    return found


def _name(method: str, path: str) -> str:
    words = path.replace("{", "").replace("}", "").strip("/").replace("/", "_") or "root"
    return f"{method}_{words}".replace(".", "_")


def _paths(limits: Limits, names: list[str]) -> dict[str, dict[str, tuple[str, Schema | None, Schema]]]:
    """path -> method -> a summary, the body, the response."""
    texts = {"oneOf": [TEXT, some(TEXT, limits.inputs)]}
    vector, vectors = some(SCORE), some(some(SCORE))
    label = obj("label score", label=TEXT, score=SCORE)
    classes = some(label)
    sequence = {"oneOf": [TEXT, {**some(TEXT, 2)}]}
    pair = obj("source_sentence sentences", source_sentence=TEXT, sentences=some(TEXT, limits.inputs))
    token = obj(
        "id text special start stop",
        id=WHOLE, text=TEXT, special=FLAG, start={"type": ["integer", "null"]}, stop={"type": ["integer", "null"]},
    )  # fmt: skip
    ids = {"oneOf": [some(WHOLE, 100_000), some(some(WHOLE), limits.inputs)]}
    one_input = {
        "anyOf": [
            obj("question context", question=TEXT, context=TEXT),
            pair,
            obj("text", text=TEXT, text_pair=TEXT),
            obj("prompt choices", prompt=TEXT, choices=some(TEXT, 9)),
        ]
    }
    few = {**WHOLE, "minimum": 1, "maximum": 20}
    given: Schema = {
        "type": "object",
        "properties": {
            "top_k": few, "targets": some(TEXT, 9), "joint": FLAG, "beams": few, "whole_words": FLAG,
            "function_to_apply": {"enum": ["softmax", "sigmoid", "none"]}, "truncation": FLAG,
            "candidate_labels": some(TEXT, 9), "hypothesis_template": TEXT, "multi_label": FLAG,
            "aggregation_strategy": {"enum": ["none", "simple", "first", "average", "max"]},
            "ignore_labels": some(TEXT, 9), "stride": few,
            "doc_stride": few, "max_answer_len": few, "max_seq_len": WHOLE, "max_question_len": few,
            "handle_impossible_answer": FLAG, "align_to_words": FLAG, "choices": some(TEXT, 9),
            "pooling": {"enum": ["mean", "cls", "none"]}, "normalize": FLAG,
            "max_new_tokens": few, "do_sample": FLAG, "temperature": {**SCORE, "minimum": 0.01, "maximum": 2},
            "top_p": {**SCORE, "minimum": 0.01, "maximum": 1}, "typical_p": {**SCORE, "minimum": 0.01, "maximum": 1},
            "repetition_penalty": {**SCORE, "minimum": 0.1, "maximum": 2}, "seed": WHOLE, "stop": some(TEXT, 4),
            "return_full_text": FLAG, "details": FLAG, "decoder_input_details": FLAG, "top_n_tokens": few,
        },
    }  # fmt: skip
    task: Schema = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "inputs": {"oneOf": [TEXT, one_input, some({"oneOf": [TEXT, one_input]}, limits.inputs)]},
            "parameters": given,
            "options": {"type": "object"},
            "stream": FLAG,
            "normalize": FLAG,
            **CUT,
        },
        "additionalProperties": False,
    }
    any_answer = streamed(answered({"type": ["array", "object"]}, "What the pipeline of the model's task answers."))
    number = {"oneOf": [some(SCORE), TEXT]}
    one_model = obj("id object created owned_by", id=TEXT, object=TEXT, created=WHOLE, owned_by=TEXT)
    embedding = obj("object index embedding", object=TEXT, index=WHOLE, embedding=number)
    usage = obj("prompt_tokens total_tokens", prompt_tokens=WHOLE, total_tokens=WHOLE)
    ok = answered({"type": "object"})
    drawn = {"description": "A page.", "content": {"text/html": {"schema": TEXT}}}
    plain = {"description": "Text of Prometheus.", "content": {"text/plain": {"schema": TEXT}}}
    prompt = obj(
        "model",
        model={"enum": names}, prompt=texts, max_tokens={**WHOLE, "minimum": 0, "maximum": 64}, echo=FLAG,
        temperature={**SCORE, "minimum": 0, "maximum": 2}, top_p={**SCORE, "minimum": 0, "maximum": 1},
        n={**WHOLE, "minimum": 1, "maximum": 32}, logprobs={**WHOLE, "minimum": 0, "maximum": 20}, seed=WHOLE,
        stop={"oneOf": [TEXT, some(TEXT, 4)]}, stream=FLAG, stream_options=obj(include_usage=FLAG), user=TEXT,
        logit_bias={"type": "object", "additionalProperties": {**SCORE, "minimum": -100, "maximum": 100}},
    )  # fmt: skip
    spent = obj(
        "prompt_tokens completion_tokens total_tokens",
        prompt_tokens=WHOLE, completion_tokens=WHOLE, total_tokens=WHOLE,
    )  # fmt: skip
    choice = obj(
        "index text logprobs finish_reason",
        index=WHOLE, text=TEXT, logprobs={"type": ["object", "null"]}, finish_reason={"enum": ["stop", "length", None]},
    )  # fmt: skip
    completion = obj(
        "id object created model choices usage",
        id=TEXT, object=TEXT, created=WHOLE, model=TEXT, choices=some(choice), usage=spent,
    )  # fmt: skip
    chat: Schema = {"type": "object", "properties": {"model": TEXT}}
    return {
        "/embed": {
            "post": (
                "A vector for every text",
                obj("inputs", inputs=texts, normalize=FLAG, dimensions={**WHOLE, "minimum": 1}, **CUT),
                answered(vectors),
            )
        },
        "/embed_all": {
            "post": ("A vector for every token", obj("inputs", inputs=texts, **CUT), answered(some(vectors)))
        },
        "/embed_sparse": {
            "post": (
                "Words of the vocabulary for every text",
                obj("inputs", inputs=texts, **CUT),
                answered(some({"type": "array", "items": obj("index value", index=WHOLE, value=SCORE)})),
            )
        },
        "/similarity": {
            "post": (
                "The cosine of a text and each of others",
                obj("inputs", inputs=pair, parameters=obj(**CUT)),
                answered(vector),
            )
        },
        "/predict": {
            "post": (
                "Classes of texts, best first",
                obj("inputs", inputs={"anyOf": [sequence, some(sequence, limits.inputs)]}, raw_scores=FLAG, **CUT),
                answered({"anyOf": [classes, some(classes)]}),
            )
        },
        "/rerank": {
            "post": (
                "Texts by how well they go with a query",
                obj(
                    "query texts",
                    query=TEXT, texts=some(TEXT, limits.inputs), raw_scores=FLAG, return_text=FLAG, **CUT,
                ),
                answered(some(obj("index score", index=WHOLE, score=SCORE, text=TEXT))),
            )
        },
        "/tokenize": {
            "post": (
                "The tokens of texts",
                obj("inputs", inputs=texts, add_special_tokens=FLAG),
                answered(some(some(token))),
            )
        },
        "/decode": {
            "post": ("Texts of token ids", obj("ids", ids=ids, skip_special_tokens=FLAG), answered(some(TEXT)))
        },
        "/v1/embeddings": {
            "post": (
                "OpenAI's embeddings",
                obj(
                    "input model",
                    input=texts, model={"enum": names}, encoding_format={"enum": ["float", "base64"]},
                    dimensions={**WHOLE, "minimum": 1}, user=TEXT,
                ),
                answered(obj("object data model usage", object=TEXT, data=some(embedding), model=TEXT, usage=usage)),
            )
        },
        "/v1/models": {"get": ("The models", None, answered(obj("object data", object=TEXT, data=some(one_model))))},
        "/v1/models/{name}": {"get": ("One of them", None, answered(one_model))},
        "/v1/completions": {"post": ("How prompts go on", prompt, streamed(answered(completion)))},
        "/v1/chat/completions": {"post": ("Of no model", chat, ok)},
        "/": {"post": ("The task of the first model, in the Inference API's form", task, any_answer)},
        "/models/{name}": {"post": ("The task of a model, in the Inference API's form", task, any_answer)},
        "/pipeline/{task}/{name}": {"post": ("A task, in the Inference API's form", task, any_answer)},
        "/page": {"get": ("A model's inside on ?text=, for a browser", None, drawn)},
        "/info": {"get": ("What is served, and the limits", None, ok)},
        "/health": {"get": ("Whether the server lives", None, ok)},
        "/ready": {"get": ("Whether requests should be sent here", None, ok)},
        "/metrics": {"get": ("Counters", None, plain)},
    }  # fmt: skip

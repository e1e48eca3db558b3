"""The Inference API's form, which huggingface_hub's InferenceClient sends: {"inputs": ..., "parameters": {...}}.

    POST /                     what the first model is for
    POST /models/NAME          what that model is for; also /models/NAME/pipeline/TASK, /pipeline/TASK/NAME

The task is the model's. Where one model has two, the request tells them apart: with `candidate_labels` a classifier
sorts into those, with a `source_sentence` an encoder compares. Defaults are that API's where they are not the
pipeline's: all classes and not the best alone, and entities in groups. Vectors are one a text (`pooling` of the
server), not of length 1 unless asked for.

Answers to zero-shot have two forms: {"sequence", "labels", "scores"}, which the clients before 1.0 read, as all
pipelines give it, and [{"label", "score"}], which the clients since read and the API gives now. The client says in its
User-Agent which it is.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from nanodistil.pipelines import ALIASES, TASKS
from nanodistil.serve import generation
from nanodistil.serve.answering import as_json
from nanodistil.serve.asking import PARAMETERS, parameters
from nanodistil.serve.call import Call
from nanodistil.serve.fields import Fields, counted
from nanodistil.serve.problems import Problem, unusable
from nanodistil.serve.served import Served
from nanodistil.serve.site import Site
from nanodistil.serve.tei import CUT, LEFT, PROMPT, similarities

AT_ROOT = f"normalize prompt_name {CUT}"  # of feature-extraction, whose parameters the client does not put in an object
DEFAULTS: dict[str, dict[str, Any]] = {
    "text-classification": {"top_k": None},
    "token-classification": {"aggregation_strategy": "simple"},
}
FORMER = re.compile(r"hf_hub/0\.")
TASK_OF_PATH = re.compile(r"(.+)/pipeline/([a-z-]+)")


async def any_task(site: Site, call: Call) -> Response:
    return await answer(site, call, site.asked_for(call))


async def of_model(site: Site, call: Call, name: str) -> Response:
    named = TASK_OF_PATH.fullmatch(name)
    return await answer(site, call, site.model(named[1] if named else name), named[2] if named else None)


async def of_task(site: Site, call: Call, name: str) -> Response:
    task, _, model = name.partition("/")
    return await answer(site, call, site.model(model or None, *([] if model else [ALIASES.get(task, task)])), task)


async def answer(site: Site, call: Call, served: Served, task: str | None = None) -> Response:
    """What a model says, put to the task that the request asks for."""
    call.model = served.name
    fields = Fields(await call.json(), f"inputs parameters options stream {AT_ROOT}")  # options: of caches: none here
    inputs, given = fields.get("inputs"), fields.body.get("parameters", {})
    compares = isinstance(inputs, dict) and "source_sentence" in inputs
    if task is None:
        task = served.task
        if compares:
            task = "sentence-similarity"
        elif isinstance(given, dict) and "candidate_labels" in given:
            task = "zero-shot-classification"
    task = ALIASES.get(task, task)
    needed = "feature-extraction" if task == "sentence-similarity" else task
    if needed not in TASKS:
        raise Problem(404, "NotFound", f"there is no task {task[:60]!r}; there are {', '.join(TASKS)}")
    site.model(served.name, needed)
    if needed == "text-generation":
        return await generation.answer(site, call, served, fields)
    fields.refuse("stream", (False,), f"{task} is answered as a whole; leave it out")
    if task == "sentence-similarity":
        return as_json(await similarities(site, call, served, inputs, fields.flag("truncate")))
    many = isinstance(inputs, list)
    listed = counted(inputs if many else [inputs], "inputs", site.limits)
    if needed == "feature-extraction":
        options = _of_vectors(fields, given, served, len(listed), site)
    else:
        given = parameters(needed, given, len(listed), site.limits)
        if any(name in fields.body for name in AT_ROOT.split()):
            raise unusable(f"{needed} takes its parameters in `parameters`: {PARAMETERS[needed]}", "parameters")
        options = {**DEFAULTS.get(needed, {}), **given}
    if needed == "zero-shot-classification" and "candidate_labels" not in options:
        raise unusable("`candidate_labels` are needed, in `parameters`", "candidate_labels")
    found = await site.asking.answers(call, served.pipes[needed], [_checked(one, needed) for one in listed], options)
    if needed == "zero-shot-classification" and not FORMER.search(call.headers.get("user-agent", "")):
        found = [_labels(one) for one in found]
    in_a_list = many or needed in ("text-classification", "feature-extraction")
    return as_json(found if in_a_list else found[0])


def _of_vectors(fields: Fields, given: Any, served: Served, count: int, site: Site) -> dict[str, Any]:
    """The pipeline's options for vectors, out of fields beside `inputs` and out of `parameters`."""
    both = {**parameters_of_vectors(given), **{k: fields.body[k] for k in AT_ROOT.split() if k in fields.body}}
    asked = Fields(both, f"{AT_ROOT} pooling truncation")
    asked.refuse("prompt_name", (None,), PROMPT)
    asked.refuse("truncation_direction", ("Right", "right"), LEFT)
    pooling = asked.body.get("pooling", served.pooling)
    truncation = asked.flag("truncate") or asked.flag("truncation")
    return {"pooling": pooling, "normalize": asked.flag("normalize"), "truncation": truncation}


def parameters_of_vectors(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise unusable("`parameters` must be an object", "parameters")
    return given


def _checked(one: Any, task: str) -> Any:
    """An input that is a string, or an object of strings and of lists of them. Raises Problem."""
    if isinstance(one, dict):
        for value in one.values():
            strings = value if isinstance(value, list) else [value]
            if not all(isinstance(string, str) for string in strings):
                raise unusable("`inputs`: an object holds strings", "inputs")
        if task == "multiple-choice" and len(one.get("choices", [])) > 1000:
            raise unusable("`inputs`: there may be 1000 choices at most", "inputs")
    elif not isinstance(one, str):
        raise unusable("`inputs` must be a string, an object, or a list of these", "inputs")
    return one


def _labels(one: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in zip(one["labels"], one["scores"], strict=True)]

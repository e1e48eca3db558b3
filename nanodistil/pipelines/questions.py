"""What a question and its context may be given as: strings, a dict, an object of SQuAD, lists and streams of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nanodistil.pipelines.inputs import by_number, many
from nanodistil.weights.errors import InputError, excerpt


def sole_input(args: tuple[Any, ...], question: Any, context: Any, data: Any, X: Any) -> Any:
    """What a call was given in one of many ways, as a list, or a stream as it is. Raises InputError."""
    given = [value for value in (data, X) if value is not None]
    if len(args) == 2 and all(isinstance(arg, str) for arg in args):
        given.append({"question": args[0], "context": args[1]})
    elif args:
        given.append(args[0] if len(args) == 1 else list(args))
    if question is not None or context is not None:
        given.append({"question": question, "context": context})
    if len(given) != 1:
        raise InputError("pass question=... and context=..., or dicts with both, and only one of these")
    (inputs,) = given
    if isinstance(inputs, dict):
        return one_by_one(inputs)
    if hasattr(inputs, "question_text"):
        return [inputs]
    if isinstance(inputs, str | bytes) or not isinstance(by_number(inputs), Iterable):
        raise InputError(f"a question needs its context: pass question=... and context=..., not {excerpt(inputs)}")
    return many(inputs, "a question with its context")


def one_by_one(one: dict[str, Any]) -> list[dict[str, Any]]:
    """A dict of several questions, with one context or as many, as a dict each; any other as it is.

    >>> one_by_one({"question": ["Who?", "Where?"], "context": "Bo in Rome."})[1]
    {'question': 'Where?', 'context': 'Bo in Rome.'}
    """
    questions, contexts = (
        value if value is None or isinstance(value, str) or not isinstance(value, Iterable) else many(value)
        for value in (one.get("question"), one.get("context"))
    )
    if isinstance(contexts, list) and not isinstance(questions, list):
        raise InputError("several contexts need as many questions: pass lists of the same length")
    if not isinstance(questions, list):
        return [one]
    contexts = contexts if isinstance(contexts, list) else [contexts] * len(questions)
    if len(questions) != len(contexts):
        raise InputError(
            f"{len(questions)} questions and {len(contexts)} contexts: pass as many of each, or one context"
        )
    return [{"question": q, "context": c} for q, c in zip(questions, contexts, strict=True)]


def question_and_context(one: Any, name: str) -> tuple[str, str]:
    """The two strings of a dict or a SquadExample, checked."""
    if isinstance(one, dict):
        found = {key: one.get(key) for key in ("question", "context")}
    elif hasattr(one, "question_text") and hasattr(one, "context_text"):
        found = {"question": one.question_text, "context": one.context_text}
    else:
        raise InputError(f"{name} should be a dict with question and context, not {type(one).__name__}")
    for key, text in found.items():
        if text is None:
            raise InputError(f"{name} lacks a {key}")
        if not isinstance(text, str):
            raise InputError(f"the {key} of {name} is not a string but {type(text).__name__}")
        if not text:
            raise InputError(f"the {key} of {name} is empty")
    question, context = found.values()
    return str(question), str(context)

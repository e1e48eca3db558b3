"""A request's body: bytes up to a limit, in a time, that are one JSON object."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NoReturn

from nanodistil.serve.admission import Held
from nanodistil.serve.problems import Problem, unusable

DEEPEST = 8  # objects and lists within each other

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Gone(Exception):
    """The client has closed the connection: nobody waits for an answer."""


async def received(receive: Receive, headers: dict[str, str], held: Held, seconds: float) -> bytes:
    """All of the body. Raises Problem (408, 413, 415, 429), Gone."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "Validation", "packed bodies are not taken; send plain JSON")
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:18]) > held.load.limits.body:
        held.more_bytes(int(length[:18]))  # refused before anything of it is read
    parts = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                part = message.get("body", b"")
                held.more_bytes(len(part))
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Problem(408, "Timeout", f"the body did not arrive within {seconds:g} seconds") from None


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object that it is. Raises Problem: 400 if it is no JSON, 422 if no object, or not to be used.

    >>> parsed(b'{"inputs": "a"}')
    {'inputs': 'a'}
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except RecursionError:
        raise unusable("the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise Problem(400, "Validation", "the body is not UTF-8") from None
    except ValueError as error:  # JSONDecodeError; a number of more digits than Python reads
        raise Problem(400, "Validation", f"the body is no JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise unusable(f"the body must be a JSON object, not {_kind(found)}")
    if body.count(b"[") + body.count(b"{") > DEEPEST:
        _check_depth(found)
    if b"\\u" in body:
        _check_surrogates(found)
    return found


def _check_depth(found: Any) -> None:
    """Raises Problem for lists in lists in lists, which nothing here has a use for."""
    level = [found]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
    if level:
        raise unusable("the JSON is nested too deeply")


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _check_surrogates(found: dict[str, Any]) -> None:
    r"""Raises Problem for half a character, which JSON can write (\ud800) and no text can hold."""
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise unusable("a string holds half a surrogate pair, which is no text") from None


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")

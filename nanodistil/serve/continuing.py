"""Prompts to what follows them: one answer or several to each, whole or token by token.

What OpenAI's completions and the Inference API's text-generation have in common. A prompt is prepared by the pipeline,
and what follows is, to the last bit, what its generate() gives for that prompt alone with the same settings and seed.
Every answer holds the tokens that it may come to have from when it is let in, so that the queue has an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.generation.generating import answers_of
from nanodistil.pipelines.preset import settings_of
from nanodistil.pipelines.text_generation import Wanted
from nanodistil.serve.asking import SHORT, characters
from nanodistil.serve.call import Call
from nanodistil.serve.engine import Alone
from nanodistil.serve.problems import of, too_large
from nanodistil.serve.served import Served
from nanodistil.serve.site import Site
from nanodistil.serve.writing import News, Prompt, Written
from nanodistil.weights.errors import NanoDistilError

MOST_ANSWERS = 32  # to a prompt
READ = 64  # tokens of a prompt whose scores are made at once


class Seen(NamedTuple):
    """What the model said of a token, before temperature and what leaves tokens out."""

    score: float  # the natural logarithm of its probability
    ids: list[int]  # the most probable ones
    scores: list[float]  # and theirs


@dataclass(frozen=True)
class Looking:
    """What is to be seen of each token: its score, and those of the `tops` best."""

    tops: int

    def __call__(self, scores: Array, token: int) -> Seen:
        """(V,) scores as the model gives them.

        >>> Looking(1)(np.log(np.array([0.25, 0.75])), 0)
        Seen(score=-1.38..., ids=[1], scores=[-0.28...])
        """
        best = scores.max()
        below = float(best) + float(np.log(np.exp(scores - best).sum(dtype=np.float64)))
        if not self.tops:
            return Seen(float(scores[token]) - below, [], [])
        tops = (
            np.argpartition(-scores, self.tops - 1)[: self.tops] if self.tops < len(scores) else np.arange(len(scores))
        )
        tops = tops[np.lexsort((tops, -scores[tops]))]
        return Seen(float(scores[token]) - below, tops.tolist(), [float(scores[i]) - below for i in tops])


class Wish(NamedTuple):
    """What is asked for."""

    served: Served
    prompts: list[str]
    options: dict[str, Any]  # of the pipeline's settings
    looks: Looking | None = None
    reads: bool = False  # whether the prompt's own tokens are to be seen too
    writes: bool = True  # whether anything is to follow


class Begun(NamedTuple):
    """One prompt, prepared."""

    ids: Ints  # (T,)
    wanted: Wanted
    answers: int

    @property
    def room(self) -> int:
        """The most new tokens of an answer."""
        call = self.wanted.call
        return int((call.config.max_length or 0) - call.prompts.ids.shape[1])

    def reason(self, tokens: list[int]) -> str:
        """Why an answer ended: "end" by a token, "stop" by words, "length"."""
        ends = self.wanted.call.ends
        if tokens and ends is not None and tokens[-1] in ends:
            return "end"
        return "length" if len(tokens) >= self.room else "stop"


async def begun(site: Site, call: Call, wish: Wish) -> list[Begun]:
    """The prompts, prepared and let in. Raises Problem."""
    length = characters(wish.prompts)
    if length > site.limits.texts:
        raise too_large(f"the prompts have {length} characters, and at most {site.limits.texts} are taken at once")
    call.inputs = len(wish.prompts)
    pipe = wish.served.pipes["text-generation"]
    try:
        with call.stage("prepare"):
            found = await site.asking.apart(length > SHORT, _prepared, pipe, wish)
    except NanoDistilError as error:
        raise of(error) from None
    call.tokens = sum(len(one.ids) for one in found)
    call.held.more_tokens(sum(len(one.ids) + one.answers * one.room for one in found))
    return found


def _prepared(pipe: Any, wish: Wish) -> list[Begun]:
    settings = settings_of(pipe, wish.options)
    found = []
    for i, text in enumerate(wish.prompts, start=1):
        one = pipe.prepare(text, settings, f"prompt {i}" if len(wish.prompts) > 1 else "the prompt")
        wanted = cast(Wanted, one.rows[0].wanted)
        found.append(Begun(one.rows[0].ids, wanted, answers_of(wanted.call.config)))
    return found


def _works(wish: Wish, prompts: list[Begun], told: Any = None) -> list[Any]:
    return [Prompt(one.wanted, one.answers, len(one.ids) + one.answers * one.room, wish.looks, told) for one in prompts]


async def whole(site: Site, call: Call, wish: Wish, prompts: list[Begun]) -> list[list[Written]]:
    """The answers to each prompt. Raises Problem, Gone."""
    if not wish.writes:
        return [[Written(np.empty(0, np.int64), [])] * one.answers for one in prompts]
    pipe = wish.served.pipes["text-generation"]
    found: list[list[Written]] = await site.asking.computed(call, pipe, _works(wish, prompts))
    return found


async def read(site: Site, call: Call, wish: Wish, prompts: list[Begun]) -> list[list[Seen | None]]:
    """What is seen of each prompt's own tokens, None of the first; nothing if it is not asked for. Raises as above."""
    if not wish.reads or wish.looks is None:
        return [[] for _ in prompts]
    looks, model = wish.looks, wish.served.model

    def of_one(ids: Ints) -> list[Seen | None]:
        return _read(model, ids, looks)

    works = [Alone(lambda ids=one.ids: of_one(ids), len(one.ids)) for one in prompts]  # type: ignore[misc]
    found: list[list[Seen | None]] = await site.asking.computed(call, wish.served.pipes["text-generation"], works)
    return found


def _read(model: Any, ids: Ints, looks: Looking) -> list[Seen | None]:
    """Of each token what is seen by those before it, None of the first: ids (T,)."""
    decoding = model.decoding()
    text = decoding.join(1)
    found: list[Seen | None] = [None]
    for start in range(0, len(ids) - 1, READ):
        scores = decoding.feed(text, [ids[start : min(start + READ, len(ids) - 1)]], every=True)  # (t, V)
        found += [looks(row, int(ids[start + 1 + i])) for i, row in enumerate(scores)]
    decoding.leave(text)
    return found


async def growing(site: Site, call: Call, wish: Wish, prompts: list[Begun]) -> AsyncIterator[News]:
    """Every new token of every answer, as it comes. Raises Problem, Gone."""
    if not wish.writes:
        return
    loop, arrived = asyncio.get_running_loop(), asyncio.Queue[list[News]]()

    def told(news: list[News]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody listens
            loop.call_soon_threadsafe(arrived.put_nowait, news)

    pipe = wish.served.pipes["text-generation"]
    async for some in site.asking.growing(call, pipe, _works(wish, prompts, told), arrived):
        for one in some:
            yield one

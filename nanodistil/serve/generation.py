"""The Inference API's text-generation, in the words of Text Generation Inference: whole, or with `stream` in events.

Parameters are its own: the best token each time unless `do_sample`, a temperature, top_k, top_p or typical_p asks for
draws; the prompt is not given back unless `return_full_text`; words of `stop` are the last of an answer. A token's
logprob is the model's, before all that. Without `max_new_tokens` there are as many as the pipeline would give.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from nanodistil.serve.answering import as_json
from nanodistil.serve.call import Call
from nanodistil.serve.continuing import Begun, Looking, Seen, Wish, begun, growing, read, whole
from nanodistil.serve.events import events
from nanodistil.serve.fields import Fields, counted
from nanodistil.serve.problems import unusable
from nanodistil.serve.served import Served
from nanodistil.serve.site import Site
from nanodistil.serve.telling import Telling
from nanodistil.serve.writing import Written

KNOWN = (
    "max_new_tokens do_sample temperature top_k top_p typical_p repetition_penalty seed stop return_full_text details "
    "decoder_input_details top_n_tokens best_of frequency_penalty watermark truncate grammar adapter_id"
)
DRAWS = ("temperature", "top_k", "top_p", "typical_p")
REASONS = {"end": "eos_token", "stop": "stop_sequence", "length": "length"}
MOST_STOPS, LONGEST_STOP = 4, 100
MOST_SEED = 2**64 - 1


async def answer(site: Site, call: Call, served: Served, fields: Fields) -> Response:
    """How inputs go on. Raises Problem."""
    inputs, stream = fields.get("inputs"), fields.flag("stream")
    for name in ("normalize", "prompt_name", "truncate", "truncation_direction"):
        fields.refuse(name, (None,), "is of no use to text-generation")
    many = isinstance(inputs, list)
    prompts = counted(inputs if many else [inputs], "inputs", site.limits)
    if not all(isinstance(one, str) for one in prompts):
        raise unusable("`inputs` must be a string or a list of strings", "inputs")
    if stream and many:
        raise unusable("`stream` is for one input", "stream")
    given = fields.body.get("parameters", {})
    if not isinstance(given, dict):
        raise unusable("`parameters` must be an object", "parameters")
    said = Fields(given, KNOWN)
    options = _options(said)
    tops = said.whole("top_n_tokens", 0, 20) or 0
    reads, details = said.flag("decoder_input_details"), said.flag("details")
    looks = Looking(tops) if details or stream else None
    wish = Wish(served, prompts, options, looks, reads=reads and details and not stream)
    full = said.flag("return_full_text")
    ready = await begun(site, call, wish)
    if stream:
        return await events(call, _pieces(site, call, wish, ready[0], full))
    seen = await read(site, call, wish, ready)
    found = [
        [_whole(wish, one, text, written, full, own)]
        for one, text, [written], own in zip(ready, prompts, await whole(site, call, wish, ready), seen, strict=True)
    ]
    return as_json(found if many else found[0])


def _options(said: Fields) -> dict[str, Any]:
    """The pipeline's options. Raises Problem."""
    for name, silent in (
        ("best_of", (1,)),
        ("frequency_penalty", (0,)),
        ("watermark", (False,)),
        ("truncate", (None,)),
        ("grammar", (None,)),
        ("adapter_id", (None,)),
    ):
        said.refuse(name, silent, "is not done here; leave it out")
    most = said.whole("max_new_tokens", 1, 1_000_000)
    options: dict[str, Any] = {} if most is None else {"max_new_tokens": most}
    draws = said.flag("do_sample") or ("do_sample" not in said.body and any(name in said.body for name in DRAWS))
    options["do_sample"] = draws
    if draws:
        options["temperature"] = said.real("temperature", 0.01, 100, 1.0)
        options["top_k"] = said.whole("top_k", 0, 1_000_000) or 0
        options["top_p"] = said.real("top_p", 1e-6, 1, 1.0)
        options["typical_p"] = said.real("typical_p", 1e-6, 1, 1.0)
        seed = said.whole("seed", 0, MOST_SEED)
        options["seed"] = secrets.randbits(53) if seed is None else seed  # it is told, so that it can be had again
    if "repetition_penalty" in said.body:
        options["repetition_penalty"] = said.real("repetition_penalty", 0.01, 100, 1.0)
    stops = said.body.get("stop", [])
    good = isinstance(stops, list) and len(stops) <= MOST_STOPS
    if not good or not all(isinstance(one, str) and 0 < len(one) <= LONGEST_STOP for one in stops):
        raise unusable(f"`stop` must be up to {MOST_STOPS} strings of 1 to {LONGEST_STOP} characters", "stop")
    if stops:
        options["stop_strings"] = stops
    return options


def _whole(
    wish: Wish, prompt: Begun, text: str, written: Written, full: bool, own: list[Seen | None]
) -> dict[str, Any]:
    telling, ids = Telling(wish.served.tokenizer), written.ids.tolist()
    pieces = [telling.add(token) for token in ids]
    found: dict[str, Any] = {"generated_text": (text if full else "") + "".join(pieces) + telling.end()}
    if wish.looks is not None:
        tokenizer = wish.served.tokenizer
        found["details"] = {
            **_ended(wish, prompt, ids),
            "prefill": [
                {"id": token, "text": tokenizer.decode([token]), "logprob": None if seen is None else seen.score}
                for token, seen in zip(prompt.ids.tolist() if own else [], own, strict=True)
            ],
            "tokens": [_token(wish, *one) for one in zip(ids, pieces, written.seen, strict=True)],
        }
        if wish.looks.tops:
            found["details"]["top_tokens"] = [_tops(wish, seen) for seen in written.seen]
    return found


def _ended(wish: Wish, prompt: Begun, ids: list[int]) -> dict[str, Any]:
    reason = REASONS[prompt.reason(ids)]
    return {"finish_reason": reason, "generated_tokens": len(ids), "seed": wish.options.get("seed")}


def _token(wish: Wish, token: int, text: str, seen: Seen) -> dict[str, Any]:
    special = token in wish.served.tokenizer.all_special_ids
    return {"id": token, "text": text, "logprob": seen.score, "special": special}


def _tops(wish: Wish, seen: Seen) -> list[dict[str, Any]]:
    decode = wish.served.tokenizer.decode
    return [
        _token(wish, token, decode([token]), Seen(score, [], []))
        for token, score in zip(seen.ids, seen.scores, strict=True)
    ]


async def _pieces(site: Site, call: Call, wish: Wish, prompt: Begun, full: bool) -> AsyncIterator[dict[str, Any]]:
    """A piece a token; the last says why, and the whole."""
    telling, ids = Telling(wish.served.tokenizer), list[int]()
    text = wish.prompts[0] if full else ""
    async for news in growing(site, call, wish, [prompt]):
        ids.append(news.token)
        piece = telling.add(news.token) + (telling.end() if news.ended else "")
        text += piece
        found: dict[str, Any] = {"index": len(ids), "token": _token(wish, news.token, piece, news.seen)}
        if wish.looks is not None and wish.looks.tops:
            found["top_tokens"] = _tops(wish, news.seen)
        found |= {"generated_text": text if news.ended else None, "details": None}
        if news.ended:
            found["details"] = {**_ended(wish, prompt, ids), "input_length": len(prompt.ids)}
        yield found

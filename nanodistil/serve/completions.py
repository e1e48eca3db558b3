"""OpenAI's /v1/completions: how prompts go on, whole, or as server-sent events with `stream`.

`temperature` 0 takes the best token each time, anything else draws, with `seed` always the same. `stop` ends an answer
before these words. `logprobs` are natural logarithms before temperature and top_p; with `echo` the prompt's too, and
with `max_tokens` 0 these alone, which is how texts are scored. Refused: what changes scores in ways of OpenAI's own
(presence and frequency penalties), best_of, suffix, and prompts of token ids.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from starlette.responses import Response

from nanodistil.serve.answering import as_json
from nanodistil.serve.call import Call
from nanodistil.serve.continuing import MOST_ANSWERS, Begun, Looking, Seen, Wish, begun, growing, read, whole
from nanodistil.serve.events import events
from nanodistil.serve.fields import Fields, texts
from nanodistil.serve.problems import Problem, unusable
from nanodistil.serve.site import Site
from nanodistil.serve.telling import Telling

KNOWN = (
    "model prompt max_tokens temperature top_p n stream stream_options stop seed logprobs echo logit_bias user "
    "best_of presence_penalty frequency_penalty suffix"
)
REASONS = {"end": "stop", "stop": "stop", "length": "length"}
MOST_STOPS, LONGEST_STOP = 4, 100
MOST_BIASES = 1000


class Said(NamedTuple):
    """What a request says of how, besides what is to be written."""

    n: int
    echo: bool
    stops: list[str]


async def completions(site: Site, call: Call) -> Response:
    fields = Fields(await call.json(), KNOWN)
    name = fields.get("model")
    if not isinstance(name, str):
        raise unusable("`model` must be a string", "model")
    served = site.model(name, "text-generation")
    call.model = served.name
    prompts = texts(fields.body.get("prompt", ""), "prompt", site.limits)
    said, wish = _asked(fields, Wish(served, prompts, {}))
    stream, usage = fields.flag("stream"), _usage_wanted(fields)
    ready = await begun(site, call, wish)
    seen = await read(site, call, wish, ready)
    answers = [
        Answer(p * said.n + a, one, wish, said, seen[p], wish.prompts[p])
        for p, one in enumerate(ready)
        for a in range(said.n)
    ]
    head = {"id": f"cmpl-{call.id}", "object": "text_completion", "created": int(time.time()), "model": served.name}
    if stream:
        return await events(call, _chunks(site, call, wish, ready, answers, head, usage), b"[DONE]")
    for p, several in enumerate(await whole(site, call, wish, ready)):
        for a, written in enumerate(several):
            one = answers[p * said.n + a]
            for i, token in enumerate(written.ids.tolist()):
                one.add(token, written.seen[i] if written.seen else None)
    return as_json({**head, "choices": [one.choice(last=True) for one in answers], "usage": _usage(ready, answers)})


def _asked(fields: Fields, wish: Wish) -> tuple[Said, Wish]:
    """What the fields ask for. Raises Problem."""
    n, most = fields.whole("n", 1, MOST_ANSWERS) or 1, fields.whole("max_tokens", 0, 1_000_000)
    temperature, top_p = fields.real("temperature", 0, 2, 1.0), fields.real("top_p", 0, 1, 1.0)
    for name in ("presence_penalty", "frequency_penalty"):
        fields.refuse(name, (0,), "is not done here; leave it out")
    fields.refuse("suffix", (None, ""), "nothing is put between texts here; leave it out")
    fields.refuse("best_of", (n,), "as many answers are given as are written; leave it out")
    stops = fields.body.get("stop", [])
    stops = [stops] if isinstance(stops, str) else stops
    if (
        not isinstance(stops, list)
        or len(stops) > MOST_STOPS
        or not all(isinstance(one, str) and 0 < len(one) <= LONGEST_STOP for one in stops)
    ):
        raise unusable(f"`stop` must be a string, or up to {MOST_STOPS}, of 1 to {LONGEST_STOP} characters", "stop")
    tops = fields.whole("logprobs", 0, 20)
    echo = fields.flag("echo")
    if most == 0 and not echo:
        raise unusable("`max_tokens` 0 is for `echo`: else there would be nothing to say", "max_tokens")
    options: dict[str, Any] = {"max_new_tokens": 16 if most is None else max(most, 1), "num_return_sequences": n}
    if temperature == 0 or top_p == 0:
        if n > 1:
            raise unusable("`n`: at temperature 0 all answers would be the same", "n")
        options["do_sample"] = False
    else:
        options |= {"do_sample": True, "temperature": float(temperature), "top_p": float(top_p), "top_k": 0}
    if "seed" in fields.body:
        options["seed"] = fields.whole("seed", -(2**63), 2**63 - 1)
    if stops:
        options["stop_strings"] = stops
    if bias := _bias(fields, wish.served.model.config.vocab_size):
        options["sequence_bias"] = bias
    looks = None if tops is None else Looking(tops)
    wish = wish._replace(options=options, looks=looks, reads=echo and looks is not None, writes=most != 0)
    return Said(n, echo, stops), wish


def _bias(fields: Fields, vocabulary: int) -> dict[tuple[int], float]:
    """Token -> what is added to its score, of {"464": -100}. Raises Problem."""
    given = fields.body.get("logit_bias", {})
    found = {}
    wanted = f"`logit_bias` must have up to {MOST_BIASES} token ids, below {vocabulary}, with numbers from -100 to 100"
    if not isinstance(given, dict) or len(given) > MOST_BIASES:
        raise unusable(wanted, "logit_bias")
    for name, value in given.items():
        plain = name.isascii() and name.isdigit() and len(name) < 10
        if not plain or int(name) >= vocabulary or isinstance(value, bool) or not isinstance(value, int | float):
            raise unusable(wanted, "logit_bias")
        if not -100 <= value <= 100:
            raise unusable(wanted, "logit_bias")
        found[(int(name),)] = float(value)
    return found


def _usage_wanted(fields: Fields) -> bool:
    given = fields.body.get("stream_options", {})
    if not isinstance(given, dict):
        raise unusable("`stream_options` must be an object", "stream_options")
    return Fields(given, "include_usage include_obfuscation").flag("include_usage")


class Answer:
    """One choice, as it grows."""

    def __init__(self, index: int, prompt: Begun, wish: Wish, said: Said, seen: list[Seen | None], text: str) -> None:
        self.index, self.prompt, self.wish = index, prompt, wish
        self.tokenizer = wish.served.tokenizer
        self.telling = Telling(self.tokenizer, said.stops)
        self.tokens: list[int] = []
        self.text = text if said.echo else ""  # that is not told yet
        self.told = 0  # characters that are
        self.behind = len(self.text)  # where the new tokens' text begins
        self.rows: list[tuple[int, str, Seen | None]] = []  # where a token begins, what it is, what was seen of it
        if seen:
            before = Telling(self.tokenizer)
            for token, one in zip(prompt.ids.tolist(), seen, strict=True):
                self._row(before.length, token, one)
                before.add(token)

    def add(self, token: int, seen: Seen | None) -> None:
        """Another token."""
        if seen is not None:
            self._row(self.behind + self.telling.length, token, seen)
        self.tokens.append(token)
        self.text += self.telling.add(token)

    def _row(self, place: int, token: int, seen: Seen | None) -> None:
        self.rows.append((place, self._word(token), seen))

    def _word(self, token: int) -> str:
        return str(self.tokenizer.decode([token], clean_up_tokenization_spaces=False))

    def choice(self, last: bool) -> dict[str, Any]:
        """What is not told yet, as OpenAI says it; the last has the reason of its end."""
        reason = None
        if last:
            self.text += self.telling.end()
            reason = REASONS["stop" if self.telling.stopped else self.prompt.reason(self.tokens)]
            reason = reason if self.wish.writes else "length"
        text, self.text = self.text, ""
        self.told += len(text)
        return {"index": self.index, "text": text, "logprobs": self._logprobs(last), "finish_reason": reason}

    def _logprobs(self, last: bool) -> dict[str, Any] | None:
        """Of the tokens that begin in what has been told; of an end, which has no text, too."""
        if self.wish.looks is None:
            return None
        end = self.told if self.telling.stopped else self.told + 1 if last else self.told
        rows = [row for row in self.rows if row[0] < end]
        self.rows = [] if last else self.rows[len(rows) :]
        tops = [self._tops(seen) for _, _, seen in rows]
        return {
            "text_offset": [place for place, _, _ in rows],
            "tokens": [word for _, word, _ in rows],
            "token_logprobs": [None if seen is None else seen.score for _, _, seen in rows],
            "top_logprobs": tops if self.wish.looks.tops else None,
        }

    def _tops(self, seen: Seen | None) -> dict[str, float] | None:
        """The best words, best first; of two that are written alike the better."""
        if seen is None:
            return None
        found: dict[str, float] = {}
        for token, score in zip(seen.ids, seen.scores, strict=True):
            found.setdefault(self._word(token), score)
        return found


def _usage(prompts: list[Begun], answers: list[Answer]) -> dict[str, int]:
    read, written = sum(len(one.ids) for one in prompts), sum(len(one.tokens) for one in answers)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


async def _chunks(
    site: Site, call: Call, wish: Wish, prompts: list[Begun], answers: list[Answer], head: dict[str, Any], usage: bool
) -> AsyncIterator[dict[str, Any]]:
    """The choices, piece by piece, each with something to say, and the last with the reason."""
    rest = {"usage": None} if usage else {}
    if not wish.writes or answers[0].text:  # the prompt itself
        for one in answers:
            yield {**head, "choices": [one.choice(last=not wish.writes)], **rest}
    n = len(answers) // len(prompts)
    async for news in growing(site, call, wish, prompts):
        one = answers[news.place * n + news.answer]
        one.add(news.token, news.seen)
        if one.text or news.ended:
            yield {**head, "choices": [one.choice(last=news.ended)], **rest}
    if usage:
        yield {**head, "choices": [], "usage": _usage(prompts, answers)}


async def no_chat(site: Site, call: Call) -> Response:
    await call.json()
    message = "no model here takes part in chats; there are /v1/completions, /v1/embeddings and those of /openapi.json"
    raise Problem(404, "NotFound", message, param="model", code="model_not_found")

"""How likely is a text? The logarithm of each token's probability, and perplexity, exp(- their mean).

A model that reads from left to right says it of each token by those before it; the first has none before it, and is
not counted. A text longer than the model is read in windows that overlap: `stride` tokens on each time, so every token
is counted once, in the first window that has it, by as many as (window - stride) before it or more. A masked model says
it of each token by all others (Salazar 2020, pseudo-perplexity): every token is masked once, which takes as many rows
as a text has tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.heads.causal_lm import ForCausalLM
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.pipelines.base import Pipeline, Prepared
from nanodistil.pipelines.batching import Row
from nanodistil.pipelines.inputs import a_text
from nanodistil.pipelines.tokens import check_length
from nanodistil.tokenization.arguments import whole_number
from nanodistil.weights.errors import CheckpointError, InputError

CUT = 1 << 16  # characters of a long text that are tokenized at once


class Window(NamedTuple):
    """A part of a long text: its tokens (T,), how many of them are there to be looked back at, and where it begins."""

    ids: Ints
    known: int
    start: int


class Settings(NamedTuple):
    """A call's arguments, checked."""

    stride: int  # of windows; 0: half of the model's positions
    tokens: bool  # each token's number too


class ScoringPipeline(Pipeline[Any, Settings]):
    """Says how likely texts are, of a causal or a masked model.

    An input is a text, or a Window of one. Its answer is {"tokens": how many count, "log_prob": their sum,
    "perplexity": exp(-log_prob / tokens), None if no token counts}, and with tokens=True {"ids", "log_probs"} of each.

    >>> from nanodistil import DistilBertForMaskedLM, DistilBertTokenizer
    >>> model = DistilBertForMaskedLM.from_pretrained("nanodistil-mini", backend="numpy")
    >>> score = ScoringPipeline(model, DistilBertTokenizer.from_pretrained("nanodistil-mini"))
    >>> likely, odd = score(["The cat sat on the floor.", "The cat sat on the although."])
    >>> likely["tokens"], likely["perplexity"] < odd["perplexity"]
    (7, True)
    """

    one_input = (str, Window)

    def made(self) -> None:
        if not isinstance(self.model, ForCausalLM | ForMaskedLM):
            raise CheckpointError(f"a {type(self.model).__name__} gives no words probabilities")
        self.causal = isinstance(self.model, ForCausalLM)

    def __call__(self, inputs: str | Iterable[str], stride: int = 0, tokens: bool = False) -> Any:
        """The answer to each; see above. Raises InputError for arguments that cannot be."""
        return self.answer(inputs, self.settings(stride, tokens))

    def settings(self, stride: int = 0, tokens: bool = False) -> Settings:
        longest = self.model.config.max_tokens
        stride = whole_number("stride", stride, 0) or max(1, longest // 2)
        if stride >= longest:
            raise InputError(f"stride {stride}: a window has {longest} tokens, and the next one must overlap it")
        return Settings(stride, tokens)

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        if isinstance(one, Window):
            return Prepared([Row(one.ids, wanted=max(1, one.known))], one.ids[max(1, one.known) :])
        try:
            asked: dict[str, Any] = {
                "return_special_tokens_mask": True,
                "return_attention_mask": False,
                "verbose": False,
            }
            read = self.tokenizer(a_text(one, name), **asked)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        ids = np.asarray(read["input_ids"], np.int64)
        if self.causal:
            windows = list(windows_of([ids], self.model.config.max_tokens, settings.stride))
            return Prepared([Row(w.ids, wanted=max(1, w.known)) for w in windows], ids[1:])
        check_length(len(ids), self.model, name, {})
        if self.tokenizer.mask_token_id is None:
            raise InputError("a masked model's tokenizer needs a mask token")
        places = np.flatnonzero(np.asarray(read["special_tokens_mask"]) == 0)
        rows = np.repeat(ids[None], len(places), axis=0)
        rows[np.arange(len(places)), places] = self.tokenizer.mask_token_id
        return Prepared([Row(r, (int(i), int(ids[i]))) for r, i in zip(rows, places, strict=True)], ids[places])

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Iterator[Array]:
        ids, real = inputs["input_ids"], inputs["attention_mask"]
        if self.causal:
            found = self.model.log_probabilities(ids, real, wanted)  # (B, T)
            ends = real.sum(axis=1).tolist()
            yield from (row[first:end] for row, first, end in zip(found, wanted, ends, strict=True))
            return
        places = np.array([(i, place) for i, (place, _) in enumerate(wanted)])
        logits = np.asarray(self.model.ops.fetch(self.model.logits_at(ids, real, places)), np.float64)  # (B, V)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(len(wanted)), [token for _, token in wanted]]
        yield from (chosen - np.log(np.exp(logits).sum(axis=1)))[:, None]

    def finish(self, prepared: Prepared, results: list[Any], settings: Settings) -> dict[str, Any]:
        found = np.concatenate([np.asarray(one, np.float64) for one in results]) if results else np.empty(0)
        if np.isnan(found).any():
            raise CheckpointError("the model's scores are no numbers: its weights are damaged")
        answer: dict[str, Any] = totals(len(found), float(found.sum()))
        if settings.tokens:
            answer |= {"ids": prepared.rest.tolist(), "log_probs": found.tolist()}
        return answer


def totals(tokens: int, log_prob: float) -> dict[str, Any]:
    """How likely so many tokens are together.

    >>> totals(2, float(np.log(0.25)))
    {'tokens': 2, 'log_prob': -1.3862943611198906, 'perplexity': 2.0}
    """
    with np.errstate(over="ignore"):
        perplexity = float(np.exp(-log_prob / tokens)) if tokens else None
    return {"tokens": tokens, "log_prob": log_prob, "perplexity": perplexity}


def windows_of(pieces: Iterable[Ints], width: int, stride: int) -> Iterator[Window]:
    """The windows of a text whose tokens come in pieces, each token counted once; no more is kept than a window.

    >>> [(w.ids.tolist(), w.known, w.start) for w in windows_of([np.arange(4), np.arange(4, 7)], 4, 2)]
    [([0, 1, 2, 3], 0, 0), ([2, 3, 4, 5], 2, 2), ([4, 5, 6], 2, 4)]
    """
    kept, start, counted = np.empty(0, np.int64), 0, 0
    for piece in pieces:
        kept = np.concatenate([kept, piece])
        while len(kept) > width:  # more comes behind it
            yield Window(kept[:width], counted - start, start)
            counted, start, kept = start + width, start + stride, kept[stride:]
    if len(kept) and start + len(kept) > counted:
        yield Window(kept, counted - start, start)


def in_pieces(blocks: Iterable[str]) -> Iterator[str]:
    """The same text cut where no token of a byte-level tokenizer can be cut in two: before a space or an end of a line.

    >>> list(in_pieces(["a b", "c d"]))
    ['a bc d']
    """
    text = ""
    for block in blocks:
        text += block
        if len(text) >= CUT:
            at = len(text) - 1
            while at > 0 and (text[at] not in " \n" or text[at - 1].isspace()):
                at -= 1
            if at:
                yield text[:at]
                text = text[at:]
    if text:
        yield text

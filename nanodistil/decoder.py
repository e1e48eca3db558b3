"""A causal model as generation asks it: texts under numbers, each of its own length, and one row a new token.

    numbers = decoder.join(2)
    scores = decoder.feed(numbers, [prompt, another])     (2, V), of what follows each
    scores = decoder.feed(numbers, [[token], [other]])    one row each: keys and values of the rest are remembered
    decoder.leave(numbers)

Texts of any lengths are fed together, as the rows of one packed batch, and join and leave at any step. So there is no
padding, and a text's scores are, bit for bit, those it would have alone, or computed anew from its first token: every
op works row by row, and attention sees the text's own rows only, in the order they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np

from nanodistil.backend import Array, Ints, Ops, Remembered, Sentences
from nanodistil.causal import Causal
from nanodistil.model import Look, Packed, encoder
from nanodistil.packing import sent
from nanodistil.taps import NoTap
from nanodistil.weights.errors import InputError
from nanodistil.weights.names import attention_width


class _Remembering:
    """A backend's ops for one call, whose attention is that of the texts that are remembered."""

    def __init__(self, ops: Ops, kept: Remembered, texts: Ints) -> None:
        self.ops, self.kept, self.texts, self.layer = ops, kept, texts, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)

    def attention(self, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        self.layer += 1
        return self.kept.attend(self.layer - 1, self.texts, q, k, v, who)


_spare: WeakKeyDictionary[Causal, tuple[Any, Remembered]] = WeakKeyDictionary()  # with the weights it belongs to


class Decoder:
    """Texts that a model writes on; not for several threads at once.

    What remembers them is handed on to the model's next decoder, with its memory and its recordings of short steps.

    >>> from nanodistil import GPT2Config, GPT2LMHeadModel
    >>> tiny = GPT2Config(vocab_size=50, n_positions=16, n_embd=12, n_layer=1, n_head=2)
    >>> model = GPT2LMHeadModel(tiny, backend="numpy")
    >>> decoder = Decoder(model)
    >>> texts = decoder.join(2)
    >>> decoder.feed(texts, [np.array([5, 6, 7]), np.array([8])]).shape
    (2, 50)
    >>> scores = decoder.feed(texts[:1], [np.array([9])])
    >>> bool(np.allclose(scores[0], model([[5, 6, 7, 9]]).logits[0, -1])), decoder.lengths
    (True, array([4, 1]))
    """

    def __init__(self, model: Causal) -> None:
        self.model, self.weights = model, model.weights
        config = model.config
        weights, kept = _spare.pop(model, (None, None))
        if kept is None or weights is not model.weights:
            widths = [attention_width(config, layer) for layer in range(config.n_layers)]
            kept = model.ops.remember(widths, config.dim // config.n_heads)
        self.kept: Remembered = kept
        self.join, self.leave, self.copy, self.cut = self.kept.join, self.kept.leave, self.kept.copy, self.kept.cut

    def __del__(self) -> None:
        with suppress(Exception):  # at the end of the process nothing is sure to be there
            if self.weights is self.model.weights and self.kept.clear():
                _spare[self.model] = self.weights, self.kept

    @property
    def lengths(self) -> Ints:
        """(S,) tokens of each text, by number."""
        return self.kept.lengths

    def feed(self, who: Ints, ids: Sequence[Ints], every: bool = False) -> Array:
        """Append ids[i], one or more tokens, to text who[i]; scores of the token that follows.

        (len(who), V) behind the last given one, or with every=True (sum of the lengths of ids, V) behind each. Raises
        InputError for ids outside the vocabulary, a text longer than the model, or one that is named twice.
        """
        model, who = self.model, np.asarray(who, np.int64)
        counts = np.array([len(new) for new in ids], np.int64)
        if len(who) != len(counts) or len(set(who.tolist())) != len(who) or (counts < 1).any():
            raise InputError("every text is named once, and has one new token at least")
        if not len(who):
            return np.zeros((0, model.config.vocab_size), model.weights.word_embeddings.dtype)
        before, limit = self.lengths[who], model.config.max_tokens
        if (before + counts).max() > limit:
            raise InputError(f"{(before + counts).max()} tokens are more than the model's {limit} positions")
        tokens = np.concatenate([np.asarray(new, np.int64) for new in ids])  # (N,)
        V = model.config.vocab_size
        if tokens.min() < 0 or tokens.max() >= V:
            worst = tokens.min() if tokens.min() < 0 else tokens.max()
            raise InputError(f"token id {worst} is outside the vocabulary of {V}")
        starts = np.concatenate([[0], np.cumsum(counts)])
        places = np.concatenate([np.arange(n, n + more) for n, more in zip(before, counts, strict=True)])
        look = None
        if not every and len(tokens) > len(who):
            look = Look(model.ops.send(starts[1:] - 1), np.arange(len(starts)))

        def compute(ids: Ints, positions: Ints, ops: Ops = model.ops) -> Array:  # (N,) both -> (N or B, V)
            batch = sent(Packed(ids, positions, starts, None), ops.send)
            remembering = cast(Ops, _Remembering(ops, self.kept, who))
            x = encoder(batch, model.weights, model.config, remembering, NoTap(), look)  # (N or B, D)
            return model.head.forward(x, model.weights, ops, NoTap())

        self.kept.reserve(who, counts)
        scores = None
        if len(tokens) == len(who) and self.weights is model.weights:
            scores = self.kept.short([tokens, places], compute)
        if scores is None:
            scores = model.ops.fetch(compute(tokens, places))
        self.kept.fed(who, counts)
        return scores

"""A model run for a page: model.py's own functions, on sentences of one length, asked at the same tokens.

    scores(model, ids (B, T), rows (R,))      (B, R, C)   what the head says
    hidden_states(model, ids (T,))            L + 1 x (T, D), each as the head would be given it
    attentions(model, ids (T,))               L x (H, T, T)

Attention probabilities are made apart from the fused kernels (taps.py), and differ from what these hold in the last
bits; so hidden states come from a pass of their own, and the head's answer to the last of them is the model's, bit by
bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.model import Look, Packed, encoder, last_norm
from nanodistil.packing import Packing, sent
from nanodistil.pipelines.batching import pace_of
from nanodistil.pretrained import Pretrained
from nanodistil.taps import NoTap, Recorder
from nanodistil.waiting import Told, silent


def packed(model: Pretrained, ids: Ints) -> Packed:
    """(B, T) ids, checked and packed, where the backend computes."""
    return sent(Packing.of(ids, None, model.config).batch, model.ops.send)


def look_at(model: Pretrained, sentences: int, length: int, rows: Ints) -> Look:
    """The same tokens (R,) of sentences of one length."""
    places = np.arange(sentences)[:, None] * length + rows
    return Look(model.ops.send(places.ravel()), np.arange(0, sentences * len(rows) + 1, len(rows)))


def pieces(model: Pretrained, sentences: int, length: int) -> Iterator[slice]:
    """Sentences of one length, so many at once as a batch may have."""
    step = max(1, pace_of(model).tokens // length)
    for start in range(0, sentences, step):
        yield slice(start, min(start + step, sentences))


def scores(model: Pretrained, ids: Ints, rows: Ints, told: Told = silent, what: str = "") -> Array:
    """What the head says at tokens (R,) of each sentence: (B, T) -> logits (B, R, C). told: is told of `what`."""
    B, T = ids.shape
    found = []
    for these in pieces(model, B, T):
        told(what, these.start / B)
        batch = packed(model, ids[these])
        look = look_at(model, these.stop - these.start, T, rows)
        x = encoder(batch, model.weights, model.config, model.ops, NoTap(), look)
        found.append(logits_of(model, x))
    return np.concatenate(found).reshape(B, len(rows), -1)


def logits_of(model: Pretrained, x: Array) -> Array:
    """The head on hidden states: (N, D) -> (N, C)."""
    out: Array = model.ops.fetch(model.head.forward(x, model.weights, model.ops, NoTap()))
    return out


def hidden_states(model: Pretrained, ids: Ints) -> list[Array]:
    """What the first block is given and what each gives, for one sentence (T,): L + 1 x (T, D), on the backend.

    A pre-norm model's head is given them normalised, so here they are.
    """
    L, pre = model.config.n_layers, model.config.pre_norm
    names = [f"layer.{i}.{'fed' if pre else 'output_layer_norm'}" for i in range(L)]
    names = ["embeddings.sum" if pre else "embeddings.LayerNorm", *names]
    tap = Recorder(names)
    encoder(packed(model, ids[None]), model.weights, model.config, model.ops, tap)
    return [last_norm(tap.seen[name], model.weights, model.ops, NoTap()) for name in names]


def attentions(model: Pretrained, ids: Ints) -> list[Array]:
    """Who attends to whom in one sentence (T,): L x (H, T, T), rows ask."""
    names = [f"layer.{i}.attention.probs" for i in range(model.config.n_layers)]
    tap = Recorder(names)
    encoder(packed(model, ids[None]), model.weights, model.config, model.ops, tap)
    return [np.asarray(fetched(model, tap.seen[name])) for name in names]


def fetched(model: Pretrained, squares: Any) -> Array:
    """The only one of a list of arrays."""
    (square,) = squares
    out: Array = model.ops.fetch(square)
    return out

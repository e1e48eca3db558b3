"""What each attention head is good for: the model's answer without it (Michel et al. 2019).

A head is silenced where its result goes on, in `attention.context`, by zeros in its columns. That is what a head_mask
of 0 does, without having the probabilities made apart. All heads of a layer are tried in one batch, which begins at
that layer: what comes before is the same for all, and is computed once. The last of the batch has the whole layer
silenced.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.model import attending, block, embeddings, last_norm
from nanodistil.page.attributing import of_targets
from nanodistil.page.lens import best_of
from nanodistil.page.question import Question
from nanodistil.page.running import logits_of, look_at, packed, pieces
from nanodistil.pretrained import Pretrained
from nanodistil.taps import NoTap, Value
from nanodistil.waiting import Told, silent


class Ablation(NamedTuple):
    """A layer without each of its H heads, and at last without all of them."""

    lost: Array  # (H + 1, targets) how much lower their scores are
    best: Ints  # (H + 1, R', k) the answers at question.asked, best first
    probabilities: Array  # (H + 1, R', k)


class _Silent(NoTap):
    """Zeros in some columns of a layer's context: others in every sentence."""

    def __init__(self, name: str, columns: list[slice], length: int) -> None:
        self.name, self.columns, self.length = name, columns, length

    def __call__(self, name: str, value: Value) -> Value:
        if name == self.name:
            rows = len(value) // len(self.columns)  # type: ignore[arg-type]
            for b, columns in enumerate(self.columns):
                value[b * rows : (b + 1) * rows, columns] = 0  # type: ignore[index]
        return value


def ablation(model: Pretrained, question: Question, told: Told = silent, k: int = 5) -> list[Ablation]:
    """What is lost with each head, layer by layer."""
    ids, rows, config, ops, w = question.ids, question.asked, model.config, model.ops, model.weights
    T, L, width = len(ids), config.n_layers, config.dim // config.n_heads
    one = packed(model, ids[None])
    x = embeddings(one, w, ops, NoTap())  # (T, D)
    who = attending(one, config, ops)
    found = []
    for i in range(L):
        name = f"layer.{i}.attention.context"
        A = (config.n_heads - len(config.pruned_heads.get(i, ()))) * width
        columns_of = [slice(h * width, (h + 1) * width) for h in range(A // width)] + [slice(None)]
        logits = []
        for these in pieces(model, len(columns_of), T):
            told("the model without each head", (i + these.start / len(columns_of)) / L)
            columns = columns_of[these]
            B = len(columns)
            batch = packed(model, np.repeat(ids[None], B, axis=0))
            look, all_of_them = look_at(model, B, T, rows), attending(batch, config, ops)
            y = ops.send(np.tile(ops.fetch(x), (B, 1)))
            for j in range(i, L):
                tap = _Silent(name, columns, T)
                y = block(y, w.layers[j], all_of_them, config, ops, tap, f"layer.{j}", look if j == L - 1 else None)
            logits.append(logits_of(model, last_norm(y, w, ops, NoTap())))
        x = block(x, w.layers[i], who, config, ops, NoTap(), f"layer.{i}", None)
        found.append(np.concatenate(logits).reshape(len(columns_of), len(rows), -1))
    whole = of_targets(logits_of(model, last_norm(x, w, ops, NoTap()))[rows][None], question)  # (1, targets)
    out = []
    for one_layer in found:
        n, R, C = one_layer.shape
        best, p = best_of(one_layer.reshape(n * R, C), question.kind, min(k, C))
        out.append(Ablation(whole - of_targets(one_layer, question), best.reshape(n, R, -1), p.reshape(n, R, -1)))
    return out

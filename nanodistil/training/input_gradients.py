"""The backward pass of somebody who does not train: how a score moves with the vectors of the words it was given.

It is backward.py itself, with two differences. Weights get no gradient, so the product that would make it, a third of
the work, is left out. And every token has a word vector of its own, so that the model can be asked about vectors that
are no word's, half-way between [MASK] and "model". Such a table takes the place of the word embeddings, where the
model looks words up; a head that shares the embeddings has its own copy and stays as it is.

Several scores of one pass may be asked about, one after the other: what the pass kept is not used up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil import backend as backends
from nanodistil.backend import Array, BackwardOps, Ints
from nanodistil.head import HeadRun
from nanodistil.model import Look, Packed, attending
from nanodistil.pretrained import Pretrained
from nanodistil.taps import Recorder
from nanodistil.training import backward, saved
from nanodistil.training.saved import Dropout, Run
from nanodistil.training.trainee import Map
from nanodistil.weights.errors import InputError, excerpt
from nanodistil.weights.layout import lay_out
from nanodistil.weights.names import LEARNED


class _NoWeights:
    """A backend's derivatives, without those of weights and tables."""

    def __init__(self, bops: BackwardOps) -> None:
        self.bops = bops

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bops, name)

    def linear_backward_weight(self, dy: Array, x: Array, dW: Array, db: Array) -> None:
        """Nothing."""

    def embed_backward(self, dx: Array, ids: Ints, positions: Ints, dwords: Array, dplaces: Array) -> None:
        """Nothing: the gradient of the sum of embeddings is what is asked for."""


class Slopes:
    """A model that is asked how its scores move with its words.

    >>> from nanodistil import DistilBertConfig, DistilBertForSequenceClassification
    >>> tiny = DistilBertConfig(vocab_size=9, max_position_embeddings=4, n_layers=1, n_heads=2, dim=4, hidden_dim=8)
    >>> slopes = Slopes(DistilBertForSequenceClassification(tiny, backend="numpy"))
    >>> passed = slopes.forward(np.zeros((2, 3, 4)), np.arange(3), np.array([0]))
    >>> passed.logits.shape, slopes.backward(passed, np.ones((2, 1, 2))).shape
    ((2, 1, 2), (2, 3, 4))
    """

    def __init__(self, model: Pretrained) -> None:
        """Raises InputError for a model whose weights were rounded, or whose activation has learned numbers."""
        config, head, ops = model.config, model.head, model.ops
        if config.activation in LEARNED:
            raise InputError(f"no gradient is made of the activation {excerpt(config.activation)}, which learns itself")
        bops = backends.load_backward(model.backend, model.dtype)
        tensors = model.tensors()
        self.model, self.bops = model, _NoWeights(bops)
        self.w = lay_out(tensors, config, head, bops.prepare_backward, bops.prepare_backward, ops.send)
        # A LayerNorm adds to gradients of its own all the same; maps and tables name memory that nobody touches.
        self.d = lay_out(tensors, config, head, Map, Map, lambda array: ops.send(np.zeros_like(array)))

    def forward(self, words: Array, positions: Ints, rows: Ints) -> Passed:
        """Word vectors (B, T, D) and where they stand (T,), in every sentence alike -> a pass, with what it kept.

        rows: (R,) ascending tokens of each sentence at which the head is asked.
        """
        model, config, ops = self.model, self.model.config, self.model.ops
        B, T, D = words.shape
        table = np.ascontiguousarray(words.reshape(B * T, D), model.weights.word_embeddings.dtype)
        weights = model.weights._replace(word_embeddings=ops.send(table))
        starts = np.arange(0, B * T + 1, T)
        batch = Packed(ops.send(np.arange(B * T)), ops.send(np.tile(positions, B)), starts, None)
        look = Look(ops.send((starts[:-1, None] + rows).ravel()), np.arange(0, B * len(rows) + 1, len(rows)))
        told = saved.Pass(
            batch, attending(batch, config, ops), config, ops, self.bops, Dropout({}, None, self.bops.dropout)
        )
        run = saved.encoder(weights, told, look, False)
        tap = Recorder(model.head.kept)
        logits = model.head.forward(run.x, weights, ops, tap)  # (B R, C)
        head = HeadRun(logits, run.x, tap.seen, lambda name, x: x)
        return Passed(run, head, ops.fetch(logits).reshape(B, len(rows), -1))

    def backward(self, passed: Passed, dlogits: Array) -> Array:
        """The gradient of a score by the word vectors: that by the logits (B, R, C) -> (B, T, D)."""
        model, config, ops = self.model, self.model.config, self.model.ops
        run, head = passed.run, passed.head
        d = ops.send(np.ascontiguousarray(dlogits.reshape(head.logits.shape), passed.logits.dtype))
        dx = model.head.backward(d, head, self.w, self.d, ops, self.bops)  # (B R, D)
        again = run._replace(inputs=list(run.inputs), seen=list(run.seen))
        dx = backward.encoder_backward(dx, again, self.w, model.weights, self.d, config, ops, self.bops)
        found: Array = ops.fetch(dx).reshape(len(passed.logits), -1, config.dim)
        return found


class Passed:
    """A pass and the way back."""

    def __init__(self, run: Run, head: HeadRun, logits: Array) -> None:
        self.run, self.head = run, head
        self.logits = logits  # (B, R, C)

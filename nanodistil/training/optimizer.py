"""AdamW over all weights at once: one long array of them, one of gradients, two of moments.

A trainee keeps its weights as views into `flat`, in an order that makes two slices of the two groups: flat[:decayed]
takes weight decay, the rest does not. So a step is two calls of one kernel, whatever the number of layers, and a
checkpoint is three arrays. Only if layers learn at rates of their own (schedule.layerwise) are there more slices.

Which weights decay. Decay pulls towards 0, which means "less" for a matrix, but not for a scale whose neutral value is
1, nor for a bias; so matrices and tables decay and biases and LayerNorms do not. That is what DistilBERT's train.py and
run_squad meant too, by leaving out names that contain "bias" or "LayerNorm.weight". Only `embeddings.LayerNorm.weight`
is of that name here: `sa_layer_norm.weight`, `output_layer_norm.weight` and `vocab_layer_norm.weight` were decayed
by upstream, unintended. Here they are not. (It made no difference to the published models: their weight_decay was 0.)

Clipping is torch's: gradients longer than `max_grad_norm`, all taken as one vector, are shortened to it, with 1e-6 in
the division. It is not a pass of its own: its factor goes into the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from nanodistil.backend import Array, BackwardOps, Ops, step_of


class Flat(Protocol):
    """What the optimiser needs of a trainee."""

    ops: Ops  # where its arrays are
    flat: Array  # (n,) all weights
    decayed: int  # flat[:decayed] takes weight decay

    @property
    def places(self) -> Mapping[str, slice]:
        """Where in `flat` each weight is, in order."""

    @property
    def flat_gradients(self) -> Array:
        """(n,)"""


def clipping(norm: float, max_grad_norm: float) -> float:
    """By what gradients of this norm are multiplied; max_grad_norm 0: never clipped.

    >>> clipping(0.5, 5.0), round(clipping(10.0, 5.0), 6), clipping(10.0, 0.0)
    (1.0, 0.5, 1.0)
    """
    return min(1.0, max_grad_norm / (norm + 1e-6)) if max_grad_norm else 1.0


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    m, v: (n,) running means of the gradients and of their squares, in the dtype of the weights.
    """

    def __init__(
        self,
        trainee: Flat,
        ops: BackwardOps,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        pace: Callable[[str], float] | None = None,
    ) -> None:
        """pace: by what the learning rate of a weight is multiplied, by its name; None: all learn alike."""
        self.trainee, self.ops = trainee, ops
        self.settings = {"beta1": betas[0], "beta2": betas[1], "eps": eps}
        whole, d = len(trainee.flat), trainee.decayed
        self.groups = [(slice(0, d), weight_decay, 1.0), (slice(d, whole), 0.0, 1.0)]
        if pace:
            self.groups = []
            for name, place in trainee.places.items():
                decay, factor = weight_decay if place.stop <= d else 0.0, pace(name)
                if self.groups and self.groups[-1][1:] == (decay, factor):
                    place = slice(self.groups.pop()[0].start, place.stop)
                self.groups.append((place, decay, factor))
        self.m, self.v = np.zeros_like(trainee.flat), np.zeros_like(trainee.flat)

    def gradient_norm(self) -> float:
        """The length of all gradients as one vector."""
        return math.sqrt(self.ops.sum_of_squares(self.trainee.flat_gradients))

    def step(self, step: int, lr: float, scale: float) -> None:
        """Change the weights; the trainee has to `refresh` then. step: from 1. scale: what the gradients are times."""
        for rows, weight_decay, factor in self.groups:
            self.ops.adamw(
                self.trainee.flat[rows],
                self.trainee.flat_gradients[rows],
                self.m[rows],
                self.v[rows],
                step_of(step, factor * lr, **self.settings, weight_decay=weight_decay, scale=scale),
            )

"""What a BERT has on its first token, and counts to its body: the same map as a classifier's, with tanh behind it."""

from __future__ import annotations

from nanodistil.backend import Array, Ops
from nanodistil.head import Head
from nanodistil.taps import Tap
from nanodistil.weights.layout import Weights


def forward(x: Array, w: Weights, ops: Ops, tap: Tap) -> Array:
    """The sentence in one vector: (B, D) first tokens -> (B, D)."""
    return tap("pooler", ops.linear_activation(x, w.head.pre_classifier, "tanh"))


POOLER = Head(
    "pooler",
    arrays={"pre_classifier.weight": "D D", "pre_classifier.bias": "D"},
    bare=True,
    forward=forward,
)

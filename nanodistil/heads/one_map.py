"""A head that is one linear map: x (N, D) -> `name` (N, C)."""

from __future__ import annotations

from functools import partial
from typing import Any

from nanodistil.backend import Array, BackwardOps, Ops
from nanodistil.head import HeadRun
from nanodistil.taps import Tap
from nanodistil.weights.layout import Weights


def forward(x: Array, w: Weights, ops: Ops, tap: Tap, name: str) -> Array:
    """C scores at every token: (N, D) -> (N, C)."""
    return tap(name, ops.linear(x, getattr(w.head, name)))


def backward(dlogits: Array, run: HeadRun, w: Weights, d: Weights, ops: Ops, bops: BackwardOps, name: str) -> Array:
    """(N, C) -> (N, D)."""
    bops.linear_backward_weight(dlogits, run.x, *getattr(d.head, name))
    return bops.linear_backward_input(dlogits, getattr(w.head, name))


def one_map(name: str, rows: str) -> dict[str, Any]:
    """What a Head says of it: its arrays, of so many rows (a letter of weights/names.py, or a number), and both ways.

    >>> one_map("classifier", "C")["arrays"]
    {'classifier.weight': 'C D', 'classifier.bias': 'C'}
    """
    return {
        "arrays": {f"{name}.weight": f"{rows} D", f"{name}.bias": rows},
        "forward": partial(forward, name=name),
        "backward": partial(backward, name=name),
    }

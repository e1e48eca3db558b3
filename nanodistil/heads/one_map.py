"""A head that is one linear map: x (N, D) -> `name` (N, C)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nanodistil.backend import Array, BackwardOps, Ops
from nanodistil.config import Config
from nanodistil.head import Head, HeadRun, Objective
from nanodistil.taps import Tap
from nanodistil.weights.layout import Weights


def forward(x: Array, w: Weights, ops: Ops, tap: Tap, name: str) -> Array:
    """C scores at every token: (N, D) -> (N, C)."""
    return tap(name, ops.linear(x, getattr(w.head, name)))


def backward(dlogits: Array, run: HeadRun, w: Weights, d: Weights, ops: Ops, bops: BackwardOps, name: str) -> Array:
    """(N, C) -> (N, D)."""
    bops.linear_backward_weight(dlogits, run.x, *getattr(d.head, name))
    return bops.linear_backward_input(dlogits, getattr(w.head, name))


def one_map(
    head: str, name: str, rows: str, rate: Callable[[Config], float] | None, objective: Objective, bias: bool = True
) -> Head:
    """The head of it. rows: a letter of weights/names.py, or a number. rate: of dropout on what it is given, if any.

    >>> one_map("tags", "classifier", "C", lambda config: config.dropout, lambda learner, batch: 0.0).arrays
    {'classifier.weight': 'C D', 'classifier.bias': 'C'}
    """
    return Head(
        head,
        arrays={f"{name}.weight": f"{rows} D", **({f"{name}.bias": rows} if bias else {})},
        forward=partial(forward, name=name),
        backward=partial(backward, name=name),
        dropout=(("hidden", rate),) if rate else (),
        objective=objective,
    )

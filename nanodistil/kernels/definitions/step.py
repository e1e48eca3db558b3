"""One step of AdamW as numbers: what every backend is told besides the arrays."""

from __future__ import annotations

from math import sqrt
from typing import Any, NamedTuple


class Step(NamedTuple):
    """The factors of a step (Loshchilov and Hutter 2019, algorithm 2)."""

    scale: Any  # what the gradient is multiplied by first
    keep: Any  # what decay leaves of x
    share1: Any  # of what is new in m
    share2: Any  # and in v
    correction: Any  # of the root of v, which began at 0; that of m is in the rate
    eps: Any
    rate: Any

    def rounded(self, kind: Any) -> Step:
        """In the dtype that a backend computes in."""
        return Step(*map(kind, self))


def step_of(
    step: int, lr: float, *, beta1: float, beta2: float, eps: float, weight_decay: float, scale: float = 1.0
) -> Step:
    """The step-th from 1, in float64. scale: what gradients are multiplied by first, as clipping asks."""
    decay, correction, rate = 1 - lr * weight_decay, sqrt(1 - beta2**step), lr / (1 - beta1**step)
    return Step(scale, decay, 1 - beta1, 1 - beta2, correction, eps, rate)

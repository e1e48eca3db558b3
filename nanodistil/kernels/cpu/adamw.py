"""The optimiser's step, and the norm that clipping asks for: work that waits for memory only.

Definition: adamw and sum_of_squares in numpy_backward.py.

AdamW as NumPy computes it makes a dozen arrays of the size of the model, each written to memory and read again. Here
every weight is read with its gradient and its two means, and written with them, once: 28 bytes a weight. The steps and
their order are the definition's, and nothing is contracted to a fused multiply-add, so the bits are the definition's.

The sum of squares is taken in float64, a STRETCH at a time; the sums of the stretches are added by whoever asked, in
their order. So the number of threads changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definitions.step import Step
from ..runtime.jit import kernel

STRETCH = 1 << 14  # numbers of a partial sum, and the least an optimiser's thread is woken for


@kernel()
def adamw_numbers(start: int, stop: int, x: Any, dx: Any, m: Any, v: Any, step: Step) -> None:
    """Numbers start..stop of an AdamW step: 4 x (n,) float32, in place."""
    for i in range(np.uint64(start), np.uint64(stop)):
        g = dx[i] * step.scale
        m[i] += step.share1 * (g - m[i])
        v[i] += step.share2 * (g * g - v[i])
        deviation = np.sqrt(v[i]) / step.correction + step.eps
        x[i] = x[i] * step.keep - step.rate * m[i] / deviation


@kernel(fastmath={"contract", "reassoc"})
def square_sums(start: int, stop: int, x: Any, sums: Any) -> None:
    """Stretches start..stop: sums[s] = the sum of x^2 over stretch s, (n,) float32 -> (ceil(n / STRETCH),) float64."""
    for s in range(start, stop):
        total = 0.0
        for i in range(np.uint64(s * STRETCH), np.uint64(min((s + 1) * STRETCH, len(x)))):
            total += np.float64(x[i]) * np.float64(x[i])
        sums[s] = total

"""LayerNorm, and the addition that comes before it.

A row of D numbers is read twice: once for the sum, once for the squared deviations (two passes, because the one-pass
formula E[x^2] - E[x]^2 cancels). Both sums are taken in float64: they enter every element of the result, and in float64
they are exact for the purpose. "reassoc" lets each run in several lanes at once.

Adding the residual inside the kernel saves writing and reading x + residual once more: (N, D) floats each way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import kernel

EPS = 1e-12  # a constant of DistilBERT, not a field of its config


@kernel(fastmath={"contract", "reassoc"}, inline=True)
def normalise(row: Any, weight: Any, bias: Any) -> None:
    """row = (row - mean) / sqrt(variance + eps) * weight + bias, in place: (D,) float32."""
    D = row.shape[0]
    total = 0.0
    for d in range(D):
        total += np.float64(row[d])
    mean = total / D
    squares = 0.0
    for d in range(D):
        centred = np.float64(row[d]) - mean
        squares += centred * centred
    scale = 1.0 / np.sqrt(squares / D + EPS)
    for d in range(D):
        row[d] = np.float32((np.float64(row[d]) - mean) * scale * np.float64(weight[d]) + np.float64(bias[d]))


@kernel(fastmath={"contract"})
def layer_norm_rows(start: int, stop: int, x: Any, weight: Any, bias: Any, out: Any) -> None:
    """out[start:stop] = layer_norm(x[start:stop]): (N, D), (D,), (D,) float32 -> (N, D)."""
    for i in range(start, stop):
        for d in range(x.shape[1]):
            out[i, d] = x[i, d]
        normalise(out[i], weight, bias)


@kernel(fastmath={"contract"})
def add_layer_norm_rows(start: int, stop: int, x: Any, residual: Any, weight: Any, bias: Any, out: Any) -> None:
    """out[start:stop] = layer_norm(x + residual): (N, D), (N, D), (D,), (D,) float32 -> (N, D)."""
    for i in range(start, stop):
        for d in range(x.shape[1]):
            out[i, d] = x[i, d] + residual[i, d]
        normalise(out[i], weight, bias)

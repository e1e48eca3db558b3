"""The derivatives with linear maps in bfloat16: everything else is float32, from numba_backward."""

from __future__ import annotations

from .numba_backward import (
    activation_backward,
    adamw,
    add_layer_norm_backward,
    attention_backward,
    attention_dropped,
    cosine_distance,
    cross_entropy,
    divergence,
    dropout,
    embed_backward,
    layer_norm_backward,
    linear_backward_input,
    linear_backward_weight,
    prepare_backward,
    squared_error,
    sum_of_squares,
)

__all__ = [
    "activation_backward", "adamw", "add_layer_norm_backward", "attention_backward", "attention_dropped",
    "cosine_distance", "cross_entropy", "divergence", "dropout", "embed_backward", "layer_norm_backward",
    "linear_backward_input", "linear_backward_weight", "prepare_backward", "squared_error", "sum_of_squares",
]  # fmt: skip

"""The derivatives on compiled kernels, float32: the names of numpy_backward. What has no kernel yet comes from there.

Gradients of weights are added in an order that does not depend on the number of threads, so a training run is bitwise
the same with any.
"""

from __future__ import annotations

from .numpy_backward import (
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

"""Activations: all that a checkpoint's config may name, of which gelu stands in a file of its own.

The names are transformers'. Several are one function under two names; `gelu_fast` has a constant of ten digits where
`gelu_new` has all, which float64 can see. Every function keeps shape and dtype, float32 or float64. Two have numbers of
their own, which the checkpoint holds: they are named by a tuple, `("prelu", weight)`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .gelu import gelu, normal_tail

Array = NDArray[np.floating]


def relu(x: Array) -> Array:
    """max(x, 0): any shape."""
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)): any shape. exp is only asked for negative numbers, where it cannot overflow.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def silu(x: Array) -> Array:
    """x sigmoid(x): any shape (Elfwing, Uchibe and Doya 2017, eq. 3)."""
    return x * sigmoid(x)


def quick_gelu(x: Array) -> Array:
    """x sigmoid(1.702 x): any shape."""
    return x * sigmoid(1.702 * x)


def gelu_new(x: Array, constant: float = float(np.sqrt(2 / np.pi))) -> Array:
    """x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3): any shape (Hendrycks and Gimpel 2016, section 2).

    Written as x sigmoid(2 u): the same function without the cancellation of 1 + tanh for negative x.
    """
    return x * sigmoid(2 * constant * x * (1 + 0.044715 * x * x))


def gelu_fast(x: Array) -> Array:
    """gelu_new with sqrt(2 / pi) to ten digits: any shape."""
    return gelu_new(x, 0.7978845608)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)): any shape."""
    return np.logaddexp(x, 0)


def mish(x: Array) -> Array:
    """x tanh(log(1 + exp(x))): any shape (Misra 2019, eq. 1)."""
    return x * np.tanh(softplus(x))


def laplace(x: Array) -> Array:
    """P(X < x) for a normal X with mean 0.707107 and deviation 0.282095: any shape (Ma et al. 2022, eq. 15)."""
    z = (x - 0.707107) / 0.282095
    tail = normal_tail(np.minimum(np.abs(z), 40))
    return np.where(z < 0, tail, 1 - tail)


def leaky_relu(x: Array) -> Array:
    """x, or x / 100 if it is negative: any shape."""
    return np.where(x < 0, 0.01 * x, x)


def prelu(x: Array, weight: Array) -> Array:
    """x, or weight times x if it is negative: any shape, (1,) (He et al. 2015, eq. 1)."""
    return np.where(x < 0, weight * x, x)


def xielu(x: Array, alpha_p: Array, alpha_n: Array, beta: Array, eps: Array) -> Array:
    """A parabola on the right and an exponential on the left: any shape, (1,), (1,), (), () (Huang 2024, section 3).

    a x^2 + b x for positive x, (exp(x) - 1 - x) c + b x else, with a = softplus(alpha_p), c = b + softplus(alpha_n).
    """
    left = (np.expm1(np.minimum(x, eps)) - x) * (beta + softplus(alpha_n))
    return np.where(x > 0, softplus(alpha_p) * x * x, left) + beta * x


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "gelu": gelu,
    "gelu_10": lambda x: np.clip(gelu(x), -10, 10),
    "gelu_accurate": gelu_new,
    "gelu_fast": gelu_fast,
    "gelu_new": gelu_new,
    "gelu_python": gelu,
    "gelu_python_tanh": gelu_new,
    "gelu_pytorch_tanh": gelu_new,
    "laplace": laplace,
    "leaky_relu": leaky_relu,
    "linear": lambda x: x,
    "mish": mish,
    "prelu": prelu,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "relu2": lambda x: relu(x) ** 2,
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": sigmoid,
    "silu": silu,
    "swish": silu,
    "tanh": np.tanh,
    "xielu": xielu,
}


# ---- slopes: the derivative of each at x. Where a function has a corner, the slope is the one PyTorch takes there.
# Numbers are bounded before they meet one that has gone to 0, or the product at infinity would be NaN instead of 0.


def normal_density(z: Array) -> Array:
    """exp(-z^2 / 2) / sqrt(2 pi): any shape."""
    return np.exp(-z * z / 2) / np.sqrt(2 * np.pi).astype(z.dtype)


def gelu_slope(x: Array) -> Array:
    """d gelu / dx = Phi(x) + x phi(x), the normal distribution and its density: any shape.

    >>> gelu_slope(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.083315,  0.5     ,  1.083315])
    """
    x = np.clip(x, -40, 40)
    tail = normal_tail(np.abs(x))
    return np.where(x < 0, tail, 1 - tail) + x * normal_density(x)


def sigmoid_slope(x: Array) -> Array:
    """s (1 - s) = e / (1 + e)^2 with e = exp(-|x|), which cancels nothing: any shape."""
    e = np.exp(-np.abs(x))
    return e / ((1 + e) * (1 + e))


def silu_slope(x: Array, stretch: float = 1.0) -> Array:
    """Of x sigmoid(stretch x): any shape."""
    x = np.clip(x, -800, 800)
    return sigmoid(stretch * x) + stretch * x * sigmoid_slope(stretch * x)


def gelu_new_slope(x: Array, constant: float = float(np.sqrt(2 / np.pi))) -> Array:
    """Of x sigmoid(2 u), u = constant (x + 0.044715 x^3): any shape."""
    x = np.clip(x, -40, 40)
    u = constant * x * (1 + 0.044715 * x * x)
    return sigmoid(2 * u) + 2 * constant * x * (1 + 3 * 0.044715 * x * x) * sigmoid_slope(2 * u)


def mish_slope(x: Array) -> Array:
    """Of x tanh(softplus(x)), whose softplus has the slope sigmoid(x): any shape."""
    x = np.clip(x, -800, 800)
    t = np.tanh(softplus(x))
    return t + x * (1 - t * t) * sigmoid(x)


def laplace_slope(x: Array) -> Array:
    """The density of that normal distribution: any shape."""
    return normal_density(np.clip((x - 0.707107) / 0.282095, -40, 40)) / 0.282095


def corner(x: Array, left: Array | float, right: Array | float) -> Array:
    """left up to 0 and with it, right beyond: any shape."""
    return np.where(x > 0, np.asarray(right, x.dtype), np.asarray(left, x.dtype))


def xielu_slope(x: Array, alpha_p: Array, alpha_n: Array, beta: Array, eps: Array) -> Array:
    """2 a x + b for positive x, (exp(x) - 1) c + b else; from eps (a hair below 0) on the exponential stands still.

    At eps itself PyTorch takes half of it, as for any minimum of two equal numbers.
    """
    moving = np.where(x < eps, 1, np.where(x == eps, 0.5, 0)).astype(x.dtype)
    left = (np.exp(np.minimum(x, eps)) * moving - 1) * (beta + softplus(alpha_n))
    return np.where(x > 0, 2 * softplus(alpha_p) * x, left) + beta


DERIVATIVES: dict[str, Callable[..., Array]] = {
    "gelu": gelu_slope,
    "gelu_10": lambda x: gelu_slope(x) * (np.abs(gelu(x)) <= 10),
    "gelu_accurate": gelu_new_slope,
    "gelu_fast": lambda x: gelu_new_slope(x, 0.7978845608),
    "gelu_new": gelu_new_slope,
    "gelu_python": gelu_slope,
    "gelu_python_tanh": gelu_new_slope,
    "gelu_pytorch_tanh": gelu_new_slope,
    "laplace": laplace_slope,
    "leaky_relu": lambda x: corner(x, 0.01, 1),
    "linear": np.ones_like,
    "mish": mish_slope,
    "prelu": lambda x, weight: corner(x, weight, 1),
    "quick_gelu": lambda x: silu_slope(x, 1.702),
    "relu": lambda x: corner(x, 0, 1),
    "relu2": lambda x: 2 * relu(x),
    "relu6": lambda x: ((x > 0) & (x < 6)).astype(x.dtype),
    "sigmoid": sigmoid_slope,
    "silu": silu_slope,
    "swish": silu_slope,
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
    "xielu": xielu_slope,
}

"""Activations: gelu, which DistilBERT is trained with, and all others a checkpoint's config may name.

The exact gelu has an erf, which NumPy lacks, so its tail is evaluated here from a series of our own. The well-known
tanh formula (`gelu_new`) is off by up to 4e-4, a hundred times float32's own error over the whole model: it is another
function, for checkpoints that were trained with it.

The names are transformers'. Several are one function under two names; `gelu_fast` has a constant of ten digits where
`gelu_new` has all, which float64 can see. Every function keeps shape and dtype, float32 or float64. Two have numbers of
their own, which the checkpoint holds: they are named by a tuple, `("prelu", weight)`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Array = NDArray[np.floating]

# exp(z^2/2) Q(z), where Q is the upper tail of the normal distribution, as a Chebyshev series in s = 2 / (1 + z/4) - 1,
# which maps z in [0, inf) to (-1, 1]. Fitted with 50 digits by tests/golden/fit_polynomials.py; truncation below 1e-17.
TAIL = (
    0.1682882016232327, 0.22915709990540908, 0.07778835509065742, 0.020384686418274105, 0.003918137045458075,
    0.0004666606283379171, 6.287520132139339e-06, -8.58398579912788e-06, -1.0167576108636199e-06,
    1.397526759521329e-07, 3.669280791486882e-08, -2.8041788924924713e-09, -1.2584224132220847e-09,
    8.950222407260244e-11, 4.536086530984231e-11, -4.474287656506267e-12, -1.671687905185684e-12,
    2.683781469553837e-13, 5.721760333130976e-14, -1.621048267715444e-14, -1.3744940820337785e-15,
    9.10143893328047e-16, -2.2734886306808515e-17, -4.421463813334421e-17,
)  # fmt: skip


def normal_tail(z: Array) -> Array:
    """Q(z) = erfc(z / sqrt 2) / 2 for z >= 0, the probability that a standard normal exceeds z: any shape.

    >>> float(normal_tail(np.array(0.0))), float(normal_tail(np.array(1.96)).round(6))
    (0.5, 0.024998)
    """
    s = 2 / (1 + z / 4) - 1
    return np.exp(-z * z / 2) * chebyshev.chebval(s, np.array(TAIL, s.dtype))


def gelu(x: Array) -> Array:
    """x Phi(x) = x (1 + erf(x / sqrt 2)) / 2: any shape (Hendrycks and Gimpel 2016, section 2).

    Written as ReLU minus a bump, max(x, 0) - |x| Q(|x|): the same function, but without the cancellation of 1 + erf
    for negative x.

    >>> gelu(np.array([-1.0, 0.0, 1.0, 3.0])).round(6)
    array([-0.158655,  0.      ,  0.841345,  2.99595 ])
    """
    z = np.minimum(np.abs(x), 40)  # beyond 40 the bump is 0; the bound keeps inf * 0 away
    return np.maximum(x, 0) - z * normal_tail(z)


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
    """x, or x / 100 where it is negative: any shape."""
    return np.where(x < 0, 0.01 * x, x)


def prelu(x: Array, weight: Array) -> Array:
    """x, or weight times x where it is negative: any shape, (1,) (He et al. 2015, eq. 1)."""
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

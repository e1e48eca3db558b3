"""Exercise: GELU, the exact one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nanodistil.exercises.definitions import numpy_ops
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race, against, compiled_ops, normal
from nanodistil.exercises.trial import Array, Function, Within, in_model, sizes

_erf = np.vectorize(math.erf, otypes=[float])


def gelu(x: Array) -> Array:
    return np.asarray(numpy_ops.activation(x, "gelu"))


def cases(dtype: str) -> list[Case]:
    x = np.random.default_rng(2).standard_normal
    return [
        Case("by hand", (np.array([-3.0, -1.0, 0.0, 1.0, 3.0], dtype),)),
        Case("over the line", (np.linspace(-12, 12, 401).astype(dtype),)),
        Case("rows of 33", (2 * x((5, 33)).astype(dtype),)),
        Case("near zero", (np.array([[-1e-3, 1e-20, 1e-3]], dtype),)),
        Case("large", (np.array([1e30, 100.0, -100.0], dtype),)),
        Case("no rows", (np.zeros((0, 4), dtype),)),
    ]


def slipped(slips: Slips, x: Array) -> Any:
    if "relu" in slips:
        return np.maximum(x, 0)
    if "sigmoid" in slips:
        return numpy_ops.activation(x, "quick_gelu")
    if "silu" in slips:
        return numpy_ops.activation(x, "silu")
    root = 1.0 if "no root" in slips else math.sqrt(2)
    whole = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)) if "tanh" in slips else _erf(x / root)
    phi = (1 + whole) * (1.0 if "no half" in slips else 0.5)
    return np.asarray(phi if "no x" in slips else x * phi, x.dtype)


def trial(function: Function) -> list[str]:
    within = Within(function, gelu, sizes)
    return in_model({"gelu": within}, within)


def race(large: bool) -> Race:
    shape = (128, 3072) if large else (128, 48)
    (x,) = normal(shape)
    rivals = against(compiled_ops(), lambda: gelu(x), lambda ops: ops.activation(x, "gelu"))
    return Race(" x ".join(map(str, shape)), lambda f: f(x), rivals, bytes=2 * x.nbytes)


EXERCISE = Exercise(
    name="gelu",
    title="the activation of the feed-forward layer, with its erf",
    minutes=15,
    lines=6,
    header="def gelu(x):",
    task="""x (1 + erf(x / sqrt 2)) / 2, number by number.

x: an array of any shape, float32 or float64. Returns: the same shape and dtype. The well-known
formula with tanh is another function, off by 4e-4: the official weights were trained with this one.""",
    hints=(
        "NumPy has no erf. The standard library has one for a single number: math.erf.",
        "np.vectorize makes a function of arrays out of one of numbers. With numba.njit a loop with math.erf is fast.",
        "np.vectorize gives float64; the result must have the dtype of x.",
    ),
    example="print(gelu(np.array([-1.0, 0.0, 1.0])))  # [-0.15865525  0.          0.84134475]",
    cases=cases,
    definition=gelu,
    slips={
        "tanh": "this is the formula with tanh (gelu_new), off by up to 4e-4: take erf",
        "sigmoid": "this is x sigmoid(1.702 x), a rough stand-in: take erf",
        "silu": "this is x sigmoid(x), the SiLU: take erf",
        "relu": "this is ReLU, max(x, 0)",
        "no root": "erf is given x instead of x / sqrt 2",
        "no half": "the factor 1/2 is missing",
        "no x": "the factor x is missing: this is the normal distribution alone",
    },
    slipped=slipped,
    trial=trial,
    race=race,
    head="import math\n\nimport numpy as np\n",
)

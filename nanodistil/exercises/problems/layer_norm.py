"""Exercise: LayerNorm."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.exercises.definitions import numpy_ops
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race, against, compiled_ops, normal
from nanodistil.exercises.trial import Array, Function, Within, in_model, sizes


def cases(dtype: str) -> list[Case]:
    x = np.random.default_rng(3).standard_normal

    def given(rows: Any, eps: float = 1e-12) -> tuple[Any, ...]:
        D = rows.shape[1]
        return rows.astype(dtype), np.asarray(1 + 0.3 * x(D), dtype), x(D).astype(dtype), eps

    r = np.outer([1e-6, 1e-3, 0.5, 8.0], [1, -1, -1, 1])
    by_hand = np.array([[1, 3]], dtype), np.array([1, 10], dtype), np.array([0, 0.5], dtype), 1e-12
    return [
        Case("by hand", by_hand),
        Case("5 rows of 7", given(x((5, 7)))),
        Case("as many rows as columns", given(x((6, 6)) + 1)),
        Case("3 rows of 768", given(2 * x((3, 768)) + 0.5), 200),
        Case("eps of 0.75", given(r, 0.75)),
        Case("eps of 1e-5, small rows", given(r, 1e-5)),
        Case("a constant row", given(np.full((2, 6), 7.25))),
        Case("a mean a thousand times the deviation", given(1000 + x((4, 768))), 4000),
    ]


def slipped(slips: Slips, x: Array, weight: Array, bias: Array, eps: float) -> Any:
    how: dict[str, Any] = {"axis": 0 if "axis" in slips else -1, "keepdims": True}
    mean = x.mean(**how)
    centred = x if "not centred" in slips else x - mean
    n = x.shape[how["axis"]]
    if "one pass" in slips:
        variance = (x * x).mean(**how) - mean * mean
    else:
        variance = np.square(x - mean).sum(**how) / (n - 1 if "n - 1" in slips else n)
    if "no eps" in slips:
        eps = 0.0
    if "eps outside" in slips:
        deviation = np.sqrt(variance) + eps
    else:
        deviation = variance + eps if "no root" in slips else np.sqrt(variance + eps)
    if "swapped" in slips:
        weight, bias = bias, weight
    y = centred / deviation
    if "no weight" not in slips:
        y = y * weight
    return (y if "no bias" in slips else y + bias).astype(x.dtype)


def trial(function: Function) -> list[str]:
    within = Within(function, numpy_ops.layer_norm, sizes)
    return in_model({"layer_norm": within}, within)


def race(large: bool) -> Race:
    shape = (512, 768) if large else (8, 768)
    x, weight, bias = normal(shape, shape[1:], shape[1:])
    rivals = against(
        compiled_ops(),
        lambda: numpy_ops.layer_norm(x, weight, bias, 1e-12),
        lambda ops: ops.layer_norm(x, weight, bias, 1e-12),
    )
    return Race(" x ".join(map(str, shape)), lambda f: f(x, weight, bias, 1e-12), rivals, bytes=2 * x.nbytes)


EXERCISE = Exercise(
    name="layer_norm",
    title="every row with mean 0 and variance 1",
    minutes=15,
    lines=5,
    header="def layer_norm(x, weight, bias, eps):",
    task="""(x - mean) / sqrt(variance + eps) * weight + bias, row by row.

x: (N, D). weight, bias: (D,). eps: a number. Returns: (N, D) in the dtype of x. Mean and variance
are those of a row; the variance is the mean of the squared distances from the mean.""",
    hints=(
        "axis=-1 and keepdims=True give a (N, 1) that fits beside (N, D).",
        "Subtract the mean, then take the mean of the squares: mean(x^2) - mean^2 loses digits if the mean is large.",
    ),
    example="print(layer_norm(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), 1e-12))  # [[-1.  1.]]",
    cases=cases,
    definition=numpy_ops.layer_norm,
    slips={
        "n - 1": "the variance is divided by n - 1; LayerNorm divides by n (no ddof)",
        "eps outside": "eps is added outside the root: it is sqrt(variance + eps), not sqrt(variance) + eps",
        "no eps": "eps is not added, so a constant row divides by 0",
        "no root": "the root is missing: divide by the deviation, not by the variance",
        "axis": "mean and variance run down the columns; they are those of a row (axis=-1)",
        "one pass": "the variance is mean(x^2) - mean^2, which loses its digits if the mean is large: subtract first",
        "not centred": "the mean is not subtracted from x",
        "swapped": "weight and bias have changed places",
        "no weight": "the weight is left out",
        "no bias": "the bias is left out",
    },
    slipped=slipped,
    trial=trial,
    race=race,
)

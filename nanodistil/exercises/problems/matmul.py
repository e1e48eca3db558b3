"""Exercise: a linear map in tiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.backend import instrument
from nanodistil.exercises.definitions import numpy_ops
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race, compiled_ops, normal
from nanodistil.exercises.trial import Array, Function, Within, in_model

TILES = (8, 16, 32, 64)


def definition(x: Array, weight: Array, bias: Array) -> Any:
    return numpy_ops.linear(x, numpy_ops.prepare_linear(weight, bias))


def cases(dtype: str) -> list[Case]:
    random = np.random.default_rng(6)

    def given(N: int, I: int, O: int) -> tuple[Any, ...]:
        return tuple(random.standard_normal(s).astype(dtype) for s in ((N, I), (O, I), (O,)))

    by_hand = np.array([[10, 1]], dtype), np.array([[1, 2], [0, -1], [3, 0]], dtype), np.array([0.5, 0, -1], dtype)
    return [
        Case("by hand", by_hand),
        Case("one number", given(1, 1, 1)),
        Case("as many inputs as outputs", given(3, 32, 32)),
        Case("whole tiles", given(16, 64, 8), 200),
        Case("3 x 5 -> 7", given(3, 5, 7)),
        Case("no multiple of a tile", given(70, 127, 70), 200),
        Case("1 row, 200 -> 31", given(1, 200, 31), 200),
        Case("a long sum", given(2, 3072, 9), 1000),
    ]


def slipped(slips: Slips, x: Array, weight: Array, bias: Array) -> Any:
    if "transposed" in slips:
        weight = weight.T
    if weight.shape[1] != x.shape[1]:
        raise ValueError("shapes do not fit")
    I, y = x.shape[1], None
    for t in TILES:
        if f"rest of {t}" in slips:
            whole = I - I % t
            y = x[:, :whole] @ weight[:, :whole].T
            y[len(x) - len(x) % t :] = 0
            y[:, len(weight) - len(weight) % t :] = 0
        elif f"inputs of {t}" in slips:
            whole = I - I % t
            y = x[:, :whole] @ weight[:, :whole].T
        elif f"last of {t}" in slips:
            at = (I - 1) // t * t
            y = x[:, at:] @ weight[:, at:].T
        elif f"bias of {t}" in slips:
            y = x @ weight.T + (-(-I // t) - 1) * bias
    y = x @ weight.T if y is None else y
    return y if "no bias" in slips else (y + bias).astype(x.dtype)


def trial(function: Function) -> list[str]:
    within = Within(function, definition, lambda x, weight, bias: float(len(x) * weight.size))
    return in_model({"linear": lambda x, w: within(x, w.weight, w.bias)}, within)


def rungs(x: Array, weight: Array, bias: Array) -> list[tuple[str, Any]]:
    """The ladder of `bench --ladder`, less its threads; NumPy alone without Numba."""
    if compiled_ops() is None:
        return [("definition, NumPy", lambda: definition(x, weight, bias))]
    return [(step.name, step.run) for step in instrument("ladder").steps(x, weight, bias)[:-1]]


def race(large: bool) -> Race:
    N, I, O = (64, 384, 1536) if large else (8, 64, 64)
    x, weight, bias = normal((N, I), (O, I), (O,))
    factor = 64 * 384 * 1536 / (8 * 64 * 64)
    what = f"{N} rows, {I} -> {O}"
    return Race(what, lambda f: f(x, weight, bias), rungs(x, weight, bias), flops=2.0 * N * I * O, factor=factor)


def tiles(text: str) -> dict[str, str]:
    return {text.partition(":")[0].format(t): text.partition(":")[2].strip().format(t) for t in TILES}


EXERCISE = Exercise(
    name="matmul",
    title="a matrix product, tile by tile",
    minutes=40,
    lines=14,
    header="def linear(x, weight, bias):",
    task="""x W^T + b: every output is the sum of its inputs, weighed, plus its bias.

Do not write one product of the whole matrices: work through them in tiles. A tile of the result is
a few rows of x times a few rows of weight; its sum over the inputs goes on in pieces (of 64, say)
that are added up. Tiles are what lets a processor keep in its caches what it uses again; in
numba.njit, loops over tiles are as good as slices of NumPy are here. In float32 pieces also gather
less rounding error: see how yours compares.

x: (N, I). weight: (O, I), as in the checkpoint. bias: (O,). Returns: (N, O). N, I and O need not be
multiples of a tile.""",
    hints=(
        "Three loops, over rows, outputs and inputs, in steps of a tile; NumPy cuts slices that run over the end.",
        "Begin a tile with zeros, add the products of every piece of the inputs, add the bias once.",
    ),
    example="print(linear(np.array([[10.0, 1.0]]), np.array([[1.0, 2.0], [0.0, -1.0]]), np.zeros(2)))  # [[12. -1.]]",
    cases=cases,
    definition=definition,
    slips={
        "transposed": "the weight is not transposed: it is (O, I), one row an output, so x @ weight.T",
        "no bias": "the bias is left out",
        **tiles("rest of {0}: the last tiles are missing if a size is no multiple of {0}"),
        **tiles("inputs of {0}: the last inputs are missing if there are not whole pieces of {0}"),
        **tiles("last of {0}: each piece of {0} inputs replaces the sum of those before it: add (+=) them up"),
        **tiles("bias of {0}: the bias is added with every piece of {0} inputs: add it once"),
    },
    slipped=slipped,
    trial=trial,
    race=race,
)

"""Exercise: weights as whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.exercises.definitions import numpy_ops
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race
from nanodistil.exercises.trial import Array, Function, Within, in_model, sizes


def definition(weight: Array) -> tuple[Array, Array]:
    """As kernels/cpu/int8_ops.py rounds weights."""
    scale = np.abs(weight).max(axis=1) / weight.dtype.type(127)
    scale[scale == 0] = 1
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def cases(dtype: str) -> list[Case]:
    random = np.random.default_rng(11)

    def given(O: int, I: int, exponents: Any) -> tuple[Array]:
        """Numbers whose quotient by the scale has no rounding error, and often is a half."""
        quarters = random.integers(-126 * 4, 126 * 4 + 1, (O, I)) / 4
        quarters[:, 0] = np.where(np.arange(O) % 2, -127, 127)
        return ((quarters * 2.0 ** np.asarray(exponents).reshape(-1, 1)).astype(dtype),)

    halves = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 3.7, -3.7, 3.2]], dtype)
    return [
        Case("by hand: halves", (halves,)),
        Case("rows of different sizes", given(4, 6, [0, 3, -5, -10])),
        Case("square", given(8, 8, range(-4, 4))),
        Case("a row of zeros", (np.array([[0, 0, 0], [127, -63.5, 1]], dtype),)),
        Case("the largest is negative", (np.array([[-127, 63, 0.25], [-254, 127, 1]], dtype),)),
        Case("30 x 64", given(30, 64, [-7] * 30)),
    ]


def slipped(slips: Slips, weight: Array) -> Any:
    axis: Any = 0 if "columns" in slips else None if "one scale" in slips else 1
    size = weight.max(axis=axis) if "signed" in slips else np.abs(weight).max(axis=axis)
    scale = size / weight.dtype.type(128 if {"128", "wraps"} & slips else 255 if "255" in slips else 127)
    if axis is None:
        scale = np.full(len(weight), scale, weight.dtype)
    if "zeros" not in slips:
        scale = np.where(scale == 0, weight.dtype.type(1), scale)
    divisor = scale[None] if axis == 0 else scale[:, None]
    w = weight / divisor
    if "half up" in slips:
        w = np.floor(w + w.dtype.type(0.5))
    elif "half away" in slips:
        w = np.trunc(w + np.copysign(w.dtype.type(0.5), w))
    elif "cut off" in slips:
        w = np.trunc(w)
    elif "floor" in slips:
        w = np.floor(w)
    else:
        w = np.rint(w)
    if "128" in slips:
        w = np.clip(w, -128, 127)
    w = np.nan_to_num(w, nan=0.0)
    return w.astype(np.int64).astype(np.int8), 1 / scale if "inverse" in slips else scale


def trial(function: Function) -> list[str]:
    """Every linear map with its weight rounded, multiplied in float32: what the rounding alone does."""
    rounded: dict[int, Array] = {}
    within = Within(function, definition, sizes)

    def linear(x: Array, w: Any) -> Any:
        if id(w.weight) not in rounded:
            numbers, scale = within(w.weight)
            rounded[id(w.weight)] = numbers.astype(x.dtype) * np.asarray(scale, x.dtype)[:, None]
        return numpy_ops.linear(x, numpy_ops.prepare_linear(rounded[id(w.weight)], w.bias))

    lines = in_model({"linear": linear}, within)
    return [*lines, "  (rounding to 255 numbers costs what you see; rounded otherwise it costs more)"]


def race(large: bool) -> Race:
    weight = np.random.default_rng(0).standard_normal((768, 768) if large else (96, 96), np.float32)
    rivals: list[Any] = [("ours, NumPy", lambda: definition(weight))]
    what = " x ".join(map(str, weight.shape))
    return Race(what, lambda f: f(weight), rivals, bytes=1.25 * weight.nbytes)


EXERCISE = Exercise(
    name="int8",
    title="a weight in a quarter of its bytes",
    minutes=15,
    lines=4,
    header="def quantized(weight):",
    task="""Every row becomes whole numbers from -127 to 127, times one scale.

The scale of a row is its largest magnitude / 127; of a row of zeros it is 1. The numbers are weight
/ scale, rounded to the nearest whole number; a half goes to the even one, as IEEE's rounding does:
0.5 becomes 0, 1.5 becomes 2.

weight: (O, I), float32 or float64. Returns: the numbers, (O, I) of int8, and the scales, (O,) in
the dtype of weight.""",
    hints=(
        "np.rint rounds halves to even. astype alone cuts off.",
        "np.where(scale == 0, 1, scale) makes float64 of float32 in older NumPy: look at the dtype of what you return.",
    ),
    example="print(quantized(np.array([[127.0, 0.5, 1.5, -3.2]])))  # [[127 0 2 -3]], [1.]",
    cases=cases,
    definition=definition,
    slips={
        "half up": "halves are rounded up, as floor(x + 0.5) does: they go to the even number (np.rint)",
        "half away": "halves are rounded away from zero: they go to the even number (np.rint)",
        "cut off": "numbers are cut off, not rounded: astype does not round (np.rint first)",
        "floor": "numbers are rounded down: to the nearest, np.rint",
        "128": "the largest magnitude is divided by 128: by 127, or the largest number has no place",
        "wraps": "the largest magnitude is divided by 128, so 128 wraps round to -128: divide by 127",
        "255": "the largest magnitude is divided by 255: the numbers go from -127 to 127",
        "one scale": "there is one scale for the whole matrix: every row has its own",
        "columns": "the scale is a column's: it is a row's (axis=1)",
        "signed": "the largest number is taken, not the largest magnitude: np.abs first",
        "zeros": "a row of zeros divides by 0: its scale is 1",
        "inverse": "the scale is upside down: numbers times scale is the weight",
    },
    slipped=slipped,
    trial=trial,
    race=race,
)

"""Exercise: softmax over the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.exercises.definitions import numpy_ops
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race, against, compiled_ops, normal
from nanodistil.exercises.trial import Array, Function, Within, in_model, sizes


def cases(dtype: str) -> list[Case]:
    x = np.random.default_rng(1).standard_normal
    least = np.finfo(dtype).min
    return [
        Case("by hand", (np.array([[0, 0], [0, np.log(3)]], dtype),)),
        Case("scores of a thousand, rows far apart", (np.array([[0, 0], [1000, -1000], [-900, -900]], dtype),)),
        Case("one row of 301", (5 * x(301).astype(dtype),), 200),
        Case("12 heads, 7 queries, 9 keys", (3 * x((12, 7, 9)).astype(dtype),)),
        Case("square", (x((6, 6)).astype(dtype),)),
        Case("a masked key", (np.array([[1, least, 2], [0.5, least, -1]], dtype),)),
        Case("every key masked", (np.full((2, 4), least, dtype),)),
        Case("keys at minus infinity", (np.array([[1, -np.inf, 2], [-np.inf, -np.inf, 0]], dtype),)),
    ]


def slipped(slips: Slips, scores: Array) -> Any:
    axis: Any = 0 if "axis" in slips else None if "all" in slips else -1
    keep = {"axis": axis, "keepdims": True}
    if "no exp" in slips:
        return scores / scores.sum(**keep)
    top = scores.max(keepdims=True) if "one maximum" in slips else scores.max(**keep)
    shifted = scores if "no maximum" in slips else scores - top
    e = np.exp(shifted)
    if "not divided" in slips:
        return e
    return shifted - np.log(e.sum(**keep)) if "log" in slips else e / e.sum(**keep)


def trial(function: Function) -> list[str]:
    within = Within(function, numpy_ops.softmax, sizes)
    return in_model({"softmax": within}, within)


def race(large: bool) -> Race:
    shape = (12, 128, 128) if large else (12, 16, 16)
    (x,) = normal(shape)
    rivals = against(compiled_ops(), lambda: numpy_ops.softmax(x), lambda ops: ops.attention_probs([x]))
    return Race(" x ".join(map(str, shape)), lambda f: f(x), rivals, bytes=2 * x.nbytes)


EXERCISE = Exercise(
    name="softmax",
    title="scores become shares of 1",
    minutes=10,
    lines=4,
    header="def softmax(scores):",
    task="""exp(s) / sum of exp(s), over the last axis.

scores: an array of any shape, float32 or float64. Returns: the same shape and dtype; along the last
axis the numbers sum to 1. It must also be right for scores of a thousand, where exp overflows.""",
    hints=(
        "exp(s - c) / sum exp(s - c) is the same for every c. Which c keeps exp from overflowing?",
        "The c has to be each row's own, and axis=-1 with keepdims=True makes it fit.",
    ),
    example="print(softmax(np.array([0.0, 1000.0, 1000.0])))  # [0. 0.5 0.5]",
    cases=cases,
    definition=numpy_ops.softmax,
    slips={
        "no maximum": "no maximum is subtracted, so exp overflows if scores are large: first subtract each row's",
        "axis": "the sum runs over the first axis; it is the last one that must sum to 1",
        "all": "the sum runs over the whole array; every row must sum to 1 by itself",
        "one maximum": "the maximum is that of the whole array: a row far below it becomes 0 / 0; take each row's own",
        "no exp": "the scores themselves are divided, not their exponentials",
        "not divided": "the exponentials are not divided by their sum",
        "log": "the result is the logarithm of softmax",
    },
    slipped=slipped,
    trial=trial,
    race=race,
)

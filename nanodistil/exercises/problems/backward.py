"""Exercise: the backward pass of a linear map."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.exercises.definitions import numpy_backward
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.problems.cross_entropy import kernels
from nanodistil.exercises.race import Race
from nanodistil.exercises.trial import Array, Function, Within, learning

Three = tuple[Array, Array, Array]


def definition(dy: Array, x: Array, weight: Array) -> Three:
    dW, db = np.zeros_like(weight), np.zeros(len(weight), weight.dtype)
    numpy_backward.linear_backward_weight(dy, x, dW, db)
    return numpy_backward.linear_backward_input(dy, weight), dW, db


def cases(dtype: str) -> list[Case]:
    random = np.random.default_rng(8)

    def given(N: int, I: int, O: int) -> tuple[Any, ...]:
        return tuple(random.standard_normal(s).astype(dtype) for s in ((N, O), (N, I), (O, I)))

    return [
        Case("by hand", (np.array([[1, 2]], dtype), np.array([[3]], dtype), np.array([[4], [5]], dtype))),
        Case("5 rows, 3 -> 7", given(5, 3, 7)),
        Case("all sizes alike", given(4, 4, 4)),
        Case("one row", given(1, 6, 2)),
        Case("100 rows, 40 -> 33", given(100, 40, 33), 300),
    ]


def slipped(slips: Slips, dy: Array, x: Array, weight: Array) -> Any:
    dx = dy @ (weight.T if "weight transposed" in slips else weight)
    dW = x.T @ dy if "gradient transposed" in slips else dy.T @ x
    db = x.sum(0) if "bias of inputs" in slips else dy.sum(1) if "bias axis" in slips else dy.sum(0)
    if "bias mean" in slips:
        db = db / dy.dtype.type(len(dy))
    if "bias kept" in slips:
        db = db[None]
    if "mean" in slips:
        dx, dW, db = (one / dy.dtype.type(len(dy)) for one in (dx, dW, db))
    return (dW, dx, db) if "order" in slips else (dx, dW, db)


def trial(function: Function) -> list[str]:
    """In training the two halves are asked one after the other: dW and db wait for the weight that dx needs."""
    within = Within(function, definition, lambda dy, x, weight: 2.0 * len(dy) * weight.size)
    waiting: list[Any] = []

    def finish(w: Array | None = None) -> Array | None:
        if not waiting:
            return None
        dy, x, dW, db = waiting.pop()
        dx, one, other = within(dy, x, np.zeros_like(dW) if w is None else w)
        dW += one
        db += other
        return np.asarray(dx)

    def for_weight(dy: Array, x: Array, dW: Array, db: Array) -> None:
        finish()
        waiting.append((dy, x, dW, db))

    def for_input(dy: Array, w: Array) -> Array:
        if waiting and waiting[0][0] is dy:
            found = finish(w)
            assert found is not None
            return found
        finish()
        return np.asarray(within(dy, np.zeros((len(dy), w.shape[1]), dy.dtype), w)[0])

    lines = learning({"linear_backward_weight": for_weight, "linear_backward_input": for_input})
    return lines + ([f"  {within.note()}"] if within.note() else [])


def race(large: bool) -> Race:
    N, I, O = (128, 768, 768) if large else (16, 96, 96)
    dy, x, weight = (
        np.random.default_rng(n).standard_normal(s, np.float32) for n, s in enumerate(((N, O), (N, I), (O, I)))
    )
    rivals: list[Any] = [("definition, NumPy", lambda: definition(dy, x, weight))]
    if ours := kernels():
        laid, dW, db = (
            ours.prepare_backward(weight, np.zeros(O, np.float32)),
            np.zeros_like(weight),
            np.zeros(O, np.float32),
        )

        def run() -> None:
            ours.linear_backward_weight(dy, x, dW, db)
            ours.linear_backward_input(dy, laid)

        rivals.append(("our kernels", run))
    what = f"{N} rows, {I} -> {O}"
    return Race(what, lambda f: f(dy, x, weight), rivals, flops=4.0 * N * I * O, factor=512)


EXERCISE = Exercise(
    name="backward",
    title="what a linear map does to a gradient",
    minutes=25,
    lines=5,
    header="def linear_backward(dy, x, weight):",
    task="""The gradients of y = x W^T + b, by x, by W and by b.

dy is the loss's derivative by y. Every y[n, o] is the sum over i of x[n, i] weight[o, i], plus
bias[o]; so the chain rule gives the derivative by x[n, i] as the sum over o of dy[n, o] times what
x[n, i] was multiplied by, and so on.

dy: (N, O). x: (N, I). weight: (O, I). Returns: dx (N, I), dW (O, I), db (O,).""",
    hints=(
        "The shapes leave little choice: (N, O) and (O, I) make (N, I).",
        "A bias is added to all N rows, so its gradient comes from all of them.",
    ),
    example="""dx, dW, db = linear_backward(np.array([[1.0, 2.0]]), np.array([[3.0]]), np.array([[4.0], [5.0]]))
print(dx, dW.T, db)  # [[14.]] [[3. 6.]] [1. 2.]""",
    cases=cases,
    definition=definition,
    slips={
        "weight transposed": "dx multiplies by the transposed weight: dx = dy W, without a transpose",
        "gradient transposed": "dW is transposed: it is (O, I), dy^T x",
        "bias of inputs": "db is the sum of x; it is the sum of dy",
        "bias axis": "db sums along the rows; it is the sum of all rows, axis 0",
        "bias mean": "db is a mean over the rows; it is their sum",
        "bias kept": "db has the shape (1, O): it is (O,)",
        "mean": "all three are divided by the number of rows; that belongs to the loss",
        "order": "dW comes before dx: the order is dx, dW, db",
    },
    slipped=slipped,
    trial=trial,
    race=race,
)

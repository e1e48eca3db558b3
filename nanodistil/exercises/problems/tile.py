"""Exercise: the register tile."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.exercises.exercise import Case, Exercise, Function, Slips
from nanodistil.exercises.problems.matmul import rungs
from nanodistil.exercises.race import Race, normal
from nanodistil.exercises.trial import Array, Within, in_model

ROWS, COLUMNS = 6, 64


def ask(function: Function, given: tuple[Any, ...]) -> Any:
    """What is in c behind the call."""
    c, a, b = given
    function(c, a, b)
    return c


def definition(c: Array, a: Array, b: Array) -> Array:
    return np.asarray(c + a @ b)


def cases(dtype: str) -> list[Case]:
    random = np.random.default_rng(12)

    def given(R: int, K: int, C: int) -> tuple[Any, ...]:
        return tuple(random.standard_normal(s).astype(dtype) for s in ((R, C), (R, K), (K, C)))

    return [
        Case("by hand", (np.array([[1, 2]], dtype), np.array([[3]], dtype), np.array([[4, 5]], dtype))),
        Case("a whole tile", given(ROWS, 64, COLUMNS), 200),
        Case("4 rows", given(4, 64, COLUMNS), 200),
        Case("a narrow one", given(ROWS, 33, 17), 200),
        Case("one row, 300 deep", given(1, 300, COLUMNS), 300),
        Case("square", given(5, 5, 5)),
        Case("nothing to add", given(2, 0, 8)),
    ]


def slipped(slips: Slips, c: Array, a: Array, b: Array) -> Any:
    if "b transposed" in slips and a.shape[1]:
        b = b.T
        if b.shape != (a.shape[1], c.shape[1]):
            raise IndexError("out of range")
    if "not in c" in slips:
        return c
    if "last k" in slips:
        a, b = a[:, : max(a.shape[1] - 1, 0)], b[: max(b.shape[0] - 1, 0)]
    y = a @ b if "replaced" in slips else c + a @ b
    if "subtracted" in slips:
        y = c - a @ b
    rows, columns = c.shape
    if "last row" in slips:
        y[rows - 1] = c[rows - 1]
    if "last column" in slips:
        y[:, columns - 1] = c[:, columns - 1]
    return y


def in_tiles(function: Function) -> Function:
    """A linear map made of a learner's tiles, its weight in panels that lie as the tile reads them."""
    packed: dict[int, list[Array]] = {}

    def linear(x: Array, weight: Array, bias: Array) -> Array:
        if id(weight) not in packed:
            packed[id(weight)] = [
                np.ascontiguousarray(weight[o : o + COLUMNS].T) for o in range(0, len(weight), COLUMNS)
            ]
        y = np.empty((len(x), len(weight)), x.dtype)
        for n in range(0, len(x), ROWS):
            rows = np.ascontiguousarray(x[n : n + ROWS])
            for p, panel in enumerate(packed[id(weight)]):
                at = slice(p * COLUMNS, (p + 1) * COLUMNS)
                c = np.tile(bias[at], (len(rows), 1))
                function(c, rows, panel)
                y[n : n + ROWS, at] = c
        return y

    return linear


def add_product(c: Array, a: Array, b: Array) -> None:
    c += a @ b


def trial(function: Function) -> list[str]:
    within = Within(function, add_product, lambda c, a, b: float(len(a) * b.size))
    linear = in_tiles(within)
    return in_model({"linear": lambda x, w: linear(x, w.weight, w.bias)}, within)


def race(large: bool) -> Race:
    N, I, O = (60, 384, 1536) if large else (6, 64, 128)
    x, weight, bias = normal((N, I), (O, I), (O,))
    what = f"{N} rows, {I} -> {O}, in tiles of {ROWS} x {COLUMNS}"
    linears: dict[int, Any] = {}

    def yours(function: Function) -> Any:
        return linears.setdefault(id(function), in_tiles(function))(x, weight, bias)

    factor = 60 * 384 * 1536 / (6 * 64 * 128)
    return Race(what, yours, rungs(x, weight, bias), flops=2.0 * N * I * O, factor=factor)


EXERCISE = Exercise(
    name="tile",
    title="the register tile: where the multiplications happen",
    minutes=45,
    lines=10,
    header="def tile(c, a, b):",
    task="""c += a b, in place, for a piece of a matrix product that fits into registers.

Everything a linear map does is in here: the harness cuts x and the packed weight into tiles of at
most 6 rows and 64 columns and calls yours for each. For every k: one row of b, times one number of
each row of a, is added to the rows of c.

Write it with numba.njit. See how far the compiler goes with your loops: `exercise check` shows it
beside the ladder. Which of the three loops is the innermost, and whether sums stay in a local
array, makes a factor of ten.

c: (R, C) float32 or float64, R up to 6 and C up to 64; it is changed, and nothing is returned. a:
(R, K). b: (K, C).""",
    hints=(
        "Innermost over columns: they lie side by side in b and c, so they become vectors.",
        "A local np.zeros(C) for the sums of one row is written back once, when all of K is done.",
        '@njit(fastmath={"contract"}) allows a multiplication and an addition to become one instruction.',
        "No out-of-range index is checked in compiled code. NUMBA_DISABLE_JIT=1 runs it as Python, which checks.",
    ),
    example="""c = np.ones((1, 2))
tile(c, np.array([[3.0]]), np.array([[4.0, 5.0]]))
print(c)  # [[13. 16.]]""",
    cases=cases,
    definition=definition,
    slips={
        "replaced": "c is replaced: the product is added to what is there",
        "not in c": "c is not changed: write into it (c[r, j] += ...), a new array is not seen",
        "last k": "the last k is missing",
        "last row": "the last row is missing",
        "last column": "the last column is missing",
        "b transposed": "b is read as if it were transposed: it is (K, C)",
        "subtracted": "the product is subtracted",
    },
    slipped=slipped,
    trial=trial,
    race=race,
    ask=ask,
    writes=("c",),
    head="import numpy as np\nfrom numba import njit\n",
)

"""Exercise: the loss of a masked language model, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.exercises.definitions import numpy_backward
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race, against
from nanodistil.exercises.trial import Array, Function, Within, learning, sizes


def definition(logits: Array, labels: Array) -> tuple[float, Array]:
    n, d = max(int((labels >= 0).sum()), 1), np.zeros_like(logits)
    return numpy_backward.cross_entropy(logits, labels, 1 / n, d) / n, d


def cases(dtype: str) -> list[Case]:
    random = np.random.default_rng(7)

    def given(M: int, V: int, ignored: Any = (), scale: float = 1.0) -> tuple[Any, ...]:
        labels = random.integers(0, V, M)
        labels[list(ignored)] = -100
        return (scale * random.standard_normal((M, V))).astype(dtype), labels

    return [
        Case("by hand", (np.log(np.array([[1, 3], [1, 1]], dtype)), np.array([0, 1]))),
        Case("4 rows, 9 words", given(4, 9)),
        Case("two rows without a label", given(5, 7, (0, 3))),
        Case("more words than 100", given(4, 150, (2,))),
        Case("no row has a label", given(3, 5, range(3))),
        Case("large logits", given(3, 6, (), 1000.0), 1000),
        Case("one row", given(1, 4)),
    ]


def slipped(slips: Slips, logits: Array, labels: Array) -> Any:
    M = len(logits)
    rows = np.arange(M) if "minus 100" in slips else np.flatnonzero(labels >= 0)
    n: Any = M if "all rows" in slips else len(rows)
    if n == 0 and "nothing" not in slips:
        n = 1
    if "sum" in slips:
        n = 1
    x = logits if "no maximum" in slips else logits - logits.max(-1, keepdims=True)
    e = np.exp(x)
    probs = e / e.sum(-1, keepdims=True)
    logs = np.log(probs) if "log of softmax" in slips else x - np.log(e.sum(-1, keepdims=True))
    if "bits" in slips:
        logs = logs / np.log(2)
    picked = logs[rows, labels[rows]].sum()
    loss = float((picked if "sign" in slips else -picked) / np.float64(n))
    d = probs.copy() if "rows without" in slips else np.zeros_like(probs)
    if "rows without" not in slips:
        d[rows] = probs[rows]
    if "no one" not in slips:
        d[rows, labels[rows]] -= 1
    if "gradient turned" in slips:
        d = -d
    return loss, d if "gradient not divided" in slips else (d / np.float64(n)).astype(logits.dtype)


def trial(function: Function) -> list[str]:
    within = Within(function, definition, sizes)

    def cross_entropy(logits: Array, labels: Array, scale: float, dlogits: Array) -> float:
        loss, d = within(logits, labels)
        n = int((labels >= 0).sum())
        dlogits += logits.dtype.type(scale * n) * d
        return float(loss) * n

    return learning({"cross_entropy": cross_entropy}) + ([f"  {within.note()}"] if within.note() else [])


def race(large: bool) -> Race:
    M, V = (32, 30522) if large else (32, 477)
    logits = np.random.default_rng(0).standard_normal((M, V), np.float32)
    labels = np.random.default_rng(1).integers(0, V, M)
    rivals = against(
        kernels(),
        lambda: definition(logits, labels),
        lambda ours: ours.cross_entropy(logits, labels, 1 / M, np.zeros_like(logits)),
    )
    return Race(f"{M} rows of {V}", lambda f: f(logits, labels), rivals, bytes=2 * logits.nbytes)


def kernels() -> Any:
    """The compiled derivatives, on one thread; None without Numba."""
    from nanodistil.backend import load_backward
    from nanodistil.exercises.race import compiled_ops

    return load_backward("numba") if compiled_ops() is not None else None


EXERCISE = Exercise(
    name="cross_entropy",
    title="how wrong the model is, and in which direction",
    minutes=25,
    lines=10,
    header="def cross_entropy(logits, labels):",
    task="""The mean of -log softmax(logits)[label] over the rows that have a label, and its gradient.

A row whose label is negative (-100) has none: it does not count, and its gradient is 0. The
gradient by the logits of a row with a label is (softmax - 1 at the label) / number of such rows. If
no row has a label, the loss is 0.

logits: (M, V). labels: (M,) whole numbers. Returns: the loss, a number, and the gradient, (M, V) in
logits' dtype.""",
    hints=(
        "log softmax(s) = s - max - log(sum of exp(s - max)): never take the logarithm of a softmax that may be 0.",
        "np.flatnonzero(labels >= 0) are the rows that count.",
        "d[rows, labels[rows]] -= 1 changes one number a row.",
    ),
    example="print(cross_entropy(np.zeros((1, 2)), np.array([0])))  # (0.693..., [[-0.5  0.5]])",
    cases=cases,
    definition=definition,
    slips={
        "no maximum": "no maximum is subtracted, so exp overflows if logits are large",
        "log of softmax": "a softmax of 0 has the logarithm minus infinity: take s - max - log(sum exp(s - max))",
        "minus 100": "rows with the label -100 are not left out; as an index, -100 counts from the end",
        "all rows": "the mean is over all rows: divide by the number of rows that have a label",
        "sum": "the loss is a sum: divide it, and the gradient, by the number of rows that have a label",
        "nothing": "without any label 0 is divided by 0: the loss is 0 then",
        "sign": "the loss has the wrong sign",
        "bits": "the logarithm is to the base 2: take the natural one",
        "no one": "the gradient lacks the - 1 at the label",
        "gradient turned": "the gradient has the wrong sign: softmax - 1 at the label",
        "gradient not divided": "the gradient is not divided by the number of rows that have a label",
        "rows without": "rows without a label have a gradient: it must be 0",
    },
    slipped=slipped,
    trial=trial,
    race=race,
)

"""Exercise: attention of one sentence, with heads and a mask."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.backend import Sentences
from nanodistil.exercises.definitions import numpy_ops
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race, against, compiled_ops
from nanodistil.exercises.trial import Array, Function, Within, by_sentence, in_model


def alone(q: Array, k: Array, heads: int, keep: Array | None) -> Sentences:
    """One sentence, all of whose queries ask."""
    return Sentences(np.array([0, len(q)]), np.array([0, len(k)]), heads, keep)


def definition(q: Array, k: Array, v: Array, heads: int, keep: Array) -> Any:
    return numpy_ops.attention(q, k, v, alone(q, k, heads, keep))


def cases(dtype: str) -> list[Case]:
    random = np.random.default_rng(5)

    def given(Q: int, T: int, D: int, heads: int, masked: Any = (), scale: float = 1.0) -> tuple[Any, ...]:
        q, k, v = (random.standard_normal((n, D)).astype(dtype) for n in (Q, T, T))
        keep = np.ones(T, bool)
        keep[list(masked)] = False
        return (scale * q).astype(dtype), k, v, heads, keep

    return [
        Case("one head", given(4, 4, 6, 1)),
        Case("4 heads of 5, 11 tokens", given(11, 11, 20, 4)),
        Case("as many heads as tokens", given(4, 4, 12, 4)),
        Case("3 queries, 9 keys", given(3, 9, 8, 2)),
        Case("two keys masked", given(6, 6, 8, 2, (1, 5))),
        Case("every key masked", given(4, 4, 8, 2, range(4))),
        Case("large scores", given(5, 5, 16, 2, (4,), 600.0), 1000),
        Case("one token", given(1, 1, 4, 2)),
        Case("12 heads of 16, 20 tokens", given(20, 20, 192, 12, range(15, 20)), 300),
    ]


def slipped(slips: Slips, q: Array, k: Array, v: Array, heads: int, keep: Array) -> Any:
    D = q.shape[1]
    if "one head" in slips:
        heads = 1
    Dh = D // heads

    def split(x: Array) -> Array:  # (H, T, Dh)
        if "interleaved" in slips:
            return x.reshape(len(x), Dh, heads).transpose(2, 0, 1)
        return x.reshape(heads, len(x), Dh) if "cut wrong" in slips else x.reshape(len(x), heads, Dh).transpose(1, 0, 2)

    divisor = 1.0 if "no scale" in slips else Dh if "no root" in slips else np.sqrt(D if "whole width" in slips else Dh)
    scores = (split(q) @ split(k).transpose(0, 2, 1)) / q.dtype.type(divisor)  # (H, Q, T)
    least = np.finfo(q.dtype).min
    mask = ~keep if "inverted" in slips else keep
    if "queries" in slips:
        scores = np.where(mask[: len(q), None], scores, least)
    elif "by zero" in slips:
        scores = scores * mask
    elif "added" in slips:
        scores = scores + mask.astype(q.dtype)
    elif "weak" in slips:
        scores = scores + (~mask) * q.dtype.type(-10000)
    elif "infinity" in slips:
        scores = np.where(mask, scores, q.dtype.type(-np.inf))
    elif "no mask" not in slips and "too late" not in slips:
        scores = np.where(mask, scores, least)
    if "causal" in slips:
        scores = np.where(np.tri(*scores.shape[1:]) > 0, scores, least)
    axis = 1 if "axis" in slips else -1
    e = np.exp(scores if "no maximum" in slips else scores - scores.max(axis, keepdims=True))
    probs = e / e.sum(axis, keepdims=True)
    if "too late" in slips:
        probs = probs * mask
    context = probs @ split(v)  # (H, Q, Dh)
    if "not joined" in slips:
        return context.reshape(len(q), D)
    if "interleaved" in slips:
        return context.transpose(1, 2, 0).reshape(len(q), D)
    return context.transpose(1, 0, 2).reshape(len(q), D)


def trial(function: Function) -> list[str]:
    within = Within(function, definition, lambda q, k, v, heads, keep: 2.0 * len(q) * k.size)
    return in_model({"attention": by_sentence(within)}, within)


def race(large: bool) -> Race:
    T, D, heads = (128, 768, 12) if large else (16, 96, 12)
    q, k, v = (np.random.default_rng(n).standard_normal((T, D), np.float32) for n in range(3))
    keep, who = np.ones(T, bool), alone(q, k, heads, None)
    rivals = against(compiled_ops(), lambda: numpy_ops.attention(q, k, v, who), lambda ops: ops.attention(q, k, v, who))
    what = f"{T} tokens, {heads} heads of {D // heads}"
    return Race(what, lambda f: f(q, k, v, heads, keep), rivals, flops=4.0 * T * T * D, factor=512)


EXERCISE = Exercise(
    name="attention",
    title="every token gathers from the others",
    minutes=30,
    lines=12,
    header="def attention(q, k, v, heads, keep):",
    task="""softmax(q k^T / sqrt(Dh)) v in every head, with the heads side by side again.

Head h has the columns h Dh to (h + 1) Dh of q, k, v and of the result, Dh = D / heads. The scores
of keys that are not kept are replaced by the most negative number of the dtype,
np.finfo(q.dtype).min, before softmax: they get weight 0, and if no key is kept at all, all get the
same.

q: (Q, D), the tokens that ask. k, v: (T, D). heads: a number. keep: (T,) of bool, False at keys
that are masked. Returns: (Q, D).""",
    hints=(
        "x.reshape(T, heads, Dh).transpose(1, 0, 2) is (heads, T, Dh): every head a matrix of its own.",
        "A @ B multiplies stacks of matrices, so all heads are one line: (H, Q, Dh) @ (H, Dh, T).",
        "The way back is transpose(1, 0, 2).reshape(Q, D).",
        "np.where(keep, scores, ...): keep has the length of the last axis, so it fits.",
    ),
    example="""x = np.eye(2)
print(attention(x, x, x, 1, np.array([True, True])))  # [[0.67 0.33] [0.33 0.67]], rounded""",
    cases=cases,
    definition=definition,
    slips={
        "no scale": "the scores are not divided by sqrt(Dh)",
        "no root": "the scores are divided by Dh, not by its root",
        "whole width": "the scores are divided by sqrt(D): it is the width of a head, sqrt(Dh)",
        "inverted": "the mask is upside down: True is a key that is kept",
        "no mask": "the mask is not used",
        "by zero": "masked scores become 0, which is a score like any other: they must become the most negative number",
        "added": "the mask is added to the scores as 0 and 1: masked scores must become the most negative number",
        "weak": "-10000 is added to masked scores, so if all are masked, or scores are large, they still differ: "
        "replace them",
        "infinity": "masked scores are minus infinity: with every key masked that gives NaN; take np.finfo(...).min",
        "too late": "the mask comes behind softmax, so the weights of what is kept no longer sum to 1",
        "queries": "the mask hides queries; it is keys (the last axis of the scores) that are masked",
        "axis": "softmax runs over the queries; every query's weights must sum to 1 over the keys (the last axis)",
        "no maximum": "softmax subtracts no maximum, so large scores overflow",
        "one head": "the heads are not split: each has scores and a softmax of its own",
        "interleaved": "a head has every heads-th column: it has Dh neighbouring ones, reshape(T, heads, Dh)",
        "cut wrong": "reshape(heads, T, Dh) mixes tokens: reshape(T, heads, Dh), then transpose",
        "not joined": "the heads are not put back side by side: transpose(1, 0, 2) before the last reshape",
        "causal": "tokens see only those before them: DistilBERT's see the whole sentence",
    },
    slipped=slipped,
    trial=trial,
    race=race,
)

"""Exercise: keys and values that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.exercises.definitions import numpy_ops
from nanodistil.exercises.exercise import Case, Exercise, Function, Slips
from nanodistil.exercises.problems.attention import alone
from nanodistil.exercises.race import Race, compiled_ops
from nanodistil.exercises.trial import Array, Within, by_sentence, in_model

Steps = list[tuple[Any, ...]]  # (which cache, q, k, v): append k and v, then attend with q; k None: attend alone


def ask(function: Function, given: tuple[Any, ...]) -> list[Array]:
    """Caches of a learner's class, taken through the steps; what was appended is written over behind them."""
    heads, steps = given
    caches: dict[int, Any] = {}
    found = []
    for which, q, k, v in steps:
        cache = caches.setdefault(which, None) or function(heads)
        caches[which] = cache
        if k is not None:
            k, v = k.copy(), v.copy()
            cache.append(k, v)
            k[...], v[...] = 9, 9
        found.append(cache.attend(q))
    return found


class Kept:
    """The definition."""

    def __init__(self, heads: int) -> None:
        self.heads, self.k, self.v = heads, [], []  # type: ignore[var-annotated]

    def append(self, k: Array, v: Array) -> None:
        self.k.append(k.copy())
        self.v.append(v.copy())

    def attend(self, q: Array) -> Any:
        k, v = np.concatenate(self.k), np.concatenate(self.v)
        return numpy_ops.attention(q, k, v, alone(q, k, self.heads, None))


def definition(heads: int, steps: Steps) -> list[Array]:
    return ask(Kept, (heads, steps))


def cases(dtype: str) -> list[Case]:
    random = np.random.default_rng(10)

    def x(*shape: int) -> Array:
        return random.standard_normal(shape).astype(dtype)

    def tokens(D: int, counts: list[int], which: int = 0) -> Steps:
        return [(which, x(1, D), x(n, D), x(n, D)) for n in counts]

    mixed = [step for pair in zip(tokens(8, [3, 1, 1]), tokens(8, [2, 2, 1], 1), strict=True) for step in pair]
    return [
        Case("one token", (1, tokens(4, [1]))),
        Case("token by token", (2, tokens(8, [1, 1, 1, 1]))),
        Case("a prompt of 5, then token by token", (4, tokens(20, [5, 1, 1, 1]))),
        Case("two caches in turns", (2, mixed)),
        Case("several ask, twice", (2, [(0, x(3, 8), x(6, 8), x(6, 8)), (0, x(2, 8), None, None)])),
        Case("70 tokens", (12, tokens(48, [40, *[1] * 30])), 300),
    ]


def slipped(slips: Slips, heads: int, steps: Steps) -> Any:
    shared: list[Any] = [[], []]

    class Slipped(Kept):
        def __init__(self, heads: int) -> None:
            super().__init__(heads)
            if "shared" in slips:
                self.k, self.v = shared

        def append(self, k: Array, v: Array) -> None:
            if "one row" in slips:
                k, v = k[:1], v[:1]
            if "last row" in slips:
                k, v = k[-1:], v[-1:]
            if "replaced" in slips:
                self.k.clear()
                self.v.clear()
            if "values replaced" in slips:
                self.v.clear()
            self.k.append(k if "view" in slips else k.copy())
            self.v.append(v if "view" in slips else v.copy())

        def attend(self, q: Array) -> Any:
            k, v = np.concatenate(self.k), np.concatenate(self.v)
            if "not yet" in slips:
                k, v = k[: len(k) - 1], v[: len(v) - 1]
            if "prompt" in slips:
                k, v = self.k[0], self.v[0]
            if len(k) != len(v):
                raise ValueError("shapes do not fit")
            n = 1 if "one head" in slips else self.heads
            if "no scale" in slips:
                q = q * q.dtype.type(np.sqrt(q.shape[1] // n))
            return numpy_ops.attention(q, k, v, alone(q, k, n, None))

    return ask(Slipped, (heads, steps))


def attention(function: Function) -> Function:
    """Row by row into a cache, then all queries: a bidirectional model is the same with a cache as without."""

    def one(q: Array, k: Array, v: Array, heads: int, keep: Array) -> Array:
        cache = function(heads)
        for t in range(len(k)):
            cache.append(k[t : t + 1], v[t : t + 1])
        return np.asarray(cache.attend(q))

    return one


def trial(function: Function) -> list[str]:
    within = Within(attention(function), attention(Kept), lambda q, k, v, heads, keep: 2.0 * len(q) * k.size)
    return in_model({"attention": by_sentence(within)}, within)


def race(large: bool) -> Race:
    T, D, heads = (128, 384, 12) if large else (16, 384, 12)
    q, k, v = (np.random.default_rng(n).standard_normal((T, D), np.float32) for n in range(3))

    def write(cache: Any) -> None:
        for t in range(T):
            cache.append(k[t : t + 1], v[t : t + 1])
            cache.attend(q[t : t + 1])

    def anew(attend: Any) -> None:
        """As it is without a cache: the whole text again for each token."""
        for t in range(1, T + 1):
            who = alone(q[:t], k[:t], heads, None)
            attend(q[:t], k[:t], v[:t], who._replace(reach=np.arange(1, t + 1)))

    rivals: list[Any] = [("no cache, NumPy", lambda: anew(numpy_ops.attention))]
    if ops := compiled_ops():
        rivals.append(("our kernel and its cache", lambda: _ours(ops, q, k, v, heads)))
    what = f"{T} tokens one by one, {heads} heads of {D // heads}"
    return Race(what, lambda f: write(f(heads)), rivals, flops=2.0 * T * T * D, factor=64)


def _ours(ops: Any, q: Array, k: Array, v: Array, heads: int) -> None:
    from nanodistil.backend import Sentences

    kept = ops.remember([k.shape[1]], k.shape[1] // heads)
    text, n = kept.join(1), np.array([1])
    who = Sentences(np.array([0, 1]), np.array([0, 1]), heads, None, np.array([1]))
    for t in range(len(k)):
        kept.reserve(text, n)
        kept.attend(0, text, q[t : t + 1], k[t : t + 1], v[t : t + 1], who)
        kept.fed(text, n)


EXERCISE = Exercise(
    name="kv_cache",
    title="keys and values that are kept: a token more costs one row",
    minutes=30,
    lines=20,
    header="class KVCache:",
    task="""A text that is written on grows by a token at a time, and the keys and values of the others stay
what they were.

KVCache(heads)      a cache for one text, empty
append(k, v)        keep the keys and values of the next n tokens: (n, D) each. The caller uses these arrays again
attend(q)           softmax(q k^T / sqrt(Dh)) v over all tokens that were appended, in every head: (Q, D) -> (Q, D)

Every cache is by itself. (Attention: as in the exercise of that name, without a mask.)""",
    hints=(
        "Keep copies: what was appended is written over by the caller later.",
        "np.concatenate copies everything for each token. An array that doubles its room when it is full, and a number "
        "that says how much of it is used, copy next to nothing.",
        "Set lists and arrays in __init__, not in the class's body: what stands there belongs to all caches together.",
    ),
    example="""cache = KVCache(1)
cache.append(np.eye(2), np.eye(2))
print(cache.attend(np.zeros((1, 2))))  # [[0.5 0.5]]""",
    cases=cases,
    definition=definition,
    slips={
        "replaced": "the cache is not appended to: it has only what came last",
        "values replaced": "keys are appended, but values are replaced",
        "prompt": "only what was appended first is attended to",
        "one row": "of several tokens only the first is kept",
        "last row": "of several tokens only the last is kept",
        "not yet": "the last token is not attended to: it sees itself",
        "view": "the caller's arrays are kept, not copies: they are written over later",
        "shared": "all caches are one: set what they keep in __init__, not in the class's body",
        "one head": "the heads are not split",
        "no scale": "the scores are not divided by sqrt(Dh)",
    },
    slipped=slipped,
    trial=trial,
    race=race,
    ask=ask,
)

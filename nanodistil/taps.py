"""Taps: how to look into model.py, and what to hang on its named intermediates.

A tap is a function (name, value) -> value that says which names it wants to see. Most values pass it in any case. But a
fused op never holds what lies between its steps, so `showing` gives ops that take one step after the other, if the tap
wants a name between them, and otherwise the fused ones themselves.

`Recorder` keeps what passes under the names it is asked for; `as_tap` turns a plain function of yours into a tap that
wants everything.

Values are packed, as the model has them: (N, width) arrays, and lists of B arrays (H, T, T) for scores and probs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from nanodistil.backend import Activation, Array, Ints, Ops, Sentences
from nanodistil.weights.errors import InputError

Value = TypeVar("Value")


class Tap(Protocol):
    """Sees, and may replace, every named intermediate."""

    def __call__(self, name: str, value: Value) -> Value: ...

    def wants(self, *names: str) -> bool:
        """Whether any of these must exist as arrays of their own, fused or not."""
        ...


class NoTap:
    """The identity: nothing is watched."""

    def __call__(self, name: str, value: Value) -> Value:
        return value

    def wants(self, *names: str) -> bool:
        return False


def showing(ops: Ops, tap: Tap, *names: str) -> Ops:
    """`ops`, whose next fused one shows the tap what lies between its steps under these names, if it wants any.

    >>> from nanodistil.backend import load
    >>> ops, tap = load("numpy"), Recorder(["lin1"])
    >>> w = ops.prepare_linear(np.eye(2), np.zeros(2))
    >>> showing(ops, tap, "lin1").linear_activation(np.array([[1.0, -2.0]]), w, "relu"), tap.seen
    (array([[1., 0.]]), {'lin1': array([[ 1., -2.]])})
    >>> showing(ops, tap, "scores", "probs") is ops
    True
    """
    return cast(Ops, _Steps(ops, tap, names)) if tap.wants(*names) else ops


class _Steps:
    """The fused ops of a backend, step by step: what the definitions say they are."""

    def __init__(self, ops: Ops, tap: Tap, names: tuple[str, ...]) -> None:
        self.ops, self.tap, self.names = ops, tap, names

    def embed_layer_norm(
        self, ids: Ints, positions: Ints, words: Array, places: Array, weight: Array, bias: Array, eps: float
    ) -> Array:
        x = self.tap(self.names[0], self.ops.embed(ids, positions, words, places))  # (N, D)
        return self.ops.layer_norm(x, weight, bias, eps)

    def linear_activation(self, x: Array, w: Any, which: Activation) -> Array:
        return self.ops.activation(self.tap(self.names[0], self.ops.linear(x, w)), which)

    def attention(self, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        scores = self.tap(self.names[0], self.ops.attention_scores(q, k, who))  # B x (H, Q, T)
        probs = self.tap(self.names[1], self.ops.attention_probs(scores))
        return self.ops.attention_context(probs, v, who.starts)


class Recorder:
    """Keeps the values of the given names, after `inner` (if any) has had them.

    >>> tap = Recorder(["ffn"])
    >>> tap("ffn", 3) + tap("other", 4), tap.seen
    (7, {'ffn': 3})
    """

    def __init__(self, names: Iterable[str], inner: Tap | None = None) -> None:
        self.names = frozenset(names)
        self.inner = inner or NoTap()
        self.seen: dict[str, Any] = {}

    def __call__(self, name: str, value: Value) -> Value:
        value = self.inner(name, value)
        if name in self.names:
            self.seen[name] = value
        return value

    def wants(self, *names: str) -> bool:
        return not self.names.isdisjoint(names) or self.inner.wants(*names)


class HeadMask:
    """Weighs the attention of single heads, after softmax, before `inner` sees it: a tap on every layer's probs."""

    def __init__(self, weights: Array, inner: Tap) -> None:
        """weights: (L, H), 0 to silence a head and 1 to leave it."""
        self.weights = {f"layer.{i}.attention.probs": row for i, row in enumerate(weights)}
        self.inner = inner

    def __call__(self, name: str, value: Value) -> Value:
        if (row := self.weights.get(name)) is not None:
            value = cast(Value, [probs * row[:, None, None] for probs in cast(list[Array], value)])  # B x (H, T, T)
        return self.inner(name, value)

    def wants(self, *names: str) -> bool:
        return not self.weights.keys().isdisjoint(names) or self.inner.wants(*names)


class _Guard:
    """A user's tap: it sees NumPy arrays, and its replacements are checked, since kernels trust shapes and dtypes."""

    def __init__(self, tap: Callable[[str, Any], Any], ops: Ops) -> None:
        self.tap, self.ops = tap, ops

    def __call__(self, name: str, value: Value) -> Value:
        send, fetch = self.ops.send, self.ops.fetch
        if not isinstance(value, list):
            seen: Any = fetch(cast(Any, value))
            return cast(Value, send(_fitting(name, seen, self.tap(name, seen))))
        seen = [fetch(one) for one in value]
        replacement = self.tap(name, list(seen))
        if not isinstance(replacement, list | tuple) or len(replacement) != len(seen):
            raise InputError(f"the tap at {name} must return a list of {len(seen)} arrays")
        return cast(Value, [send(_fitting(name, old, new)) for old, new in zip(seen, replacement, strict=True)])

    def wants(self, *names: str) -> bool:
        asked = getattr(self.tap, "wants", None)
        return True if asked is None else bool(asked(*names))


def _fitting(name: str, old: Any, new: Any) -> Any:
    """`new` in the dtype of `old`. Raises InputError unless it has the same shape."""
    if np.shape(new) != old.shape or np.asarray(new).dtype.kind not in "biuf":
        got = "nothing" if new is None else f"shape {np.shape(new)}"
        raise InputError(f"the tap at {name} must return numbers of shape {old.shape}, not {got}")
    return np.asarray(new, old.dtype)


def as_tap(tap: Tap | Callable[[str, Any], Any] | None, ops: Ops) -> Tap:
    """None -> the identity; anything else -> a tap whose replacements are checked. A plain function wants everything.

    ops: whose arrays they are; the user's function is given NumPy's, and may change them in place. The returned tap
    raises InputError for a replacement of another shape, and casts one of another dtype.
    """
    return NoTap() if tap is None else _Guard(tap, ops)

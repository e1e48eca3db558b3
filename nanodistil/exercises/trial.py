"""A learner's function inside the real model: what it answers, and how far it is from float64.

The embedded model fills in a blank three times: with the function in place of an op (replacing.py), with the
definitions in float32, and in float64. For derivatives it takes one step of training on the same sentence instead.

A model is a hundred times as large as a case. If a function in plain Python would take too long for it, the definition
takes over, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXT = "Paris is the [MASK] of France."
WORD = "capital"
MODEL = "nanodistil-mini"
SECONDS = 2.0  # for all calls of a learner's function
SHOWN = 3  # words

Array = NDArray[Any]
Function = Callable[..., Any]


class Within:
    """A function as long as there is time for it, the definition from then on.

    >>> slow = Within(lambda x: x, lambda x: -x, lambda x: 1.0, seconds=0.0)
    >>> slow(3), slow.note()
    (-3, 'yours is too slow for the model: it computed 0 of 1 calls, the definition the others')
    """

    def __init__(self, yours: Function, definition: Function, work: Function, seconds: float = SECONDS) -> None:
        """work: of the same arguments, how much there is to do."""
        self.yours, self.definition, self.work, self.left = yours, definition, work, seconds
        self.worked, self.took, self.calls, self.own = 0.0, 0.0, 0, 0

    def __call__(self, *given: Any) -> Any:
        self.calls += 1
        work = self.work(*given)
        if self.left <= 0 or work * self.took / max(self.worked, 1.0) > self.left:
            return self.definition(*given)
        began = perf_counter()
        found = self.yours(*given)
        took = perf_counter() - began
        if self.own:  # the first call may compile
            self.left, self.worked, self.took = self.left - took, self.worked + work, self.took + took
        self.own += 1
        return found

    def note(self) -> str:
        """What is to be said if it was not always used."""
        if self.own == self.calls:
            return ""
        return (
            f"yours is too slow for the model: it computed {self.own} of {self.calls} calls, the definition the others"
        )


def sizes(*given: Any) -> float:
    """Of all arrays: the work of an op that looks at each number once."""
    return float(sum(x.size for x in given if isinstance(x, np.ndarray)))


@cache
def tokenizer() -> Any:
    """The embedded model's."""
    from nanodistil import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL)


def asked() -> tuple[Any, list[tuple[int, int]]]:
    """The ids of the text (1, T), and where its [MASK] is."""
    ids = np.array([tokenizer()(TEXT)["input_ids"]])
    return ids, [(0, int(np.flatnonzero(ids[0] == tokenizer().mask_token_id)[0]))]


def masked_lm(backend: str, dtype: str) -> Any:
    from nanodistil import DistilBertForMaskedLM

    return DistilBertForMaskedLM.from_pretrained(MODEL, backend=backend, dtype=dtype)


def words(probs: Array) -> str:
    """The best, with their probabilities: (V,)."""
    best = np.argsort(-probs, kind="stable")[:SHOWN]
    return ", ".join(f"{tokenizer().convert_ids_to_tokens(int(i))} {probs[i]:.4f}" for i in best)


def probabilities(logits: Array) -> Array:
    e = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(e / e.sum())


def in_model(ops: dict[str, Function], within: Within | None = None) -> list[str]:
    """Fill in the blank with these ops replaced: lines of a report."""
    from nanodistil.replacing import add_backend

    add_backend("yours", on="numpy", **ops)
    ids, positions = asked()
    logits = {
        name: masked_lm(backend, dtype)(ids, positions=positions).logits[0]
        for name, backend, dtype in (
            ("yours", "yours", "float32"), ("ours", "numpy", "float32"), ("exact", "numpy", "float64"),
        )
    }  # fmt: skip
    error = {name: float(np.abs(logits[name] - logits["exact"]).max()) for name in ("yours", "ours")}
    lines = [
        f"in the real model: {TEXT}",
        f"  with yours           {words(probabilities(logits['yours']))}",
        f"  with the definition  {words(probabilities(logits['ours']))}",
        f"  largest error of a logit against float64: {error['yours']:.1e} with yours, {error['ours']:.1e} without",
    ]
    return lines + ([f"  {within.note()}"] if within and within.note() else [])


def learning(replaced: dict[str, Function]) -> list[str]:
    """One step of training on the text with these derivatives replaced: lines of a report."""
    from nanodistil.exercises.definitions import numpy_backward

    usual = {name: value for name, value in vars(numpy_backward).items() if not name.startswith("_")}
    before, after, gradients = _step(SimpleNamespace(**(usual | replaced)), "float32")
    _, _, exact = _step(SimpleNamespace(**usual), "float64")
    return [
        f"in the real model: {TEXT}",
        f"  a step against your gradients takes the probability of {WORD!r} from {before:.4f} to {after:.4f}",
        f"  error of the layers' gradients against float64, of their length: {_distance(gradients, exact):.1e}",
    ]


RATE = 1e-3  # of the step


def _step(bops: Any, dtype: str) -> tuple[float, float, dict[str, Array]]:
    """The probability of WORD before and behind a step, and the gradients."""
    from nanodistil.heads.masked_lm import objective
    from nanodistil.training.trainee import Trainee

    ids, positions = asked()
    model = masked_lm("numpy", dtype)
    trainee = Trainee(model)
    trainee.bops = bops
    number = tokenizer().convert_tokens_to_ids(WORD)
    labels = np.full_like(ids, -100)
    labels[positions[0]] = number
    loss = objective(trainee, {"input_ids": ids, "labels": labels})
    if dtype == "float64":
        return float(np.exp(-loss)), 0.0, trainee.gradients
    for name, weight in trainee.weights.items():
        weight -= weight.dtype.type(RATE) * trainee.gradients[name]
    trainee.refresh()
    after = probabilities(model(ids, positions=positions).logits[0])[number]
    return float(np.exp(-loss)), float(after), trainee.gradients


def _distance(some: dict[str, Array], others: dict[str, Array]) -> float:
    names = [name for name in others if "layer." in name]
    apart = sum(float(np.square(some[name] - others[name]).sum()) for name in names)
    return float(np.sqrt(apart / sum(float(np.square(others[name]).sum()) for name in names)))


def by_sentence(function: Function) -> Function:
    """An attention for one sentence, (Q, D), 2 x (T, D), heads, keep -> (Q, D), as the model asks for it."""

    def attention(q: Array, k: Array, v: Array, who: Any) -> Array:
        keep = np.ones(len(k), bool) if who.keep is None else who.keep
        parts = [
            function(*(np.ascontiguousarray(x) for x in (q[a:b], k[s:t], v[s:t])), who.heads, keep[s:t])
            for a, b, s, t in zip(who.asking, who.asking[1:], who.starts, who.starts[1:], strict=False)
        ]
        return np.concatenate(parts)

    return attention

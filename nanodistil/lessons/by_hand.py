"""One step worked by hand: Python's own floats, one number at a time, beside what the backend computed.

    attention_scores    one query against every key, in one head
    attention_probs     one softmax
    attention_context   one number of the average
    layer_norm          one row: mean, variance, the first numbers
    linear              one number, with the largest of its products
    activation          the first numbers
    embed, add          the same

Of a matrix the row is that of one token, and of heads the one that looks most at one place. The backend's number is
right if it is the one by hand to the digits of its dtype; by hand everything is added exactly (math.fsum).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SHOWN = 4  # numbers of a row
KEYS = 12  # keys of a query


@dataclass
class Worked:
    """A step by hand: its equations, and what it comes to, beside the backend's numbers."""

    lines: list[str]
    by_hand: list[float]
    computed: list[float]

    @property
    def error(self) -> float:
        """The largest difference, relative to the largest number."""
        largest = max((abs(x) for x in self.by_hand), default=0.0) or 1.0
        return max((abs(a - b) for a, b in zip(self.by_hand, self.computed, strict=True)), default=0.0) / largest


def number(x: float) -> str:
    """Six digits.

    >>> number(0.123456789), number(-12.0)
    ('0.123457', '-12')
    """
    return f"{x:.6g}"


def linear(given: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str]) -> Worked:
    x, (weight, bias) = given["x"][row].tolist(), ops.restore_linear(given["w"])
    out, among = result[row], given.get("among") or slice(None)
    j = int(np.abs(out[among]).argmax()) + (among.start or 0)
    products = [a * b for a, b in zip(x, weight[j].tolist(), strict=True)]
    largest = sorted(range(len(x)), key=lambda k: -abs(products[k]))[:SHOWN]
    total = math.fsum(products) + float(bias[j])
    others = math.fsum(p for k, p in enumerate(products) if k not in largest)
    lines = [f"y[{j}], the largest of {len(out[among])}: the sum of {len(x)} products x[k] W[{j}, k], and b[{j}]"]
    lines += [f"k = {k}: {number(x[k])} * {number(float(weight[j, k]))} = {number(products[k])}" for k in largest]
    lines += [
        f"the other {len(x) - len(largest)} products: {number(others)}",
        f"b[{j}] = {number(float(bias[j]))}",
        f"together y[{j}] = {number(total)}",
    ]
    return Worked(lines, [total], [float(out[j])])


def _norm(x: list[float], given: dict[str, Any], out: Any) -> Worked:
    D, eps = len(x), float(given["eps"])
    mean = math.fsum(x) / D
    variance = math.fsum((a - mean) ** 2 for a in x) / D
    deviation = math.sqrt(variance + eps)
    lines = [
        f"mean of {D} numbers = {number(mean)}",
        f"variance, the mean of (x - mean)^2 = {number(variance)}; sqrt(variance + {eps:g}) = {number(deviation)}",
    ]
    found = []
    for k in range(min(SHOWN, D)):
        w, b = float(given["weight"][k]), float(given["bias"][k])
        found.append((x[k] - mean) / deviation * w + b)
        lines.append(
            f"y[{k}] = ({number(x[k])} - {number(mean)}) / {number(deviation)} * {number(w)} + {number(b)} "
            f"= {number(found[-1])}"
        )
    return Worked(lines, found, out[: len(found)].tolist())


def layer_norm(given: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str]) -> Worked:
    return _norm(given["x"][row].tolist(), given, result[row])


def add_layer_norm(given: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str]) -> Worked:
    x, residual = given["x"][row].tolist(), given["residual"][row].tolist()
    total = [a + b for a, b in zip(x, residual, strict=True)]
    worked = _norm(total, given, result[row])
    sums = [f"x[{k}] = {number(x[k])} + {number(residual[k])} = {number(total[k])}" for k in range(SHOWN)]
    return Worked(["first the residual is added:", *sums, *worked.lines], worked.by_hand, worked.computed)


def add(given: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str]) -> Worked:
    x, residual = given["x"][row].tolist(), given["residual"][row].tolist()
    found = [a + b for a, b in zip(x, residual, strict=True)][:SHOWN]
    lines = [f"y[{k}] = {number(x[k])} + {number(residual[k])} = {number(y)}" for k, y in enumerate(found)]
    return Worked(lines, found, result[row][: len(found)].tolist())


def embed(given: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str]) -> Worked:
    token, place = int(given["ids"][row]), int(given["positions"][row])
    word, where = given["words"][token].tolist(), given["places"][place].tolist()
    found = [a + b for a, b in zip(word, where, strict=True)][:SHOWN]
    lines = [f"{tokens[row]} is word {token}, and stands at place {place}"]
    lines += [
        f"x[{k}] = words[{token}, {k}] + places[{place}, {k}] = {number(word[k])} + {number(where[k])} = {number(x)}"
        for k, x in enumerate(found)
    ]
    return Worked(lines, found, result[row][: len(found)].tolist())


def activation(given: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str]) -> Worked:
    x, which = given["x"][row].tolist()[:SHOWN], given["which"]
    if which not in ACTIVATIONS:
        return Worked([f"{which} is not worked by hand here"], [], [])
    lines, found = [], []
    for k, one in enumerate(x):
        said, y = ACTIVATIONS[which](one)
        lines.append(f"y[{k}]: x = {number(one)}; {said} = {number(y)}")
        found.append(y)
    return Worked(lines, found, result[row][: len(x)].tolist())


def _gelu(x: float) -> tuple[str, float]:
    share = math.erfc(-x / math.sqrt(2)) / 2
    return f"Phi(x) = (1 + erf(x / sqrt 2)) / 2 = {number(share)}; x Phi(x)", x * share


def _gelu_new(x: float) -> tuple[str, float]:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return f"tanh(sqrt(2 / pi) (x + 0.044715 x^3)) = {number(math.tanh(inner))}; x (1 + that) / 2", x * (
        1 + math.tanh(inner)
    ) / 2


ACTIVATIONS: dict[Any, Callable[[float], tuple[str, float]]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_new,
    "relu": lambda x: ("max(x, 0)", max(x, 0.0)),
    "tanh": lambda x: ("tanh(x)", math.tanh(x)),
}


def _shown(numbers: Any) -> list[int]:
    """Which keys are shown: all, or the largest, in their order."""
    return sorted(np.argsort(-np.asarray(numbers), kind="stable")[:KEYS].tolist())


def attention_scores(given: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str]) -> Worked:
    who, out = given["who"], result[0][head, row]
    wide = given["q"].shape[1] // who.heads
    q, k = (given[name][:, head * wide : (head + 1) * wide] for name in ("q", "k"))
    seen = [j for j in _shown(out) if math.isfinite(out[j])]
    lines = [f"head {head}: the query of {tokens[row]}, {wide} numbers, times the key of every token, / sqrt({wide})"]
    found = []
    for j in seen:
        products = [a * b for a, b in zip(q[row].tolist(), k[j].tolist(), strict=True)]
        dot = math.fsum(products)
        found.append(dot / math.sqrt(wide))
        lines.append(
            f"{tokens[j]}: {number(products[0])} + {number(products[1])} + ... = {number(dot)}; "
            f"/ {number(math.sqrt(wide))} = {number(found[-1])}"
        )
    return Worked(lines, found, [float(out[j]) for j in seen])


def attention_probs(given: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str]) -> Worked:
    scores, out = given["scores"][0][head, row].tolist(), result[0][head, row]
    largest = max(scores)
    powers = [math.exp(s - largest) for s in scores]
    total, seen = math.fsum(powers), [j for j in _shown(out) if math.isfinite(scores[j])]
    lines = [f"head {head}: softmax of {len(scores)} scores, of which the largest is {number(largest)}"]
    lines += [
        f"{tokens[j]}: exp({number(scores[j])} - {number(largest)}) = {number(powers[j])}; / {number(total)} "
        f"= {number(powers[j] / total)}"
        for j in seen
    ]
    return Worked(lines, [powers[j] / total for j in seen], [float(out[j]) for j in seen])


def attention_context(given: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str]) -> Worked:
    probs = given["probs"][0]
    wide = given["v"].shape[1] // len(probs)
    at = head * wide
    p, v = probs[head, row].tolist(), given["v"][:, at].tolist()
    seen = _shown(probs[head, row])
    lines = [f"head {head}: number {at} of the values of all {len(p)} tokens, each times its probability"]
    lines += [f"{tokens[j]}: {number(p[j])} * {number(v[j])} = {number(p[j] * v[j])}" for j in seen]
    total = math.fsum(a * b for a, b in zip(p, v, strict=True))
    lines.append(f"together context[{at}] = {number(total)}")
    return Worked(lines, [total], [float(result[row, at])])


STEPS = {
    function.__name__: function
    for function in (
        linear, layer_norm, add_layer_norm, add, embed, activation, attention_scores, attention_probs,
        attention_context,
    )
}  # fmt: skip


def work(
    op: str, arguments: dict[str, Any], result: Any, row: int, head: int, ops: Any, tokens: list[str],
    among: slice | None = None,
) -> Worked:  # fmt: skip
    """The step by hand. row: of the token; where fewer rows were computed, the last. tokens: of the sentence.

    among: of a linear map's numbers, those that are meant.
    """
    arrays = {name: _here(value, ops) for name, value in arguments.items()} | {"among": among}
    result = _here(result, ops)
    rows = len(result) if isinstance(result, np.ndarray) else result[0].shape[1]
    return STEPS[op](arrays, result, min(row, rows - 1), head, ops, tokens)


def _here(value: Any, ops: Any) -> Any:
    if isinstance(value, list):
        return [ops.fetch(one) for one in value]
    return ops.fetch(value) if hasattr(value, "dtype") and value.ndim else value

"""What explaining.py found, in words: for a terminal of any width, and for print() in a notebook.

The first layer is told step by step; the others do the same with weights of their own, so each has a line: where the
token looked, and what the model would have answered there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nanodistil.lessons.by_hand import Worked, number
from nanodistil.lessons.trace import Call

Explanation = Any  # of explaining.py, which asks for these words


def cut(line: str, width: int) -> str:
    """A line that fits.

    >>> cut("abcdefgh", 6), cut("abc", 6)
    ('abc...', 'abc')
    """
    return line if len(line) <= width else line[: max(0, width - 3)] + "..."


def shape(numbers: Sequence[int]) -> str:
    """(8, 384) -> "8 x 384"."""
    return " x ".join(map(str, numbers)) or "1"


def time(seconds: float) -> str:
    """Milliseconds, or microseconds."""
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def answers(found: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{word} {share:.3f}" if word else f"{share:.4f}" for word, share in found)


def speed(found: Explanation, call: Call) -> str:
    """How long an op took, and what share of the machine's limit it reached."""
    share, bound = found.of_limit(call)
    rate = f", {call.flops / call.seconds / 1e9:.1f} GFLOP/s" if call.flops and call.seconds else ""
    reached = f": {share:.0%} of {bound}" if share else f": {bound}" if bound else ""
    return f"{time(call.seconds)}{rate}{reached}"


def step(found: Explanation, call: Call, count: int) -> list[str]:
    """One op: its name, formula, lines of source, shapes, numbers, time."""
    made = " and ".join(dict.fromkeys(shape(one) for one in call.given))
    with_weights = f", with {', '.join(call.weights)}" if call.weights else ""
    lines = [f"{count}. {call.name}", f"   {call.formula}"]
    lines += [f"   {part}" for part in call.parts]
    lines += [
        f"   {call.source}: {call.line}",
        f"   defined at {call.definition}",
        f"   computed at {call.kernel}",
        f"   {made} -> {shape(call.shape)}{with_weights}",
    ]
    if numbers := found.numbers(call):
        lines.append(f"   {found.tokens[found.at]}: {' '.join(map(number, numbers))} ...")
    return [*lines, f"   {speed(found, call)}"]


def told(found: Explanation, width: int) -> str:
    """The whole forward pass."""
    model, config, trace = found.model, found.model.config, found.trace
    parameters = sum(_size(value) for value in _weights(model))
    lines = [
        f"{type(model).__name__}: {config.n_layers} layers of width {config.dim}, {config.n_heads} heads, "
        f"{parameters:,} parameters; {model.backend} {model.dtype}",
    ]
    if found.limits is not None:
        lines.append(
            f"this machine: {found.limits.flops / 1e9:.0f} GFLOP/s and {found.limits.bandwidth / 1e9:.1f} GB/s, "
            "measured just now"
        )
    lines += ["", f"{len(found.tokens)} tokens: {' '.join(found.tokens)}"]
    lines.append(f"ids: {' '.join(map(str, found.ids))}")
    lines += [f"looked at is {found.tokens[found.at]}, token {found.at}", ""]
    count, told_layers = 0, set()
    for call in trace.calls:
        layer = call.name.split(".")[1] if call.name.startswith("layer.") else ""
        if layer and layer != "0":
            if layer not in told_layers:
                told_layers.add(layer)
                lines += [] if len(told_layers) > 1 else ["the other layers do the same with weights of their own:", ""]
                lines += _layer(found, int(layer))
            continue
        if not layer and told_layers and lines[-1]:
            lines.append("")
        count += 1
        lines += [*step(found, call, count), ""]
        if layer and call is [c for c in trace.calls if c.name.startswith("layer.0.")][-1]:
            lines += [*_layer(found, 0), ""]
    if lines[-1]:
        lines.append("")
    if found.answer:
        lines.append(f"answer: {answers(found.answer)}")
    lines.append(f"the whole: {time(trace.seconds)}; ops apart: {time(sum(c.seconds for c in trace.calls))}")
    return "\n".join(cut(line, width) for line in lines)


def _layer(found: Explanation, layer: int) -> list[str]:
    """Where the token looked in a layer, and what the answer would be behind it."""
    looked = found.looked[layer]
    at = f"layer.{layer}."
    seconds = sum(call.seconds for call in found.trace.calls if call.name.startswith(at))
    said = f"; would say: {answers(found.answers[layer + 1][1])}" if found.answers else ""
    return [f"layer {layer}, {time(seconds)}: head {looked.head} looks at {answers(looked.tokens)}{said}"]


def worked(found: Explanation, steps: list[tuple[Call, Worked]], width: int) -> str:
    """Steps by hand."""
    lines = [f"{len(found.tokens)} tokens: {' '.join(found.tokens)}; looked at is {found.tokens[found.at]}", ""]
    for call, by_hand in steps:
        lines += [
            call.name,
            f"   {call.formula}",
            *(f"   {part}" for part in call.parts),
            f"   {call.source}: {call.line}",
            f"   defined at {call.definition}",
        ]
        lines += [f"   {line}" for line in by_hand.lines]
        if by_hand.by_hand:
            backend = found.model.backend
            wide = max(len("by hand"), len(backend))
            lines += [
                f"   {'by hand':{wide}}  {' '.join(map(number, by_hand.by_hand[:4]))}",
                f"   {backend:{wide}}  {' '.join(map(number, by_hand.computed[:4]))}",
                f"   apart by {by_hand.error:.1e} of the largest",
            ]
        lines.append("")
    return "\n".join(cut(line, width) for line in lines[:-1])


def _weights(model: Any) -> list[Any]:
    from nanodistil.weights.names import expected

    return list(expected(model.config, model.head).values())


def _size(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count

"""`nanodistil explain --backward`: one training step, from the loss back to the words, each gradient checked at once.

The step is that of training/ (backward.py beside model.py), in float64 on the definitions, so that a finite difference
has digits to compare: a number is moved a little, forward and back, and the loss computed anew,

    dL/dw = (L(w + h) - L(w - h)) / 2h, nearly.

Of every weight's gradient the largest number is checked so, and of every intermediate's that stands alone (a gradient
that is added to a residual's is not: there is no number whose change it would be). Of the layers that are not told in
full all weights are moved together, in a random direction. At the end the step is taken: the loss falls by what the
gradient's length says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanodistil import backend as backends
from nanodistil.backend import Array
from nanodistil.lessons.by_hand import number
from nanodistil.lessons.exact import exactly
from nanodistil.lessons.explaining import load, place
from nanodistil.lessons.telling import cut, shape
from nanodistil.lessons.trace import Call, Watching, weight_names
from nanodistil.model import attending, block, embeddings, last_norm
from nanodistil.packing import Packing
from nanodistil.taps import as_tap
from nanodistil.weights.errors import InputError, excerpt

MOVED = 1e-5  # how far a number is moved
TOGETHER = 1e-8  # each of many
LEAST = 1e-4  # what a difference can tell from nothing
ROWS = 64  # of logits at once, in float64 26 MB of a large vocabulary's
PIECE = 1 << 20  # weights that are moved at once


@dataclass
class Checked:
    """A gradient, and what a finite difference says of its largest number."""

    name: str
    shape: tuple[int, ...]
    length: float  # the root of the sum of squares
    at: tuple[int, ...]  # the number that was moved; () for all together
    gradient: float
    difference: float

    @property
    def error(self) -> float:
        """Relative; to LEAST where there is none: keys' biases have no gradient, since softmax ignores a shift."""
        return abs(self.gradient - self.difference) / max(abs(self.gradient), LEAST)


@dataclass
class Step:
    """One line of the way back: an op, and the gradients it gave."""

    call: Call
    checked: list[Checked] = field(default_factory=list)


@dataclass(repr=False)
class Learning:
    """One training step. At Python's prompt, as with print(): the narration."""

    tokens: list[str]
    target: str  # what should have been said, and where
    loss: float
    steps: list[Step]  # of the head, of the layer that is told, of the embeddings
    layers: list[Checked]  # the others, all weights of each together
    rate: float
    expected: float  # the loss after the step, by the gradient alone
    after: float  # and as it is

    def every(self) -> list[Checked]:
        """All gradients that were checked."""
        return [one for step in self.steps for one in step.checked] + self.layers

    def as_dict(self) -> dict[str, Any]:
        def of(one: Checked) -> dict[str, Any]:
            return vars(one) | {"error": one.error}

        steps = [
            {"op": s.call.op, "formula": s.call.formula, "source": s.call.source, "line": s.call.line,
             "definition": s.call.definition, "checked": list(map(of, s.checked))} for s in self.steps
        ]  # fmt: skip
        rest = {name: getattr(self, name) for name in ("tokens", "target", "loss", "rate", "expected", "after")}
        return rest | {"steps": steps, "layers": list(map(of, self.layers))}

    def told(self, width: int = 100) -> str:
        """For people."""
        lines = [
            f"{len(self.tokens)} tokens: {' '.join(self.tokens)}",
            f"the target: {self.target}",
            f"loss = -log of its probability = {number(self.loss)}; from there back, in float64:",
            "",
        ]
        layers = list(self.layers)
        for count, step in enumerate(self.steps, 1):
            call = step.call
            if layers and (call.op == "embed_backward" or "LayerNorm.weight" in call.weights):
                lines += ["the other layers do the same; all weights of each, moved together:", ""]
                lines += [*(_said(one) for one in layers), ""]
                layers = []
            lines += [f"{count}. {call.op}", f"   {call.formula}", f"   {call.source}: {call.line}"]
            lines += [f"   defined at {call.definition}", *(f"   {_said(one)}" for one in step.checked), ""]
        lines += [*(_said(one) for one in layers), *([""] if layers else [])]
        lines += [
            f"the step, every weight less {number(self.rate)} times its gradient:",
            f"the loss should be {number(self.expected)} and is {number(self.after)}",
        ]
        return "\n".join(cut(line, width) for line in lines)

    def __repr__(self) -> str:
        return self.told()


def _said(one: Checked) -> str:
    what = f"[{', '.join(map(str, one.at))}]" if one.at else ""
    return (
        f"d {one.name} ({shape(one.shape)}), length {number(one.length)}: {what or 'in a random direction'} "
        f"{number(one.gradient)}; by difference {number(one.difference)}, apart by {one.error:.0e}"
    )


def learn(text: str, model: Any = None, tokenizer: Any = None, *, layer: int | None = None) -> Learning:
    """One training step on a text.

    A masked LM learns the word behind the first [MASK], of which it is told its own best guess; without a [MASK], the
    last word, which is masked for it. A model that reads from left to right learns every next token, a classifier its
    own best class. layer: which is told in full (default: the last). Raises InputError for a head that is none of
    these, rounded weights, and as `explain`.

    >>> from nanodistil import DistilBertConfig, DistilBertForMaskedLM, DistilBertTokenizer
    >>> tiny = DistilBertConfig(n_layers=2, n_heads=2, dim=8, hidden_dim=16)
    >>> model = DistilBertForMaskedLM(tiny, backend="numpy", dtype="float64")
    >>> found = learn("The [MASK] of France.", model, DistilBertTokenizer.from_pretrained("nanodistil-mini"))
    >>> found.target.endswith("at token 2"), max(one.error for one in found.every()) < 1e-5, found.after < found.loss
    (True, True, True)
    """
    ours = tokenizer is None
    if ours:
        model, tokenizer = load(model, backend="numpy", dtype="float64")
    if not isinstance(text, str):
        raise InputError(f"a text is needed, not {type(text).__name__}")
    ids = list(tokenizer(text, verbose=False)["input_ids"])
    if not ids:
        raise InputError("the text has no token, so there is nothing to learn from it")
    exact = model if ours else exactly(model)
    given, labels, target = _task(exact, tokenizer, ids)
    L = exact.config.n_layers
    told = L - 1 if layer is None else layer
    if not 0 <= told < L:
        raise InputError(f"layer must be from 0 to {L - 1}, not {excerpt(layer)}")
    return _step(exact, tokenizer, given, labels, target, told)


def _task(model: Any, tokenizer: Any, ids: list[int]) -> tuple[list[int], Any, str]:
    """What the model is shown, the labels, and the target in words."""
    kind, at = type(model).__name__, place(model, tokenizer, ids)
    if kind.endswith("ForMaskedLM"):
        if ids[at] == tokenizer.mask_token_id:
            word = int(model([ids], positions=[(0, at)]).logits[0].argmax())
        else:
            word, ids = ids[at], [*ids[:at], tokenizer.mask_token_id, *ids[at + 1 :]]
        labels = [[word if i == at else -100 for i in range(len(ids))]]
        return ids, labels, f"{tokenizer.decode([word]).strip()} at token {at}"
    if kind.endswith("LMHeadModel"):
        if len(ids) < 2:
            raise InputError("a text of two tokens is needed: of the first nothing is said")
        return ids, [ids], "every next token"
    if kind.endswith("ForSequenceClassification") and model.config.num_labels > 1:
        best = int(model([ids]).logits[0].argmax())
        return ids, [best], str(model.config.id2label.get(best, best))
    raise InputError(f"a {kind} is not taught by one text: take a masked LM, a GPT-2, or a classifier of texts")


def _step(model: Any, tokenizer: Any, ids: list[int], labels: Any, target: str, told: int) -> Learning:
    from nanodistil.training.trainee import Trainee

    trainee = Trainee(model)
    names = weight_names(trainee._w) | weight_names(trainee._d)
    watching = Watching(trainee.bops, names, keep=True, definitions=backends.load_backward("numpy", "float64"))
    trainee.bops = watching
    loss = model.head.objective(trainee, {"input_ids": [ids], "labels": labels})
    trainee.bops = watching.ops
    check = _Checks(trainee, ids, _truth(model, tokenizer, ids, labels))
    steps, current = list[Step](), ""
    for call in watching.calls:
        if call.op == "sum_of_squares":
            continue
        named = next((w for w in call.weights if w.startswith("layer.")), "")
        current = named.split(".")[1] if named else current
        of_head = not named and not any(s.call.weights and s.call.weights[0].startswith("layer.") for s in steps)
        layer = "" if call.op == "embed_backward" or call.weights[:1] == ["LayerNorm.weight"] else current
        if layer and not of_head and int(layer) != told:
            continue
        steps.append(Step(call, check.of(call, current)))
    others = [check.together(i) for i in reversed(range(model.config.n_layers)) if i != told]
    check.settle()
    length = float(trainee.flat_gradients @ trainee.flat_gradients)
    rate = 0.01 * loss / length if length else 0.0
    for start in range(0, trainee.flat.size, PIECE):
        trainee.flat[start : start + PIECE] -= rate * trainee.flat_gradients[start : start + PIECE]
    trainee.refresh()
    after = check.loss()  # of the new weights
    names_of = tokenizer.convert_ids_to_tokens(ids)
    return Learning(names_of, target, loss, steps, others, rate, loss - rate * length, after)


def _truth(model: Any, tokenizer: Any, ids: list[int], labels: Any) -> dict[int, int]:
    """Which row should say what."""
    kind = type(model).__name__
    if kind.endswith("ForMaskedLM"):
        return {i: label for i, label in enumerate(labels[0]) if label != -100}
    if kind.endswith("LMHeadModel"):
        return dict(enumerate(ids[1:]))
    return {place(model, tokenizer, ids): labels[0]}


class _Whole:
    """The definitions, with products in one piece: float64 has digits to spare, and a check is wanted soon."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)

    def linear(self, x: Array, w: Any) -> Array:
        y: Array = x @ w.weight.T + w.bias
        return y

    def linear_activation(self, x: Array, w: Any, which: Any) -> Array:
        y: Array = self.ops.activation(self.linear(x, w), which)
        return y


class _Checks:
    """Finite differences of one loss.

    What lies before the layer that is moved is computed once. What the layers give then waits for the head: it reads
    the table of all words, so it is asked about many rows at once (`settle`).
    """

    def __init__(self, trainee: Any, ids: list[int], truth: dict[int, int]) -> None:
        """truth: which row should say what."""
        self.model, self.gradients = trainee.model, trainee.gradients
        self.seen: set[str] = set()
        self.waiting: list[tuple[Checked, float, Array]] = []  # how far it was moved, both ways together; (2 M, D)
        self.rows, self.truth = (np.array(list(part), np.int64) for part in (truth.keys(), truth.values()))
        self.ops: Any = _Whole(self.model.ops)
        self.batch = Packing.of(np.array([ids]), None, self.model.config).batch
        self.inputs: list[Array] = []  # of every layer, and what the last gives
        self.loss()

    def loss(self, tap: Any = None, first: int = -1) -> float:
        """Mean -log of the probability of what is true. first: the first layer that is computed; -1: from the words."""
        return float(self.losses(self.hidden(tap, first), tap)[0])

    def hidden(self, tap: Any = None, first: int = -1) -> Array:
        """What the head is given: (M, D)."""
        w, config, tap = self.model.weights, self.model.config, as_tap(tap, self.ops)
        who = attending(self.batch, config, self.ops)
        x = self.inputs[first] if first >= 0 else embeddings(self.batch, w, self.ops, tap)  # (N, D)
        passed = [x]
        for i in range(max(first, 0), config.n_layers):
            x = block(x, w.layers[i], who, config, self.ops, tap, f"layer.{i}", None)
            passed.append(x)
        self.inputs = self.inputs or passed
        return last_norm(x, w, self.ops, tap)[self.rows]

    def losses(self, x: Array, tap: Any = None) -> Array:
        """n times what the head is given, (n M, D) -> the losses, (n,)."""
        logits = self.model.head.forward(x, self.model.weights, self.ops, as_tap(tap, self.ops))  # (n M, V or C)
        largest = logits.max(-1, keepdims=True)
        logits -= largest
        right = logits.reshape(-1, len(self.truth), logits.shape[-1])[:, np.arange(len(self.truth)), self.truth]
        totals = np.log(np.exp(logits, out=logits).sum(-1)).reshape(right.shape)
        return np.asarray((totals - right).mean(-1))

    def differ(self, one: Checked, by: float, moved: Any, first: int) -> Checked:
        """Move something by so much, forward and back: moved(by, f) is f() then."""
        if 0 <= first < self.model.config.n_layers:  # the head is as it was
            self.waiting.append((one, 2 * by, np.concatenate([moved(b, self.hidden) for b in (by, -by)])))
        else:
            one.difference = (moved(by, self.loss) - moved(-by, self.loss)) / (2 * by)
        return one

    def settle(self) -> None:
        """Ask the head about all that waits."""
        step = max(1, ROWS // (2 * len(self.rows)))
        for start in range(0, len(self.waiting), step):
            some = self.waiting[start : start + step]
            losses = self.losses(np.concatenate([x for _, _, x in some])).reshape(-1, 2)
            for (one, by, _), (ahead, behind) in zip(some, losses.tolist(), strict=True):
                one.difference = (ahead - behind) / by
        self.waiting.clear()

    def _first(self, name: str) -> int:
        """The first layer that a weight or an intermediate touches."""
        name = name.removeprefix("transformer.")
        if name.startswith("layer."):
            return int(name.split(".")[1])
        return -1 if name.startswith("embeddings.") else self.model.config.n_layers

    def of(self, call: Call, layer: str) -> list[Checked]:
        """What the results of an op are checked by."""
        found = [self.weight(name) for name in self._learnt(call) if name not in self.seen]
        self.seen |= {one.name for one in found}
        for name, gradient in self._given(call, layer):
            if gradient is not None and gradient.ndim == 2:
                found.append(self.value(name, gradient))
        return found

    def _learnt(self, call: Call) -> list[str]:
        """The weights whose gradients an op adds to, under their canonical names."""
        targets = [name for name, value in call.arguments.items() if name in ("dW", "db", "dweight", "dbias",
                                                                            "dwords", "dplaces")]  # fmt: skip
        found = []
        for name, gradient in self.gradients.items():
            if any(np.shares_memory(gradient, call.arguments[target]) for target in targets):
                found.append(name)
        if "embed" in call.op:
            found = [n for n in self.gradients if n.startswith("embeddings.") and "_embeddings" in n]
        return found

    def _given(self, call: Call, layer: str) -> list[tuple[str, Any]]:
        """Intermediates of which an op gave the whole gradient."""
        weight = next((w for w in call.weights), "")
        of = {
            f"layer.{layer}.lin2": f"layer.{layer}.ffn.activation",
            f"layer.{layer}.out_lin": f"layer.{layer}.attention.context",
            "vocab_projector": "vocab_layer_norm",
        }
        if call.op == "linear_backward_input" and weight in of:
            return [(of[weight], call.result)]
        if call.op == "activation_backward" and "masked_lm" in call.source:
            return [("vocab_transform", call.result)]
        if call.op == "activation_backward" and "backward.py" in call.source:
            return [(f"layer.{layer}.ffn.lin1", call.result)]
        if call.op == "attention_backward":
            return [(f"layer.{layer}.attention.{n}_lin", g) for n, g in zip("qkv", call.result, strict=True)]
        if call.op == "add_layer_norm_backward":
            half = "ffn.lin2" if "output_layer_norm" in weight else "attention.out_lin"
            return [(f"layer.{layer}.{half}", call.result)]
        if call.op == "layer_norm_backward" and weight.startswith("LayerNorm"):
            return [("embeddings.sum", call.result)]
        return []

    def value(self, name: str, gradient: Array) -> Checked:
        """An intermediate's gradient: its largest number is moved by a tap."""
        row, column = np.unravel_index(_largest(gradient), gradient.shape)
        there, first = int(self.rows[0]) if len(gradient) == 1 else int(row), self._first(name)

        def moved(by: float, then: Any) -> Any:
            def tap(one: str, value: Any) -> Any:
                if one == name:
                    value = np.array(value)
                    value[there if len(value) > 1 else 0, column] += by
                return value

            tap.wants = lambda *names: name in names  # type: ignore[attr-defined]
            return then(tap, first)

        found = _checked(name, gradient, (there, int(column)), float(gradient[row, column]))
        return self.differ(found, MOVED, moved, first)

    def weight(self, name: str) -> Checked:
        """A weight's gradient: its largest number is moved."""
        gradient = self.gradients[name]
        at = tuple(int(i) for i in np.unravel_index(_largest(gradient), gradient.shape))
        places, first = spots(self.model.weights, name, at), self._first(name)

        def moved(by: float, then: Any) -> Any:
            for array, index in places:
                array[index] += by
            try:
                return then(None, first)
            finally:
                for array, index in places:
                    array[index] -= by

        return self.differ(_checked(name, gradient, at, float(gradient[at])), MOVED, moved, first)

    def together(self, layer: int) -> Checked:
        """All weights of a layer, each moved by as much, up or down at random."""
        rng, inner = np.random.default_rng(layer), f"transformer.layer.{layer}."
        names = [name for name in self.gradients if name.startswith(inner)]
        moves = {name: rng.choice((-TOGETHER, TOGETHER), self.gradients[name].shape) for name in names}
        along = float(sum(np.vdot(self.gradients[name], moves[name]) for name in names)) / TOGETHER
        total = sum(self.gradients[name].size for name in names)
        length = float(np.sqrt(sum(_square(self.gradients[name]) for name in names)))

        def moved(by: float, then: Any) -> Any:
            ahead, back = (np.add, np.subtract) if by > 0 else (np.subtract, np.add)
            for name in names:
                weight = self.all_of(name)
                ahead(weight, moves[name], out=weight)
            try:
                return then(None, layer)
            finally:
                for name in names:
                    weight = self.all_of(name)
                    back(weight, moves[name], out=weight)

        found = Checked(f"layer.{layer}", (total,), length, (), along, float("nan"))
        return self.differ(found, TOGETHER, moved, layer)

    def all_of(self, name: str) -> Array:
        """A weight of a layer as the forward pass has it."""
        array, index = spots(self.model.weights, name, None)[0]
        found: Array = array[index]
        return found


def _checked(name: str, gradient: Array, at: tuple[int, ...], value: float) -> Checked:
    return Checked(name, gradient.shape, float(np.sqrt(_square(gradient))), at, value, float("nan"))


def _square(gradient: Array) -> float:
    """Its length, squared; without another array of its size."""
    return float(np.vdot(gradient, gradient))


def _largest(gradient: Array) -> int:
    """Where its largest number is, up or down, in the flat array; without another array of its size.

    >>> _largest(np.array([[1.0, -3.0], [2.0, 0.0]]))
    1
    """
    up, down = int(gradient.argmax()), int(gradient.argmin())
    return up if gradient.flat[up] >= -gradient.flat[down] else down


def spots(weights: Any, name: str, at: tuple[int, ...] | None) -> list[tuple[Array, Any]]:
    """Where the numpy backend has a weight's number, or with None all of it: arrays and indices.

    q, k and v are one map there, and the places of a family with token types one table (weights/layout.py).
    """
    module, _, kind = name.rpartition(".")
    *_, last = module.split(".")
    if module.startswith("transformer.layer."):
        layer = weights.layers[int(module.split(".")[2])]
        if last[0] in "qkv" and last.endswith("_lin"):
            array = getattr(layer.qkv_lin, kind)
            first = "qkv".index(last[0]) * (len(array) // 3)
            return [(array, slice(first, first + len(array) // 3) if at is None else (first + at[0], *at[1:]))]
        array = getattr(getattr(layer, last), kind)
    elif last == "word_embeddings":
        array = weights.word_embeddings
    elif last in ("position_embeddings", "token_type_embeddings"):
        if weights.tables is None:
            array = weights.position_embeddings
        else:
            types, positions = weights.tables
            both = weights.position_embeddings.reshape(len(types), len(positions), -1)
            index: Any = slice(None) if at is None else at
            if at is not None:
                index = (slice(None), *at) if last == "position_embeddings" else (at[0], slice(None), at[1])
            return [(both, index)]
    elif last in ("LayerNorm", "last_layer_norm") and hasattr(weights, last):
        array = getattr(getattr(weights, last), kind)
    else:
        array = getattr(getattr(weights.head, last), kind)
    return [(array, slice(None) if at is None else at)]

"""`nanodistil explain`: one text through one model, as it was. telling.py says it in words.

What is looked at is one token: the first [MASK], if there is one; of a model that reads from left to right the last; of
a classifier the one its head looks at; else the last word. Of every layer it is told where the token looked (the head
that looks most at one place) and what the model would have answered had it ended there (the head on that layer's
rows; nostalgebraist's logit lens, 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanodistil import backend as backends
from nanodistil.auto import AutoConfig, AutoTokenizer
from nanodistil.backend import EXACT
from nanodistil.family import class_of
from nanodistil.heads import CLASSES, speaking
from nanodistil.lessons.by_hand import STEPS, Worked, work
from nanodistil.lessons.trace import Call, Trace, limits_now, trace
from nanodistil.taps import NoTap
from nanodistil.weights.errors import InputError, excerpt, meant

BEST = 3  # answers that are told
Answer = tuple[str, float]  # a word or a class, and its probability


@dataclass
class Looked:
    """Where the token looked in one layer."""

    head: int
    tokens: list[Answer]  # and how much, most first


@dataclass(repr=False)
class Explanation:
    """One text through one model. At Python's prompt, as with print(): the narration."""

    model: Any
    text: str
    tokens: list[str]
    ids: list[int]
    at: int  # the token that is looked at
    trace: Trace
    limits: Any  # what the machine can do at most (instruments/peak.py); None if it is not known
    looked: list[Looked] = field(default_factory=list)  # of every layer
    answers: list[tuple[str, list[Answer]]] = field(default_factory=list)  # behind the embeddings, and every layer
    answer: list[Answer] = field(default_factory=list)

    def step(self, name: str) -> list[tuple[Call, Worked]]:
        """One step worked by hand, or all of a part, such as "layer.0.attention". Raises InputError if there is none.

        >>> from nanodistil import DistilBertConfig, DistilBertForMaskedLM
        >>> tiny = DistilBertConfig(n_layers=1, n_heads=2, dim=8, hidden_dim=16)
        >>> tokenizer = AutoTokenizer.from_pretrained("nanodistil-mini")
        >>> found = explain("A [MASK].", DistilBertForMaskedLM(tiny, backend="numpy"), tokenizer)
        >>> call, worked = found.step("layer.0.attention.probs")[0]
        >>> call.op, worked.error < 1e-6
        ('attention_probs', True)
        """
        steps = [call for call in self.trace.steps if call.op in STEPS]
        known = {one: call for call in steps for one in (call.names or [call.name])}
        found = [known[name]] if name in known else []
        if not found:
            chosen = [call for one, call in known.items() if one.startswith(f"{name}.")]
            found = [call for n, call in enumerate(chosen) if call not in chosen[:n]]
        if not found:
            names = dict.fromkeys([*known, *(one.rpartition(".")[0] for one in known)])
            raise InputError(
                f"there is no step {excerpt(name)}{meant(name, names)}; some are {', '.join([*known][:6])}"
            )
        return [(call, self._worked(call, name)) for call in found]

    def _worked(self, call: Call, asked: str) -> Worked:
        among = None
        if call.op == "linear" and self.model.dtype not in EXACT:
            return Worked(
                [f"its weights were rounded to {self.model.dtype} and are not shown; in float32 they are"], [], []
            )
        if asked in call.names and len(call.names) > 1:  # q, k and v are one map
            wide = call.shape[-1] // len(call.names)
            at = call.names.index(asked) * wide
            among = slice(at, at + wide)
        head, layer = 0, call.name.removeprefix("layer.").partition(".")[0]
        if call.name.startswith("layer.") and self.looked:
            head = self.looked[int(layer)].head
        return work(call.op, call.arguments, call.result, self.at, head, self.model.ops, self.tokens, among)

    def of_limit(self, call: Call) -> tuple[float, str]:
        """The share of the machine's limit an op reached, and which limit; 0 if it is not known or data was in cache.

        Peak or bandwidth, as benchmark.py has it.
        """
        if self.limits is None or not call.seconds:
            return 0.0, ""
        arithmetic, memory = call.flops / self.limits.peak_of(call.op), call.bytes / self.limits.bandwidth
        share = max(arithmetic, memory) / call.seconds
        bound = "peak" if arithmetic > memory else "bandwidth"
        return (0.0, "in cache") if bound == "bandwidth" and share > 1 else (share, bound)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything but the arrays, of which the first numbers of the token's row are there."""
        steps = []
        for call in self.trace.calls:
            share, bound = self.of_limit(call)
            kept = {name: getattr(call, name) for name in (
                "name", "op", "names", "formula", "parts", "source", "line", "definition", "kernel", "weights", "given",
                "shape", "flops", "bytes", "seconds",
            )}  # fmt: skip
            steps.append(kept | {"reached": share, "bound": bound, "numbers": self.numbers(call)})
        config = self.model.config
        return {
            "text": self.text, "tokens": self.tokens, "ids": self.ids, "at": self.at, "backend": self.model.backend,
            "dtype": self.model.dtype, "model_type": config.model_type, "seconds": self.trace.seconds, "steps": steps,
            "looked": [{"head": one.head, "tokens": one.tokens} for one in self.looked],
            "answers": dict(self.answers), "answer": self.answer,
        }  # fmt: skip

    def numbers(self, call: Call, most: int = 4) -> list[float]:
        """The first numbers an op gave for the token."""
        for name in call.names:
            value = self.trace.values.get(name)
            if isinstance(value, np.ndarray) and value.ndim == 2:
                return [float(x) for x in value[min(self.at, len(value) - 1), :most]]
        return []

    def __repr__(self) -> str:
        from nanodistil.lessons.telling import told

        return told(self, 100)


def load(model: Any = None, **options: Any) -> tuple[Any, Any]:
    """A model and its tokenizer: the class that the folder's config names, else the one that says words.

    model: folder, hub id or None, for the command line's own. options: those of from_pretrained.
    """
    if model is None:
        from nanodistil.weights.hub import resolve_default

        model = resolve_default()[0]
    config = AutoConfig.from_pretrained(model)
    family = config.model_type
    named = (config.extra.get("architectures") or [""])[0]
    endings = sorted(CLASSES, key=len, reverse=True)  # "LMHeadModel" before "Model"
    ending = next((e for e in endings if str(named).endswith(e)), speaking(family))
    if ending == "ForMultipleChoice":
        raise InputError(f"{model}: a multiple choice is of several texts, and one is explained")
    return class_of(family, ending).from_pretrained(model, **options), AutoTokenizer.from_pretrained(model)


def caller(model: Any, ids: list[int], at: int) -> Callable[..., Any]:
    """How the model is asked about one text; (model, tap) -> its output."""
    kind = type(model).__name__

    def call(model: Any, tap: Any) -> Any:
        if kind.endswith("ForMaskedLM"):
            return model([ids], positions=[(0, at)], tap=tap)
        more = {"use_cache": False} if model.config.causal and "LMHead" in kind else {}
        return model([ids], tap=tap, **more)

    return call


def place(model: Any, tokenizer: Any, ids: list[int]) -> int:
    """The token that is looked at."""
    if model.config.causal:
        return len(ids) - 1
    if type(model).__name__.endswith("ForSequenceClassification"):
        return 0
    if tokenizer.mask_token_id in ids:
        return ids.index(tokenizer.mask_token_id)
    return max(len(ids) - 2, 0)


def explain(text: str, model: Any = None, tokenizer: Any = None, **options: Any) -> Explanation:
    """One text through one model.

    model, tokenizer: loaded, or model a folder or hub id (None: the command line's own), with options of
    from_pretrained: backend, dtype, threads. Raises InputError for no text, TooLongError for one of more tokens than
    the model has positions, and as from_pretrained.

    >>> found = explain("Paris is the [MASK] of France.", "nanodistil-mini", backend="numpy")
    >>> found.tokens[found.at], found.answer[0][0], found.trace.calls[1].formula
    ('[MASK]', 'capital', 'x W^T + b')
    """
    if not isinstance(text, str):
        raise InputError(f"a text is needed, not {type(text).__name__}")
    if tokenizer is None:
        model, tokenizer = load(model, **options)
    ids = list(tokenizer(text, verbose=False)["input_ids"])
    if not ids:
        raise InputError("the text has no token, so nothing happens to it")
    at = place(model, tokenizer, ids)
    seen = trace(model, caller(model, ids, at))
    names = [repr(one)[1:-1] if not one.isprintable() else one for one in tokenizer.convert_ids_to_tokens(ids)]
    found = Explanation(model, text, names, ids, at, seen, limits_now(model))
    found.looked = [_looked(found, i) for i in range(model.config.n_layers)]
    found.answers = _answers(found, tokenizer)
    found.answer = found.answers[-1][1] if found.answers else []
    return found


def _looked(found: Explanation, layer: int) -> Looked:
    probs = found.trace.values[f"layer.{layer}.attention.probs"][0][:, found.at]  # (H, T)
    head = int(probs.max(-1).argmax())
    order = np.argsort(-probs[head], kind="stable")[:BEST]
    return Looked(head, [(found.tokens[j], float(probs[head, j])) for j in order])


def _answers(found: Explanation, tokenizer: Any) -> list[tuple[str, list[Answer]]]:
    """What the model would answer, had it ended behind the embeddings or a layer; the last is what it does answer."""
    model, values = found.model, found.trace.values
    kind, config, ops = type(model).__name__, model.config, model.ops
    if model.head.bare or kind.endswith("ForQuestionAnswering"):
        return []
    names = ["embeddings.LayerNorm", *(f"layer.{i}.output_layer_norm" for i in range(config.n_layers))]
    if config.pre_norm:
        names = ["embeddings.sum", *(f"layer.{i}.fed" for i in range(config.n_layers))]
    rows = ops.send(np.ascontiguousarray(np.stack([values[name][found.at] for name in names])))  # (L + 1, D)
    if model.weights.last_layer_norm is not None:
        rows = ops.layer_norm(rows, *model.weights.last_layer_norm)
    logits = model.head.forward(rows, model.weights, ops, NoTap())  # (L + 1, V or C)
    if ops.fetch(logits).shape[1] == 1:  # a regression
        return [(name, [("", float(x))]) for name, (x,) in zip(names, ops.fetch(logits), strict=True)]
    probs = backends.load("numpy").vocabulary_softmax(ops.fetch(logits))
    best = np.argsort(-probs, axis=-1, kind="stable")[:, :BEST]
    words = kind.endswith(("ForMaskedLM", "LMHeadModel"))

    def said(number: int) -> str:
        word = tokenizer.decode([number]) if words else str(config.id2label.get(number, number))
        return word.strip() if word.strip() and word.strip().isprintable() else repr(word)

    return [(name, [(said(int(j)), float(p[j])) for j in row]) for name, p, row in zip(names, probs, best, strict=True)]

"""All that a page is told, as one value that JSON can hold.

Words and classes are numbers into one list of names. Arrays are those of compact.py, attention apart from the rest, a
layer at a time, so that a browser undoes only what is looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil import __version__
from nanodistil.backend import Ints
from nanodistil.page.ablation import ablation
from nanodistil.page.attributing import integrated_gradients
from nanodistil.page.compact import packed, roots, thumbnails
from nanodistil.page.erasing import erasure
from nanodistil.page.labels import direction, visible
from nanodistil.page.lens import lens
from nanodistil.page.projecting import nearest, plane
from nanodistil.page.question import Question, ask
from nanodistil.page.rollout import rollout
from nanodistil.page.running import attentions, hidden_states
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.waiting import Told, silent


class Names:
    """Words or classes, each written once."""

    def __init__(self, question: Question) -> None:
        self.name, self.places, self.written = question.name, dict[int, int](), list[str]()

    def of(self, indices: Ints) -> Ints:
        """Their places in `written`: any shape."""
        different, back = np.unique(indices, return_inverse=True)
        for one in different.tolist():
            if one not in self.places:
                self.places[one] = len(self.written)
                self.written.append(self.name(one))
        places = np.array([self.places[one] for one in different.tolist()], np.int64)
        return places[back].reshape(np.shape(indices))


def findings(
    model: Pretrained, tokenizer: Tokenizer, text: str, called: str, told: Told = silent
) -> tuple[dict[str, Any], list[Any]]:
    """What is found in a text, and the attention of each layer. called: the model's name, to be shown; told: as `page`.

    Raises as question.ask and attributing.integrated_gradients do.
    """
    q = ask(model, tokenizer, text)
    attributions = integrated_gradients(model, q, told=told)
    lost, together = erasure(model, q, told)
    hidden = hidden_states(model, q.ids)
    squares = attentions(model, q.ids)
    rolled = rollout(squares)
    told("what every layer would say", 0)
    seen = lens(model, hidden, None if q.everywhere else q.rows, q.kind)
    vectors = [model.ops.fetch(x) for x in hidden]
    near, cosines = zip(*map(nearest, vectors), strict=True)
    points, shares = zip(*map(plane, vectors), strict=True)
    without = ablation(model, q, told)
    names, config = Names(q), model.config
    gone = config.pruned_heads
    found: dict[str, Any] = {
        "version": __version__,
        "model": visible(called),
        "what": type(model).__name__,
        "computed": f"{model.backend}, {model.dtype}",
        "text": text,
        "direction": direction(text),
        "kind": q.kind,
        "tokens": q.tokens,
        "inserted": np.flatnonzero(q.inserted).tolist(),
        "asked": q.asked.tolist(),
        "causal": bool(config.causal),
        "heads": [[h for h in range(config.n_heads) if h not in gone.get(i, ())] for i in range(config.n_layers)],
        "targets": [
            {
                "token": target.row,
                "name": q.name(target.answer),
                "score": target.score,
                "gradient": {
                    "baseline": one.baseline,
                    "score": one.score,
                    "sum": float(one.shares.sum()),
                    "gap": one.gap,
                    "steps": one.steps,
                },
            }
            for target, one in zip(q.targets, attributions, strict=True)
        ],
        "baseline": tokenizer.convert_ids_to_tokens(q.baseline),
        "together": together,
        "gradients": packed([one.shares for one in attributions]),
        "erased": packed(lost),
        "rollout": packed([rolled[target.row] for target in q.targets]),
        "lens": {
            "rows": list(range(len(q.ids))) if q.everywhere else q.rows.tolist(),
            "best": packed(names.of(seen.best), "<i4"),
            "probabilities": packed(seen.probabilities),
            "ranks": packed(seen.ranks, "<i4"),
        },
        "without": [
            {
                "lost": packed(one.lost),
                "best": packed(names.of(one.best), "<i4"),
                "probabilities": packed(one.probabilities),
            }
            for one in without
        ],
        "near": packed(near, "<i4"),
        "cosines": packed(cosines),
        "points": packed(points),
        "shares": packed(shares),
    }
    layers = [roots(one) for one in squares]
    found["thumbnails"] = [packed(thumbnails(one), "|u1") for one in layers]
    found["names"] = names.written
    return found, [packed(one, "|u1") for one in layers]

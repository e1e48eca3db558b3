"""The logit lens: what the head would say if the model ended here, after every block (nostalgebraist 2020).

Every block adds to one stream of vectors, so a head trained for the last of them can be asked about all. Where the
answer first appears, and what stood there before, is seen layer by layer. For the last layer the lens is the model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.page.question import log_scores
from nanodistil.page.running import logits_of
from nanodistil.pretrained import Pretrained

ROWS = 64  # of logits that are ranked at once: 8 MB of an official vocabulary's


class Lens(NamedTuple):
    """L + 1 looks at R tokens."""

    best: Ints  # (L + 1, R, k) words or classes, best first
    probabilities: Array  # (L + 1, R, k) theirs; of a quantity, the number itself
    ranks: Ints  # (L + 1, R) where the answer of the last layer stands among all, from 1


def lens(model: Pretrained, hidden: list[Array], rows: Ints | None, kind: str, k: int = 5) -> Lens:
    """The best k at tokens (R,), or at all, after every block. hidden: as running.hidden_states gives them."""
    answers: list[tuple[Ints, Array]] = []
    ranks = []
    final = None
    for x in reversed(hidden):  # the last first: its answer is what the others are asked for
        logits = logits_of(model, x)  # (T, C)
        logits = logits if rows is None else logits[rows]
        final = logits.argmax(1) if final is None else final
        answers.append(best_of(logits, kind, min(k, logits.shape[1])))
        ranks.append(1 + (logits > logits[np.arange(len(final)), final][:, None]).sum(1))
    best, probabilities = zip(*reversed(answers), strict=True)
    return Lens(np.stack(best), np.stack(probabilities), np.stack(ranks[::-1]))


def best_of(logits: Array, kind: str, k: int) -> tuple[Ints, Array]:
    """The best k of each row, and their probabilities: (R, C) -> (R, k) twice.

    >>> best_of(np.array([[0.0, 2.0, 1.0]], np.float32), "none", 2)
    (array([[1, 2]]), array([[2., 1.]], dtype=float32))
    """
    best, probabilities = [], []
    for start in range(0, len(logits), ROWS):
        some = logits[start : start + ROWS]
        top = np.argpartition(-some, k - 1, axis=1)[:, :k]  # (r, k), in no order
        found = np.take_along_axis(log_scores(some, kind), top, 1)
        order = np.lexsort((top, -found), axis=1)
        best.append(np.take_along_axis(top, order, 1))
        found = np.take_along_axis(found, order, 1)
        probabilities.append(found if kind == "none" else np.exp(found))
    return np.concatenate(best), np.concatenate(probabilities).astype(np.float32)

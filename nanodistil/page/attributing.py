"""Integrated gradients: how much of a score each token brought (Sundararajan et al. 2017).

A text is compared with a baseline in which every word is one that says nothing, [MASK]. On the straight way from the
baseline's word vectors to the text's, the gradient of the score is added up; times the way itself, that is each token's
share. The shares add up to the difference of the two scores, but for the error of the sum: the gap, which is what says
whether to believe it, and is given beside it.

The sum is Gauss-Legendre's, whose points are dense at both ends. On the embedded model, four texts of 9 to 126 tokens:
with 20 points the gap is up to 3e-3 of the difference, with 32 up to 5e-4, with 50 up to 1e-5. So 32 are tried first,
and twice as many while the gap of a target is above 1e-3 of its difference: a ReLU in a head has kinks. What is given
to the model is words plus positions; positions are alike at both ends, so all of a token's share is its word's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.page.question import Question, Target, log_scores, slope
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.arguments import whole_number
from nanodistil.waiting import Told, silent
from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.training.input_gradients import Slopes

STEPS = (32, 64, 128, 256)
GAP = 1e-3  # of the difference
LEAST_GAP = 1e-5  # nats: what float32 leaves of it
TOKENS = 1024  # at once: what a pass keeps of them is 150 MB for an official model


class Attribution(NamedTuple):
    """What each token brought to a target's score."""

    shares: Array  # (T,) float64
    score: float  # of the text
    baseline: float  # of the baseline
    steps: int  # points of the sum

    @property
    def gap(self) -> float:
        """How far the shares' sum is from the difference of the scores."""
        return float(self.shares.sum() - (self.score - self.baseline))

    @property
    def settled(self) -> bool:
        """Whether the shares may be believed."""
        return abs(self.gap) < max(GAP * abs(self.score - self.baseline), LEAST_GAP)


def integrated_gradients(
    model: Pretrained, question: Question, steps: int | None = None, told: Told = silent
) -> list[Attribution]:
    """An attribution for each of the question's targets. steps: 2 to 1000 points of the sum; None: as above.

    Raises InputError for a model without gradients: in int8, or with rounded weights.

    >>> from nanodistil import DistilBertConfig, DistilBertForMaskedLM, DistilBertTokenizer
    >>> tiny = DistilBertConfig(n_layers=2, n_heads=2, dim=8, hidden_dim=16)
    >>> from nanodistil.page.question import ask
    >>> model = DistilBertForMaskedLM(tiny, backend="numpy")
    >>> question = ask(model, DistilBertTokenizer.from_pretrained("nanodistil-mini"), "A [MASK] model.")
    >>> first = integrated_gradients(model, question)[0]
    >>> abs(first.gap) < 1e-3 * abs(first.score - first.baseline)
    True
    """
    from nanodistil.training.input_gradients import Slopes

    if steps is not None and not 2 <= whole_number("steps", steps, 2) <= 1000:
        raise InputError(f"steps must be at most 1000, not {steps}")
    slopes, found = Slopes(model), list[Attribution]()
    for points in STEPS if steps is None else (steps,):
        found = summed(slopes, model, question, points, told)
        if all(one.settled for one in found):
            break
    return found


def summed(slopes: Slopes, model: Pretrained, question: Question, steps: int, told: Told = silent) -> list[Attribution]:
    """The attributions, by a sum of so many points."""
    ids, rows = question.ids, question.asked
    table = model.ops.fetch(model.weights.word_embeddings)
    before = np.where(question.inserted, ids, question.baseline)
    start, way = table[before].astype(np.float64), table[ids].astype(np.float64) - table[before]  # (T, D)
    points, weights = np.polynomial.legendre.leggauss(steps)
    points, weights = (points + 1) / 2, weights / 2  # from [-1, 1] to [0, 1]
    positions = np.asarray(model.config.positions(ids[None], (1, len(ids)))).reshape(-1)
    places = [(int(np.searchsorted(rows, target.row)), target.answer) for target in question.targets]
    sums = np.zeros((len(places), len(ids)))
    step = max(1, TOKENS // len(ids))
    for i in range(0, steps, step):
        at, by = points[i : i + step, None, None], weights[i : i + step]
        told(f"gradients at {steps} points", i / steps)
        passed = slopes.forward(start + at * way, positions, rows)
        for n, (row, index) in enumerate(places):
            d = np.zeros(passed.logits.shape)
            d[:, row] = slope(passed.logits[:, row], question.kind, index)
            gradient = slopes.backward(passed, d)  # (S, T, D)
            sums[n] += np.einsum("s,std,td->t", by, gradient, way, optimize=True)
    ends = slopes.forward(np.stack([start, start + way]), positions, rows).logits  # (2, R, C)
    found = log_scores(ends, question.kind)
    return [
        Attribution(sums[n], float(found[1, row, index]), float(found[0, row, index]), steps)
        for n, (row, index) in enumerate(places)
    ]


def of_targets(found: Array, question: Question) -> Array:
    """The targets' scores among those at question.asked: logits (B, R', C) -> (B, targets)."""
    logs = log_scores(found, question.kind)

    def one(target: Target) -> Array:
        return np.asarray(logs[:, np.searchsorted(question.asked, target.row), target.answer])

    return np.stack([one(target) for target in question.targets], axis=1)

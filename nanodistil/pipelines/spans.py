"""From two logits at every token, does the answer start here and does it end here, to the best spans.

The start and the end are each one of the context's n tokens, or [CLS], which stands for "there is no answer": a softmax
over these 1 + n for each of the two, and nothing else of the row counts. A span's score is the product,

    score(i, j) = p_start(i) p_end(j)     i <= j < i + longest

as transformers has it, which took it from DrQA (Chen 2017). The definition is a matrix (n, n) of which most is not a
span; here it is the band that is, (n, longest).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.pipelines.ranking import largest
from nanodistil.pipelines.scores import softmax


class Span(NamedTuple):
    """Tokens first to last of a context, both included."""

    first: int
    last: int
    score: float


def best_spans(start: Array, end: Array, k: int, longest: int) -> tuple[list[Span], float]:
    """The k best spans of at most `longest` tokens, best first, and the score of there being no answer.

    start, end: logits of [CLS] and the context's tokens, (1 + n,).

    >>> spans, none = best_spans(np.log([0.1, 0.8, 0.1]), np.log([0.2, 0.3, 0.5]), 2, 15)
    >>> [(s.first, s.last, round(s.score, 2)) for s in spans], round(none, 2)
    ([(0, 1, 0.4), (0, 0, 0.24)], 0.02)
    """
    p_start, p_end = softmax(start), softmax(end)
    n = len(start) - 1
    band = np.full((n, min(longest, n)), -1.0, p_start.dtype)  # score(i, i + d), -1 if that is beyond the end
    for d in range(band.shape[1]):
        band[: n - d, d] = p_start[1 : n - d + 1] * p_end[1 + d :]
    best = [divmod(int(at), band.shape[1]) for at in largest(band.ravel(), k)]
    spans = [Span(i, i + d, float(band[i, d])) for i, d in best if i + d < n]
    return spans, float(p_start[0] * p_end[0])

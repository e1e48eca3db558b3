"""Erasure: what becomes of a score if a token is not there (Li et al. 2016).

Each token in turn gives its place to one that says nothing, and the model is asked again. It is the plainest of
questions, and needs no gradient; but two words that say the same hide each other. A run for each token of a long text
would take minutes, so there as many neighbours go together as make 128 runs, and share what they brought.
"""

from __future__ import annotations

import numpy as np

from nanodistil.backend import Array
from nanodistil.page.attributing import of_targets
from nanodistil.page.question import Question
from nanodistil.page.running import scores
from nanodistil.pretrained import Pretrained
from nanodistil.waiting import Told, silent

MOST_RUNS = 128


def erasure(model: Pretrained, question: Question, told: Told = silent) -> tuple[Array, int]:
    """How much lower each target's score is without a token, (targets, T), and how many tokens went together."""
    ids, rows = question.ids, question.asked
    there = np.flatnonzero(~question.inserted & (ids != question.baseline))
    together = max(1, -(-len(there) // MOST_RUNS))
    groups = [there[i : i + together] for i in range(0, len(there), together)]
    texts = np.repeat(ids[None], len(groups) + 1, axis=0)
    for n, group in enumerate(groups):
        texts[n + 1, group] = question.baseline
    logits = scores(model, texts, rows, told, "the text without each word")  # (1 + groups, R', C)
    found = of_targets(logits, question)  # (1 + groups, targets)
    lost = np.zeros((len(question.targets), len(ids)))
    for n, group in enumerate(groups):
        lost[:, group] = ((found[0] - found[n + 1]) / len(group))[:, None]
    return lost, together

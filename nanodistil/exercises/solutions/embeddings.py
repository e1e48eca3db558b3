"""embeddings: what was counted before a sentence began is taken away."""

import numpy as np


def embeddings(ids, starts, words, places):
    positions = np.arange(len(ids)) - np.repeat(starts[:-1], np.diff(starts))
    return words[ids] + places[positions]

"""narrowed: the best k, then the best of these until p is full."""

import numpy as np


def softmax(s):
    e = np.exp(s - s.max())
    return e / e.sum()


def narrowed(scores, top_k, top_p):
    order = np.argsort(-scores)[: top_k or len(scores)]  # best first
    probs = softmax(scores[order])
    before = np.cumsum(probs) - probs
    kept = order[(before < top_p) | (top_p >= 1)]
    out = np.zeros_like(scores)
    out[kept] = softmax(scores[kept])
    return out

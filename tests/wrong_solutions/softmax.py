"""As learners write it who have made a slip; each function is named for the slip."""

import math

import numpy as np


def no_maximum(scores):
    return np.exp(scores) / np.sum(np.exp(scores), axis=-1, keepdims=True)


def axis(scores):
    e = np.exp(scores - np.max(scores, axis=0))
    return e / np.sum(e, axis=0)


def all(scores):
    e = np.exp(scores - np.max(scores))
    return e / np.sum(e)


def one_maximum(scores):
    e = np.exp(scores - np.max(scores))
    return e / np.sum(e, axis=-1, keepdims=True)


def not_divided(scores):
    flat = scores.reshape(-1, scores.shape[-1])
    rows = [[math.exp(s - row.max()) for s in row] for row in flat]
    return np.array(rows, scores.dtype).reshape(scores.shape)


def log(scores):
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def no_exp(scores):
    return scores / scores.sum(axis=-1, keepdims=True)

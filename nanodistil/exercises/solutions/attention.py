"""attention: all heads at once, as stacks of matrices."""

import numpy as np


def split(x, heads):
    """(T, D) -> (H, T, Dh)."""
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


def attention(q, k, v, heads, keep):
    width = q.shape[1] // heads
    scores = split(q, heads) @ split(k, heads).transpose(0, 2, 1) / q.dtype.type(np.sqrt(width))  # (H, Q, T)
    scores = np.where(keep, scores, np.finfo(q.dtype).min)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    context = e / e.sum(axis=-1, keepdims=True) @ split(v, heads)  # (H, Q, Dh)
    return context.transpose(1, 0, 2).reshape(q.shape)

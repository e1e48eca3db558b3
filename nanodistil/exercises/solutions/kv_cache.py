"""KVCache: arrays that double when they are full."""

import numpy as np


class KVCache:
    def __init__(self, heads):
        self.heads, self.length = heads, 0
        self.k = self.v = None  # (room, D), the first `length` rows are in use

    def append(self, k, v):
        if self.k is None:
            self.k, self.v = np.empty_like(k[:0]), np.empty_like(v[:0])
        end = self.length + len(k)
        if end > len(self.k):
            self.k, self.v = self.larger(self.k, end), self.larger(self.v, end)
        self.k[self.length : end], self.v[self.length : end] = k, v
        self.length = end

    def larger(self, old, end):
        new = np.empty((2 * end, old.shape[1]), old.dtype)
        new[: self.length] = old[: self.length]
        return new

    def split(self, x):
        return x.reshape(len(x), self.heads, -1).transpose(1, 0, 2)  # (H, ., Dh)

    def attend(self, q):
        q_h, k_h, v_h = map(self.split, (q, self.k[: self.length], self.v[: self.length]))
        scores = q_h @ k_h.transpose(0, 2, 1) / q.dtype.type(np.sqrt(q_h.shape[2]))
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return (e / e.sum(axis=-1, keepdims=True) @ v_h).transpose(1, 0, 2).reshape(q.shape)

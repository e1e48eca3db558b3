"""As in softmax.py beside it: classes with lists of rows."""

import numpy as np


class Right:
    def __init__(self, heads):
        self.heads, self.rows = heads, []

    def append(self, k, v):
        self.rows += [(k[n].copy(), v[n].copy()) for n in range(len(k))]

    def attend(self, q):
        return self.over(q, self.rows, self.heads, (q.shape[1] // self.heads) ** 0.5)

    def over(self, q, rows, heads, divisor):
        out, width = np.zeros_like(q), q.shape[1] // heads
        for h in range(heads):
            at = slice(h * width, (h + 1) * width)
            k, v = (np.stack([row[i][at] for row in rows]) for i in (0, 1))
            s = q[:, at] @ k.T / q.dtype.type(divisor)
            e = np.exp(s - s.max(1, keepdims=True))
            out[:, at] = e / e.sum(1, keepdims=True) @ v
        return out


class replaced(Right):
    def append(self, k, v):
        self.rows = []
        super().append(k, v)


class one_row(Right):
    def append(self, k, v):
        super().append(k[:1], v[:1])


class last_row(Right):
    def append(self, k, v):
        super().append(k[-1:], v[-1:])


class view(Right):
    def append(self, k, v):
        self.rows += [(k[n], v[n]) for n in range(len(k))]


class no_scale(Right):
    def attend(self, q):
        return self.over(q, self.rows, self.heads, 1)


class one_head(Right):
    def attend(self, q):
        return self.over(q, self.rows, 1, q.shape[1] ** 0.5)


class not_yet(Right):
    def attend(self, q):
        return self.over(q, self.rows[:-1], self.heads, (q.shape[1] // self.heads) ** 0.5)


class prompt(Right):
    def append(self, k, v):
        if not self.rows:
            super().append(k, v)

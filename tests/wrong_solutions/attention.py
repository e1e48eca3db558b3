"""As in softmax.py beside it: head by head, in loops."""

import numpy as np


def by_head(q, k, v, heads, keep, *, scale=None, masked=None, rows=None, softmax=None):
    out = np.zeros_like(q)
    width = q.shape[1] // heads
    for h in range(heads):
        at = slice(h * width, (h + 1) * width)
        s = q[:, at] @ k[:, at].T / q.dtype.type(scale(width, q.shape[1]) if scale else width**0.5)
        s = (masked or (lambda s, keep: np.where(keep, s, np.finfo(s.dtype).min)))(s, keep)
        p = (softmax or usual)(s)
        out[:, at] = (rows(p, keep) if rows else p) @ v[:, at]
    return out


def usual(s):
    e = np.exp(s - s.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def no_scale(*given):
    return by_head(*given, scale=lambda width, D: 1)


def no_root(*given):
    return by_head(*given, scale=lambda width, D: width)


def whole_width(*given):
    return by_head(*given, scale=lambda width, D: D**0.5)


def inverted(*given):
    return by_head(*given, masked=lambda s, keep: np.where(keep, np.finfo(s.dtype).min, s))


def no_mask(*given):
    return by_head(*given, masked=lambda s, keep: s)


def by_zero(*given):
    return by_head(*given, masked=lambda s, keep: s * keep)


def added(*given):
    return by_head(*given, masked=lambda s, keep: s + keep.astype(s.dtype))


def weak(*given):
    return by_head(*given, masked=lambda s, keep: s + (1 - keep).astype(s.dtype) * s.dtype.type(-10000))


def infinity(*given):
    return by_head(*given, masked=lambda s, keep: np.where(keep, s, s.dtype.type(-np.inf)))


def too_late(*given):
    return by_head(*given, masked=lambda s, keep: s, rows=lambda p, keep: p * keep)


def axis(*given):
    return by_head(*given, softmax=lambda s: usual(s.T).T)


def no_maximum(*given):
    return by_head(*given, softmax=lambda s: np.exp(s) / np.exp(s).sum(1, keepdims=True))


def one_head(q, k, v, heads, keep):
    return by_head(q, k, v, 1, keep)


def interleaved(q, k, v, heads, keep):
    order = np.arange(q.shape[1]).reshape(-1, heads).T.ravel()
    out = np.empty_like(q)
    out[:, order] = by_head(q[:, order], k[:, order], v[:, order], heads, keep)
    return out


def not_joined(q, k, v, heads, keep):
    out = by_head(q, k, v, heads, keep)
    return np.stack(np.split(out, heads, axis=1)).reshape(q.shape)


def causal(*given):
    Q, T = len(given[0]), len(given[1])
    seen = np.arange(T) <= np.arange(Q)[:, None]
    return by_head(*given, masked=lambda s, keep: np.where(keep & seen, s, np.finfo(s.dtype).min))


def no_scale_and_no_maximum(*given):
    return by_head(*given, scale=lambda w, D: 1, softmax=lambda s: np.exp(s) / np.exp(s).sum(1, keepdims=True))

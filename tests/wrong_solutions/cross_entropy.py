"""As in softmax.py beside it: row by row."""

import numpy as np


def by_row(logits, labels, *, loss=None, skip=lambda label: label < 0, n=None, slope=None, ignored=None):
    total, d, count = 0.0, np.zeros_like(logits), 0
    for row, label in enumerate(labels):
        s = logits[row] - logits[row].max()
        p = np.exp(s) / np.exp(s).sum()
        if skip(label):
            if ignored:
                d[row] = ignored(p)
            continue
        total += (loss or (lambda s, p, at: -(s[at] - np.log(np.exp(s).sum()))))(s, p, label)
        d[row] = (slope or (lambda p, at: p - np.eye(len(p), dtype=p.dtype)[at]))(p, label)
        count += 1
    n = n(labels) if n else max(count, 1)
    return float(total / n), (d / n).astype(logits.dtype)


def log_of_softmax(logits, labels):
    return by_row(logits, labels, loss=lambda s, p, at: -np.log(p[at]))


def minus_100(logits, labels):
    return by_row(logits, labels, skip=lambda label: False)


def all_rows(logits, labels):
    return by_row(logits, labels, n=len)


def sum(logits, labels):
    return by_row(logits, labels, n=lambda labels: 1)


def nothing(logits, labels):
    return by_row(logits, labels, n=lambda labels: np.float64(np.count_nonzero(labels >= 0)))


def sign(logits, labels):
    return by_row(logits, labels, loss=lambda s, p, at: s[at] - np.log(np.exp(s).sum()))


def no_one(logits, labels):
    return by_row(logits, labels, slope=lambda p, at: p)


def gradient_turned(logits, labels):
    return by_row(logits, labels, slope=lambda p, at: np.eye(len(p), dtype=p.dtype)[at] - p)


def rows_without(logits, labels):
    return by_row(logits, labels, ignored=lambda p: p)


def gradient_not_divided(logits, labels):
    loss, d = by_row(logits, labels)
    return loss, d * logits.dtype.type(max(np.count_nonzero(labels >= 0), 1))


def no_maximum(logits, labels):
    rows = labels >= 0
    e = np.exp(logits)
    p = e / e.sum(1, keepdims=True)
    n = max(int(rows.sum()), 1)
    logs = logits - np.log(e.sum(1, keepdims=True))
    loss = -float(logs[rows, labels[rows]].sum()) / n
    d = np.where(rows[:, None], p, 0).astype(logits.dtype)
    d[rows, labels[rows]] -= 1
    return loss, (d / n).astype(logits.dtype)

"""As in softmax.py beside it: with sets of words."""

import numpy as np


def shares(scores, kept, shift=True):
    e = {w: np.exp(scores[w] - (max(scores[i] for i in kept) if shift else 0)) for w in kept}
    total = sum(e.values())
    return {w: e[w] / total for w in kept}


def written(scores, probs):
    out = np.zeros_like(scores)
    for w, p in probs.items():
        out[w] = p
    return out


def walk(scores, top_k, top_p, *, reverse=True, of=None, stop=lambda before, p, limit: before >= limit, last=shares):
    order = sorted(range(len(scores)), key=lambda w: scores[w], reverse=reverse)
    kept = order[:top_k] if top_k else order
    probs = shares(scores, of(order) if of else kept)
    if top_p < 1:
        inside, before = [], 0.0
        for w in kept:
            if stop(before, probs[w], top_p):
                break
            inside.append(w)
            before += probs[w]
        kept = inside
    return written(scores, last(scores, kept) if kept else {})


def crossing(scores, top_k, top_p):
    return walk(scores, top_k, top_p, stop=lambda before, p, limit: before + p > limit)


def k_by_itself(scores, top_k, top_p):
    return walk(scores, top_k, top_p, of=lambda order: order)


def least(scores, top_k, top_p):
    return walk(scores, top_k, top_p, reverse=False)


def no_p(scores, top_k, top_p):
    return walk(scores, top_k, 1.0)


def one_more(scores, top_k, top_p):
    return walk(scores, top_k + 1 if top_k else 0, top_p)


def not_divided(scores, top_k, top_p):
    order = np.argsort(scores)[::-1][: top_k or None]
    return walk(scores, top_k, top_p, last=lambda s, kept: {w: p for w, p in shares(s, order).items() if w in kept})

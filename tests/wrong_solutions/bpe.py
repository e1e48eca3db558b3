"""As in softmax.py beside it."""

from itertools import pairwise


def leftmost(word, merges):
    tokens, known, at = list(word), set(merges), 0
    while at + 1 < len(tokens):
        if (tokens[at], tokens[at + 1]) in known:
            tokens[at : at + 2] = ["".join(tokens[at : at + 2])]
            at = 0
        else:
            at += 1
    return tokens


def one_pass(word, merges):
    tokens = list(word)
    for a, b in merges:
        new = []
        for token in tokens:
            if new and new[-1] == a and token == b:
                new[-1] = a + b
            else:
                new.append(token)
        tokens = new
    return tokens


def best(word, merges, key, most=10**9):
    tokens = list(word)
    while most:
        found = [(merges.index(p), at) for at, p in enumerate(pairwise(tokens)) if p in merges]
        if not found:
            break
        at = sorted(found, key=key)[0][1]
        tokens[at : at + 2] = ["".join(tokens[at : at + 2])]
        most -= 1
    return tokens


def last_first(word, merges):
    return best(word, merges, lambda one: (-one[0], one[1]))


def rightmost(word, merges):
    return best(word, merges, lambda one: (one[0], -one[1]))


def one_merge(word, merges):
    return best(word, merges, None, 1)

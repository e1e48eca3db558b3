"""bpe: the pair that stands first in the list, the leftmost of its kind, again and again."""

from itertools import pairwise


def bpe(word, merges):
    rank = {pair: n for n, pair in enumerate(merges)}
    tokens = list(word)
    while True:
        found = [(rank[pair], i) for i, pair in enumerate(pairwise(tokens)) if pair in rank]
        if not found:
            return tokens
        i = min(found)[1]
        tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]

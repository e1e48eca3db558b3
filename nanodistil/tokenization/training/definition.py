"""How a vocabulary is learnt, as the paper has it: byte-pair encoding (Sennrich et al. 2016) in thirty lines.

What. Every word of a text begins as its letters. Count which two tokens stand beside each other most often, make one
token of them everywhere, and count again, until there are as many tokens as were asked for:

    l o w   l o w e r   n e w e r       lo: 2, ow: 2, we: 2, er: 2, ...      the first of them is merged
    lo w    lo w e r    n e w e r       low: 2, we: 2, er: 2, ...            and so on

What is learnt is the list of merges in their order, by which byte-level BPE cuts any text (bpe.py), and the vocabulary,
which is all that WordPiece needs (wordpiece.py). The two are learnt alike, but for two things: the letters of one are
bytes, and those of the other are characters, of which the ones inside a word have "##" before them. (BERT's own
trainer, which was never published, is said to divide a pair's count by those of its halves; `tokenizers` does not.)

Equal counts. Of the pairs that occur most often the one is merged whose first half has the lowest number in the
vocabulary, then whose second half has. So the result does not depend on the order in which words are found.

How it differs from the obvious. Words are counted once, so a text of a billion words is a list of a million. This
counts all pairs again after each merge, which takes time for each token of all words: merging.py learns the same, and
only counts what has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

Pair = tuple[str, str]
Word = Sequence[str]  # its tokens


def count_pairs(words: Iterable[tuple[Word, int]]) -> Counter[Pair]:
    """How often two tokens are neighbours.

    >>> count_pairs([("aab", 5), ("ab", 1)])
    Counter({('a', 'b'): 6, ('a', 'a'): 5})
    """
    counts: Counter[Pair] = Counter()
    for word, count in words:
        for pair in pairwise(word):
            counts[pair] += count
    return counts


def merge(word: Word, pair: Pair, new: str) -> Word:
    """The word with `new` wherever the two stand, from left to right.

    >>> merge(["a", "a", "a", "b"], ("a", "a"), "aa")
    ['aa', 'a', 'b']
    """
    out, at = [], 0
    while at < len(word):
        found = (*word[at : at + 2],) == pair
        out.append(new if found else word[at])
        at += 1 + found
    return out


def learn(
    words: Iterable[tuple[Word, int]], vocabulary: dict[str, int], size: int, min_frequency: int = 2, prefix: str = ""
) -> list[Pair]:
    """The merges, in order; what they make is put into the vocabulary, until it has `size` tokens.

    words: their letters, and how often each occurs. vocabulary: token -> number, of all letters at least.
    min_frequency: rarer pairs are not merged. prefix: what tokens inside a word begin with, which goes if they are
    merged with one before them.

    >>> vocabulary = {letter: number for number, letter in enumerate("elnorw")}
    >>> learn([("low", 5), ("lower", 2), ("newer", 6)], vocabulary, 12)
    [('e', 'r'), ('w', 'er'), ('l', 'o'), ('e', 'wer'), ('n', 'ewer'), ('lo', 'w')]
    >>> list(vocabulary)[6:]
    ['er', 'wer', 'lo', 'ewer', 'newer', 'low']
    """
    words, merges = list(words), []
    while len(vocabulary) < size:
        counts = count_pairs(words)
        if not counts:
            break
        pair = max(counts, key=lambda pair: (counts[pair], -vocabulary[pair[0]], -vocabulary[pair[1]]))
        if counts[pair] < min_frequency:
            break
        new = pair[0] + pair[1].removeprefix(prefix)
        vocabulary.setdefault(new, len(vocabulary))
        words = [(merge(word, pair, new), count) for word, count in words]
        merges.append(pair)
    return merges

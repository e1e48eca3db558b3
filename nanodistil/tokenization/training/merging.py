"""The same merges as definition.py, counting only what a merge changes.

How. A token is one character here, the one whose number it has, so a word is a string, a pair two characters, and to
merge it is `word.replace(pair, new)`. Each pair of neighbours has its count and the list of the words it is in; the
pairs wait in a heap, the most frequent first. A merge goes through the words of its pair and no others. In each of them
it takes the pairs that the two halves had with their neighbours off the counts, and adds those of the new token. What
has become rarer is noticed when it comes up, and put back with the count it has now. Strings are ordered as the numbers
of their characters are, so of equal counts the first pair is the definition's.

Cost. Of 10 MB of text, 29,744 merges of 94,000 words: 0.5 million times two tokens become one, in 2 seconds of plain
Python, where the definition takes 0.4 seconds a merge (docs/measurements.md). Lists of numbers in place of strings took
half as much again, a third of it Python's search for garbage among them.

Why a pair is merged once. Two stretches of the same letters that have become tokens by themselves were merged alike
from the start, since no merge reached across their ends. So no token is made of two different pairs, two tokens become
neighbours for the first time when the younger of them is made, and all the places where they ever are are known then.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from nanodistil.tokenization.training.definition import Pair


def learn(
    words: list[str],
    counts: list[int],
    names: list[str],
    size: int,
    min_frequency: int = 2,
    prefix: str = "",
    watch: Callable[[int], None] | None = None,
) -> list[Pair]:
    """The merges, in order; what they make is appended to `names`, until there are `size` of them.

    words: each letter is the character with its number; they are merged in place. counts: how often each word occurs.
    names: of all numbers, less than 0x110000 of them. watch: called with the number of tokens after each merge. The
    others are the definition's.

    >>> names = list("elnorw")
    >>> words = ["".join(chr(names.index(letter)) for letter in word) for word in ("low", "lower", "newer")]
    >>> learn(words, [5, 2, 6], names, 12)
    [('e', 'r'), ('w', 'er'), ('l', 'o'), ('e', 'wer'), ('n', 'ewer'), ('lo', 'w')]
    >>> [[names[ord(token)] for token in word] for word in words]
    [['low'], ['lo', 'wer'], ['newer']]
    """
    total: dict[str, int] = {}  # pair -> how often it occurs
    found: dict[str, list[int]] = {}  # pair -> the words in which it is new, in order

    def gained(pair: str, w: int) -> None:
        total[pair] = total.get(pair, 0) + counts[w]
        known = found.get(pair)
        if known is None:
            found[pair] = [w]
        elif known[-1] != w:
            known.append(w)

    for w, word in enumerate(words):
        for at in range(len(word) - 1):
            gained(word[at : at + 2], w)
    waiting = [(-total[pair], pair, where) for pair, where in found.items()]
    heapify(waiting)

    numbers = {name: number for number, name in enumerate(names)}
    merges: list[Pair] = []
    while len(names) < size and waiting:
        minus, pair, where = heappop(waiting)
        if -minus != total[pair]:
            heappush(waiting, (-total[pair], pair, where))
            continue
        if -minus < max(min_frequency, 1):
            break
        a, b = pair[0], pair[1]
        halves = names[ord(a)], names[ord(b)]
        token = halves[0] + halves[1].removeprefix(prefix)
        if token not in numbers:
            numbers[token] = len(names)
            names.append(token)
        new = chr(numbers[token])
        merges.append(halves)

        found.clear()
        for w in where:
            word, count = words[w], counts[w]
            at, end = word.find(pair), 0
            while at >= 0:
                if at:
                    left = new if at == end and end else word[at - 1]
                    total[left + a] -= count
                    gained(left + new, w)
                end = at + 2
                right = word[end : end + 1]
                if right:
                    total[b + right] -= count
                    gained(new + right, w)
                at = word.find(pair, end)
            words[w] = word.replace(pair, new)
        for pair, where in found.items():
            heappush(waiting, (-total[pair], pair, where))
        if watch is not None:
            watch(len(names))
    return merges

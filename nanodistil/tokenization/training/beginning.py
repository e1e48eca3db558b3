"""Where training begins: the special tokens, the alphabet, and every word as the numbers of its letters.

Numbers are given in this order, as `tokenizers` 0.22.2 gives them:

  special tokens    as they were named
  the alphabet      every letter that occurs, by its code point; of more than `limit` the most frequent are kept
  inner letters     for WordPiece: the letters that stand inside some word, with "##" before them

A letter that was not kept is left out of its words, and those that stood beside it become neighbours. The reference
takes inner letters as it comes across them, in the order of a hash table that is another in every process, and so it
has it with letters of equal counts at the limit. Here both go by their code points, so that the same texts in any order
make the same tokenizer; everything else is as in the reference (tests/parity/test_training_tokenizers_parity.py gives
ours the order that theirs had).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from nanodistil.tokenization.files import MAX_TOKENS
from nanodistil.weights.errors import InputError


def begin(
    words: Mapping[str, int],
    special: Iterable[str] = (),
    initial: Iterable[str] = (),
    limit: int | None = None,
    prefix: str = "",
) -> tuple[list[str], list[str]]:
    """The tokens so far, and the words in characters that have their numbers, for merging.learn.

    initial: letters that are in the alphabet whether they occur or not. Raises InputError for more letters than any
    vocabulary has tokens.

    >>> names, words = begin({"aba": 2, "c": 1}, ["[UNK]"], prefix="##")
    >>> names, [list(map(ord, word)) for word in words]
    (['[UNK]', 'a', 'b', 'c', '##a', '##b'], [[1, 5, 4], [3]])
    >>> begin({"aba": 2, "c": 1}, initial="d", limit=2)
    (['a', 'd'], ['\\x00\\x00', ''])
    """
    kept = {*initial} | set().union(*words)
    if limit is not None and len(kept) > limit:
        kept = _most_frequent(words, {*initial}, limit)
    names = list(dict.fromkeys([*special, *sorted(kept)]))
    if 2 * len(names) > MAX_TOKENS:
        raise InputError(f"the texts have {len(kept):,} different letters; keep the most frequent with limit_alphabet")
    letters = {name: chr(number) for number, name in enumerate(names) if len(name) == 1}
    inner = letters
    if prefix:
        inside = set().union(*(word[1:] for word in words)) & letters.keys()
        names = list(dict.fromkeys([*names, *(prefix + letter for letter in sorted(inside))]))
        numbers = {name: number for number, name in enumerate(names)}
        inner = {letter: chr(numbers[prefix + letter]) for letter in inside}
    return names, [letters.get(w[:1], "") + "".join([inner.get(letter, "") for letter in w[1:]]) for w in words]


def _most_frequent(words: Mapping[str, int], initial: set[str], limit: int) -> set[str]:
    """So many letters; those that must be there come first, then the most frequent, then by code point."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    return {*sorted({*counts, *initial}, key=lambda c: (c not in initial, -counts[c], c))[:limit]}

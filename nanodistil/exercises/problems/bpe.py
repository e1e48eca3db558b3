"""Exercise: merges of byte-pair encoding."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.problems.wordpiece import vocabulary
from nanodistil.exercises.race import Race
from nanodistil.exercises.trial import Function
from nanodistil.tokenization.bpe import ByteBPE

Pair = tuple[str, str]
SMALL: list[Pair] = [("e", "r"), ("l", "o"), ("lo", "w"), ("a", "a"), ("n", "e"), ("ne", "w"), ("w", "er")]
UPSIDE: list[Pair] = [("ab", "c"), ("b", "c"), ("a", "b"), ("abc", "d"), ("a", "bc")]
WORDS = ("lowering", "reorganization", "newest", "information", "understanding", "interesting", "banana", "aaaaa")


@cache
def merges() -> tuple[list[Pair], dict[str, int]]:
    """Learnt from the words of the embedded vocabulary: merges, and the tokens they make."""
    from nanodistil.tokenization.training.definition import learn

    words = [(word, 1) for word in sorted(vocabulary()) if word.isascii() and word.isalpha()][::40]
    known = {letter: n for n, letter in enumerate(sorted({c for word, _ in words for c in word}))}
    return learn(words, known, len(known) + 60), known


def _encoder(pairs: list[Pair], word: str) -> ByteBPE:
    known = {c: n for n, c in enumerate(dict.fromkeys([*word, *(c for a, b in pairs for c in a + b)]))}
    for a, b in pairs:
        for token in (a, b, a + b):
            known.setdefault(token, len(known))
    return ByteBPE(known, pairs)


def definition(word: str, merges: list[Pair]) -> list[str]:
    return _encoder(merges, word)(word).tokens if word else []


def cases(dtype: str) -> list[Case]:
    by_hand = ["lower", "newlow", "aaa", "aaaaa", "xyz", "", "e", "nelower"]
    odd = [
        Case(f"{word!r}, a merge that comes late makes one that stands early", (word, UPSIDE))
        for word in ("abcd", "bcabc")
    ]
    learnt = [Case(f"{word!r}, 60 merges learnt", (word, merges()[0])) for word in WORDS]
    return [*(Case(f"{word!r} by hand", (word, SMALL)) for word in by_hand), *odd, *learnt]


def slipped(slips: Slips, word: str, merges: list[Pair]) -> Any:
    tokens, rank = list(word), {tuple(pair): n for n, pair in enumerate(merges)}
    if "one pass" in slips:
        for pair in merges:
            at = 0
            while at + 1 < len(tokens):
                if (tokens[at], tokens[at + 1]) == tuple(pair):
                    tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]
                at += 1
        return tokens
    while True:
        found = [(rank[pair], at) for at, pair in enumerate(pairwise(tokens)) if pair in rank]
        if not found:
            return tokens
        if "leftmost" in slips:
            at = min(at for _, at in found)
        elif "last first" in slips:
            at = max(found, key=lambda one: (one[0], -one[1]))[1]
        elif "rightmost" in slips:
            at = min(found, key=lambda one: (one[0], -one[1]))[1]
        else:
            at = min(found)[1]
        tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]
        if "one merge" in slips:
            return tokens


def trial(function: Function) -> list[str]:
    pairs, known = merges()
    words = [word for word in sorted(vocabulary()) if word.isascii() and word.isalpha()][::60]
    words = [word for word in words if set(word) <= known.keys()]
    ours = ByteBPE(known, pairs)
    alike = sum(list(function(word, pairs)) == ours(word).tokens for word in words)
    return [
        f"in the real tokenizer, with {len(pairs)} merges learnt just now from the embedded vocabulary's words:",
        f"  {' | '.join(' '.join(function(word, pairs)) for word in WORDS[:5])}",
        f"  {alike} of {len(words)} words are cut as ours cuts them",
        "  (the embedded model reads WordPiece, so it has no answer of its own to this; RoBERTa and GPT-2 do)",
    ]


def race(large: bool) -> Race:
    pairs, known = merges()
    words = list(WORDS) * (64 if large else 1)
    ours = ByteBPE(known, pairs)
    made = [(word, tuple(ours.pairs)) for word in words]

    def run() -> None:
        for word, _ in made:
            ours.remembered.clear()
            ours(word)

    return Race(f"{len(words)} words", lambda f: [f(word, pairs) for word in words], [("ours, in Python", run)])


EXERCISE = Exercise(
    name="bpe",
    title="byte-pair encoding: merges in their order",
    minutes=20,
    lines=10,
    header="def bpe(word, merges):",
    task="""A word begins as its letters. Again and again two neighbours become one, until no two of them are in
the list.

merges is a list of pairs; the earlier a pair stands in it, the earlier it is merged. Of all
neighbours in the word take the pair that stands first in the list, of equal ones the leftmost;
merge these two; and look again at the whole word. A merge may make a pair that stands earlier in
the list than itself.

word: a string. merges: a list of pairs of strings. Returns: a list of strings that make up the
word.""",
    hints=(
        "A dict from pair to place in the list makes looking up quick: {pair: i for i, pair in enumerate(merges)}.",
        "min() of (place in the list, place in the word) is both rules at once.",
        "tokens[i : i + 2] = [tokens[i] + tokens[i + 1]] makes one of two.",
    ),
    example="""print(bpe("lower", [("e", "r"), ("l", "o"), ("lo", "w")]))  # ['low', 'er']""",
    cases=cases,
    definition=definition,
    slips={
        "leftmost": "the leftmost pair is merged, whatever its place in the list: the list's order comes first",
        "one pass": "the list is gone through once: a merge may make a pair that stands earlier, so look again at all",
        "last first": "the pair that stands last in the list is merged first",
        "rightmost": "of equal pairs the rightmost is merged: take the leftmost",
        "one merge": "it stops behind the first merge: go on until no pair is in the list",
    },
    slipped=slipped,
    trial=trial,
    race=race,
    dtypes=("float64",),
    head="",
)

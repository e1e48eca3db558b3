"""Exercise: WordPiece, the longest match first."""

from __future__ import annotations

from functools import cache
from typing import Any

from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race
from nanodistil.exercises.trial import TEXT, Function, Within, tokenizer
from nanodistil.tokenization.wordpiece import WordPiece

UNKNOWN, LONGEST = "[UNK]", 100
SMALL = frozenset(
    f"un una ##aff ##able ##a ##ff ##ble u ##n a ##b able ban bana ##anas {UNKNOWN}".split()
)  # in which a shorter piece is sometimes the only way
WORDS = (
    "capital", "unaffable", "tokenization", "distillation", "embeddings", "antidisestablishmentarianism", "x",
    "running", "paris", "electroencephalographically", "2026", "unbelievably", "zürich", "playfully", "☃",
)  # fmt: skip


@cache
def vocabulary() -> frozenset[str]:
    """The embedded model's."""
    return frozenset(tokenizer().get_vocab())


@cache
def ours(vocabulary: frozenset[str]) -> WordPiece:
    return WordPiece({token: number for number, token in enumerate(sorted(vocabulary))}, longest_word=LONGEST)


def definition(word: str, vocabulary: frozenset[str]) -> list[str]:
    return [token for token, _, _ in ours(vocabulary).pieces(word)]


def cases(dtype: str) -> list[Case]:
    by_hand = ["unaffable", "un", "ununb", "aab", "affable", "unax", "", "x", "unaffablex", "able", "baable", "bananas"]
    found = [Case(f"{word!r} by hand", (word, SMALL)) for word in by_hand]
    lengths = [Case(f"{n} letters", ("a" * n, SMALL)) for n in (100, 101)]
    return [*found, *lengths, *(Case(repr(word), (word, vocabulary())) for word in WORDS)]


def slipped(slips: Slips, word: str, vocabulary: frozenset[str]) -> Any:
    if len(word) > LONGEST and "no limit" not in slips:
        return [UNKNOWN]

    def named(start: int, end: int) -> str:
        inside = "no prefix" not in slips and (start > 0 or "prefix first" in slips)
        return ("##" if inside else "") + word[start:end]

    if "from the end" in slips:
        found: list[str] = []
        end = len(word)
        while end:
            first = next((s for s in range(end) if named(s, end) in vocabulary), None)
            if first is None:
                return [UNKNOWN]
            found.insert(0, named(first, end))
            end = first
        return found
    if "way back" in slips:
        return _any_way(word, 0, named, vocabulary) or ([UNKNOWN] if word else [])
    found, start = [], 0
    while start < len(word):
        ends = range(start + 1, len(word) + 1)
        walk = ends if "shortest" in slips else reversed(ends)
        last = next((end for end in walk if named(start, end) in vocabulary), 0)
        if not last:
            if "letters" in slips:
                found.append(UNKNOWN)
                start += 1
                continue
            return [*found, UNKNOWN] if "partly" in slips else [UNKNOWN]
        found.append(named(start, last))
        start = last
    return found


def _any_way(word: str, start: int, named: Any, vocabulary: frozenset[str]) -> list[str] | None:
    """The first way to the end, longest pieces first."""
    if start == len(word):
        return []
    for end in range(len(word), start, -1):
        token = named(start, end)
        if token in vocabulary:
            rest = _any_way(word, end, named, vocabulary)
            if rest is not None:
                return [token, *rest]
    return None


def trial(function: Function) -> list[str]:
    """The embedded model's tokenizer with the function as its third step."""
    text = TEXT + " An unaffable electroencephalographer misunderstands tokenization."
    usual = tokenizer().tokenize(text)
    known = vocabulary()
    within = Within(lambda word: function(word, known), lambda word: definition(word, known), len)
    own = WordPiece(dict(tokenizer().get_vocab()))

    def pieces(word: str) -> list[tuple[str, int, int]]:
        found, at = [], 0
        for token in within(word):
            width = len(word) if token == own.unknown else len(token.removeprefix(own.prefix if at else ""))
            found.append((token, at, at + width))
            at += width
        return found

    own.pieces = pieces  # type: ignore[method-assign]
    tokens = [token for part in text.split("[MASK]") for token in (*own(part).tokens, "[MASK]")][:-1]
    lines = [f"in the real tokenizer: {text}", f"  {' '.join(tokens)}"]
    return [*lines, f"  {'the same' if tokens == usual else 'NOT the same'} as ours in all {len(usual)} tokens"]


def race(large: bool) -> Race:
    words = list(WORDS) * (64 if large else 1)
    known = vocabulary()
    usual = ours(known)
    return Race(
        f"{len(words)} words",
        lambda f: [f(word, known) for word in words],
        [("ours, in Python", lambda: [usual.pieces(word) for word in words])],
    )


EXERCISE = Exercise(
    name="wordpiece",
    title="a word becomes pieces of the vocabulary",
    minutes=15,
    lines=12,
    header="def wordpiece(word, vocabulary):",
    task="""The longest prefix of the word that is in the vocabulary; then the longest of what is left; and so
on.

A piece that does not begin the word is looked up, and returned, with "##" before it. If nothing
fits at some place, the whole word becomes ["[UNK]"]: there is no way back to a shorter piece. So
does a word of more than 100 characters.

word: a string, lower-cased already. vocabulary: a set of strings. Returns: a list of strings, none
for an empty word.""",
    hints=(
        'Two loops: while something is left of the word, and from its end backwards for the longest piece ("##" is no '
        "part of the length).",
        "A for loop can have an else: it runs if no break has left the loop.",
    ),
    example="""print(wordpiece("unaffable", {"un", "##aff", "##able"}))  # ['un', '##aff', '##able']""",
    cases=cases,
    definition=definition,
    slips={
        "no prefix": 'pieces inside the word lack their "##": look up, and return, "##able" for what does not begin it',
        "prefix first": 'the first piece has "##" too; only those behind it do',
        "shortest": "the shortest piece is taken, not the longest: try long ends first",
        "partly": "a word that cannot be finished keeps the pieces found so far: it becomes [UNK] as a whole",
        "letters": "what does not fit becomes [UNK] letter by letter: the word becomes [UNK] as a whole",
        "no limit": "a word of more than 100 characters is cut up: it becomes [UNK]",
        "from the end": "pieces are taken from the end of the word: begin at its start",
        "way back": "it goes back and tries a shorter piece if the rest does not fit: WordPiece never does",
    },
    slipped=slipped,
    trial=trial,
    race=race,
    dtypes=("float64",),
    head="",
)

"""Why a text became its tokens: what each step of the normalizer changed, and per word what the vocabulary had.

The same steps as wordpiece.py, one at a time and with a record of each, so that a question like "why is this [UNK]" has
an answer: the word is too long, or the search for the longest piece got stuck at a character that no token continues
with. For byte-level BPE it is the merges, in the order in which they were made (explain_bpe.py). It is a way of
showing, not a second definition: a test holds both against each other.

What cannot be seen is written as its number: a soft hyphen is U+00AD, an accent on its own U+0301.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from nanodistil.tokenization import unicode_tables as unicode
from nanodistil.tokenization.bpe import ByteBPE
from nanodistil.tokenization.explain_bpe import merged
from nanodistil.tokenization.explanation import Explanation, Step, Word
from nanodistil.tokenization.state import State
from nanodistil.tokenization.texts import texts_of_call
from nanodistil.tokenization.wordpiece import Normalizer, WordPiece, reorder, word_pattern
from nanodistil.weights.errors import InputError


def explain(tokenizer: State, text: str) -> Explanation:
    """Why `text` becomes what it does. Raises InputError for what is no text, and for a tokenizer that cuts otherwise.

    >>> from nanodistil.tokenization import DistilBertTokenizer
    >>> found = explain(DistilBertTokenizer.from_pretrained("nanodistil-mini"), "Ünaffable \\u2603")
    >>> [(step.name, step.changes) for step in found.steps]
    [('accents', [('Ü', 'U')]), ('lower case', [('U', 'u')])]
    >>> for word in found.words:
    ...     print(word.text, word.start, word.end, word.tokens, word.why)
    unaffable 0 9 ['una', '##ffa', '##ble'] longest match first: una, ##ffa, ##ble
    ☃ 10 11 ['[UNK]'] no beginning of '☃' is in the vocabulary
    """
    texts_of_call(text, None, False)  # refuses what is no text
    encoder = tokenizer.encoder
    if not isinstance(encoder.pieces, WordPiece | ByteBPE):
        raise InputError("only WordPiece's and BPE's words can be explained; this tokenizer cuts texts in another way")
    found = encoder.added.cut_raw(text, tokenizer.split_special_tokens)
    cuts = [(text[start:end], start, number) for start, end, number in found]
    words = []
    for part, at, number in cuts:
        if number is not None:
            words.append(
                Word(part, at, at + len(part), [part], [number], "an added token, looked for in the text as it is")
            )
        else:
            words += _words(tokenizer, encoder.pieces, part, at)
    if isinstance(encoder.pieces, ByteBPE):  # which changes no character
        return Explanation([], words)
    steps = _steps(encoder.pieces.normalizer, [(part, number is None) for part, _, number in cuts])
    return Explanation(list(steps), words)


def _steps(normalizer: Normalizer, parts: list[tuple[str, bool]]) -> Iterator[Step]:
    """parts: stretches of the text, and whether each is normalized; added tokens are not."""

    def without_accents(c: str) -> str:
        return "".join(map(unicode.drop_mark, unicode.decompose(c)))

    def in_order(part: str) -> str:
        decomposed = "".join(map(unicode.decompose, part))
        return reorder(decomposed, [(i, i + 1) for i in range(len(decomposed))])[0]

    all_steps: list[tuple[str, bool, Callable[[str], str]]] = [
        ("clean", normalizer.cleans, unicode.clean),
        ("Chinese characters", normalizer.sets_apart, unicode.set_apart),
        ("accents", normalizer.strips, without_accents),
        ("lower case", normalizer.lowers, unicode.lower),
    ]
    for name, on, change in all_steps:
        if not on:
            continue
        before = "".join(part for part, _ in parts)
        changes = {c: change(c) for part, ordinary in parts if ordinary for c in part}
        ordered = [(in_order(part) if name == "accents" and ordinary else part, ordinary) for part, ordinary in parts]
        parts = [("".join(map(change, part)) if ordinary else part, ordinary) for part, ordinary in ordered]
        after = "".join(part for part, _ in parts)
        if after != before:
            yield Step(name, [(c, new) for c, new in changes.items() if c != new], after)


def _words(tokenizer: State, pieces: WordPiece | ByteBPE, part: str, at: int) -> Iterator[Word]:
    """The words of a stretch that starts at `at`."""
    characters, spans = pieces.normalizer(part)
    for a, b, number in tokenizer.encoder.added.cut_normalized(characters, tokenizer.split_special_tokens):
        if number is not None:
            start, end = at + spans[a][0], at + spans[b - 1][1]
            why = "an added token, looked for in the normalized text"
            yield Word(characters[a:b], start, end, [characters[a:b]], [number], why)
            continue
        if isinstance(pieces, ByteBPE):
            for word in merged(pieces, characters[a:b]):
                yield replace(word, start=at + a + word.start, end=at + a + word.end)
            continue
        for match in word_pattern().finditer(characters, a, b):
            start, end = at + spans[match.start()][0], at + spans[match.end() - 1][1]
            tokens = [token for token, _, _ in pieces.pieces(match[0])]
            ids = [pieces.vocabulary[token] for token in tokens]
            yield Word(match[0], start, end, tokens, ids, reason(pieces, match[0]))


def reason(wordpiece: WordPiece, word: str) -> str:
    """Why a word becomes its pieces, or none.

    >>> wordpiece = WordPiece({"[UNK]": 0, "un": 1, "##aff": 2, "##able": 3}, longest_word=12)
    >>> for word in ("un", "unable", "unaffxyz", "xyz", "unaffableable"):
    ...     print(reason(wordpiece, word))
    in the vocabulary
    longest match first: un, ##able
    stuck after un, ##aff: no beginning of '##xyz' is in the vocabulary
    no beginning of 'xyz' is in the vocabulary
    13 characters long, and more than 12 are not looked up
    """
    if len(word) > wordpiece.longest_word:
        return f"{len(word)} characters long, and more than {wordpiece.longest_word} are not looked up"
    if word in wordpiece.vocabulary:
        return "in the vocabulary"
    found: list[str] = []
    start = 0
    while start < len(word):
        prefix = wordpiece.prefix if start else ""
        ends = range(min(len(word), start + wordpiece.longest_token), start, -1)
        end = next((end for end in ends if prefix + word[start:end] in wordpiece.vocabulary), None)
        if end is None:
            after = f"stuck after {', '.join(map(visible, found))}: " if found else ""
            return f"{after}no beginning of '{prefix}{visible(word[start:])}' is in the vocabulary"
        found.append(prefix + word[start:end])
        start = end
    return f"longest match first: {', '.join(map(visible, found))}"


def visible(text: str) -> str:
    """The text with all that cannot be seen as its number.

    >>> print(visible("a\\u200bb\\xa0c e\\u0301"))
    aU+200BbU+00A0c eU+0301
    """
    marks = unicode.combining_classes()
    return "".join(c if c.isprintable() and c not in marks else f"U+{ord(c):04X}" for c in text)

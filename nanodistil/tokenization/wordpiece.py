"""From a string to WordPiece ids, with the place in the string every piece came from.

What. A BERT model does not see words but about 30,000 pieces of words. Three steps make them:

  normalize   drop control characters, make all white space " ", set Chinese characters apart, and for an uncased model
              strip accents and lower the case: "Crème\\tBRÛLÉE" -> "creme brulee"
  words       split at white space, which vanishes, and around punctuation, each a word of its own: "don't" -> don ' t
  pieces      within a word take the longest prefix the vocabulary holds, then the longest "##" continuation, and so on:
              "unaffable" -> un ##aff ##able. A word that cannot be finished becomes [UNK] as a whole.

Why this way. One id off is another word to the model. The reference is the fast tokenizer (`tokenizers` 0.22.2), and
this file gives the same ids and offsets for every Unicode code point. That fixes details nobody would choose: the
order is decompose, drop marks, then lower, one character at a time; nothing is composed again; and the Unicode facts
are those of its build (unicode_tables.py).

How it differs from the obvious. Every normalized character carries its span, start and end in the original string, and
a piece spans from the start of its first character to the end of its last: an accent that is dropped inside a piece
stays inside its span. Nothing reaches across white space, so the text is cut there first, and each chunk (a word,
mostly) is worked out once and remembered. Of long texts kernels/cpu/wordpiece.py does the same work, compiled.

What it does not do: special tokens, truncation, padding (encoder.py).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import pairwise

from nanodistil.tokenization import unicode_tables as unicode
from nanodistil.tokenization.pieces import Pieces, Span, Text

REMEMBERED = 50_000  # chunks, and characters per table: about 40 MB when full, then started afresh
LONGEST_REMEMBERED = 40  # code points of a chunk; longer ones hardly ever come twice


class Expansion(dict[str, str]):
    """A character -> the characters that stand for it after some steps: none, itself, or several. Filled as needed.

    >>> Expansion(unicode.decompose, unicode.lower)["É"] == "e\\u0301"
    True
    """

    def __init__(self, *steps: Callable[[str], str]) -> None:
        super().__init__()
        self.steps = steps

    def __missing__(self, c: str) -> str:
        result = c
        for step in self.steps:
            result = "".join(map(step, result))
        if len(self) < REMEMBERED:
            self[c] = result
        return result

    def apply(self, characters: str, spans: Iterable[Span]) -> Text:
        """Replace each character; what comes of it inherits its span."""
        expanded = [(self[c], span) for c, span in zip(characters, spans, strict=True)]
        return "".join(s for s, _ in expanded), [span for s, span in expanded for _ in s]


def reorder(characters: str, spans: list[Span]) -> Text:
    """Put each run of combining marks in canonical order: by combining class, equal classes as they came.

    Most marks are dropped right after, but some are not, and their order and spans show. The spans stay where they are
    while the marks move: the k-th mark of a run gets the span of the k-th source, and a mark that came out of the same
    source as its predecessor's shares the span of whatever now stands before it. So does the reference.

    >>> reorder("a\\u0301\\u0323", [(0, 1), (1, 2), (2, 3)]) == ("a\\u0323\\u0301", [(0, 1), (1, 2), (2, 3)])
    True
    """
    classes = unicode.combining_classes()
    out, where = list(characters), list(spans)
    start = 0
    while start < len(out):
        end = start
        while end < len(out) and out[end] in classes:
            end += 1
        if end - start > 1:
            order = sorted(range(start, end), key=lambda i: classes[characters[i]])
            opens = [i == 0 or spans[i] != spans[i - 1] for i in range(start, end)]  # first of its source?
            sources = (spans[i] for i in range(start, end) if opens[i - start])
            span = spans[start - 1] if start else spans[0]
            for at, i in enumerate(order, start):
                span = next(sources) if opens[i - start] else span
                out[at], where[at] = characters[i], span
        start = max(end, start + 1)
    return "".join(out), where


class Normalizer:
    """The first step. Each of its four parts can be switched off; `strip_accents=None` means: as `lowercase` says.

    >>> Normalizer()("Né\\u00adé")
    ('nee', [(0, 1), (1, 2), (3, 4)])
    """

    def __init__(
        self,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        handle_chinese_chars: bool = True,
        clean_text: bool = True,
    ) -> None:
        self.lowers = lowercase
        self.strips = lowercase if strip_accents is None else strip_accents
        self.sets_apart, self.cleans = handle_chinese_chars, clean_text
        before = {unicode.clean: clean_text, unicode.set_apart: handle_chinese_chars, unicode.decompose: self.strips}
        after = {unicode.drop_mark: self.strips, unicode.lower: lowercase}
        self.before_order = Expansion(*(step for step, on in before.items() if on))
        self.after_order = Expansion(*(step for step, on in after.items() if on))
        self.spaces = "cleaned_to_space" if clean_text else "white_space"

    def __call__(self, text: str) -> Text:
        sources = pairwise(range(len(text) + 1))
        if text.isascii() and text.isprintable():  # nothing to drop, set apart or decompose
            return text.lower() if self.lowers else text, list(sources)
        characters, spans = self.before_order.apply(text, sources)
        if self.strips and not characters.isascii():
            characters, spans = reorder(characters, spans)
        return self.after_order.apply(characters, spans)

    def text(self, text: str) -> str:
        """The normalized text alone."""
        return self(text)[0]


@cache
def word_pattern() -> re.Pattern[str]:
    """The second step: a word is one punctuation character, or a run of neither punctuation nor white space.

    Every ASCII symbol counts as punctuation, `$` and `~` too; elsewhere only what Unicode calls so.

    >>> word_pattern().findall("don't pay $5 or 5€")
    ['don', "'", 't', 'pay', '$', '5', 'or', '5€']
    """
    punctuation, space = unicode.character_class("punctuation"), unicode.character_class("white_space")
    return re.compile(f"[{punctuation}]|[^{punctuation}{space}]+")


class WordPiece:
    """A vocabulary and the three steps.

    >>> wordpiece = WordPiece({"[UNK]": 0, "un": 1, "##aff": 2, "##able": 3, "!": 4})
    >>> wordpiece("UNAFFABLE! Nöt.")
    Pieces(ids=[1, 2, 3, 4, 0, 0], tokens=['un', '##aff', '##able', '!', '[UNK]', '[UNK]'],
           spans=[(0, 2), (2, 5), (5, 9), (9, 10), (11, 14), (14, 15)], words=[0, 0, 0, 1, 2, 3], n_words=4)
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        normalizer: Normalizer | None = None,
        unknown: str = "[UNK]",
        prefix: str = "##",
        longest_word: int = 100,
    ) -> None:
        self.vocabulary = vocabulary
        self.normalizer = normalizer or Normalizer()
        self.unknown, self.prefix, self.longest_word = unknown, prefix, longest_word
        self.longest_token = max(map(len, vocabulary), default=0)  # no need to try longer pieces
        self.chunk = re.compile(f"[^{unicode.character_class(self.normalizer.spaces)}]+")
        self.remembered: dict[str, Pieces] = {}

    def with_normalizer(self, normalizer: Normalizer) -> "WordPiece":
        """The same vocabulary after another first step."""
        return WordPiece(self.vocabulary, normalizer, self.unknown, self.prefix, self.longest_word)

    def identity(self) -> list[bool | int | str]:
        """What decides, beside the vocabulary, which ids a text becomes."""
        n = self.normalizer
        return [n.cleans, n.sets_apart, n.lowers, n.strips, self.unknown, self.prefix, self.longest_word]

    def pieces(self, word: str) -> list[tuple[str, int, int]]:
        """The third step: (token, start, end) within the word; the longest match wins, and there is no way back.

        >>> WordPiece({"a": 0, "##b": 1, "[UNK]": 2}).pieces("abb")
        [('a', 0, 1), ('##b', 1, 2), ('##b', 2, 3)]
        """
        whole = [(self.unknown, 0, len(word))]
        if len(word) > self.longest_word:
            return whole
        found, start = [], 0
        while start < len(word):
            prefix = self.prefix if start else ""
            for end in range(min(len(word), start + self.longest_token), start, -1):
                token = prefix + word[start:end]
                if token in self.vocabulary:
                    found.append((token, start, end))
                    start = end
                    break
            else:
                return whole
        return found

    def split(self, characters: str, spans: list[Span]) -> Pieces:
        """The second and third step, for text that is normalized already."""
        out = Pieces([], [], [], [], 0)
        n_words = 0
        for match in word_pattern().finditer(characters):
            for token, start, end in self.pieces(match[0]):
                out.ids.append(self.vocabulary[token])
                out.tokens.append(token)
                out.spans.append((spans[match.start() + start][0], spans[match.start() + end - 1][1]))
                out.words.append(n_words)
            n_words += 1
        return out._replace(n_words=n_words)

    def __call__(self, text: str) -> Pieces:
        out = Pieces([], [], [], [], 0)
        n_words = 0
        for match in self.chunk.finditer(text):
            chunk, at = match[0], match.start()
            known = self.remembered.get(chunk)
            if known is None:
                known = self.split(*self.normalizer(chunk))
                if len(chunk) <= LONGEST_REMEMBERED:
                    if len(self.remembered) >= REMEMBERED:
                        self.remembered.clear()
                    self.remembered[chunk] = known
            out.ids.extend(known.ids)
            out.tokens.extend(known.tokens)
            out.spans.extend([(at + start, at + end) for start, end in known.spans])
            out.words.extend([n_words + word for word in known.words])
            n_words += known.n_words
        return out._replace(n_words=n_words)

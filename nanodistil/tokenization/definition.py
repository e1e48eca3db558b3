"""One text as an Encoding, by the definition: added tokens out of the raw text, pieces for what lies between.

A text may also come as words that somebody has cut already. Then each is a text of its own, with its own added tokens
and its own offsets, and `word_ids` counts the words given, whatever punctuation splits off inside them.
"""

from collections.abc import Iterator

from nanodistil.tokenization.added_tokens import AddedTokens
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.pieces import PieceMaker, Pieces


def encode(
    text: str | list[str],
    added: AddedTokens,
    maker: PieceMaker,
    sequence: int = 0,
    split_special: bool = False,
    type_id: int = 0,
) -> Encoding:
    """The tokens of a text, or of a text given as words; none are put around them.

    sequence: 0, or 1 for the second text of a pair. split_special: special tokens in the text are text like any other.
    type_id: the token type.
    """
    ids: list[int] = []
    tokens: list[str] = []
    spans: list[tuple[int, int]] = []
    words: list[int | None] = []
    if isinstance(text, str):
        n_words = 0
        for pieces, at in _stretches(text, added, maker, split_special):
            ids.extend(pieces.ids)
            tokens.extend(pieces.tokens)
            spans.extend([(at + start, at + end) for start, end in pieces.spans] if at else pieces.spans)
            words.extend([n_words + word for word in pieces.words] if n_words else pieces.words)
            n_words += pieces.n_words
    else:
        for number, word in enumerate(text):
            for pieces, at in _stretches(word, added, maker, split_special):
                ids.extend(pieces.ids)
                tokens.extend(pieces.tokens)
                spans.extend([(at + start, at + end) for start, end in pieces.spans])
                words.extend([number] * len(pieces.ids))
    n = len(ids)
    return Encoding(ids, [type_id] * n, tokens, spans, words, [0] * n, [1] * n, {sequence: range(n)})


def _stretches(text: str, added: AddedTokens, maker: PieceMaker, split_special: bool) -> Iterator[tuple[Pieces, int]]:
    """The text from left to right: the pieces of an added token or of what lies between two, and where that starts."""
    for start, end, number in added.cut_raw(text, split_special):
        if number is not None:
            yield Pieces([number], [text[start:end]], [(start, end)], [0], 1), 0
        elif not added.any_normalized:
            yield maker(text[start:end]), start
        else:
            characters, spans = maker.normalizer(text[start:end])
            for a, b, inner in added.cut_normalized(characters, split_special):
                if inner is not None:
                    yield Pieces([inner], [characters[a:b]], [(spans[a][0], spans[b - 1][1])], [0], 1), start
                else:
                    yield maker.split(characters[a:b], spans[a:b]), start

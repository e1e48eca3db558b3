"""One text as an Encoding, by the definition: added tokens out of the raw text, pieces for what lies between."""

from nanodistil.tokenization.added_tokens import AddedTokens
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.wordpiece import Pieces, WordPiece


def encode(text: str, added: AddedTokens, wordpiece: WordPiece, sequence: int = 0) -> Encoding:
    """The tokens of a text, none put around them. `sequence`: 0, or 1 for the second text of a pair."""
    ids: list[int] = []
    tokens: list[str] = []
    spans: list[tuple[int, int]] = []
    words: list[int | None] = []
    n_words = 0

    def take(pieces: Pieces, at: int = 0) -> None:
        nonlocal n_words
        ids.extend(pieces.ids)
        tokens.extend(pieces.tokens)
        spans.extend([(at + start, at + end) for start, end in pieces.spans] if at else pieces.spans)
        words.extend([n_words + word for word in pieces.words] if n_words else pieces.words)
        n_words += pieces.n_words

    for start, end, number in added.cut_raw(text):
        if number is not None:
            take(Pieces([number], [text[start:end]], [(start, end)], [0], 1))
        elif not added.any_normalized:
            take(wordpiece(text[start:end]), start)
        else:
            characters, places = wordpiece.normalizer(text[start:end])
            for a, b, inner in added.cut_normalized(characters):
                if inner is not None:
                    take(Pieces([inner], [characters[a:b]], [(places[a][0], places[b - 1][1])], [0], 1), start)
                else:
                    take(wordpiece.split(characters[a:b], places[a:b]), start)
    n = len(ids)
    return Encoding(ids, [sequence] * n, tokens, spans, words, [sequence] * n, [0] * n, [1] * n)

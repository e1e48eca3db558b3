"""Regenerates nanodistil/tokenization/unicode_tables.json by asking `tokenizers` about every code point.

    python tests/golden/tokenizer_unicode_tables.py        (needs tokenizers, see the [parity] extra; about a minute)

Nothing is taken from this interpreter's `unicodedata` but a list of combining marks to compare against, and each
of those is verified by the reordering it causes. So the file does not depend on the Python that wrote it.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

OUT = Path(__file__).parents[2] / "nanodistil" / "tokenization" / "unicode_tables.json"
CHARACTERS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)


def boundaries(characters: Iterable[str]) -> list[int]:
    """A set of characters as [start, end, start, end, ...]: c belongs to it when an odd number of entries is <= c.

    >>> boundaries("abcx")
    [97, 100, 120, 121]
    """
    out: list[int] = []
    for c in sorted(map(ord, characters)):
        if out and out[-1] == c:
            out[-1] = c + 1
        else:
            out += [c, c + 1]
    return out


def normalizer(**on: bool) -> Callable[[str], str]:
    from tokenizers import normalizers

    off = dict.fromkeys(("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"), False)
    answer: Callable[[str], str] = normalizers.BertNormalizer(**{**off, **on}).normalize_str
    return answer


def combining_classes(nfd: Callable[[str], str]) -> dict[int, list[str]]:
    """Class -> marks. Two marks stay in place in both orders exactly when their classes are equal (or one is 0)."""
    witness: dict[int, str] = {}
    for c in CHARACTERS:
        k = unicodedata.combining(c)
        moves = nfd("a" + c + "\u0334") != "a" + c + "\u0334" or k == 1  # U+0334 has class 1, the least
        if k and moves:
            witness.setdefault(k, c)
    table: dict[int, list[str]] = {}
    for c in CHARACTERS:
        above_1 = nfd("a" + c + witness[1]) != "a" + c + witness[1]
        if nfd(c) != c or not (above_1 or nfd("a" + witness[230] + c) != "a" + witness[230] + c):
            continue
        same = [k for k, w in witness.items() if nfd("a" + c + w) == "a" + c + w and nfd("a" + w + c) == "a" + w + c]
        assert len(same) == 1, (c, same)
        table.setdefault(same[0], []).append(c)
    return dict(sorted(table.items()))


def word_characters() -> list[str]:
    """What counts as part of a word when an added token asks to stand alone (`single_word`)."""
    from tokenizers import AddedToken, Tokenizer, models

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "@": 1}, unk_token="[UNK]"))
    tokenizer.add_tokens([AddedToken("@", single_word=True, normalized=False)])
    found = []
    for start in range(0, len(CHARACTERS), 50_000):
        batch = CHARACTERS[start : start + 50_000]
        encodings = tokenizer.encode_batch(["@" + c for c in batch])
        found += [c for c, encoding in zip(batch, encodings, strict=True) if 1 not in encoding.ids]
    return found


def joined_to(beside: str) -> list[str]:
    """The characters that byte-level tokenizers read as one word with `beside`: the letters, or the numbers."""
    from tokenizers import pre_tokenizers

    words = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    return [c for c in CHARACTERS if len(words(beside + c)) == 1]


def main() -> None:
    import tokenizers
    from tokenizers import normalizers, pre_tokenizers

    clean, cjk = normalizer(clean_text=True), normalizer(handle_chinese_chars=True)
    strip, lower = normalizer(strip_accents=True), normalizer(lowercase=True)
    nfd = normalizers.NFD().normalize_str
    cleaned = {c: clean(c) for c in CHARACTERS}
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    parts = {c: [part for part, _ in split(f"a{c}b")] for c in CHARACTERS}
    tables = {
        "tokenizers": tokenizers.__version__,
        "dropped": boundaries(c for c in CHARACTERS if cleaned[c] == ""),
        "cleaned_to_space": boundaries(c for c in CHARACTERS if cleaned[c] == " "),
        "ideographs": boundaries(c for c in CHARACTERS if cjk(c) == f" {c} "),
        "nonspacing": boundaries(c for c in CHARACTERS if strip(c) == ""),
        "white_space": boundaries(c for c in CHARACTERS if parts[c] == ["a", "b"]),
        "punctuation": boundaries(c for c in CHARACTERS if parts[c] == ["a", c, "b"]),
        "word": boundaries(word_characters()),
        "letters": boundaries(joined_to("a")),
        "numbers": boundaries(joined_to("1")),
        "combining_class": {str(k): boundaries(marks) for k, marks in combining_classes(nfd).items()},
        "decomposition": {c: nfd(c) for c in CHARACTERS if nfd(c) != c and ord(c) not in HANGUL},
        "lower": {c: lower(c) for c in CHARACTERS if lower(c) != c},
    }
    lines = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False, separators=(',', ':'))}" for k, v in tables.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print({k: len(v) for k, v in tables.items()}, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()

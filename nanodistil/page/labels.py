"""A token as people read it on a page.

WordPiece's pieces stand as they are, `##ing` with its mark. Byte-level tokens are decoded, with ␣ for the space they
begin with; one that is half of a character keeps the vocabulary's spelling. What would not be seen, or would turn the
line around (a newline, a zero-width space, a bidi control), is written as its code point: a page should say that it is
there, and not obey it.
"""

from __future__ import annotations

import unicodedata

from nanodistil.tokenization.byte_tokenizers import ByteLevelTokenizer
from nanodistil.tokenization.facade import Tokenizer

LONGEST = 64  # characters of a label
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # general categories of what is not seen


def shown(tokenizer: Tokenizer, number: int) -> str:
    """A token by its id.

    >>> from nanodistil import DistilBertTokenizer
    >>> shown(DistilBertTokenizer.from_pretrained("nanodistil-mini"), 2944)
    'model'
    """
    piece = str(tokenizer.convert_ids_to_tokens(number))
    if not isinstance(tokenizer, ByteLevelTokenizer):
        return visible(piece)
    text = tokenizer.decode([number], clean_up_tokenization_spaces=False)
    if not text or "\ufffd" in text:
        return visible(piece)
    return visible(f"␣{text[1:]}" if text.startswith(" ") else text)


def visible(text: str) -> str:
    """The text with what cannot be seen spelled out, and shortened.

    >>> visible("a\\u202eb"), visible("\\n"), visible("x" * 100)[-3:]
    ('a[U+202E]b', '[U+000A]', 'xx…')
    """
    out = "".join(f"[U+{ord(c):04X}]" if unicodedata.category(c) in HIDDEN else c for c in text)
    return out if len(out) <= LONGEST else out[: LONGEST - 1] + "…"


def direction(text: str) -> str:
    """ "rtl" or "ltr": that of the first letter that has one.

    >>> direction("12 שלום"), direction("Hello"), direction("...")
    ('rtl', 'ltr', 'ltr')
    """
    for c in text:
        found = unicodedata.bidirectional(c)
        if found in ("L", "R", "AL"):
            return "ltr" if found == "L" else "rtl"
    return "ltr"

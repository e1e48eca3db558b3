"""Lower case before a tokenizer that does not lower itself, for folders that say `do_lower_case`.

sentence-transformers puts it before all else that the tokenizer does to a text, but leaves special tokens in it alone.
Each character is lowered by itself, as tokenizers does: a sigma at the end of a word is lowered like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection


def lowering(special: Collection[str]) -> Callable[[str], str]:
    """What lowers a text, but not the special tokens in it.

    >>> lowering(["[MASK]"])("OF [MASK] OR ΟΔΟΣ")
    'of [MASK] or οδοσ'
    """
    kept = re.compile("|".join(re.escape(token) for token in sorted(special, key=len, reverse=True)) or r"(?!)")

    def lowered(text: str) -> str:
        pieces, at = [], 0
        for found in kept.finditer(text):
            pieces += [*map(str.lower, text[at : found.start()]), found[0]]
            at = found.end()
        return "".join([*pieces, *map(str.lower, text[at:])])

    return lowered

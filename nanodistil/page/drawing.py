"""page.html with what was found in it: one file, which loads nothing.

Not a letter of the text, of tokens or of names is put into HTML: all is data, in JSON without a `<`, and becomes text
on the page by the script's `textContent`. The browser is told, in the file itself, to run this one script, known by its
hash, and to ask nobody for anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any


@cache
def template() -> str:
    """The page without data, with its policy."""
    text = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")

    def hashed(tag: str) -> str:
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        return "'sha256-" + base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode() + "'"

    policy = f"default-src 'none'; script-src {hashed('script')}; style-src {hashed('style')}; base-uri 'none'"
    return text.replace("POLICY", policy, 1)


def inert(value: Any) -> str:
    """JSON that no reader of HTML takes for HTML.

    >>> inert({"a": "</script>"})
    '{"a": "\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False)  # in ASCII, lone surrogates and all
    for c in "<>&":
        text = text.replace(c, f"\\u{ord(c):04x}")
    return text


def drawn(found: dict[str, Any], layers: list[Any]) -> str:
    """The whole file, in ASCII but for the template."""

    def data(name: str, value: Any) -> str:
        return f'<script type="application/json" id="{name}">{inert(value)}</script>\n'

    parts = [data("data", found), *(data(f"attention-{i}", layer) for i, layer in enumerate(layers))]
    before, after = template().split("<!-- data -->\n")
    return "".join([before, *parts, after])

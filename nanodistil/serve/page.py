"""The page at `/` on which a person can try a model: one file, which loads nothing from anywhere.

The browser is told to run this one script, known by its hash, and to talk to this server alone.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path


@cache
def page_html() -> str:
    return (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


def _hash_of(tag: str) -> str:
    (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page_html(), re.DOTALL)
    return base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()


POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'sha256-{_hash_of('script')}'",
        f"style-src 'sha256-{_hash_of('style')}'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

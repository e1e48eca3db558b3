"""Draws docs/pictures/page.png, a screenshot of a page: `python tests/bench/page_picture.py`. It needs a Chromium."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from chromium import Chromium  # noqa: E402

from nanodistil.page import page  # noqa: E402

TEXT = "When the rain stopped, the children ran out of the old [MASK] and played by the river until it was dark."

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Chromium() as browser:
        path = Path(folder) / "page.html"
        page(TEXT).save(path)
        tab = browser.tab(1200, 1180)
        tab.open(path)
        tab.picture(ROOT / "docs" / "pictures" / "page.png")

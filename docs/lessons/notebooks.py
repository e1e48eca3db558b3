"""Every chapter as a notebook, from its page: python docs/lessons/notebooks.py FOLDER.

A fence of Python is a cell of code with the output that the page shows; what stands between is a cell of text, with its
pictures inside. The site is built with them, so they are written nowhere else and cannot be older than the pages.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

from course import PAGES, blocks

PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+\.svg)\)")


def text_cell(text: str, page: Path) -> dict[str, Any]:
    """Markdown, with pictures attached, and links to other files of the project as plain words."""
    attached = {
        Path(name).name: {"image/svg+xml": base64.b64encode((page.parent / name).read_bytes()).decode()}
        for _, name in PICTURE.findall(text)
    }
    source = PICTURE.sub(lambda found: f"![{found[1]}](attachment:{Path(found[2]).name})", text.strip())
    source = re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|attachment:|#)[^)\s]+\)", r"\1", source)
    return {"cell_type": "markdown", "metadata": {}, "source": source} | ({"attachments": attached} if attached else {})


def code_cell(code: str, shown: str) -> dict[str, Any]:
    """Python, and what it prints."""
    printed = [{"output_type": "stream", "name": "stdout", "text": shown}] if shown else []
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": printed, "source": code.strip()}


def notebook(path: Path) -> dict[str, Any]:
    """A page as a notebook of format 4.5."""
    page, cells, at = path.read_text(encoding="utf-8"), [], 0
    for block in blocks(page):
        if between := page[at : block.place.start].strip():
            cells.append(text_cell(between, path))
        cells.append(code_cell(block.code, block.shown))
        at = block.place.stop
    if rest := page[at:].strip():
        cells.append(text_cell(rest, path))
    language = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    numbered = [{"id": f"cell-{number}"} | cell for number, cell in enumerate(cells)]
    return {"cells": numbered, "metadata": language, "nbformat": 4, "nbformat_minor": 5}


def write(folder: Path) -> None:
    """All of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in PAGES:
        text = json.dumps(notebook(path), indent=1, ensure_ascii=False) + "\n"
        (folder / path.with_suffix(".ipynb").name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

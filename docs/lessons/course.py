"""The course as a program: its pages are run, and what they print is compared with what they show.

A page is Markdown. Its `python` fences are run from top to bottom in one namespace, each page in a process of its own.
What a fence prints stands in the fence behind it:

    text          the very same, on every machine
    text varies   the same but for numbers and spaces: times, and float32's last digits
    text any      something, and this is what it was on one machine: machine code

A fence that prints must have such a fence behind it, and one that does not must not. Nobody types an output: `write`
puts it in. Numbers in the sentences between must stand in a fence of the page (`unfounded`): so they were computed.

    python docs/lessons/course.py check [PAGE ...]    # by default all
    python docs/lessons/course.py write [PAGE ...]
"""

from __future__ import annotations

import linecache
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PAGES = sorted(HERE.glob("[1-8]-*.md"))
FENCE = re.compile(r"^```(python|text|text varies|text any)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.,-])(?!(?:19|20)\d\d\b)\d[\d.,]*\d(?!\w)")  # years are free
FREE = re.compile(r"-?\d[\d.,]*(?:e[-+]?\d+)?%?|\bnan\b|\binf\b|-+|\s+")  # what `text varies` leaves open


class Block(NamedTuple):
    """A fence of Python, and the one behind it that shows what it prints; kind "" if there is none."""

    code: str
    line: int  # of the page, from 1, where the code begins
    kind: str
    shown: str
    place: slice  # both, in the page


def blocks(page: str) -> list[Block]:
    """The Python of a page with its outputs, in order.

    >>> [(b.code, b.kind, b.shown) for b in blocks("```python\\nprint(1)\\n```\\n\\n```text\\n1\\n```\\n")]
    [('print(1)\\n', 'text', '1\\n')]
    """
    found: list[Block] = []
    for fence in FENCE.finditer(page):
        kind, body = fence.groups()
        if kind == "python":
            line = page.count("\n", 0, fence.start()) + 2
            found.append(Block(body, line, "", "", slice(fence.start(), fence.end())))
        elif found and page[found[-1].place.stop : fence.start()] == "\n":
            found[-1] = found[-1]._replace(kind=kind, shown=body, place=slice(found[-1].place.start, fence.end()))
    return found


def same(block: Block, printed: str) -> bool:
    """Whether what was printed is what the page shows."""
    if block.kind == "text any":
        return bool(printed.strip())
    if block.kind == "text varies":
        return FREE.sub("#", printed) == FREE.sub("#", block.shown)
    return printed == block.shown


def unfounded(page: str) -> list[str]:
    """Numbers of two digits and more in the sentences of a page that stand in none of its fences.

    >>> unfounded("About 12 or 13.\\n```python\\nprint(12)\\n```\\n")
    ['13']
    """
    known = "\n".join(fence[2] for fence in FENCE.finditer(page))
    known = re.sub(r"(?<=\d)[,_](?=\d\d\d)", "", known)  # 1,000 and 1_000 are 1000
    prose = re.sub(r"\(https?://[^)]*\)|\]\([^)]*\)|^Time: .*$", "", FENCE.sub("", page), flags=re.MULTILINE)
    numbers = (number.rstrip(".,").replace(",", "") for number in NUMBER.findall(prose))
    return [n for n in numbers if not re.search(rf"(?<![\d.]){re.escape(n)}(?!\.?\d)", known)]


def run(path: Path, write: bool) -> list[str]:
    """Run a page in this process: what differs. With `write` the page is given what was printed instead."""
    page = path.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}
    wrong, out, at = [], "", 0
    for block in blocks(page):
        where = f"{path.name}:{block.line}"
        linecache.cache[where] = len(block.code), None, block.code.splitlines(True), where
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(block.code, where, "exec"), names)
        text = "".join(line.rstrip() + "\n" for line in printed.getvalue().splitlines())
        if not same(block, text):
            wrong.append(f"{where} prints\n{text}and the page shows\n{block.shown}")
        shown = f"\n```{block.kind or 'text'}\n{text}```\n" if text else ""
        out += page[at : block.place.start] + f"```python\n{block.code}```\n{shown}"
        at = block.place.stop
    if write:
        path.write_text(out + page[at:], encoding="utf-8")
    return [] if write else wrong


def main(verb: str, *names: str) -> int:
    """0 if all is as the pages show it."""
    chosen = [path for path in PAGES if not names or path.name in names or path.name[0] in names]
    # the BLAS of NumPy reads its number of threads when it is loaded: one, so that chapter 3 compares like with like
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if len(chosen) == 1:
        found = run(chosen[0], verb == "write")
        print("\n".join(found), file=sys.stderr)
        return bool(found)
    return max(subprocess.run([sys.executable, __file__, verb, path.name]).returncode for path in chosen)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""The files of texts that a verb reads from end to end: lines of text, or records whose "text" it is, packed or not."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator

from nanodistil.reading.forms import format_of, texts_in
from nanodistil.reading.lines import Lines, lines_of
from nanodistil.reading.remote import is_remote
from nanodistil.weights.errors import InputError

LONGEST = 1 << 22  # bytes of a line: longer than War and Peace, and it is held in memory with all its tokens
OFTEN = 1000  # lines after which the progress is told


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="packed or not; - is standard input")


def check(files: list[str]) -> None:
    """Raises InputError for a file that is not there: now, and not hours later."""
    for file in files:
        if file != "-" and not is_remote(file) and not os.path.exists(file):
            raise InputError(f"{file} cannot be opened: there is no such file")


def texts(files: list[str], reached: Callable[[float | None], None], ends: bool = False) -> Iterator[str]:
    """The texts of all files; says how much of them has been read. ends: lines of text keep their ends.

    Raises InputError naming file and line.
    """
    sizes = [os.path.getsize(file) if os.path.isfile(file) else 0 for file in files]
    known = all(os.path.isfile(file) for file in files) and sum(sizes) > 0
    for number, file in enumerate(files):
        with lines_of(file) as lines:
            lines.longest = LONGEST
            for text in _whole_lines(lines) if ends and format_of(file) == "lines" else texts_in(lines, file):
                if lines.number % OFTEN == 0 and known:
                    share = lines.share() or 0.0
                    reached((sum(sizes[:number]) + share * sizes[number]) / sum(sizes))
                yield text


def _whole_lines(lines: Lines) -> Iterator[str]:
    return (lines.text_and_end(line) for line in lines)

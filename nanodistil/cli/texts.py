"""Texts from the command line: arguments, or lines of standard input for `-`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain

from nanodistil.weights.errors import InputError


def lines_of_stdin() -> Iterator[str]:
    """The lines of standard input without their ends; raises InputError where they are not UTF-8."""
    for number, raw in enumerate(sys.stdin.buffer, start=1):
        try:
            yield raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise InputError(f"line {number} of standard input is not UTF-8") from None


def texts(arguments: list[str]) -> Iterator[str]:
    """The texts named on the command line, in order; `-` stands for the lines of standard input."""
    return chain.from_iterable(lines_of_stdin() if a == "-" else [a] for a in arguments)

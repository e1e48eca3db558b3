"""Texts from the command line: arguments, or lines of standard input for `-`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import chain

from nanodistil.weights.errors import InputError

READ = 1 << 16  # bytes taken at once


def chunks(arguments: list[str]) -> Iterator[list[str]]:
    """The texts named on the command line, in order; `-` stands for the lines of standard input.

    Each list holds what is there without waiting for more: from a file many lines, to be computed together, from a
    program that writes a line now and then, that line. Raises InputError where standard input is closed or not UTF-8.
    """
    for argument in arguments:
        if argument != "-":
            yield [argument]
            continue
        number = 0
        for lines in _ready_lines():
            texts = []
            for line in lines:
                number += 1
                try:
                    texts.append(line.decode("utf-8").removesuffix("\r"))
                except UnicodeDecodeError:
                    raise InputError(f"line {number} of standard input is not UTF-8") from None
            yield texts


def texts(arguments: list[str]) -> Iterator[str]:
    """The same, one by one."""
    return chain.from_iterable(chunks(arguments))


def _ready_lines() -> Iterator[list[bytes]]:
    """Lines of standard input without their ends, as they become available."""
    try:
        source = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        raise InputError("standard input is closed") from None
    rest = b""
    while block := os.read(source, READ):
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]

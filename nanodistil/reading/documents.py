"""Records out of a .json file, which may hold any of what programs write under that name.

    [{"text": ...}, ...] or ["...", ...]     a list of records
    {"text": ["...", ...], "id": [...]}      an object of lists, as long as each other; or of objects, as pandas writes
    {"text": ...}                            one record
    {"text": ...} and more such lines        JSON lines

A file whose first line is a whole value, with others behind it, is no document: it is read as JSON lines, as it comes.
Anything else is held in memory while it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from nanodistil.reading.lines import Lines
from nanodistil.reading.records import Column, Record, numbered, objects, parsed_at, record_of
from nanodistil.weights.errors import InputError, excerpt
from nanodistil.weights.small_files import parsed


def document(lines: Lines, columns: list[Column]) -> Iterator[Record]:
    """The records of a file. Raises InputError if it is nothing of the above."""
    pairs = ((number, line) for number, line in numbered(lines) if line.strip())
    begun = list(_up_to(2, pairs))
    if len(begun) == 2 and _is_value(begun[0][1]):
        yield from objects(chain(begun, pairs), lines, columns)
        return
    text = "\n".join(lines.text(line, number) for number, line in chain(begun, pairs))
    if not text:
        return
    found = records_in(parsed_at(text, lines.name), lines.name, columns)
    for number, one in enumerate(found, start=1):
        place = f"record {number} of {lines.name}"
        try:
            yield record_of(one, columns, place)
        except InputError as problem:
            yield Record(place, {}, problem)


def _up_to(count: int, pairs: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for _ in range(count):
        yield from (pair for pair in (next(pairs, None),) if pair is not None)


def _is_value(line: bytes) -> bool:
    try:
        return isinstance(parsed(line), dict | str)
    except ValueError:
        return False


def records_in(found: Any, name: str, columns: list[Column]) -> list[Any]:
    """The records of a document. Raises InputError.

    >>> records_in({"text": ["a", "b"], "id": [1, 2]}, "x.json", [])
    [{'text': 'a', 'id': 1}, {'text': 'b', 'id': 2}]
    """
    if isinstance(found, list):
        return found
    if isinstance(found, dict) and found:
        for kind in (list, dict):
            if all(isinstance(values, kind) for values in found.values()):
                return _transposed(found, name)
        if all(found.get(column) is not None for c in columns if c.needed for column in c.names):
            return [found]
    has = f"an object with {', '.join(map(excerpt, list(found)[:8]))}" if isinstance(found, dict) else excerpt(found)
    raise InputError(f"{name} must hold a list of records, or an object of lists, but it is {has}")


def _transposed(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    first, *others = found
    for other in others:
        same = len(found[other]) == len(found[first])
        if not same or (isinstance(found[first], dict) and list(found[other]) != list(found[first])):
            raise InputError(
                f"{name}: {excerpt(first)} has {len(found[first])} values and {excerpt(other)} {len(found[other])}, "
                "or others; columns must go together"
            )
    columns = [list(v.values()) if isinstance(v, dict) else v for v in found.values()]
    return [dict(zip(found, row, strict=True)) for row in zip(*columns, strict=True)]

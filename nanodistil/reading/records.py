"""Records out of files: an input each, from lines of text, JSONL, CSV or TSV, with the place it came from.

Who reads names the fields of an input (a text; a question and a context) and in what columns they are. A message can
then say file and line. In JSONL and CSV an empty line is no input. CSV is read strictly: an open quote is an error, not
a field that swallows the rest of the file. TSV knows no quotes, as most data sets in that form. A record that cannot be
read carries its problem and does not end the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from nanodistil.reading.lines import PACKED, Lines, Unreadable
from nanodistil.weights.errors import InputError, excerpt
from nanodistil.weights.small_files import parsed

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
LONGEST_CELL = 2**31 - 1  # the csv module's own limit is 128 KiB

Fields = dict[str, Any]


class Record(NamedTuple):
    """One input."""

    place: str  # "line 3 of reviews.csv", "" for an argument
    fields: Fields
    problem: InputError | None = None  # why it could not be read


class Column(NamedTuple):
    """Where a field is found: in one column, or a list of texts in several."""

    field: str
    names: list[str]
    needed: bool
    asked: bool  # whether --column named it


def format_of(file: str) -> str:
    """The format that a file's name tells.

    >>> format_of("Reviews.CSV.gz"), format_of("notes.txt")
    ('csv', 'lines')
    """
    stem, ending = os.path.splitext(file.lower())
    return FORMATS.get(os.path.splitext(stem)[1] if ending in PACKED else ending, "lines")


def columns_of(asked: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> list[Column]:
    """Where the fields are found, the first one first.

    asked: "field=name", or a name alone, of the first field. A name may have an equals sign of its own.
    """
    fields = [*needed, *optional]
    names: dict[str, list[str]] = {}
    for one in asked:
        field, _, name = one.partition("=")
        known = field in fields
        names.setdefault(field if known else fields[0], []).append(name if known else one)
    return [Column(f, names.get(f, [f]), f in needed or f in names, f in names) for f in fields]


def records_of(lines: Lines, form: str, columns: list[Column], no_header: bool) -> Iterator[Record]:
    """The records of a file. form: "lines", "jsonl", "csv" or "tsv". no_header: the first row is a record already.

    Raises InputError where the file has no such column, or nothing can be read any more.
    """
    if form in ("csv", "tsv"):
        return _rows(lines, form, columns, no_header)
    return _objects(lines, columns) if form == "jsonl" else _texts(lines, columns[0].field)


def _texts(lines: Lines, field: str) -> Iterator[Record]:
    for line in lines:
        place = lines.place(lines.number)
        try:
            yield Record(place, {field: lines.text(line)})
        except InputError as problem:
            yield Record(place, {}, problem)


# ---- JSONL


def _objects(lines: Lines, columns: list[Column]) -> Iterator[Record]:
    for line in lines:
        place = lines.place(lines.number)
        try:
            text = lines.text(line)
            if not text.strip():
                continue
            yield Record(place, _from_object(_parsed(text, place), columns, place))
        except InputError as problem:
            yield Record(place, {}, problem)


def _parsed(text: str, place: str) -> Any:
    try:
        return parsed(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{place} is not JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:  # a number of too many digits; brackets too deep
        raise InputError(f"{place} is not JSON that can be read: {error}") from None


def _from_object(found: Any, columns: list[Column], place: str) -> Fields:
    """The fields of a JSON object; a JSON string is the first field."""
    if isinstance(found, str) and not any(c.needed for c in columns[1:]):
        return {columns[0].field: found}
    if not isinstance(found, dict):
        raise InputError(f"{place} must be a JSON object with {_listed([c.names[0] for c in columns if c.needed])}")
    fields = {}
    for column in columns:
        lacking = [name for name in column.names if found.get(name) is None]
        if lacking and column.needed:
            has = f"it has {_listed(found)}" if found else "it is empty"
            raise InputError(f"{place} has no {excerpt(lacking[0])} ({has}): name it with --column {column.field}=NAME")
        if not lacking:
            values = [found[name] for name in column.names]
            fields[column.field] = values[0] if len(values) == 1 else values
    return fields


def _listed(names: Any) -> str:
    return ", ".join(map(excerpt, islice(names, 20)))


# ---- CSV and TSV


def _rows(lines: Lines, form: str, columns: list[Column], no_header: bool) -> Iterator[Record]:
    import csv

    csv.field_size_limit(LONGEST_CELL)

    # A byte that is not UTF-8 must not end a row in the middle of a cell: it is looked for when the row is whole.
    decoded = (line.decode("utf-8", "surrogateescape") + "\n" for line in lines)
    rows: Iterator[list[str]] = csv.reader(decoded, strict=True) if form == "csv" else map(_cut, decoded)
    header = None
    if not no_header:
        try:
            header = next(filter(None, rows), [])
        except csv.Error as error:
            raise InputError(f"{lines.place(1)} is not CSV: {error}") from None
        if not _is_text(header):
            raise InputError(f"{lines.place(1)} is not UTF-8")
    numbers = _numbers(header, columns, lines.name)
    while True:
        place = lines.place(lines.number + 1)  # where the row begins: its cells may have line feeds
        try:
            row = next(rows)
            if row and not _is_text(row):
                raise InputError(f"{place} is not UTF-8")
            if row:
                yield Record(place, _from_row(row, numbers, place))
        except StopIteration:
            return
        except Unreadable:
            raise
        except csv.Error as error:
            if "unexpected end" in str(error):  # nothing is left to go on with
                raise InputError(f"{place} is not CSV: a quote is opened there and never closed") from None
            yield Record(place, {}, InputError(f"{place} is not CSV: {error}"))
        except InputError as problem:
            yield Record(place, {}, problem)


def _cut(line: str) -> list[str]:
    line = line[:-1].removesuffix("\r")
    return line.split("\t") if line else []


def _is_text(row: list[str]) -> bool:
    """Whether all bytes of the row were UTF-8."""
    return not any("\ud800" <= c <= "\udfff" for cell in row for c in cell)


def _numbers(header: list[str] | None, columns: list[Column], file: str) -> dict[str, list[int]]:
    """Field -> the numbers of its columns, from 0. Without a header the needed fields are the first columns."""
    numbers: dict[str, list[int]] = {}
    for i, column in enumerate(columns):
        for name in column.names:
            if header is not None and header.count(name) > 1:
                raise InputError(
                    f"{file} has several columns {excerpt(name)}: give its number, --column {column.field}=N"
                )
            if header is not None and name in header:
                number = header.index(name)
            elif column.asked and name.isdecimal() and 1 <= int(name) <= (int(name) if header is None else len(header)):
                number = int(name) - 1
            elif header is None and column.needed and not column.asked:
                number = i
            elif not column.needed:
                continue
            else:
                has = "its columns have numbers only" if header is None else f"it has {_listed(header) or 'none'}"
                raise InputError(f"{file} has no column {excerpt(name)} ({has}): --column {column.field}=NAME")
            numbers.setdefault(column.field, []).append(number)
    return numbers


def _from_row(row: list[str], numbers: dict[str, list[int]], place: str) -> Fields:
    last = max(max(places) for places in numbers.values())
    if last >= len(row):
        raise InputError(f"{place} has {len(row)} columns, so none with the number {last + 1}")
    return {field: row[ns[0]] if len(ns) == 1 else [row[n] for n in ns] for field, ns in numbers.items()}

"""Records out of files: an input each, from lines of text, JSON lines, CSV or TSV, with the place it came from.

Who reads names the fields of an input (a text; a question and a context) and in what columns they are. A message can
then say file and line; what else a record has goes along with it. In JSONL and CSV an empty line is no input. CSV is
read strictly: an open quote is an error, not a field that swallows the rest of the file, and a row of more or fewer
cells than the first is one too, not half a text. TSV knows no quotes, as most data sets in that form. A record that
cannot be read carries its problem and does not end the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from nanodistil.reading.lines import Lines, Unreadable, checked
from nanodistil.weights.errors import InputError, excerpt
from nanodistil.weights.small_files import parsed

LONGEST_CELL = 2**31 - 1  # the csv module's own limit is 128 KiB

Fields = dict[str, Any]


class Record(NamedTuple):
    """One input."""

    place: str  # "line 3 of reviews.csv", "" for an argument
    fields: Fields
    problem: InputError | None = None  # why it could not be read
    columns: Fields = {}  # noqa: RUF012  # all there is of it, under the file's own names


class Column(NamedTuple):
    """Where a field is found: in one column, or a list of texts in several."""

    field: str
    names: list[str]
    needed: bool
    asked: bool  # whether --column named it


def columns_of(asked: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> list[Column]:
    """Where the fields are found, the first one first.

    asked: "field=name", or a name alone, of the first field. A name may have an equals sign of its own.
    """
    fields = [*needed, *optional]
    names: dict[str, list[str]] = {}
    for one in asked:
        field, equals, name = one.partition("=")
        known = bool(equals) and field in fields
        names.setdefault(field if known else fields[0], []).append(name if known else one)
    return [Column(f, names.get(f, [f]), f in needed or f in names, f in names) for f in fields]


def texts(lines: Lines, field: str) -> Iterator[Record]:
    for line in lines:
        place = lines.place(lines.number)
        try:
            text = lines.text(line)
            yield Record(place, {field: text}, columns={field: text})
        except InputError as problem:
            yield Record(place, {}, problem)


# ---- JSON objects


def numbered(lines: Lines) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers."""
    for line in lines:
        yield lines.number, line


def objects(numbered_lines: Iterable[tuple[int, bytes]], lines: Lines, columns: list[Column]) -> Iterator[Record]:
    """The records of JSON lines."""
    for number, line in numbered_lines:
        place = lines.place(number)
        try:
            text = lines.text(line, number)
            if text.strip():
                yield record_of(parsed_at(text, place), columns, place)
        except InputError as problem:
            yield Record(place, {}, problem)


def parsed_at(text: str, place: str) -> Any:
    """The value that JSON text is. Raises InputError, also if an object has a key twice: one of them would go."""
    try:
        return parsed(text, hook=_once)
    except json.JSONDecodeError as error:
        raise InputError(f"{place} is not JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:  # a number of too many digits; brackets too deep; a key twice
        raise InputError(f"{place} is not JSON that can be read: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> Fields:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {excerpt(next(n for n in names if names.count(n) > 1))} is there twice")
    return found


def record_of(found: Any, columns: list[Column], place: str) -> Record:
    """A JSON object as a record; a JSON string is the first field. Raises InputError if a field is missing."""
    if isinstance(found, str) and not any(c.needed for c in columns[1:]):
        return Record(place, {columns[0].field: found}, columns={columns[0].field: found})
    if not isinstance(found, dict):
        raise InputError(f"{place} must be a JSON object with {listed([c.names[0] for c in columns if c.needed])}")
    fields = {}
    for column in columns:
        lacking = [name for name in column.names if found.get(name) is None]
        if lacking and column.needed:
            has = f"it has {listed(found)}" if found else "it is empty"
            raise InputError(f"{place} has no {excerpt(lacking[0])} ({has}): name it with --column {column.field}=NAME")
        if column.names and not lacking:
            values = [found[name] for name in column.names]
            fields[column.field] = values[0] if len(values) == 1 else values
    return Record(place, fields, columns=found)


def listed(names: Any) -> str:
    return ", ".join(map(excerpt, islice(names, 20)))


# ---- CSV and TSV


def cells(lines: Lines, form: str) -> Iterator[list[str]]:
    """The rows of a table, cut; none for an empty line.

    A byte that is not UTF-8 must not end a row in the middle of a cell: it is looked for when the row is whole.
    """
    import csv

    csv.field_size_limit(LONGEST_CELL)
    decoded = (line.decode("utf-8", "surrogateescape") + "\n" for line in lines)
    return csv.reader(decoded, strict=True) if form == "csv" else map(_cut, decoded)


def rows_of_table(lines: Lines, form: str, columns: list[Column], no_header: bool) -> Iterator[Record]:
    import csv

    rows, header = cells(lines, form), None
    if not no_header:
        try:
            header = next(filter(None, rows), [])
        except csv.Error as error:
            raise InputError(f"{lines.place(1)} is not CSV: {error}") from None
        check_text(header, lines.place(1))
    numbers = _numbers(header, columns, lines.name)
    names = None if header is None else distinct(header)
    while True:
        place = lines.place(lines.number + 1)  # where the row begins: its cells may have line feeds
        try:
            row = next(rows)
            if not row:
                continue
            check_text(row, place)
            names = names or _numbered_names(len(row), numbers)
            if len(row) != len(names):
                first, mark = ("the header" if header else "the first row"), "comma" if form == "csv" else "tab"
                hint = f"a {mark} in a cell" + (" needs quotes around it" if form == "csv" else " is none: `cut -f`")
                raise InputError(f"{place} has {len(row)} cells, and {first} {len(names)}: {hint}")
            yield Record(place, _from_row(row, numbers, place), columns=dict(zip(names, row, strict=True)))
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


def check_text(row: list[str], place: str) -> None:
    """Raises InputError if the bytes of a row were no text."""
    for cell in row:
        if any("\ud800" <= c <= "\udfff" for c in cell):
            raise InputError(f"{place} is not UTF-8")
        checked(cell, place)


def distinct(names: list[str]) -> list[str]:
    """Names of columns, each once: an empty one is its number, from 1, and one that was there before has it added.

    >>> distinct(["id", "", "text", "text"])
    ['id', '2', 'text', 'text_4']
    """
    given: list[str] = []
    for number, name in enumerate(names, start=1):
        name = name if name and name not in given else f"{name}_{number}".lstrip("_")
        while name in given:
            name += "_"
        given.append(name)
    return given


def _numbered_names(width: int, numbers: dict[str, list[int]]) -> list[str]:
    """What columns without a header are called: the field they hold alone, or their number from 1."""
    names = [str(number) for number in range(1, width + 1)]
    for field, (first, *others) in numbers.items():
        if not others and first < width:
            names[first] = field
    return names


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
                has = "its columns have numbers only" if header is None else f"it has {listed(header) or 'none'}"
                raise InputError(f"{file} has no column {excerpt(name)} ({has}): --column {column.field}=NAME")
            numbers.setdefault(column.field, []).append(number)
    return numbers


def _from_row(row: list[str], numbers: dict[str, list[int]], place: str) -> Fields:
    last = max(max(places) for places in numbers.values())
    if last >= len(row):
        raise InputError(f"{place} has {len(row)} columns, so none with the number {last + 1}")
    return {field: row[ns[0]] if len(ns) == 1 else [row[n] for n in ns] for field, ns in numbers.items()}

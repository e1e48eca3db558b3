"""What a file is, told from its name, and its records whatever it is: the one door to all that reads inputs.

lines, jsonl, csv, tsv     records.py: as the lines come
json                       documents.py
parquet, arrow             tables.py: batch by batch
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from nanodistil.reading.documents import document
from nanodistil.reading.lines import Lines
from nanodistil.reading.packed import ENDINGS
from nanodistil.reading.records import (
    Column,
    Record,
    cells,
    check_text,
    columns_of,
    numbered,
    objects,
    rows_of_table,
    texts,
)
from nanodistil.reading.tables import rows_of_arrow
from nanodistil.weights.errors import InputError, excerpt

FORMATS = {  # a file's ending -> what is in it
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv",
    ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow",
}  # fmt: skip
TABLES = ("json", "jsonl", "csv", "tsv", "parquet", "arrow")  # those whose records have columns


def format_of(file: str) -> str:
    """The format that a file's name tells.

    >>> format_of("Reviews.CSV.gz"), format_of("notes.txt")
    ('csv', 'lines')
    """
    stem, ending = os.path.splitext(file.lower())
    return FORMATS.get(os.path.splitext(stem)[1] if ending in ENDINGS else ending, "lines")


def records_of(lines: Lines, form: str, columns: list[Column], no_header: bool) -> Iterator[Record]:
    """The records of a file. form: "lines" or one of TABLES. no_header: the first row of CSV or TSV is a record.

    Raises InputError if the file has no such column, or nothing can be read any more.
    """
    if form in ("csv", "tsv"):
        return rows_of_table(lines, form, columns, no_header)
    if form in ("parquet", "arrow"):
        return rows_of_arrow(lines, form, columns)
    if form == "json":
        return document(lines, columns)
    return objects(numbered(lines), lines, columns) if form == "jsonl" else texts(lines, columns[0].field)


def texts_in(lines: Lines, file: str) -> Iterator[str]:
    """The texts of a file for training: its lines, or the records' "text" if its name says that it has records.

    Raises InputError for the first that cannot be read.
    """
    for record in records_of(lines, format_of(file), columns_of([], ["text"], []), False):
        if record.problem is not None:
            raise record.problem
        if not isinstance(record.fields["text"], str):
            raise InputError(f"{record.place}: a text is needed, not {excerpt(record.fields['text'])}")
        yield record.fields["text"]


def names_of(lines: Lines, form: str) -> list[str]:
    """The names of a file's columns: the cells of its first row, or the keys of its first object.

    Raises InputError if it has none.
    """
    if form in ("csv", "tsv"):
        names = next(filter(None, cells(lines, form)), [])
        check_text(names, lines.place(1))
    else:
        anything = [Column("", [], False, False)]
        first = next(records_of(lines, form, anything, False), None)
        if first is not None and first.problem is not None:
            raise first.problem
        names = [] if first is None else list(first.columns)
    if not names:
        raise InputError(f"{lines.name} is empty")
    return names

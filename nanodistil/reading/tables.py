"""Records out of Parquet and Arrow files, a few rows at a time (extra: "nanodistil[parquet]").

A column is what JSON has: numbers, truth values, texts (large or not, or as a dictionary of them), lists of these (for
words, choices); dates, times and decimals become texts. A column of anything else, bytes or rows within rows, is
refused by name before the first record, since no answer could carry it along. A null is a field that is not there.

Of Arrow's files both forms are read, the one that streams and the one with a table of contents at its end.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

from nanodistil.reading.lines import Lines, Unreadable, checked
from nanodistil.reading.packed import ending_of
from nanodistil.reading.records import Column, Record, listed, record_of
from nanodistil.weights.errors import InputError, MissingExtraError, excerpt

ROWS = 1024  # together
PIECE = 1 << 20  # bytes of a column read at once; else it would be all of a row group's


def arrow() -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet. Raises MissingExtraError."""
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            f'.parquet and .arrow need pyarrow ({error}): pip install "nanodistil[parquet]"'
        ) from None
    return pyarrow, pyarrow.parquet


def rows_of_arrow(lines: Lines, form: str, columns: list[Column]) -> Iterator[Record]:
    """The records of a file. form: "parquet" or "arrow".

    Raises MissingExtraError, and InputError if the file cannot be read, has no such column, or one that is no text.
    """
    pa, _ = arrow()
    if packing := ending_of(lines.name):
        raise InputError(f"{lines.name}: a .{form} file is not packed once more; undo {packing}")
    file = io.FileIO(lines.source, closefd=False) if isinstance(lines.source, int) else lines.source
    if not file.seekable():
        raise InputError(f"{form} is read from its end: give it as --input FILE, not by {lines.name}")
    lines.packed = True  # where the file stands says how much of it was read
    problems = (pa.ArrowException, OSError, ValueError, NotImplementedError)
    try:
        schema, batches = _opened(file, form)
    except problems as error:
        raise InputError(f"{lines.name} is no {form} file that can be read: {_line(error)}") from None
    _check_columns(schema, columns, lines.name)
    number = 0
    while True:
        try:
            batch = next(batches, None)
        except problems as error:
            raise Unreadable(f"{lines.name} cannot be read beyond row {number}: {_line(error)}") from None
        if batch is None:
            return
        for start in range(0, batch.num_rows, ROWS):
            some = batch.slice(start, ROWS)
            values = [_values(column) for column in some.columns]
            for row in zip(*values, strict=True):
                number += 1
                yield _record(dict(zip(schema.names, row, strict=True)), columns, f"row {number} of {lines.name}")


def _opened(file: Any, form: str) -> tuple[Any, Iterator[Any]]:
    """The columns of a file, and its batches."""
    pa, parquet = arrow()
    if form == "parquet":
        table = parquet.ParquetFile(file, buffer_size=PIECE, pre_buffer=False)
        return table.schema_arrow, table.iter_batches(ROWS)
    try:
        whole = pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0, os.SEEK_SET)
        stream = pa.ipc.open_stream(file)
        return stream.schema, iter(stream)
    return whole.schema, map(whole.get_batch, range(whole.num_record_batches))


def _check_columns(schema: Any, columns: list[Column], name: str) -> None:
    for field in schema:
        if not _plain(field.type):
            raise InputError(
                f"{name}: the column {excerpt(field.name)} holds {_line(field.type)}, which no record has room for: "
                "write the file without it"
            )
        if schema.names.count(field.name) > 1:
            raise InputError(f"{name} has several columns {excerpt(field.name)}: rename them")
    for column in columns:
        for wanted in column.names:
            if column.needed and wanted not in schema.names:
                has = listed(schema.names) or "none"
                raise InputError(f"{name} has no column {excerpt(wanted)} (it has {has}): --column {column.field}=NAME")


def _plain(kind: Any) -> bool:
    """Whether values of this type are such as JSON has, or can be written as texts."""
    pa, _ = arrow()
    is_a = pa.types
    if is_a.is_dictionary(kind) or any(
        found(kind) for found in (is_a.is_list, is_a.is_large_list, is_a.is_fixed_size_list)
    ):
        return _plain(kind.value_type)
    return _as_text(kind) or any(
        found(kind)
        for found in (
            is_a.is_null, is_a.is_boolean, is_a.is_integer, is_a.is_floating,
            is_a.is_string, is_a.is_large_string, is_a.is_string_view,
        )
    )  # fmt: skip


def _as_text(kind: Any) -> bool:
    pa, _ = arrow()
    return bool(pa.types.is_temporal(kind) or pa.types.is_decimal(kind))


class _Broken:
    """A value that is no text."""


def _values(column: Any) -> list[Any]:
    """A column's values; those that are no UTF-8 are _Broken."""
    try:
        return [_in_json(value) for value in column.to_pylist()]
    except UnicodeDecodeError:
        return [_value(one) for one in column]


def _value(one: Any) -> Any:
    try:
        return _in_json(one.as_py())
    except UnicodeDecodeError:
        return _Broken


def _in_json(value: Any) -> Any:
    """As it is, or a date, time or decimal as text."""
    if value is None or isinstance(value, str | int | float):
        return value
    return [_in_json(one) for one in value] if isinstance(value, list) else str(value)


def _record(found: dict[str, Any], columns: list[Column], place: str) -> Record:
    try:
        for name, value in found.items():
            if value is _Broken:
                raise InputError(f"{place}: {excerpt(name)} is not UTF-8")
            if isinstance(value, str):
                checked(value, place)
        return record_of(found, columns, place)
    except InputError as problem:
        return Record(place, {}, problem)


def _line(error: Any) -> str:
    return " ".join(str(error).split())[:150]

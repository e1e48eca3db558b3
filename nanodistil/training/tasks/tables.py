"""Tables of examples: TSV, CSV, JSON, JSONL, Parquet, Arrow, read as by the other verbs; GLUE's columns are known.

Which columns are meant is told from their names. Files without names (CoLA's) need to be told of: then --no-header and
the numbers of the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nanodistil.reading import forms
from nanodistil.reading.lines import lines_of
from nanodistil.reading.records import Record, columns_of
from nanodistil.weights.errors import InputError


def form_of(file: str | Path, form: str | None) -> str:
    """One of reading.forms.TABLES, by the file's name unless it is given. Raises InputError if neither says."""
    form = form or forms.format_of(str(file))
    if form == "lines":
        raise InputError(f"{file}: its name does not say what it is; pass --format {', '.join(forms.TABLES)}")
    return form


def names_in(file: str | Path, form: str | None) -> list[str]:
    """The names of a table's columns: its first row, or the keys of its first object. Raises InputError for none."""
    with lines_of(str(file)) as lines:
        return forms.names_of(lines, form_of(file, form))


def rows_of(
    file: str | Path,
    needed: Sequence[str],
    optional: Sequence[str] = (),
    columns: Sequence[str] = (),
    form: str | None = None,
    no_header: bool = False,
) -> Iterator[Record]:
    """The rows of a table, with the fields asked for. columns: "field=name", if a field is called otherwise.

    Raises InputError for a file or a row that cannot be read.
    """
    form = form_of(file, form)
    with lines_of(str(file)) as lines:
        for record in forms.records_of(lines, form, columns_of(columns, needed, optional), no_header):
            if record.problem is not None:
                raise record.problem
            yield record

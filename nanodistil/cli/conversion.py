"""From JSON lines, which grow as answers come, to the form that the file's name asks for.

    {"index": 0, "id": 7, "text": "Fine.", "result": {"label": "good", "score": 0.9}}

JSON, and JSON lines packed, hold these objects as they are. A table (CSV, TSV, Parquet, Arrow) has a column for the
index, one for each key of the inputs, and one for each key of the results if these are objects (label, score). A vector
becomes columns vector_0, vector_1, ... of CSV and TSV, and of Parquet and Arrow one column with lists. Other results,
lists of objects, are the column `result`, in CSV and TSV as JSON. There is always one row an input. If an input had a
column that is called as one of ours, its name has "input_" before it.

Everything is read twice, once for the columns and once for the rows, and nothing is held in memory.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, Any

from nanodistil.cli.forms import Form
from nanodistil.reading.packed import opener
from nanodistil.reading.tables import arrow
from nanodistil.weights.errors import InputError
from nanodistil.weights.small_files import parsed

OURS = ("index", "result", "error")
ROWS_AT_ONCE = 4096  # of Parquet and Arrow


def line_of(index: int, columns: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """An answer, or the InputError in its place, with the input it belongs to.

    >>> line_of(3, {"id": 7, "index": 1}, {"label": "good"})
    {'index': 3, 'id': 7, 'input_index': 1, 'result': {'label': 'good'}}
    """
    given = {free(name, (*OURS, *columns)) if name in OURS else name: value for name, value in columns.items()}
    key, value = ("error", str(answer)) if isinstance(answer, InputError) else ("result", answer)
    return {"index": index, **given, key: value}


def free(name: str, taken: Iterable[str]) -> str:
    """The name that a column of an input has if its own is taken.

    >>> free("label", ["label"]), free("label", ["label", "input_label"])
    ('input_label', 'input_input_label')
    """
    while name in taken:
        name = f"input_{name}"
    return name


def convert(lines: str, to: Path, form: Form) -> None:
    """Write the JSON lines of a file in another form. Raises InputError for what the form has no room for."""
    with ExitStack() as opened:
        raw: IO[bytes] = opened.enter_context(to.open("wb"))
        out = opened.enter_context(opener(form.packing)(raw, "wb")) if form.packing else raw
        if form.form in ("jsonl", "table"):
            with open(lines, "rb") as file:
                while block := file.read(1 << 20):
                    out.write(block)
        elif form.form == "json":
            _write_document(lines, out)
        elif form.form in ("parquet", "arrow"):
            _write_arrow(lines, out, form.form)
        else:
            _write_rows(lines, out, form.form)


def _write_document(lines: str, out: IO[bytes]) -> None:
    between = b"[\n "
    with open(lines, "rb") as file:
        for line in file:
            out.write(between + line.rstrip(b"\n"))
            between = b",\n "
    out.write(b"[]\n" if between[:1] == b"[" else b"\n]\n")


def _objects(lines: str) -> Iterator[dict[str, Any]]:
    with open(lines, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                found = parsed(line)
            except ValueError:
                found = None
            if not isinstance(found, dict):  # of a run that was resumed, and whose file somebody changed
                raise InputError(f"line {number} of {lines} is no answer: remove the file, and start again")
            yield found


def _columns(lines: str, spread: bool) -> tuple[dict[str, str], list[str]]:
    """The columns of a table: those of the inputs, name -> what they are called there, and ours after the index."""
    given: dict[str, None] = {}
    ours: dict[str, None] = {}
    for one in _objects(lines):
        given.update(dict.fromkeys(name for name in one if name not in OURS))
        ours.update(dict.fromkeys(_flat(one, spread)))
    taken = {"index", *ours}
    names: dict[str, str] = {}
    for name in given:
        names[name] = free(name, {*taken, *given}) if name in taken else name
    return names, list(ours)


def _flat(one: dict[str, Any], spread: bool) -> dict[str, Any]:
    """The columns that an answer fills. spread: a column for each number of a vector."""
    if "error" in one:
        return {"error": one["error"]}
    result = one.get("result")
    if isinstance(result, dict):
        return result
    if spread and isinstance(result, list) and result and all(isinstance(x, float) for x in result):
        return {f"vector_{i}": x for i, x in enumerate(result)}
    return {"result": result}


def _write_rows(lines: str, out: IO[bytes], form: str) -> None:
    import csv

    names, ours = _columns(lines, spread=True)
    text = io.StringIO()
    in_csv = csv.writer(text, lineterminator="\n")

    def write(cells: list[str]) -> None:
        if form == "csv":
            in_csv.writerow(cells)
        else:
            text.write("\t".join(cells) + "\n")
        out.write(text.getvalue().encode("utf-8", "backslashreplace"))
        text.seek(0)
        text.truncate()

    write(["index", *names.values(), *ours])
    for one in _objects(lines):
        flat = _flat(one, True)
        write([cell(v) for v in (one["index"], *(one.get(n) for n in names), *(flat.get(n) for n in ours))])


def cell(value: Any) -> str:
    """
    >>> cell("a"), cell(None), cell(0.5), cell(["é"])
    ('a', '', '0.5', '["é"]')
    """
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def check_cells(columns: Mapping[str, Any], answer: Any) -> None:
    """Raises InputError for a text that TSV has no room for: it has no quotes."""
    for name, value in (*columns.items(), *(answer.items() if isinstance(answer, dict) else ())):
        if isinstance(value, str) and any(mark in value for mark in "\t\n\r"):
            raise InputError(f"its {name!r} has a tab or a line end, which TSV has no room for; write .csv or .jsonl")


def _write_arrow(lines: str, out: IO[bytes], form: str) -> None:
    pa, parquet = arrow()
    names, ours = _columns(lines, spread=False)

    def tables(schema: Any = None) -> Iterator[Any]:
        found = _objects(lines)
        while some := list(islice(found, ROWS_AT_ONCE)):
            rows = []
            for one in some:
                flat = _flat(one, False)
                theirs = {called: one.get(name) for name, called in names.items()}
                rows.append({"index": one["index"], **theirs, **{name: flat.get(name) for name in ours}})
            yield pa.Table.from_pylist(rows, schema=schema)

    try:
        empty = pa.schema([("index", pa.int64())])
        schemas = [empty, *(table.schema for table in tables())]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        writing = parquet.ParquetWriter if form == "parquet" else pa.ipc.new_file
        with writing(out, schema) as writer:
            for table in tables(schema):
                writer.write_table(table)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"a column has values of kinds that {form.capitalize()} does not keep together "
            f"({' '.join(str(error).split())[:100]}): all answers are in {lines}, as JSON lines"
        ) from None


def sayable(value: Any) -> Any:
    """For JSON, which has no NaN and no infinity: those of an input become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: sayable(one) for name, one in value.items()}
    return [sayable(one) for one in value] if isinstance(value, list) else value

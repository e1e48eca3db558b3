"""Answers on their way out: a readable table, a JSON document, or a JSON line each; to standard output or into a file.

    {"index": 0, ..., "result": ...}     an input's number, all it had (a text, an id), what nanodistil.pipeline returns

Every answer is written and flushed when it is there, to FILE.partial, which becomes FILE at the end: under its own name
a file is whole. Whatever its form, FILE.partial holds JSON lines (conversion.py), so a run that ends early, however it
ends, leaves the answers so far: whole lines, in order, at most the last one cut. That is what --resume stands on. It
counts the whole lines, drops a cut one, passes over as many inputs and goes on behind; a .jsonl that is whole already
is taken up likewise, should there be more inputs by now. It cannot know whether inputs and options are those of the
first run; that is the user's part. A table for the eye (.txt) is not resumed.

A file that exists is never overwritten: hours of work end that way.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from nanodistil.cli.conversion import check_cells, convert, line_of, sayable
from nanodistil.cli.forms import form_of
from nanodistil.reading.records import Record
from nanodistil.weights.errors import InputError
from nanodistil.weights.saving import written
from nanodistil.weights.small_files import parsed


def add_arguments(parser: argparse.ArgumentParser, files: str = "") -> None:
    """The arguments that say where answers go. files: what else the file can be."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document: a list of what --jsonl gives")
    form.add_argument(
        "--jsonl",
        action="store_true",
        help="a JSON line an input, as soon as it is done: its index, all its columns, and the result",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=f"write there; its name says the form: .jsonl, .json, .csv, .tsv, .parquet, .arrow, .txt{files}; "
        "the first four also with .gz, .xz, .bz2, .zst behind",
    )
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run into --output FILE ended")
    parser.add_argument(
        "--skip-errors", action="store_true", help='give {"error": ...} for an input that cannot be answered, and go on'
    )


class Results:
    """Where answers go. `done`: how many were there before. Use it in a `with`; the file is made by the first answer.

    table: how an answer is shown to a reader. Raises InputError if the file is there already and not to be resumed,
    or cannot be, or is written otherwise than line by line.
    """

    def __init__(self, args: argparse.Namespace, table: Callable[[Record, Any], str]) -> None:
        self.form, self.table, self.path = form_of(args), table, args.output
        self.partial = f"{self.path}.partial"
        self.everything: list[Any] = []  # for a document on standard output
        self.file: IO[bytes] | None = None
        self.given = self.done = self.size = 0
        self.whole = False  # there is nothing to do
        self.resumable = self.path is not None and self.form.form != "table"
        check_resumable(args, self.form.form != "table")
        self.found = None
        if self.path is None:
            return
        self.found = next((path for path in (self.path, self.partial) if os.path.lexists(path)), None)
        if self.found is None:
            check_writable(self.path)
            return
        if not args.resume or not os.path.isfile(self.found):
            raise exists(self.found)
        if self.found == self.path and self.form != ("jsonl", ""):
            self.whole = True
            return
        self.done, self.size = whole_lines(self.found)

    def __enter__(self) -> Results:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None and not self.whole:
                self._finish()
        finally:
            if self.file is not None:
                self.file.close()

    def give(self, record: Record, answer: Any) -> None:
        """The next answer, or the InputError that stands for it. Raises InputError if the form has no room."""
        if self.form.form == "tsv":
            try:
                check_cells(record.columns, answer)
            except InputError as error:
                raise InputError(f"{record.place}: {error}" if record.place else str(error)) from None
        line = line_of(self.done + self.given, sayable(record.columns), answer)
        self.given += 1
        if self.form.form == "table":
            failed = isinstance(answer, InputError)
            self._write(json.dumps({"error": str(answer)}) if failed else self.table(record, answer))
        elif self.form.form == "json" and self.path is None:
            self.everything.append(line)
        else:
            self._write(json.dumps(line, ensure_ascii=escaped(self.path), default=plain))

    def _finish(self) -> None:
        if self.path is None:
            if self.form.form == "json":
                self._write(json.dumps(self.everything, ensure_ascii=escaped(None), default=plain, indent=1))
            return
        if self.file is None and self.found == self.path and os.path.getsize(self.path) == self.size:
            return  # whole, and nothing came to it
        file = self.file or self._open()  # no answers are a result too
        file.flush()
        if self.form in (("jsonl", ""), ("table", "")):
            os.fsync(file.fileno())
            os.replace(self.partial, self.path)
            return
        written(Path(self.path), lambda path: convert(self.partial, path, self.form))
        os.unlink(self.partial)

    def _write(self, text: str) -> None:
        if self.path is None:
            print(text, flush=True)
            return
        file = self.file or self._open()
        file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        file.flush()

    def _open(self) -> IO[bytes]:
        if self.found is not None and self.found != self.partial:
            os.replace(self.found, self.partial)
        self.file = opened(self.partial)
        self.file.truncate(self.size)
        self.file.seek(self.size)
        return self.file


def check_resumable(args: argparse.Namespace, by_line: bool) -> None:
    """Raises InputError if --resume has nothing to go on from."""
    if args.resume and args.output is None:
        raise InputError("--resume goes on with a file: name it with --output")
    if args.resume and not by_line:
        raise InputError("--resume goes on record by record, and a table for the eye has none: write .jsonl or .csv")
    files = (args.input, args.output)
    if None not in files and all(map(os.path.exists, files)) and os.path.samefile(*files):
        raise InputError(f"{args.output} is the input; write to another file")


def escaped(path: str | None) -> bool:
    """Whether JSON has to do without the characters that are not ASCII: on a standard output that is not UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return path is None and encoding.lower().replace("-", "") != "utf8"


def check_writable(path: str) -> None:
    """Raises InputError if a new file cannot be made: better before hours of work than after."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise InputError(f"{path} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: no permission")


def exists(path: str) -> InputError:
    """The error for a file that is there already."""
    if not os.path.isfile(path):
        return InputError(f"{path} is no file that could be written; name another")
    return InputError(f"{path} exists already: go on with it by --resume, or remove it")


def whole_lines(path: str) -> tuple[int, int]:
    """How many whole lines a file of JSON lines has, and their bytes. Raises InputError if the last is not JSON."""
    count, size, last = 0, 0, b"{}"
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    count, size, last = count + 1, size + len(line), line
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        parsed(last)
    except ValueError:
        raise InputError(f"line {count} of {path} is not JSON: it cannot be resumed") from None
    return count, size


def opened(path: str) -> IO[bytes]:
    """The file, to be written from its start; what it has stays. Raises InputError if that cannot be."""
    try:
        return io.BufferedWriter(io.FileIO(path, "r+" if os.path.exists(path) else "x"))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def plain(value: Any) -> Any:
    """For json: NumPy's numbers and arrays as Python's."""
    return value.tolist()

"""Answers on their way out: a readable table, a JSON document, or a JSON line each; to standard output or into a file.

Every answer is written and flushed when it is there, so a run that ends early, however it ends, leaves the answers so
far: whole lines, in order, at most the last one cut. That is what --resume stands on. It counts the whole lines of the
file, drops a cut one, passes over as many inputs and goes on behind. It cannot know whether inputs and options are
those of the first run; that is the user's part. A JSON document is the exception, written at the end or not at all.

A file that exists is never overwritten: hours of work end that way.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable
from typing import IO, Any

from nanodistil.reading.records import Record
from nanodistil.weights.errors import InputError
from nanodistil.weights.small_files import parsed

FORMS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}  # by the name of a file


def add_arguments(parser: argparse.ArgumentParser, files: str = "") -> None:
    """The arguments that say where answers go. files: what else the file can be."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document: what nanodistil.pipeline returns")
    form.add_argument("--jsonl", action="store_true", help="one JSON line an input, as soon as it is done")
    parser.add_argument(
        "--output", metavar="FILE", help=f"write there; its name may say the form: .jsonl, .json{files}"
    )
    parser.add_argument("--resume", action="store_true", help="go on where --output FILE ends, line for line")
    parser.add_argument(
        "--skip-errors", action="store_true", help='give {"error": ...} for an input that cannot be answered, and go on'
    )


def form_of(args: argparse.Namespace) -> str:
    """What is written: "json", "jsonl" or "table"."""
    if args.json or args.jsonl:
        return "json" if args.json else "jsonl"
    return FORMS.get(os.path.splitext((args.output or "").lower())[1], "table")


class Results:
    """Where answers go. `done`: how many were there before. Use it in a `with`; the file is made by the first answer.

    table: how an answer is shown to a reader. Raises InputError where the file is there already and not to be resumed,
    or cannot be, or is written otherwise than line by line.
    """

    def __init__(self, args: argparse.Namespace, table: Callable[[Record, Any], str]) -> None:
        self.form, self.table, self.path = form_of(args), table, args.output
        self.everything: list[Any] = []  # for a document
        self.alone = args.input is None and len(args.inputs) < 2 and args.inputs != ["-"]  # then it is the document
        self.file: IO[bytes] | None = None
        self.done = self.size = 0
        self.resumable = self.path is not None and self.form == "jsonl"
        check_resumable(args, self.form == "jsonl")
        if self.path is not None and os.path.exists(self.path):
            if not args.resume or not os.path.isfile(self.path):
                raise exists(self.path)
            self.done, self.size = whole_lines(self.path)
        elif self.path is not None:
            check_writable(self.path)

    def __enter__(self) -> Results:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self.file is not None:
                self.file.close()

    def give(self, record: Record, answer: Any) -> None:
        """The next answer, or the InputError that stands for it."""
        failed = isinstance(answer, InputError)
        if failed:
            answer = {"error": str(answer)}
        if self.form == "json":
            self.everything.append(answer)
        elif self.form == "jsonl" or failed:
            self._write(json.dumps(answer, ensure_ascii=escaped(self.path), default=plain))
        else:
            self._write(self.table(record, answer))

    def _finish(self) -> None:
        if self.form == "json":
            document = self.everything[0] if self.alone else self.everything
            self._write(json.dumps(document, ensure_ascii=escaped(self.path), default=plain, indent=1))
        elif self.path is not None and self.file is None:
            self._open()  # no answers are a result too

    def _write(self, text: str) -> None:
        if self.path is None:
            print(text, flush=True)
            return
        file = self.file or self._open()
        file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        file.flush()

    def _open(self) -> IO[bytes]:
        self.file = opened(self.path)
        self.file.truncate(self.size)
        self.file.seek(self.size)
        return self.file


def check_resumable(args: argparse.Namespace, by_line: bool) -> None:
    """Raises InputError where --resume has nothing to go on from."""
    if args.resume and args.output is None:
        raise InputError("--resume goes on with a file: name it with --output")
    if args.resume and not by_line:
        raise InputError("--resume goes on line by line: add --jsonl")
    files = (args.input, args.output)
    if None not in files and all(map(os.path.exists, files)) and os.path.samefile(*files):
        raise InputError(f"{args.output} is the input; write to another file")


def escaped(path: str | None) -> bool:
    """Whether JSON has to do without the characters that are not ASCII: on a standard output that is not UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return path is None and encoding.lower().replace("-", "") != "utf8"


def check_writable(path: str) -> None:
    """Raises InputError where a new file cannot be made: better before hours of work than after."""
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
    """How many whole lines a file of JSON lines has, and their bytes. Raises InputError where the last is not JSON."""
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
    """The file, to be written from its start; what it has stays. Raises InputError where that cannot be."""
    try:
        return io.BufferedWriter(io.FileIO(path, "r+" if os.path.exists(path) else "x"))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def plain(value: Any) -> Any:
    """For json: NumPy's numbers and arrays as Python's."""
    return value.tolist()

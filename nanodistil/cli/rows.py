"""Vectors on their way into a .npy file: a row an input, in constant memory, under another name until it is whole.

NumPy's header says how many rows there are, which is known at the end only; so a header that says none is written
first, and its successor over it, which NumPy keeps of the same length whatever the number. Until then the file is
FILE.partial: FILE is whole or not there. --resume counts the whole rows of FILE.partial, drops a cut one and goes on; a
FILE that is whole already is taken up likewise, should there be more inputs by now.
"""

from __future__ import annotations

import argparse
import io
import os
from typing import IO, Any

import numpy as np

from nanodistil.cli.records import Record
from nanodistil.cli.results import check_resumable, exists
from nanodistil.weights.errors import InputError


class Rows:
    """An array (N, D) that grows in a file. `done`: how many rows were there before. Use it in a `with`.

    Raises InputError where the file is there already and not to be resumed, or cannot be, or cannot be written.
    """

    def __init__(self, args: argparse.Namespace, width: int, dtype: str) -> None:
        self.path, self.partial = args.output, f"{args.output}.partial"
        self.width, self.dtype = width, np.dtype(dtype)
        check_resumable(args, True)
        if args.skip_errors:
            raise InputError("--skip-errors needs a form with room for an error: write .jsonl")
        for path in (self.path, self.partial):
            if os.path.exists(path) and not args.resume:
                raise exists(path)
        try:
            if os.path.exists(self.path):
                os.replace(self.path, self.partial)
            there = os.path.exists(self.partial) and os.path.getsize(self.partial) > 0
            self.file: IO[bytes] = io.BufferedRandom(io.FileIO(self.partial, "r+" if there else "w+"))
        except OSError as error:
            raise InputError(f"{self.partial} cannot be written: {error.strerror}") from None
        self.done = self._rows_there() if there else 0
        self.count = self.done
        self._write_header(0)
        self.file.seek(self.start + self.count * self.width * self.dtype.itemsize)
        self.file.truncate()

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self.file:
            if kind is None:
                self._write_header(self.count)
                self.file.flush()
                os.fsync(self.file.fileno())
        if kind is None:
            os.replace(self.partial, self.path)

    def give(self, record: Record, answer: Any) -> None:
        """The next row (D,)."""
        self.file.write(np.asarray(answer, self.dtype).reshape(self.width).tobytes())
        self.count += 1

    def _write_header(self, rows: int) -> None:
        described = {"descr": self.dtype.str, "fortran_order": False, "shape": (rows, self.width)}
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, described)
        self.start = self.file.tell()

    def _rows_there(self) -> int:
        """How many whole rows the file has. Raises InputError where they are not such as are to be written."""
        try:
            if np.lib.format.read_magic(self.file) != (1, 0):
                raise ValueError
            (_, width), _, dtype = np.lib.format.read_array_header_1_0(self.file)
        except ValueError:
            raise InputError(f"{self.partial} is not what an earlier run left: remove it") from None
        if (width, dtype) != (self.width, self.dtype):
            raise InputError(f"{self.partial} has rows of {width} {dtype}, not {self.width} {self.dtype}: remove it")
        return (os.path.getsize(self.partial) - self.file.tell()) // (self.width * self.dtype.itemsize)

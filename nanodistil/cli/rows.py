"""Vectors on their way into a .npy file, or as `vectors` into a .npz: a row an input, in constant memory.

NumPy's header says how many rows there are, which is known at the end only; so a header that says none is written
first, and its successor over it, which NumPy keeps of the same length whatever the number. Until then the file is
FILE.partial: FILE is whole or not there. --resume counts the whole rows of FILE.partial, drops a cut one and goes on; a
.npy that is whole already is taken up likewise, should there be more inputs by now.
"""

from __future__ import annotations

import argparse
import io
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from nanodistil.cli.forms import form_of
from nanodistil.cli.results import check_resumable, check_writable, exists, opened
from nanodistil.reading.records import Record
from nanodistil.weights.errors import InputError
from nanodistil.weights.saving import written


class Rows:
    """An array (N, D) that grows in a file. `done`: how many rows were there before. Use it in a `with`.

    Raises InputError if the file is there already and not to be resumed, or cannot be, or cannot be written.
    """

    def __init__(self, args: argparse.Namespace, width: int, dtype: str) -> None:
        self.path, self.partial = args.output, f"{args.output}.partial"
        self.width, self.dtype = width, np.dtype(dtype)
        self.row = width * self.dtype.itemsize  # bytes
        self.resumable = True
        check_resumable(args, True)
        if args.skip_errors:
            raise InputError("--skip-errors needs a form with room for an error: write .jsonl")
        self.count = self.done = 0
        self.file: IO[bytes] | None = None  # opened by the first row: a run that fails before it leaves all as it was
        self.zipped = form_of(args, vectors=True).form == "npz"
        self.whole = False  # there is nothing to do
        self.found = next((path for path in (self.path, self.partial) if os.path.lexists(path)), None)
        if self.found is None:
            check_writable(self.path)
            return
        if not args.resume:
            raise exists(self.found)
        if self.zipped and self.found == self.path:
            self.whole = True
            return
        try:
            self.count = self.done = self._rows_in(self.found)
        except OSError as error:
            raise InputError(f"{error.filename} cannot be resumed: {error.strerror}") from None

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self.file is None and self.found != self.path:
            self._open()  # no rows are a result too
        if self.file is None:
            return
        with self.file:
            if kind is None:
                self._write_header(self.file, self.count)
                self.file.flush()
                os.fsync(self.file.fileno())
        if kind is not None:
            return
        if self.zipped:
            written(Path(self.path), self._zip)
            os.unlink(self.partial)
        else:
            os.replace(self.partial, self.path)

    def _zip(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.write(self.partial, "vectors.npy")

    def give(self, record: Record, answer: Any) -> None:
        """The next row (D,)."""
        file = self.file or self._open()
        file.write(np.asarray(answer, self.dtype).reshape(self.width).tobytes())
        self.count += 1

    def _open(self) -> IO[bytes]:
        if self.found is not None:
            os.replace(self.found, self.partial)
        self.file = opened(self.partial)
        self._write_header(self.file, 0)
        self.file.seek(self.count * self.row, os.SEEK_CUR)
        self.file.truncate()
        return self.file

    def _write_header(self, file: IO[bytes], rows: int) -> None:
        described = {"descr": self.dtype.str, "fortran_order": False, "shape": (rows, self.width)}
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, described)

    def _rows_in(self, path: str) -> int:
        """How many whole rows a file has. Raises InputError if they are not such as are to be written."""
        with open(path, "rb") as file:
            if not (size := os.path.getsize(path)):
                return 0
            try:
                if np.lib.format.read_magic(file) != (1, 0):
                    raise ValueError
                (_, width), fortran, dtype = np.lib.format.read_array_header_1_0(file)
                ours = io.BytesIO()
                self._write_header(ours, 0)
                if fortran or file.tell() != ours.tell():  # another order, or another length: not of our making
                    raise ValueError
            except ValueError:
                raise InputError(f"{path} is not what an earlier run left, so it cannot be resumed") from None
            if (width, dtype) != (self.width, self.dtype):
                wanted = f"{self.width} {self.dtype}"
                raise InputError(f"{path} has rows of {width} {dtype}, not {wanted}, so it cannot be resumed")
            return (size - file.tell()) // self.row

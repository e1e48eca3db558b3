"""Lines of text, from a file or from standard input, as soon as they are there.

Python's own line iteration waits until its buffer is full, so a program that writes a line now and then would wait for
its answers; and it decodes as it goes, so that a byte that is not UTF-8 spoils lines before it. Here bytes are taken as
they come and cut at line feeds, each line is decoded alone, and it is known whether the next one is there already.
"""

from __future__ import annotations

import codecs
import io
import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO

from nanodistil.reading.packed import ending_of, opener
from nanodistil.reading.remote import is_remote
from nanodistil.reading.remote import opened as remote_file
from nanodistil.weights.errors import InputError

READ = 1 << 16  # bytes taken at once
WIDE = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
        codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip  # a file's first bytes -> what it is written in; longer ones first


class Unreadable(InputError):
    """A file whose rest cannot be read: nothing that could be passed over."""


def checked(text: str, place: str) -> str:
    """The text as it is. Raises InputError if it has a NUL, which the tokenizer would drop without a word."""
    if "\0" in text:
        raise InputError(f"{place} has a NUL byte: it is no text, or in UTF-16 without a mark that says so")
    return text


def narrowed(read: Callable[[int], bytes], head: bytes, codec: str) -> Callable[[int], bytes]:
    """`read` of a file in UTF-16 or UTF-32, of which `head` has been read already, as if it were in UTF-8."""
    decoder, ready = codecs.getincrementaldecoder(codec)(), [head]

    def again(size: int) -> bytes:
        while True:
            block = ready.pop() if ready else read(size)
            text = decoder.decode(block, final=not block)
            if text or not block:
                return text.encode("utf-8")

    return again


class Lines:
    """The lines of a file, bytes without their ends, one by one.

    name: for messages. source: the file's descriptor, or the file if it has none. read: gives its next bytes, at most
    as many as asked for. packed: whether there is more in the file than its size. `longest`, if set: bytes of a line
    that are too many.
    """

    def __init__(self, name: str, source: int | IO[bytes], read: Callable[[int], bytes], packed: bool = False) -> None:
        self.name, self.source, self.read, self.packed = name, source, read, packed
        self.longest: int | None = None
        self.number = 0  # of the line given last, from 1
        self.given = 0  # bytes of all lines given
        self.there: deque[bytes] = deque()  # lines that were read and not given
        self.begun: list[bytes] = []  # pieces of the line whose end has not been read
        self.ended = False  # a terminal must not be asked again
        self.cut_short = False  # the last line has no end
        self.begins = True  # nothing has been read
        self.size: int | None  # None: somebody is writing it
        if isinstance(source, int):
            found = os.fstat(source)
            self.size = found.st_size if stat.S_ISREG(found.st_mode) else None
        else:
            self.size = getattr(source, "size", None)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self.there:
            self._read_on()
        line = self.there.popleft()
        self.number += 1
        self.given += len(line) + 1
        return line.removeprefix(codecs.BOM_UTF8) if self.number == 1 else line

    def _read_on(self) -> None:
        if self.ended:
            raise StopIteration
        try:
            block = self._first() if self.begins else self.read(READ)
        except Exception as error:  # OSError, EOFError, and those of zlib and lzma, which are of no common family
            self.ended = True
            raise Unreadable(f"{self.name} cannot be read: {error}") from None
        self.ended = not block
        *ends, rest = block.split(b"\n")
        if self.ended and self.begun:
            ends, self.cut_short = [b""], True
        for end in ends:
            self.there.append(b"".join((*self.begun, end)))
            self.begun = []
        if rest:
            self.begun.append(rest)
            if self.longest is not None and sum(map(len, self.begun)) > self.longest:
                place = self.place(self.number + len(self.there) + 1)
                raise Unreadable(f"{place} has more than {self.longest:,} bytes; break it up: `fold -s` does, for one")

    def _first(self) -> bytes:
        """The first bytes; if they say that the file is in UTF-16 or UTF-32, all are given in UTF-8."""
        self.begins, head = False, self.read(READ)
        while 0 < len(head) < 4 and any(mark.startswith(head) or head.startswith(mark) for mark in WIDE):
            if not (more := self.read(READ)):
                break
            head += more
        codec = next((WIDE[mark] for mark in WIDE if head.startswith(mark)), None)
        if codec is None:
            return head
        self.packed = True  # what is given is no measure of what was read
        self.read = narrowed(self.read, head, codec)
        return self.read(READ)

    def text(self, line: bytes, number: int = 0) -> str:
        """A line, by default the one given last, decoded. Raises InputError if it is not UTF-8, or no text."""
        return self._decoded(line, self.place(number or self.number)).removesuffix("\r")

    def text_and_end(self, line: bytes) -> str:
        """The line given last with its end, if it has one. Raises InputError as `text` does."""
        end = "" if self.cut_short and not self.there else "\n"
        return self._decoded(line, self.place(self.number)) + end

    def _decoded(self, line: bytes, place: str) -> str:
        try:
            return checked(line.decode("utf-8"), place)
        except UnicodeDecodeError:
            raise InputError(f"{place} is not UTF-8") from None

    def place(self, number: int) -> str:
        """A line, for messages."""
        return f"line {number} of {self.name}"

    def would_wait(self) -> bool:
        """Whether the next line may have to be waited for."""
        return self.size is None and not self.there

    def share(self) -> float | None:
        """How much of the file has been given, 0 to 1, if its size is known."""
        if not self.size:
            return None
        given = self.given
        if self.packed:
            given = os.lseek(self.source, 0, os.SEEK_CUR) if isinstance(self.source, int) else self.source.tell()
        return min(1.0, given / self.size)


@contextmanager
def lines_of(file: str) -> Iterator[Lines]:
    """The lines of a file, unpacked if its name says that it is packed; "-" is standard input, and a file may be at an
    address.

    Raises InputError if it cannot be opened, MissingExtraError for a package that an address needs.
    """
    if file == "-":
        try:
            source = sys.stdin.fileno()
            os.fstat(source)
        except (AttributeError, OSError, ValueError):
            raise InputError("standard input is closed") from None
        yield Lines("standard input", source, lambda size: os.read(source, size))
        return
    with _opened(file) as raw:
        source = raw.fileno() if isinstance(raw, io.FileIO) else raw
        if not (ending := ending_of(file)):
            yield Lines(file, source, raw.read)
            return
        with opener(ending)(raw, "rb") as unpacked:
            read: Callable[[int], bytes] = getattr(unpacked, "read1", unpacked.read)
            yield Lines(file, source, read, packed=True)


def _opened(file: str) -> AbstractContextManager[IO[bytes] | io.FileIO]:
    if is_remote(file):
        return remote_file(file)
    try:
        return io.FileIO(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be opened: {getattr(error, 'strerror', None) or error}") from None

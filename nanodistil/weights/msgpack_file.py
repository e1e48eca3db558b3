"""One flax_model.msgpack as named arrays: what Flax wrote of a JAX DistilBERT, under PyTorch's names.

msgpack is JSON in binary: a byte says what follows and how long it is. Flax writes maps of maps, whose keys make up the
names, and in them arrays as extension type 1, with a little msgpack of their own inside:

    {"distilbert": {"transformer": {"layer": {"0": {"ffn": {"lin1": {"kernel": EXT 1}}}}}}}
    EXT 1 = [[768, 3072], "float32", the numbers]

An array beyond a gigabyte is cut into flat pieces: {"__msgpack_chunked_array__": true, "shape": {"0": ..}, "chunks":
{"0": EXT 1, ..}}. The names become PyTorch's by the rules of foreign_names.py. If positions are sinusoidal, Flax
stores none.

The format is small enough that the part Flax uses fits below; the msgpack library would read the whole file into
memory, and then copy every array out of it. Here the numbers stay in the file until they are taken. What Flax does not
write is refused, and no count is believed before the bytes for it are seen to be there.
"""

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import CheckpointError, excerpt
from .foreign_names import of_flax, turned
from .mapped import WIDTHS, Entry, map_file, take

CHUNKED = "__msgpack_chunked_array__"
MOST = 20_000  # maps, keys and arrays in a file; a DistilBERT's has 300
DEEPEST = 16  # maps within maps; a DistilBERT's are 7
LONGEST = 200  # bytes of a key
LONGEST_PATH = 600  # characters of a key and all those above it; each array's name is that long
_CODES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32"}
_CODES |= {"int8": "I8", "uint8": "U8", "bool": "BOOL"}

Tree = dict[str, Any]  # key -> Entry or Tree


class MsgpackFile:
    """An open file: `entries` (name -> Entry), and `array` to take one.

    Raises CheckpointError if the file is not such as Flax writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = map_file(path)
        tree = _Reader(path, self._map).file()
        self.entries: dict[str, Entry] = {}
        self._pieces: dict[str, list[Entry]] = {}  # of the arrays that are cut
        for name, entry, pieces in _named(tree):
            if name in self.entries:
                raise CheckpointError(f"{path}: has {name!r:.200} twice")
            self.entries[name] = entry
            if pieces:
                self._pieces[name] = pieces

    def array(self, name: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """The array in float32 or float64, a read-only view if the file holds that type so, else a copy.

        Raises CheckpointError for any type in the file that is no float.
        """
        entry, pieces = self.entries[name], self._pieces.get(name)
        if not pieces:
            return take(self.path, self._map, name, entry, dtype)
        flat = np.concatenate([take(self.path, self._map, name, piece, dtype) for piece in pieces])
        stored = flat.reshape(entry.shape if entry.strides is None else entry.shape[::-1])
        return stored if entry.strides is None else np.ascontiguousarray(stored.T)


def _named(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Entry, list[Entry]]]:
    """PyTorch's name, entry and (of a cut array) pieces of every array in the tree."""
    for key, value in tree.items():
        if isinstance(value, dict) and CHUNKED not in value:
            yield from _named(value, (*path, key))
            continue
        entry, pieces = value[CHUNKED] if isinstance(value, dict) else (value, [])
        if not isinstance(entry, Entry):
            entry = Entry(type(entry).__name__, (), 0)  # for messages
        yield of_flax(".".join((*path, key))), turned(entry) if key == "kernel" else entry, pieces


class _Reader:
    """The part of msgpack that Flax writes, read from a map at `at`."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at, self.seen = path, data, 0, 0

    def file(self) -> Tree:
        tree = self.value(0)
        if not isinstance(tree, dict) or self.at != len(self.data):
            self.refuse("does not hold one map and nothing else")
        return tree

    def value(self, depth: int, above: int = 0) -> Any:
        """A map, an array, or the True and the numbers that come with a cut one: Flax writes nothing else."""
        self.seen += 1
        if self.seen > MOST or depth > DEEPEST or above > LONGEST_PATH:
            self.refuse("has more in it, or deeper, than any model")
        code = self.number(1)
        if 0x80 <= code <= 0x8F or code in (0xDE, 0xDF):
            return self.map(self.count(code, 0x80, 0xDE), depth, above)
        if code in (0xC7, 0xC8, 0xC9):
            return self.extension(self.number(1 << (code - 0xC7)))
        if 0xD4 <= code <= 0xD8:  # extensions of 1, 2, 4, 8, 16 bytes
            return self.extension(1 << (code - 0xD4))
        if code == 0xC3:
            return True
        if code <= 0x7F or 0xCC <= code <= 0xCF:
            return self.integer(code)
        self.refuse(f"has a value of msgpack type {code:#04x}, which Flax does not write")

    def map(self, count: int, depth: int, above: int) -> Tree:
        found: Tree = {}
        for _ in range(count):
            key = self.string()
            if key in found:
                self.refuse(f"has {excerpt(key)} twice")
            found[key] = self.value(depth + 1, above + len(key))
        if CHUNKED in found:
            return {CHUNKED: self.whole(found)}
        return found

    def extension(self, size: int) -> Entry:
        """An array (type 1) or a scalar (type 3): shape, type's name, numbers."""
        kind = self.number(1)
        end = self.at + size
        if kind not in (1, 3) or self.number(1) != 0x93:
            self.refuse("has an extension that is no array")
        code = self.number(1)
        dimensions = self.count(code, 0x90, 0xDC)
        if dimensions > 8:
            self.refuse(f"has an array of {dimensions} dimensions")
        shape = tuple(self.integer(self.number(1)) for _ in range(dimensions))
        name = self.string()
        code = self.number(1)
        length = self.number(1 << (code - 0xC4)) if 0xC4 <= code <= 0xC6 else -1
        begin, self.at = self.at, self.at + length
        dtype = _CODES.get(name, name)
        if self.at != end or end > len(self.data) or math.prod(shape) * WIDTHS.get(dtype, 0) not in (length, 0):
            self.refuse("has an array whose numbers are not as many as it says")
        return Entry(dtype, shape, begin)

    def whole(self, found: Tree) -> tuple[Entry, list[Entry]]:
        """The array that pieces make up, and the pieces."""
        sizes, chunks = found.get("shape"), found.get("chunks")
        if not isinstance(sizes, dict) or not isinstance(chunks, dict) or not chunks or len(sizes) > 8:
            self.refuse("has a cut array without its pieces")
        shape = tuple(n for i in range(len(sizes)) if isinstance(n := sizes.get(str(i)), int))
        pieces = [p for i in range(len(chunks)) if isinstance(p := chunks.get(str(i)), Entry) and len(p.shape) == 1]
        numbers = sum(piece.shape[0] for piece in pieces)
        if len(pieces) != len(chunks) or len({piece.dtype for piece in pieces}) > 1 or math.prod(shape) != numbers:
            self.refuse("has a cut array that its pieces do not make up")
        return Entry(pieces[0].dtype, shape, pieces[0].begin), pieces

    def count(self, code: int, fixed: int, wide: int) -> int:
        """How long a map or array is: in the low half of its code, or in the 2 or 4 bytes after it."""
        if fixed <= code < fixed + 16:
            return code - fixed
        if code not in (wide, wide + 1):
            self.refuse(f"has msgpack type {code:#04x} in place of a list")
        return self.number(2 if code == wide else 4)

    def integer(self, code: int) -> int:
        if code <= 0x7F:
            return code
        if not 0xCC <= code <= 0xCF:
            self.refuse(f"has msgpack type {code:#04x} in place of a natural number")
        return self.number(1 << (code - 0xCC))

    def string(self) -> str:
        code = self.number(1)
        size = code - 0xA0 if 0xA0 <= code <= 0xBF else self.number(1) if code == 0xD9 else LONGEST + 1
        raw = self.data[self.at : self.at + size]
        self.at += size
        if size > LONGEST or len(raw) < size:
            self.refuse("has a key that is no name")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse("has a key that is no name")

    def number(self, size: int) -> int:
        raw = self.data[self.at : self.at + size]
        if len(raw) < size:
            self.refuse("ends in the middle: cut short? Get the file again")
        self.at += size
        return int.from_bytes(raw, "big")

    def refuse(self, why: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: {why}")

"""One tf_model.h5 as named arrays: what Keras wrote of a TensorFlow DistilBERT, under PyTorch's names.

    distilbert/                                         a layer of the model, as a group
      tf_distil_bert_for_masked_lm/                     the model: level zero of the name, dropped
        distilbert/transformer/layer_._0/ffn/lin1/      the name
          kernel:0                                      (in, out), where torch has (out, in)
          bias:0

The rules for names are those of foreign_names.py. Keras lists an array again under every layer that uses it (the
vocabulary's projection uses the embeddings); only the one under the layer its own name begins with counts.

HDF5 is a file system in a file. Its library, libhdf5, is a large parser in C that had its share of holes: mutated files
made it fill the memory, hang, and crash. Keras uses the oldest and plainest tenth of the format, which this file reads
by itself, and refuses the rest: chunks, filters, data in other files, links out of the file, newer structures.

    superblock -> object header of the root group
    object header: messages. A group's: where its B-tree and its heap are. A dataset's: shape, type, where the data is
    B-tree -> symbol nodes -> (place of a name in the heap, object header) for every member of the group
"""

import math
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import CheckpointError
from .foreign_names import of_tensorflow, turned
from .mapped import Entry, map_file, take

MOST = 10_000  # members of groups; a DistilBERT's have 250, one of 48 layers 2,000
MOST_STEPS = 20 * MOST  # nodes and messages
DEEPEST = 16  # groups within groups; a DistilBERT's are 9
MOST_DIMENSIONS = 8
LONGEST_NAME = 300  # of a group; and of all groups an array lies in, one after the other, LONGEST
LONGEST = 600  # or a few groups of long names, one in the other, would make a gigabyte of names out of 400 kB
NOWHERE = (1 << 64) - 1
SIGNATURE = b"\x89HDF\r\n\x1a\n"
SPACE, LINK_INFO, TYPE, LINK, EXTERNAL, LAYOUT, FILTERS, CONTINUED, GROUP = 1, 2, 3, 6, 7, 8, 11, 16, 17  # messages
FLOAT, SOFT_LINK = 1, 2
_FLOATS = {  # size -> sign bit; then offset, precision, exponent at and bits, mantissa at and bits, bias: IEEE 754
    2: ("F16", 15, (0, 16, 10, 5, 0, 10, 15)),
    4: ("F32", 31, (0, 32, 23, 8, 0, 23, 127)),
    8: ("F64", 63, (0, 64, 52, 11, 0, 52, 1023)),
}
_FLOAT_PROPERTIES = struct.Struct("<2H4BI")


class H5File:
    """An open file: `entries` (name -> Entry), and `array` to take one.

    Raises CheckpointError if the file is not such as Keras writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = map_file(path)
        self.entries = _Walk(path, self._map).entries

    def array(self, name: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """The array in float32 or float64, a read-only view if the file holds that type so, else a copy.

        Raises CheckpointError for any type in the file that is no float.
        """
        return take(self.path, self._map, name, self.entries[name], dtype)


def torch_name(path: str) -> str | None:
    """PyTorch's name for a path in the file; None for an array that stands there for the second time.

    >>> torch_name("distilbert/tf_distil_bert_model/distilbert/transformer/layer_._0/ffn/lin1/kernel:0")
    'distilbert.transformer.layer.0.ffn.lin1.weight'
    >>> torch_name("vocab_projector/tf_distil_bert_for_masked_lm/distilbert/embeddings/word_embeddings/weight:0")
    """
    layer, *name = path.split("/")
    name = name[1:] if len(name) > 1 else name
    if not name or (name[0] != layer and len(name) > 1):
        return None
    return of_tensorflow("/".join(name))


class _Walk:
    """All arrays of a file, found from the root down. It ends after so many steps, whatever the file says."""

    def __init__(self, path: Path, data: Any) -> None:
        self.path = path
        self.data = data
        self.entries: dict[str, Entry] = {}
        self.members = self.steps = 0
        if self.data[:8] != SIGNATURE:
            self.refuse("not an HDF5 file")
        if self.number(8, 1) != 0 or (self.number(13, 1), self.number(14, 1)) != (8, 8) or self.number(24, 8) != 0:
            self.refuse("written in a newer form of HDF5 than Keras writes")
        self.visit(self.number(64, 8), "", 0)

    # Objects

    def visit(self, header: int, place: str, depth: int) -> None:
        """A group or a dataset, by the address of its header."""
        if depth > DEEPEST or len(place) > LONGEST:
            self.refuse("has more in it, or deeper, than any model")
        messages = self.messages(header)
        if GROUP in messages:
            at, _ = messages[GROUP]
            heap = self.heap(self.number(at + 8, 8))
            for name, child in self.children(self.number(at, 8), heap):
                self.visit(child, f"{place}/{name}".removeprefix("/"), depth + 1)
        elif LAYOUT in messages:
            known_as = torch_name(place)
            if known_as in self.entries:
                self.refuse(f"has {known_as!r:.200} twice")
            if known_as is not None:
                self.entries[known_as] = self.entry(place, messages)
        elif LINK_INFO in messages or LINK in messages:
            self.refuse("has links, or a newer form of groups, that Keras does not write")

    def messages(self, header: int) -> dict[int, tuple[int, int]]:
        """Kind -> place and size of the messages of an object, the first one of each kind."""
        if self.number(header, 1) != 1:
            self.refuse("written in a newer form of HDF5 than Keras writes")
        count = self.number(header + 2, 2)
        blocks = [(header + 16, self.number(header + 8, 4))]
        found: dict[int, tuple[int, int]] = {}
        for begin, length in blocks:  # grows while it is walked, by at most `count`
            at = begin
            while count and at + 8 <= begin + length:
                self.step()
                kind, size, flags = self.number(at, 2), self.number(at + 2, 2), self.number(at + 4, 1)
                if kind == CONTINUED:
                    blocks.append((self.number(at + 8, 8), self.number(at + 16, 8)))
                elif kind in (SPACE, TYPE, LAYOUT, GROUP) and flags & 2:
                    self.refuse("shares descriptions between arrays, which Keras does not")
                found.setdefault(kind, (at + 8, size))
                at, count = at + 8 + size, count - 1
        return found

    # Groups

    def children(self, node: int, heap: tuple[int, int]) -> list[tuple[str, int]]:
        """Names and header addresses of the members below a node of a group's B-tree; soft links are left out."""
        nodes, members = [node], []
        for at in nodes:  # grows while it is walked; a circle of nodes ends by its steps
            self.step()
            sign = bytes(self.data[at : at + 4])
            if sign == b"TREE":
                used = self.number(at + 6, 2)
                self.steps += used
                nodes += [self.number(at + 32 + 16 * i, 8) for i in range(used)]
            elif sign == b"SNOD":
                for symbol in range(at + 8, at + 8 + 40 * self.number(at + 6, 2), 40):
                    self.members += 1
                    if self.members > MOST:
                        self.refuse("has more in it, or deeper, than any model")
                    if self.number(symbol + 16, 4) != SOFT_LINK:
                        members.append((self.name(heap, self.number(symbol, 8)), self.number(symbol + 8, 8)))
            else:
                self.refuse("has a group that is broken; get the file again")
        return members

    def heap(self, at: int) -> tuple[int, int]:
        """Place and size of the memory in which a group's names lie."""
        if bytes(self.data[at : at + 4]) != b"HEAP":
            self.refuse("has a group that is broken; get the file again")
        return self.number(at + 24, 8), self.number(at + 8, 8)

    def name(self, heap: tuple[int, int], offset: int) -> str:
        begin, size = heap
        raw = bytes(self.data[begin + offset : begin + min(size, offset + LONGEST_NAME)]) if offset < size else b""
        text, end, _ = raw.partition(b"\0")
        try:
            name = text.decode("utf-8")
        except UnicodeDecodeError:
            name = ""
        if not end or not name:
            self.refuse("has a group that is broken; get the file again")
        return name

    # Datasets

    def entry(self, place: str, messages: dict[int, tuple[int, int]]) -> Entry:
        """Where a dataset lies, once it is certain to lie in one piece in this file."""
        if SPACE not in messages or TYPE not in messages:
            self.refuse(f"{place!r:.200} has no shape or no type; get the file again")
        shape, (code, width) = self.shape(place, messages[SPACE][0]), self.type(messages[TYPE][0])
        if not width:
            return Entry(code, shape, 0)
        at, _ = messages[LAYOUT]
        version, kind = self.number(at, 1), self.number(at + 1, 1)
        begin, size = (self.number(at + 2, 8), self.number(at + 10, 8)) if (version, kind) == (3, 1) else (0, -1)
        if {FILTERS, EXTERNAL} & set(messages) or begin == NOWHERE or size != math.prod(shape) * width:
            self.refuse(f"{place!r:.200} is not stored in one piece, as Keras does; save the file again")
        entry = Entry(code, shape, begin)
        return turned(entry) if place.endswith(("/kernel:0", "/kernel")) else entry

    def shape(self, place: str, at: int) -> tuple[int, ...]:
        version, rank = self.number(at, 1), self.number(at + 1, 1)
        if version not in (1, 2) or rank > MOST_DIMENSIONS:
            self.refuse(f"{place!r:.200} has {rank} dimensions in a form that Keras does not write")
        first = at + (8 if version == 1 else 4)
        return tuple(self.number(first + 8 * i, 8) for i in range(rank))

    def type(self, at: int) -> tuple[str, int]:
        """A float's name and bytes; for anything else, which no weights are, something to show and 0."""
        kind, bits, size = self.number(at, 1) & 15, self.number(at + 1, 3), self.number(at + 4, 4)
        name, sign, properties = _FLOATS.get(size, ("", 0, ()))
        little_endian_ieee = bits & 0xFF41 == sign << 8 and bits >> 4 & 3 == 2  # implied bit of the mantissa
        if kind == FLOAT and little_endian_ieee and _FLOAT_PROPERTIES.unpack(self.bytes(at + 8, 12)) == properties:
            return name, size
        return f"HDF5's type {kind} of {size} bytes", 0

    # Bytes

    def bytes(self, at: int, size: int) -> bytes:
        if at < 0 or at + size > len(self.data):
            self.refuse("ends too early: cut short? Get the file again")
        return bytes(self.data[at : at + size])

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.bytes(at, size), "little")

    def step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            self.refuse("has more in it, or deeper, than any model")

    def refuse(self, why: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: {why}")

"""One .safetensors file as named arrays: the header believed only when checked, the data mapped and not copied.

    8 bytes          length n of the header, little-endian
    n bytes          JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
    the rest         the arrays one after the other, without holes

The safetensors library opens the file first and checks the header by its own rules (length, offsets without holes or
overlap, shape times dtype equal to the bytes, the whole equal to the file's size). It gives no offsets, and its NumPy
side cannot give BF16 at all, since NumPy has no such type; so the checked header is read a second time here, and arrays
are taken straight from a memory map. Taking is bounds-checked again by `np.frombuffer`: should someone swap the file
between the two looks, the outcome is an error.

F32 read as float32 is a view of the map: no bytes are copied, none are even read from disk until they are used, and two
processes share them. It is read-only. Cutting the file short while it is mapped kills the process (SIGBUS), which is
why nobody should ever write over a model in place; replace it by renaming. Widening is exact. BF16 is the upper half of
a float32, so widening it is a shift by 16 bits.
"""

import json
import math
import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open

from .errors import CheckpointError

FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # BF16: the bits
_BYTES = FLOATS | {"I8": "|i1"}
MAX_HEADER = (
    4 << 20
)  # the library allows 100 MB, a second's work and several times that in memory; DistilBERT's has 12 kB


class Entry(NamedTuple):
    """What the header says of one array."""

    dtype: str  # as safetensors writes it: "F32"
    shape: tuple[int, ...]
    begin: int  # in bytes of the file
    end: int


class SafetensorsFile:
    """An open file: `entries` (name -> Entry), `metadata` (str -> str), and `array` to take one.

    Raises CheckpointError where the file is not safetensors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                if int.from_bytes(file.read(8), "little") > MAX_HEADER:
                    raise CheckpointError(f"{path}: not safetensors, or its header is longer than {MAX_HEADER} bytes")
            with safe_open(str(path), framework="numpy"):  # checks the header, touches no data
                pass
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            start = 8 + int.from_bytes(self._map[:8], "little")
            header = json.loads(self._map[8:start], object_pairs_hook=_unique)
            self.metadata: dict[str, str] = header.pop("__metadata__", None) or {}
            self.entries = {
                name: Entry(row["dtype"], tuple(row["shape"]), *(start + offset for offset in row["data_offsets"]))
                for name, row in header.items()
            }
        except CheckpointError:
            raise
        # What is not SafetensorError or OSError comes from the second look, at a header the library let pass.
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:300]  # it may quote the file
            raise CheckpointError(f"{path}: not a readable safetensors file ({reason})") from None

    def array(self, name: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """The array in float32 or float64, a read-only view where the file holds that type aligned, else a copy.

        Raises CheckpointError for any type in the file that is no float.
        """
        bits = self.entries[name].dtype
        if bits not in FLOATS:
            raise CheckpointError(f"{self.path}: {name} is {bits}; weights are {', '.join(FLOATS)}")
        stored = self.raw(name)
        if bits == "BF16":
            stored = (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
        with np.errstate(over="ignore"):  # F64 beyond float32 becomes inf, which `loading` reports by name
            array = stored.astype(dtype, copy=False)
        # Headers are padded so that data lies aligned, but the format does not demand it, and kernels do.
        return array if array.flags.aligned else array.copy()

    def raw(self, name: str) -> NDArray[Any]:
        """The bytes of the array as NumPy's nearest type (BF16: uint16), as a view. For float types and I8."""
        entry = self.entries[name]
        if entry.dtype not in _BYTES:
            raise CheckpointError(f"{self.path}: {name} is {entry.dtype}, which is not read")
        try:
            flat = np.frombuffer(self._map, _BYTES[entry.dtype], math.prod(entry.shape), entry.begin)
        except ValueError as error:
            raise CheckpointError(f"{self.path}: {name} does not lie within the file ({error})") from None
        return flat.reshape(entry.shape)


def release(array: NDArray[Any]) -> None:
    """Take the pages of the file that `array` is a view of out of this process's memory, where it is one.

    Nothing is lost: they stay in the system's file cache and come back when touched. For whoever has made a copy.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in the header twice")
    return found

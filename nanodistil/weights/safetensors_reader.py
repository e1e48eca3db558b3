"""One .safetensors file as named arrays: the header believed only when checked, the data mapped and not copied.

    8 bytes          length n of the header, little-endian
    n bytes          JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
    the rest         the arrays one after the other, without holes

The safetensors library opens the file first and checks the header by its own rules (length, offsets without holes or
overlap, shape times dtype equal to the bytes, the whole equal to the file's size). It gives no offsets, and its NumPy
side cannot give BF16 at all, since NumPy has no such type; so the checked header is read a second time here, and arrays
are taken straight from a memory map (mapped.py). Taking is bounds-checked again by `np.frombuffer`: should someone swap
the file between the two looks, the outcome is an error.

Cutting the file short while it is mapped kills the process (SIGBUS), which is why nobody should ever write over a model
in place; replace it by renaming.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open

from .errors import CheckpointError
from .mapped import Entry, map_file, stored, take

MAX_HEADER = 1 << 20  # bytes; the library allows 100 MB, a second's work and a gigabyte; DistilBERT's has 12 kB
MOST_DIMENSIONS = 8
MOST_METADATA = 1000  # entries


class SafetensorsFile:
    """An open file: `entries` (name -> Entry), `metadata` (str -> str), and `array` to take one.

    Raises CheckpointError if the file is not safetensors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._map = map_file(path)
            if self._map[:4] == b"PK\3\4" or (self._map[:1] == b"\x80" and self._map[2:3] in (b"\x8a", b"\x95")):
                raise CheckpointError(f"{path}: is what torch.save writes: name it pytorch_model.bin")
            if int.from_bytes(self._map[:8], "little") > MAX_HEADER:
                raise CheckpointError(f"{path}: not safetensors, or its header is longer than {MAX_HEADER} bytes")
            with safe_open(str(path), framework="numpy"):  # checks the header, touches no data
                pass
            start = 8 + int.from_bytes(self._map[:8], "little")
            header = json.loads(self._map[8:start], object_pairs_hook=_unique)
            self.metadata: dict[str, str] = header.pop("__metadata__", None) or {}
            deepest = max((len(row["shape"]) for row in header.values()), default=0)
            if len(self.metadata) > MOST_METADATA or deepest > MOST_DIMENSIONS:
                raise CheckpointError(f"{path}: has more metadata, or an array of more dimensions, than any model")
            self.entries = {
                name: Entry(row["dtype"], tuple(row["shape"]), start + row["data_offsets"][0])
                for name, row in header.items()
            }
        except CheckpointError:
            raise
        # What is not SafetensorError or OSError comes from the second look, at a header the library let pass.
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:300]  # it may quote the file
            raise CheckpointError(f"{path}: not a readable safetensors file ({reason})") from None

    def array(self, name: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """The array in float32 or float64, a read-only view if the file holds that type aligned, else a copy.

        Raises CheckpointError for any type in the file that is no float.
        """
        return take(self.path, self._map, name, self.entries[name], dtype)

    def raw(self, name: str) -> NDArray[Any]:
        """The array as it lies in the file, a view: for I8, which is no float but means one in quantization.py."""
        try:
            return stored(self._map, self.entries[name])
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{self.path}: {name} does not lie within the file ({error})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in the header twice")
    return found

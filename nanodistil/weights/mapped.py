"""What all weight files come down to: a mapped file, and for each array where in it the numbers lie.

However different the formats are in how they *describe* arrays (JSON, a pickle program, a B-tree, msgpack), the numbers
themselves lie in all of them as plain little-endian memory. So a reader's whole work is to turn a description into
`Entry` rows, without touching the data, and one function takes an array from any of them. It maps and does not read: a
float32 array is a view of the file, costs nothing until it is used, and two processes share it.

A reader is a class with `path`, `entries` (name -> Entry) and `array(name, dtype)`:

    safetensors_reader.py   SafetensorsFile     model.safetensors
    torch_file.py           TorchFile           pytorch_model.bin
    h5_file.py              H5File              tf_model.h5
    msgpack_file.py         MsgpackFile         flax_model.msgpack

Entries may lie: they come from a stranger's file. A reader checks what its format promises, and taking is checked once
more against the size of the map, so a lie ends in an error and not beyond the file.
"""

import math
import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import CheckpointError

FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # BF16: the bits, as NumPy has no such type
WIDTHS = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}  # bytes a number
_TYPES = FLOATS | {"I8": "|i1"}


class Entry(NamedTuple):
    """What a file says of one array."""

    dtype: str  # as safetensors writes it: "F32"
    shape: tuple[int, ...]
    begin: int  # in bytes of the file
    strides: tuple[int, ...] | None = None  # in numbers, if the array is not in C order


def map_file(path: Path) -> mmap.mmap:
    """The whole file, mapped for reading.

    Raises CheckpointError if it is missing, empty or not readable, or what stands in its place when a download went
    wrong.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise CheckpointError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    start = data[:100].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path}: is only a pointer to the file: run `git lfs pull` in its folder")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{path}: is a web page and not the file; get it again")
    return data


def stored(data: mmap.mmap, entry: Entry) -> NDArray[Any]:
    """The array as it lies in the file, a read-only view. For float types (BF16: uint16) and I8.

    Raises ValueError if it does not lie within the file.
    """
    numbers = np.dtype(_TYPES[entry.dtype])
    if entry.strides is None:
        return np.frombuffer(data, numbers, math.prod(entry.shape), entry.begin).reshape(entry.shape)
    strides = tuple(numbers.itemsize * stride for stride in entry.strides)
    return np.ndarray(entry.shape, numbers, data, entry.begin, strides)


def take(path: Path, data: mmap.mmap, name: str, entry: Entry, dtype: DTypeLike) -> NDArray[Any]:
    """The array in float32 or float64, in C order and aligned: a view if the file has it so, else a copy.

    Widening is exact; BF16 is the upper half of a float32, so widening it is a shift by 16 bits.
    Raises CheckpointError for a type that is no float, and if the array does not lie within the file.
    """
    if entry.dtype not in FLOATS:
        raise CheckpointError(f"{path}: {name} is {entry.dtype}; weights are {', '.join(FLOATS)}")
    try:
        view = stored(data, entry)
    except (ValueError, OverflowError) as error:
        raise CheckpointError(f"{path}: {name} does not lie within the file ({error})") from None
    array = (view.astype(np.uint32) << np.uint32(16)).view(np.float32) if entry.dtype == "BF16" else view
    with np.errstate(over="ignore"):  # F64 beyond float32 becomes inf, which `loading` reports by name
        array = array.astype(dtype, order="C", copy=False)
    if not array.flags.aligned:  # no format demands that data lies aligned, but kernels do
        array = array.copy()
    if not np.may_share_memory(array, view):
        release(view)
    return array


def release(array: NDArray[Any]) -> None:
    """Take the pages of the file that `array` is a view of out of this process's memory, if it is one.

    Nothing is lost: they stay in the system's file cache and come back when touched. For whoever has made a copy.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)

"""Maps that a file stores turned, or several of them side by side, as GPT-2 does: taken apart, and put together again.

    file       attn.c_attn.weight (D, 3D)     in by out: x W, and q, k and v next to each other
    here       q_lin, k_lin, v_lin (D, D)     out by in: x W^T, each by itself

Names are settled by renamed.py, which calls the parts of `c_attn` by names of their own; here are the numbers. A part
of a file looks like a file to whoever reads it, so that names and shapes are compared before any data is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .quantization import is_quantized, misfits, read_quantized
from .safetensors_reader import SafetensorsFile


class Part(NamedTuple):
    """Which part of a stored array: number `number` of `of` maps that lie side by side."""

    name: str
    number: int
    of: int

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """(in, of * out) -> (out, in); (of * out,) -> (out,).

        >>> Part("q", 0, 3).shape((4, 12)), Part("q", 0, 3).shape((12,)), Part("q.bias", 0, 3).shape((1, 12))
        ((4, 4), (4,), (4,))
        """
        *inner, last = stored if stored else (0,)
        if self.name.endswith(".bias") and inner == [1]:  # as TensorFlow's files have it
            inner = []
        return (last // self.of if last % self.of == 0 else last, *inner)

    def taken(self, stored: NDArray[Any]) -> NDArray[Any]:
        """The numbers, laid out anew."""
        width = stored.shape[-1] // self.of
        if self.name.endswith(".bias"):
            stored = stored.reshape(-1)
        return np.ascontiguousarray(stored[..., self.number * width : (self.number + 1) * width].T)


class PartOfFile:
    """A part of one array of a file, as a file that has nothing else."""

    def __init__(self, file: Any, name: str, part: Part) -> None:
        stored = file.entries[name]
        self.file, self.part, self.path = file, part, file.path
        self.rounded = isinstance(file, SafetensorsFile) and is_quantized(file, name) and not misfits(file, name)
        dtype = "F16" if self.rounded else stored.dtype  # as its scales are
        self.entries = {name: SimpleNamespace(shape=part.shape(stored.shape), dtype=dtype)}

    @property
    def note(self) -> str:
        """What the file has to say."""
        return getattr(self.file, "note", "")

    def array(self, name: str, dtype: Any) -> NDArray[Any]:
        """The part, in this dtype."""
        stored = read_quantized(self.file, name, dtype) if self.rounded else self.file.array(name, dtype)
        return self.part.taken(stored)


def taken_apart(arrays: Mapping[Any, Any], table: Any) -> dict[Any, Any]:
    """A state dict whose maps are each by themselves. table: the family's names."""
    apart: dict[Any, Any] = {}
    for name, value in arrays.items():
        parts = table.parts(name) if isinstance(name, str) else ()
        if parts and hasattr(value, "detach"):
            value = value.detach().cpu().float().numpy() if "16" in str(value.dtype) else value.detach().cpu().numpy()
        if parts and getattr(value, "ndim", 0) in (1, 2) and value.shape[-1] % parts[0].of == 0:
            apart |= {part.name: part.taken(value) for part in parts}
        else:
            apart[name] = value
    return apart


def put_together(arrays: Mapping[str, NDArray[Any]], table: Any) -> dict[str, NDArray[Any]]:
    """And back: arrays under the family's names, as its files have them."""
    stored: dict[str, NDArray[Any]] = {}
    for name in arrays:
        whole = table.whole(name)
        parts = [arrays[part.name].T for part in table.parts(whole)]
        if whole not in stored:
            stored[whole] = np.concatenate(parts, axis=-1) if parts else arrays[name]
    return stored

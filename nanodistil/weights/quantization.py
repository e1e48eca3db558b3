"""int8 weights: a quarter of float32's bytes for a little noise. This is how the embedded model fits into a wheel.

A row of a weight matrix is cut into groups of consecutive numbers. A group is stored as integers from -127 to 127 and
one scale, and means `integer * scale`. With scale = (largest magnitude of the group) / 127 a number is off by at most
half a scale, so what hurts is one large number among small ones: it sets the scale for all of its group. Hence groups:
the shorter they are, the fewer small numbers share their scale with a large one, and the more scales are stored.

Scales are float16. An int8 has 7 bits and a float16 11, so their product has at most 18 and is exact in float32: models
in float32 and float64 get the same numbers. A scale is rounded before the integers are chosen for it, so rounding it
costs next to nothing.

In the file, `name` is I8 (rows, columns) and `name.scale` is F16 (rows, groups); the metadata names the format. Biases,
LayerNorms, positions and vocab_transform (which every prediction passes through), 2 % of the numbers, are float16. What
that costs: tests/bench/mini_rounding.py, and the model's card, nanodistil-mini/README.md. To make it of float weights:

    python -m nanodistil.weights.quantization FOLDER OUTPUT_FOLDER
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import CheckpointError, excerpt
from .files import WEIGHTS
from .safetensors_reader import SafetensorsFile

FORMAT = {"format": "nanodistil-int8/1"}  # one entry, as the library writes several in random order; /1: the version
SCALE = ".scale"
GROUP = 32  # numbers that share a scale in the files written here; files may differ
FLOAT16 = ("position_embeddings", "wpe.", "vocab_transform")  # matrices written as float16


def quantize_rows(
    weight: NDArray[np.floating[Any]],  # (rows, columns)
    group: int = GROUP,  # numbers that share a scale; divides columns
) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """(rows, columns) -> integers (rows, columns) and scales (rows, columns / group).

    >>> integers, scales = quantize_rows(np.array([[0.5, -1.0, 64.0, 127.0]], np.float32), group=2)
    >>> integers.tolist(), scales.astype(float).round(4).tolist()
    ([[64, -127, 64, 127]], [[0.0079, 1.0]])
    """
    rows, columns = weight.shape
    w = weight.reshape(rows, columns // group, group).astype(np.float32)
    scales = (np.abs(w).max(-1, keepdims=True) / 127).astype(np.float16)  # (rows, groups, 1)
    divisor = np.where(scales == 0, 1, scales).astype(np.float32)
    integers = np.clip(np.rint(w / divisor), -127, 127).astype(np.int8)
    return integers.reshape(rows, columns), scales[..., 0]


def dequantize_rows(
    integers: NDArray[np.int8],  # (rows, columns)
    scales: NDArray[np.floating[Any]],  # (rows, groups); groups divides columns
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Integers times their group's scale, (rows, columns) in dtype; exact for float16 scales.

    >>> dequantize_rows(np.array([[64, -127, 64, 127]], np.int8), np.array([[0.5, 1.0]], np.float16)).tolist()
    [[32.0, -63.5, 64.0, 127.0]]
    """
    rows, columns = integers.shape
    groups = scales.shape[1]
    w = integers.astype(dtype).reshape(rows, groups, columns // groups)
    w *= scales.astype(dtype)[:, :, None]
    return w.reshape(rows, columns)


def is_quantized(file: SafetensorsFile, name: str) -> bool:
    """Whether an array of a file is int8 with scales: the file says so in its metadata, and the array is I8."""
    return _format(file).startswith("nanodistil-int8") and file.entries[name].dtype == "I8"


def is_scale(file: SafetensorsFile, name: str) -> bool:
    """Whether an array is the scales of another, and no weight."""
    owner = name.removesuffix(SCALE)
    return owner != name and owner in file.entries and is_quantized(file, owner)


def misfits(file: SafetensorsFile, name: str) -> list[str]:
    """What is wrong with a quantised array and its scales, judged by the header alone; empty if nothing is."""
    if _format(file) != FORMAT["format"]:
        return [f"{name} is {excerpt(_format(file))}, this package reads {FORMAT['format']!r}"]
    scale = file.entries.get(name + SCALE)
    shape = file.entries[name].shape
    fits = (
        scale is not None
        and scale.dtype in ("F16", "F32")
        and len(shape) == len(scale.shape) == 2
        and shape[0] == scale.shape[0]
        and scale.shape[1] > 0
        and shape[1] % scale.shape[1] == 0
    )
    return [] if fits else [f"{name + SCALE} is {scale and (scale.dtype, scale.shape)}, which does not fit {shape}"]


def _format(file: SafetensorsFile) -> str:
    return str(file.metadata.get("format"))


def read_quantized(file: SafetensorsFile, name: str, dtype: DTypeLike) -> NDArray[Any]:
    """The array `name` and its scales -> the weights, in dtype. `misfits` has found none."""
    return dequantize_rows(file.raw(name), file.array(name + SCALE, dtype), dtype)


def write(source: Path, target: Path) -> None:
    """Read the float weights of the folder `source`, write `target`/model.safetensors with int8 matrices."""
    from .safetensors_writer import write_safetensors
    from .saving import written

    file = SafetensorsFile(source / WEIGHTS)
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in file.entries.items():
        weight = file.array(name)
        if len(entry.shape) == 2 and not any(part in name for part in FLOAT16) and entry.shape[1] % GROUP == 0:
            arrays[name], arrays[name + SCALE] = quantize_rows(weight)
        else:
            arrays[name] = weight.astype(np.float16)
        if not np.isfinite(arrays.get(name + SCALE, arrays[name])).all():
            raise CheckpointError(f"{source}: {name} does not fit float16")
    written(target / WEIGHTS, lambda path: write_safetensors(path, arrays, FORMAT))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m nanodistil.weights.quantization FOLDER OUTPUT_FOLDER")
    write(Path(sys.argv[1]), Path(sys.argv[2]))

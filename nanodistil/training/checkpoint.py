"""A checkpoint of training: the weights, Adam's two moments and the number of steps done, in one file.

That is the whole state. Whatever is random in a step is a function of the seed and the step's number (loop.py), so
there is no generator to save, and no position in the data either.

The file is a .safetensors file, with arrays "flat", "m" and "v", and in its header's metadata

    step       how many optimiser steps are done
    settings   which settings made it: a digest of them (run.py)
    meter      sums since the last line of the log, as JSON: so the log, too, goes on as if nothing had happened; in
               float16 also the loss's scale (loss_scale.py)
    sha256     of all of the above, arrays included

It is written to a temporary name, forced to the disk and renamed, so a kill leaves the old files as they were. The
digest finds what renaming cannot prevent: disks that lie, copies that were cut short.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.safetensors_reader import SafetensorsFile
from nanodistil.weights.safetensors_writer import write_safetensors
from nanodistil.weights.saving import written
from nanodistil.weights.small_files import FOR_SETTINGS, parsed

DTYPES = {"float32": "F32", "float64": "F64"}
ARRAYS = ("flat", "m", "v")


class Checkpoint(NamedTuple):
    """What is saved; the arrays are (n,) each, of one dtype."""

    step: int
    settings: str
    meter: dict[str, float]
    flat: Array
    m: Array
    v: Array


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write it whole or not at all. Raises InputError if the disk does not take it."""
    arrays = {name: np.ascontiguousarray(getattr(checkpoint, name)) for name in ARRAYS}
    written(path, lambda fresh: write_safetensors(fresh, arrays, _metadata(checkpoint)))


def read(path: Path) -> Checkpoint:
    """The file's checkpoint; its arrays are read-only views of the file.

    Raises CheckpointError if it is damaged: cut short, changed, or no checkpoint at all.
    """
    file = SafetensorsFile(path)
    try:
        dtype = {short: long for long, short in DTYPES.items()}[file.entries["flat"].dtype]
        flat, m, v = (file.array(name, dtype) for name in ARRAYS)
        step, meter = int(file.metadata["step"]), parsed(file.metadata["meter"], FOR_SETTINGS)
        checkpoint = Checkpoint(step, file.metadata["settings"], meter, flat, m, v)
        whole = _metadata(checkpoint) == file.metadata
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: is no checkpoint of a training run ({error})") from None
    if not whole:
        raise CheckpointError(f"{path}: is damaged, its digest does not fit its data")
    return checkpoint


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    meta = {
        "step": str(checkpoint.step),
        "settings": checkpoint.settings,
        "meter": json.dumps(checkpoint.meter, sort_keys=True),
    }
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in ARRAYS:
        digest.update(np.ascontiguousarray(getattr(checkpoint, name)).data)
    return meta | {"sha256": digest.hexdigest()}

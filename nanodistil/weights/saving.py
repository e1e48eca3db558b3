"""Writing a model's folder: config.json and model.safetensors, each whole or not at all.

A file is written under a temporary name beside its place, forced to the disk and then renamed, which replaces an older
one in one step. So a crash or a full disk leaves the old file or none, and a process that has the old weights mapped
into memory keeps them. The metadata {"format": "pt"} is what transformers asks for: 4.x refuses a file that says "np".
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from .errors import InputError
from .files import WEIGHTS


def save(folder: Path, config: str, arrays: dict[str, NDArray[Any]]) -> None:
    """Write config.json and model.safetensors. Raises InputError where the folder cannot be made or written."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    written(folder / WEIGHTS, lambda path: save_file(contiguous, path, {"format": "pt"}))
    written(folder / "config.json", lambda path: path.write_text(config, encoding="utf-8"))


def written(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a temporary file, which then takes the place of `path`; folders are made as needed.

    Raises InputError, and leaves nothing behind, where that fails.
    """
    fresh: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        fresh = Path(name)
        os.close(number)
        write(fresh)
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        fresh.chmod(0o666 & ~mask)  # mkstemp's 0600 is for secrets
        os.replace(fresh, path)
    except (OSError, ValueError, SafetensorError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    finally:
        if fresh is not None:
            fresh.unlink(missing_ok=True)

"""Packed files: their endings, and what unpacks them and packs them.

.zst is Python's own from 3.14 on, and before that what the extra brings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import IO, Any

from nanodistil.weights.errors import MissingExtraError

ENDINGS = (".gz", ".xz", ".bz2", ".zst")
MODULES = {".xz": "lzma", ".bz2": "bz2"}


def ending_of(file: str) -> str:
    """
    >>> ending_of("a.csv.GZ"), ending_of("a.csv")
    ('.gz', '')
    """
    ending = os.path.splitext(file.lower())[1]
    return ending if ending in ENDINGS else ""


def opener(ending: str) -> Callable[[Any, str], IO[bytes]]:
    """What opens a file object, "rb" or "wb", that is packed as its ending says. Raises MissingExtraError for .zst."""
    if ending == ".gz":  # without a name and a time: the name would be the temporary one, and the same bytes are wanted
        return lambda file, mode: import_module("gzip").GzipFile("", mode, fileobj=file, mtime=0)
    if ending != ".zst":
        return lambda file, mode: import_module(MODULES[ending]).open(file, mode)
    try:
        module = import_module("compression.zstd")
    except ImportError:
        try:
            module = import_module("zstandard")
        except ImportError as error:
            raise MissingExtraError(f'.zst needs zstandard ({error}): pip install "nanodistil[zst]"') from None
        return lambda file, mode: (
            module.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            if mode == "rb"
            else module.ZstdCompressor().stream_writer(file, closefd=False)
        )
    return lambda file, mode: module.open(file, mode)

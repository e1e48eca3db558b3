"""The CUDA C kernels beside this file, as CuPy wants them: one text each, compiled once a process.

The sources stand in cuda/, a file an op. Their `#include "..."` lines are resolved here, each file once, so that
nothing but a string reaches NVRTC (CuPy's compiler, which comes with it and needs no CUDA toolkit); `#line` keeps its
messages pointing at the file a reader has. What a kernel is specialised for, such as the stored type or the width of a
head, is a macro: `compiled("layer_norm.cu", STORED="float16", PIECES=3)`.

CuPy keeps compiled kernels in ~/.cupy/kernel_cache, or where CUPY_CACHE_DIR says, and cannot even be imported where it
may not write. In a container without a home of its own that would be the end; so before the first import the folder is
tried, and if it fails a temporary one stands in, which lives as long as the process. Whoever needs CuPy in this
package therefore takes it from here: `from .cuda_source import cupy`.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent / "cuda"
TYPES = {"float32": "float", "float16": "float16", "bfloat16": "bfloat16"}  # dtype -> type in the sources
INCLUDE = re.compile(r'^#include "([\w.]+)"$', re.MULTILINE)


def cache_folder() -> Path:
    """Where CuPy keeps what it has compiled. Raises RuntimeError if the user has no home."""
    return Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")


def settle_cache() -> None:
    """See to it that CuPy finds a folder it may write to."""
    if "cupy" in sys.modules:
        return
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        try:
            folder = Path(tempfile.mkdtemp(prefix="nanodistil-cupy-"))  # mode 0700
        except OSError:
            raise ImportError("there is no folder for its kernels: set CUPY_CACHE_DIR or TMPDIR to one") from None
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["CUPY_CACHE_DIR"] = str(folder)


settle_cache()
import cupy  # noqa: E402


@cache
def source(file: str) -> str:
    """A file of cuda/ with its includes in place: the text that is compiled."""
    seen: set[str] = set()

    def read(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        pieces = [f'#line 1 "{name}"\n']
        for number, line in enumerate((SOURCES / name).read_text(encoding="utf-8").splitlines(keepends=True), 1):
            include = INCLUDE.match(line)
            pieces.append(f'{read(include[1])}#line {number + 1} "{name}"\n' if include else line)
        return "".join(pieces)

    return read(file)


@cache
def compiled(file: str, **defines: str | int) -> Any:
    """The kernels of a file, a cupy.RawModule, with these macros defined: `.get_function(name)` gives one.

    Compiled when a kernel is first asked for, tenths of a second a file, or loaded from CuPy's folder.
    """
    options = ("-std=c++17", *(f"-D{name}={value}" for name, value in sorted(defines.items())))
    return cupy.RawModule(code=source(file), options=options, backend="nvrtc")

"""How kernels are compiled, and where the compiled code is kept.

`@kernel(...)` is numba.njit with the choices that hold for all of ours:

- nogil: kernels run in parallel on plain Python threads (pool.py), so none is compiled with Numba's `parallel=True`,
  which triples compile time and whose default thread layer aborts when two Python threads enter it at once.
- error_model "numpy": division does not raise, so loops that divide still vectorise.
- fastmath is a named set, chosen kernel by kernel, never True: "contract" lets a * b + c round once (an FMA); "reassoc"
  lets a sum be split over vector lanes. Neither assumes the absence of NaN or infinity.

Compiling all kernels takes seconds, loading them from disk milliseconds, so the machine code is kept in a cache of the
user's own. Numba's own cache has an index file beside the data and a key that misses edits to helpers in other files;
this one has neither: one file per kernel and signature, under a folder named by a hash of every kernel source, the CPU
and the versions. A file that is truncated, foreign or garbage is not unpickled (its SHA-256 stands in front) and is
simply compiled again; where nothing can be written, nothing is kept and everything still works.

Seconds of silence look like a hang, so each compilation is announced, and its end, on the logger of this package
(`logging`, level INFO): a channel that whoever runs the program may listen to, as the command line does, without our
knowing of them. Loading from the cache is not announced.

    NANODISTIL_CACHE_DIR, else NUMBA_CACHE_DIR, else $XDG_CACHE_HOME/nanodistil, else ~/.cache/nanodistil
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
import platform
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import CompileResultCacheImpl, _Cache
from numba.core.runtime.nrt import rtsys

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
HASH_BYTES = 32
COMPILING, COMPILED = "compiling %s", "compiled %s"  # what the logger says, with a kernel's name
log = logging.getLogger(__package__.rpartition(".")[0])  # nanodistil.kernels


def cache_root() -> Path | None:
    """The folder compiled kernels are kept under, or None where the user has no home."""
    for variable, below in (
        ("NANODISTIL_CACHE_DIR", ""),
        ("NUMBA_CACHE_DIR", "nanodistil"),
        ("XDG_CACHE_HOME", "nanodistil"),
    ):
        if os.environ.get(variable):
            return Path(os.environ[variable]) / below
    try:
        return Path.home() / ".cache" / "nanodistil"
    except RuntimeError:
        return None


@cache
def source_key() -> str:
    """A hash of all that the machine code depends on besides the CPU: our sources and the compilers' versions."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    for version in (numba.__version__, llvmlite.__version__, np.__version__, sys.version, platform.machine()):
        digest.update(version.encode())
    return digest.hexdigest()[:16]


def cache_place() -> tuple[Path | None, str]:
    """Where compiled kernels belong, and why nothing can be kept there ("" where it can). Makes the folder if need be.

    The files are pickles: never load them from a folder that someone else could have written to.
    """
    root = cache_root()
    if root is None:
        return None, "the user has no home folder; set NANODISTIL_CACHE_DIR"
    folder = root / f"kernels-{source_key()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            return folder, "it belongs to another user"
        if hasattr(os, "getuid") and stat.S_IMODE(status.st_mode) & 0o022:
            return folder, "others may write to it; remove it, or chmod 700"
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return folder, error.strerror or str(error)
    return folder, ""


@cache
def cache_folder() -> Path | None:
    """A folder that is ours alone (mode 0700) and writable, made if need be; None where there is none."""
    folder, why_not = cache_place()
    return None if why_not else folder


class OneFilePerKernel(_Cache):
    """Numba asks this before it compiles a signature of `function`, and hands it what it compiled.

    variant: what else tells one version from another, where the signature does not say it all.
    """

    def __init__(self, function: Callable[..., Any], variant: str = "") -> None:
        self.impl = CompileResultCacheImpl(function)
        self.variant = variant
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

    @property
    def cache_path(self) -> str | None:
        return str(cache_folder()) if cache_folder() else None

    def path(self, signature: Any, codegen: Any) -> Path | None:
        folder = cache_folder()
        key = hashlib.sha256(repr((str(signature), self.variant, codegen.magic_tuple())).encode()).hexdigest()[:16]
        return folder / f"{self.name}-{key}.bin" if folder else None

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        loaded = self._read(signature, target_context)
        if loaded is None:
            log.info(COMPILING, self.name)
        return loaded

    def _read(self, signature: Any, target_context: Any) -> Any:
        # All that machine code needs of Numba. (`target_context.refresh()`, which Numba's own cache calls here, makes
        # the compiler ready as well: 0.2 to 0.35 s of a first answer that takes 0.6 s.)
        rtsys.initialize(target_context)
        path = self.path(signature, target_context.codegen())
        try:
            raw = path.read_bytes() if path else b""
            if hashlib.sha256(raw[HASH_BYTES:]).digest() != raw[:HASH_BYTES]:
                return None
            return self.impl.rebuild(target_context, pickle.loads(raw[HASH_BYTES:]))
        except Exception:  # whatever a stale or foreign file provokes, the answer is to compile
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        log.info(COMPILED, self.name)
        path = self.path(signature, compiled.library.codegen)
        if path is None or not self.impl.check_cachable(compiled):
            return
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            raw = pickle.dumps(self.impl.reduce(compiled), protocol=4)
            temporary.write_bytes(hashlib.sha256(raw).digest() + raw)
            temporary.replace(path)
        except OSError:  # a full disk, a folder that went away: the next process compiles once more
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def kernel(*, fastmath: set[str] | None = None, inline: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function on first call, or load it from the cache; `inline` ones become part of their callers.

    Under NUMBA_DISABLE_JIT=1 the function stays plain Python, for a debugger and for bounds checks.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        compiled = numba.njit(**OPTIONS, fastmath=fastmath or set())(function)
        if not inline and not numba.config.DISABLE_JIT:
            compiled._cache = OneFilePerKernel(function)
        return compiled

    return decorate


def helper(*, fastmath: set[str] | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function as a part of the kernels that call it; it has no cache of its own."""
    return kernel(fastmath=fastmath, inline=True)

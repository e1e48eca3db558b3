"""How kernels are compiled, and where the compiled code is kept.

`@kernel(...)` is numba.njit with the choices that hold for all of ours:

- nogil: kernels run in parallel on plain Python threads (pool.py), so none is compiled with Numba's `parallel=True`,
  which triples compile time and whose default thread layer aborts when two Python threads enter it at once.
- error_model "numpy": division does not raise, so loops that divide still vectorise.
- fastmath is a named set, chosen kernel by kernel, never True: "contract" lets a * b + c round once (an FMA); "reassoc"
  lets a sum be split over vector lanes. Neither assumes the absence of NaN or infinity.

Compiling all kernels takes seconds, loading them from disk milliseconds, so the machine code is kept in a cache of the
user's own (store.py). Numba's own cache wants to write beside the sources or into a home folder, and raises where it
can do neither; it has an index file beside the data and a key that misses edits to helpers in other files. This one has
one file per kernel and signature, under a folder named by a hash of every kernel source and the versions, and a key
with the CPU in it. A file that is truncated, foreign or garbage is not unpickled (its SHA-256 stands in front) and is
simply compiled again; where nothing can be kept, everything still works.

Seconds of silence look like a hang, so each compilation is announced, and its end, on the logger of this package
(`logging`, level INFO): a channel that whoever runs the program may listen to, as the command line does, without our
knowing of them. Loading from the cache is not announced. That nothing can be kept is a warning there, once a process;
where nobody has set up logging, Python writes it to stderr.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numba
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys

from . import store

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
HASH_BYTES = 32
COMPILING, COMPILED = "compiling %s", "compiled %s"  # what the logger says, with a kernel's name
NOT_KEPT = "nanodistil: compiled kernels are not kept, so every process compiles them anew: %s; " + store.ADVICE
log = logging.getLogger(__package__.rpartition(".")[0])  # nanodistil.kernels


@cache
def _say_not_kept(why: str) -> None:
    log.warning(NOT_KEPT, why)


def foretell() -> None:
    """Say, before it takes its time, that compiling is in vain."""
    if not _foretold:
        _foretold.append(True)
        if why := store.state().why_not_writable:
            _say_not_kept(why)


_foretold: list[bool] = []


class OneFilePerKernel(_Cache):
    """Numba asks this before it compiles a signature of `function`, and hands it what it compiled.

    variant: what else tells one version from another, where the signature does not say it all.
    """

    def __init__(self, function: Callable[..., Any], variant: str = "") -> None:
        self.variant = variant
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

    @property
    def cache_path(self) -> str | None:
        place = store.folder()
        return str(place) if place else None

    def file(self, signature: Any, codegen: Any) -> str:
        key = hashlib.sha256(repr((str(signature), self.variant, codegen.magic_tuple())).encode()).hexdigest()[:16]
        return f"{self.name}-{key}.bin"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        loaded = self._read(signature, target_context)
        if loaded is None:
            foretell()
            log.info(COMPILING, self.name)
        return loaded

    def _read(self, signature: Any, target_context: Any) -> Any:
        # All that machine code needs of Numba. (`target_context.refresh()`, which Numba's own cache calls here, makes
        # the compiler ready as well: 0.2 to 0.35 s of a first answer that takes 0.6 s.)
        rtsys.initialize(target_context)
        try:
            raw = store.read(self.file(signature, target_context.codegen()))
            if hashlib.sha256(raw[HASH_BYTES:]).digest() != raw[:HASH_BYTES]:
                return None
            return CompileResult._rebuild(target_context, *pickle.loads(raw[HASH_BYTES:]))
        except Exception:  # whatever a stale or foreign file provokes, the answer is to compile
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        log.info(COMPILED, self.name)
        if compiled.library.has_dynamic_globals or any(not loop.can_cache for loop in compiled.lifted):
            return  # it holds addresses of this process
        raw = pickle.dumps(compiled._reduce(), protocol=4)
        try:
            store.write(self.file(signature, compiled.library.codegen), hashlib.sha256(raw).digest() + raw)
        except OSError as error:  # a full disk, a folder that went away: the next process compiles once more
            _say_not_kept(store.why(error))

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def kernel(*, fastmath: set[str] | None = None) -> Callable[[Callable[..., Any]], Any]:
    """What Python calls, by pool.run: compiled at its first call, or loaded from the cache.

    Under NUMBA_DISABLE_JIT=1 the function stays plain Python, for a debugger and for bounds checks.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        compiled = numba.njit(**OPTIONS, fastmath=fastmath or set())(function)
        if not numba.config.DISABLE_JIT:
            compiled._cache = OneFilePerKernel(function)
        return compiled

    return decorate


def helper(*, fastmath: set[str] | None = None, forced: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """What kernels call: compiled as a part of them, so without a cache of its own.

    forced: put into its caller whatever its size, where LLVM would rather call it.
    """
    options = {**OPTIONS, "forceinline": True} if forced else OPTIONS
    return cast(Callable[[Callable[..., Any]], Any], numba.njit(**options, fastmath=fastmath or set()))

"""How kernels are compiled, and where the compiled code is kept.

`@kernel(...)` is numba.njit with the choices that hold for all of ours:

- nogil: kernels run in parallel on plain Python threads (pool.py), so none is compiled with Numba's `parallel=True`,
  which triples compile time and whose default thread layer aborts when two Python threads enter it at once.
- error_model "numpy": division does not raise, so loops that divide still vectorise.
- fastmath is a named set, chosen kernel by kernel, never True: "contract" lets a * b + c round once (an FMA); "reassoc"
  lets a sum be split over vector lanes. Neither assumes the absence of NaN or infinity.

Compiling all kernels takes seconds, loading them from disk milliseconds, so the machine code is kept in a cache of the
user's own (store.py). Numba's own cache needs all of Numba to load a kernel, a third of a second (linking.py does not),
raises if it can write nowhere, and has a key that misses edits to helpers in other files. This one has one file per
kernel and signature, under a folder named by a hash of every kernel source and the versions, and a key with the
processor in it. A file that is truncated, foreign or garbage is not looked into (its SHA-256 stands in front) and is
simply compiled again; if nothing can be kept, everything still works.

Seconds of silence look like a hang, so each compilation is announced, and its end, on the logger of this package
(`logging`, level INFO), to which the command line listens. That nothing can be kept is a warning there, once a process.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from . import beside, linking, store, target
from .late import Late, numba

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
INSIDE = {
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}  # what only compiled code calls needs no door for others
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
_compiled: list[Any] = []  # what holds machine code in memory


def address_of(function: Callable[..., Any], variant: str, compiled: Callable[[], Any]) -> int:
    """The address of a C function that `compiled`, a numba.core.ccallback.CFunc, would have: kept, or compiled now.

    variant: what else tells one version of `function` from another.
    """
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
    told = f"{variant} {_made_for(function)}{target.key()}"
    file = f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.bin"
    if (kept := _read(file)) is not None:
        return kept
    foretell()
    log.info(COMPILING, name)
    with beside.claimed(file) as waited:
        address = _read(file) if waited else None
        if address is None:
            made = compiled()
            _compiled.append(made)
            _write(file, made)
            address = int(made.address)
    log.info(COMPILED, name)
    return address


def _made_for(function: Callable[..., Any]) -> str:
    """What a function that another one made was made for: kernels of one name take each other's code otherwise."""
    made_for = (cell.cell_contents for cell in function.__closure__ or ())
    return "".join(f"{getattr(value, '__name__', value)} " for value in made_for)


def _read(file: str) -> int | None:
    try:
        raw = store.read(file)
        if hashlib.sha256(raw[HASH_BYTES:]).digest() != raw[:HASH_BYTES]:
            return None
        return linking.linked(raw[HASH_BYTES:])
    except Exception:  # whatever a stale or foreign file provokes, the answer is to compile
        return None


def _write(file: str, made: Any) -> None:
    library = made._library
    if library.has_dynamic_globals:
        return  # it holds addresses of this process
    module = library._final_module
    known = [*module.functions, *module.global_variables]
    needs = sorted(n.name for n in known if n.is_declaration and not n.name.startswith("llvm."))
    raw = linking.packed(made.native_name, needs, library._get_compiled_object())
    try:
        store.write(file, hashlib.sha256(raw).digest() + raw)
    except OSError as error:  # a full disk, a folder that went away: the next process compiles once more
        _say_not_kept(store.why(error))


class Kernel(Late):
    """What pool.run computes: compiled at its first use, or loaded from the cache.

    Inside its entry (native.py) it is compiled once, as a part of that, and not by itself before. Under
    NUMBA_DISABLE_JIT=1 the function stays plain Python, for a debugger and for bounds checks.
    """

    def __init__(self, function: Callable[..., Any], fastmath: set[str], first: bool) -> None:
        self.options, self.first = {**OPTIONS, "fastmath": fastmath}, first
        super().__init__(function, lambda f, **inside: numba.njit(**self.options, **inside)(f), inline="always")


def kernel(*, fastmath: set[str] | None = None, first: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """What Python calls, by pool.run. first: before all others of a model, so that they will be needed (beside.py)."""
    return lambda function: Kernel(function, fastmath or set(), first)


def helper(*, fastmath: set[str] | None = None, forced: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """What kernels call: compiled as a part of them, so without a cache of its own.

    forced: put into its caller whatever its size, where LLVM would rather call it.
    """
    options = {**OPTIONS, "forceinline": True} if forced else OPTIONS
    chosen = fastmath or set()
    return lambda function: Late(
        function, lambda f, **inside: numba.njit(**options, **inside, fastmath=chosen)(f), **INSIDE
    )

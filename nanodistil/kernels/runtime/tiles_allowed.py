"""Whether Linux lets this process use the registers of AMX, 8 KB a core, that cpu/amx.py multiplies in.

A processor that has them is not enough. They make what is saved of a thread, whenever another takes its place or a
signal comes, four times as large, so Linux keeps them locked until a process asks; whoever touches them before is ended
(SIGILL). One asks once, for all threads that are and will be; a forked child has leave too. So it is asked while the
kernels are imported, before there are threads of ours. An old Linux, a sandbox, or a signal stack that is too small for
what would have to be saved: no leave, and AMX counts as absent, so that kernels compiled with it are not loaded either.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

ARCH_PRCTL, ASK_FOR, TILE_DATA = 158, 0x1023, 18  # x86-64's number of the call; ARCH_REQ_XCOMP_PERM; XFEATURE_XTILEDATA


def _asked() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        system_call = ctypes.CDLL(None).syscall
    except (OSError, AttributeError):
        return False
    system_call.restype = ctypes.c_long
    return bool(system_call(*map(ctypes.c_long, (ARCH_PRCTL, ASK_FOR, TILE_DATA))) == 0)


@cache
def granted() -> bool:
    """Ask, the first time. Only on an x86-64: elsewhere the call of this number is another one."""
    return _asked()


def usable(features: set[str], here: set[str]) -> set[str]:
    """Of these features, in LLVM's names, those that may be used; here: what this machine has.

    AMX that is not here is that of a processor which is compiled for, and is up to it.

    >>> usable({"avx2", "amx-tile"}, {"avx2"}) == {"avx2", "amx-tile"}
    True
    """
    tiles = {name for name in features if name.startswith("amx-")}
    return features if not tiles & here or granted() else features - tiles

"""The processor that kernels are compiled for: this machine's, or the one that is named.

NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, which Numba reads, name another one; `nanodistil warmup --target` sets them. Here
they are read as Numba reads them, and without it (late.py).
"""

from __future__ import annotations

import os
import platform
import re

import llvmlite.binding as llvm

from . import tiles_allowed

INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")  # kernels stay plain Python


def _of_the_processor() -> set[str]:
    try:
        return {name for name, present in llvm.get_host_cpu_features().items() if present}
    except RuntimeError:
        return set()


def host_features() -> list[str]:
    """Of this machine, in LLVM's names, in order, as far as the system lets us; none if LLVM does not know it."""
    here = _of_the_processor()
    return sorted(tiles_allowed.usable(here, here))


def features() -> set[str]:
    """What kernels may use. Of a processor that is named without its features nothing is promised."""
    if named := os.environ.get("NUMBA_CPU_FEATURES"):
        wanted = {feature[1:] for feature in named.split(",") if feature.startswith("+")}
        return tiles_allowed.usable(wanted, _of_the_processor())
    return set() if os.environ.get("NUMBA_CPU_NAME") else set(host_features())


def name() -> str:
    """LLVM's name of the processor."""
    return os.environ.get("NUMBA_CPU_NAME") or str(llvm.get_host_cpu_name())


def here() -> str:
    """This machine as `--target` names it: LLVM's name of the processor, and what it can do."""
    return ",".join([str(llvm.get_host_cpu_name()), *(f"+{feature}" for feature in host_features())])


def wrong(named: str) -> str:
    """What is wrong with the name of a target; "" if nothing is.

    >>> wrong("haswell,+avx2,+fma"), wrong("haswell")
    ('', 'it names no features; on the machine meant, `nanodistil doctor --json` says its target')
    """
    cpu, *features = named.split(",")
    if not features:
        return "it names no features; on the machine meant, `nanodistil doctor --json` says its target"
    known = llvm.get_host_cpu_features()
    for feature in features:
        if not feature.startswith("+") or feature[1:] not in known:
            return f"{feature[:40]!r} is not a + and a feature that LLVM knows of processors of this kind"
    return "" if re.fullmatch(r"[\w.-]+", cpu) else f"{cpu[:40]!r} is no name of a processor"


def key() -> str:
    """All that machine code depends on besides sources and versions: it runs on a machine with this very key.

    >>> key() == key()
    True
    """
    return ",".join([platform.machine(), name(), *sorted(features())])

"""The processor that kernels are compiled for: this machine's, or the one that is named.

NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, which Numba reads, name another one; `nanodistil warmup --target` sets them. Here
they are read as Numba reads them, and without it (late.py).
"""

from __future__ import annotations

import os
import platform

import llvmlite.binding as llvm

INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")  # kernels stay plain Python


def host_features() -> list[str]:
    """Of this machine, in LLVM's names, in order; none if LLVM does not know the system."""
    try:
        return sorted(name for name, present in llvm.get_host_cpu_features().items() if present)
    except RuntimeError:
        return []


def features() -> set[str]:
    """What kernels may use. Of a processor that is named without its features nothing is promised."""
    if named := os.environ.get("NUMBA_CPU_FEATURES"):
        return {feature[1:] for feature in named.split(",") if feature.startswith("+")}
    return set() if os.environ.get("NUMBA_CPU_NAME") else set(host_features())


def name() -> str:
    """LLVM's name of the processor."""
    return os.environ.get("NUMBA_CPU_NAME") or str(llvm.get_host_cpu_name())


def key() -> str:
    """All that machine code depends on besides sources and versions: it runs on a machine with this very key.

    >>> key() == key()
    True
    """
    return ",".join([platform.machine(), name(), *sorted(features())])

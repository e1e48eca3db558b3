"""How many threads this process has been granted: what is found, each under its name.

Wherever a system forbids to ask, or has none of it (no /sys, no /proc, a filter of system calls), it sets no limit.
A container sees its own quota at the root of /sys/fs/cgroup, in version 2 of cgroups as in version 1.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
QUOTAS = ("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")  # version 2, both numbers in one; version 1
OURS = "NANODISTIL_NUM_THREADS"


def thread_limits() -> dict[str, int]:
    """Name -> threads, at least 1 each; "cpus" is always there.

    >>> thread_limits()["cpus"] >= 1
    True
    """
    found = {"cpus": os.cpu_count() or 1}
    with contextlib.suppress(AttributeError, OSError):  # not this system; not allowed
        found["affinity"] = len(os.sched_getaffinity(0))
    for files in QUOTAS:
        # No such cgroup; "max", or -1: no limit.
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = map(int, " ".join((CGROUPS / file).read_text(encoding="ascii") for file in files).split())
            if quota > 0:
                found["cgroup"] = -(-quota // period)  # rounded up
    for variable in (OURS, "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "").partition(",")[0].strip()  # OpenMP: a number for each level of nesting
        if value.isascii() and value.isdigit() and int(value[:9]) > 0:
            found[variable] = int(value[:9])
    return found

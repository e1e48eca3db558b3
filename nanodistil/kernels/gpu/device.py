"""What the GPU is, and how fast: the facts behind `nanodistil doctor` and the limits that kernels are measured against.

Two numbers bound every kernel (Williams et al. 2009, the roofline): the operations a second of the matrix units, and
the bytes a second of the memory. The data sheet's are of a chip at its highest clock; here both are measured, the first
by the largest product cuBLASLt can make its best of, the second by a copy, counting what is read and what is written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy as cp
import numpy as np

from .cupy_ops import CupyOps

SIDE = 8192  # of the square matrices: 1.1 TFLOP a product, 2 ms at the rate of an H200's bfloat16
COPIED = 1 << 30  # bytes, many times any cache
ROUNDS = 10


class Limits(NamedTuple):
    """What this GPU can do at most."""

    flops: float  # a second, in matrix products
    bandwidth: float  # bytes a second, read and written

    def peak_of(self, op: str) -> float:
        """The peak that an op can reach: all multiply in one dtype."""
        return self.flops


def devices() -> list[dict[str, Any]]:
    """What answers: name, bytes of memory, compute capability, streaming multiprocessors."""
    found = []
    for number in range(cp.cuda.runtime.getDeviceCount()):
        facts = cp.cuda.runtime.getDeviceProperties(number)
        found.append(
            {
                "name": facts["name"].decode(),
                "bytes": int(facts["totalGlobalMem"]),
                "capability": f"{facts['major']}.{facts['minor']}",
                "multiprocessors": int(facts["multiProcessorCount"]),
            }
        )
    return found


def versions() -> dict[str, str]:
    """Of CuPy, of the CUDA it was built for, and of the newest CUDA the driver can run."""

    def dotted(number: int) -> str:
        return f"{number // 1000}.{number % 1000 // 10}"

    runtime = cp.cuda.runtime
    return {
        "cupy": cp.__version__,
        "cuda": dotted(runtime.runtimeGetVersion()),
        "driver": dotted(runtime.driverGetVersion()),
    }


def bits_depend_on(device: int) -> dict[str, str]:
    """What decides about the last bits of results: the GPU, for which cuBLASLt chooses, and the libraries' versions."""
    known = versions()
    return {"gpu": devices()[device]["name"], "cupy": known["cupy"], "cuda": known["cuda"]}


def seconds(call: Any, rounds: int = ROUNDS) -> float:
    """The median time of a call on the GPU, between two events of its stream; the first two calls do not count."""
    times = []
    for number in range(rounds + 2):
        begin, end = cp.cuda.Event(), cp.cuda.Event()
        begin.record()
        call()
        end.record()
        end.synchronize()
        if number > 1:
            times.append(cp.cuda.get_elapsed_time(begin, end) / 1e3)
    return float(np.median(times))


def limits(dtype: str, side: int = SIDE, copied: int = COPIED) -> Limits:
    """Measured now, in about a tenth of a second. dtype: of the products, as CupyOps has it.

    The matrices are random: on zeros a chip draws less power and runs faster than it ever will on data.
    """
    ops = CupyOps(dtype)
    random = np.random.default_rng(0).standard_normal((side, side), np.float32)
    w = ops.prepare_linear(random, random[0])
    x = w.weight.copy()
    product = seconds(lambda: ops.linear(x, w))
    source, target = cp.zeros(copied, np.uint8), cp.empty(copied, np.uint8)
    copy = seconds(lambda: target.__setitem__(..., source))
    return Limits(2 * side**3 / product, 2 * copied / copy)

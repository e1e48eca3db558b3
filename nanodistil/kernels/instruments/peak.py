"""What this machine can do at most: the two numbers that every speed is a fraction of.

A kernel waits either for its arithmetic units or for memory. So two measurements, each of a loop that does nothing
else:

- `peak`: fused multiply-adds a second. CHAINS running sums, each a vector of its own that never leaves its register.
  A sum waits some 4 cycles for its last addition and two units start one each cycle, so fewer than 8 to 10 sums would
  measure waiting; 12 and the two factors fit the 16 registers of AVX2 too. No memory is touched.
- `bandwidth`: bytes a second of reading an array larger than any cache, once, front to back, added up so that the
  reading cannot be left out.

Both take the best of many short runs: what else the machine does can only make them slower, and a run of 2 ms finds a
moment without where one of 4 ms did not. Both use the threads that the kernels use. On a shared machine they move from
minute to minute, so compare only what was measured in one run.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from ..cpu.tile import SHAPE
from ..runtime import pool, target
from ..runtime.jit import kernel
from ..runtime.late import cgutils, intrinsic, overload, types

CHAINS = 12
LANES = SHAPE.vector or 4  # floats a vector; if there is no tile, LLVM makes of four what the machine has
ROUNDS = 1 << 18  # steps a chain makes in one work item, one a thread: 1 to 2 ms, so that the call costs nothing
STREAM = 1 << 20  # floats a work item of `bandwidth` reads: 4 MB
ARRAY = 64  # work items of the array: 256 MB

_f32, _i64 = ir.FloatType(), ir.IntType(64)


class Limits(NamedTuple):
    """The machine's limits with `threads` threads."""

    threads: int
    flops: float  # multiplications and additions a second, float32
    bandwidth: float  # bytes a second, reading


def multiply_add_chains(rounds: int, factor: Any, term: Any) -> Any:
    """The definition: CHAINS numbers from 0 on, each x = x factor + term, `rounds` times; their sum.

    The compiled one does it LANES times over, side by side, and returns one of the results.
    """
    chains = np.arange(CHAINS, dtype=np.float32)
    for _ in range(rounds):
        chains = chains * factor + term
    return np.float32(chains.sum())


@intrinsic
def _chains(typing_context, rounds, factor, term):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        rounds, factor, term = arguments
        vec = ir.VectorType(_f32, LANES)
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vec, [vec] * 3), f"llvm.fma.v{LANES}f32")

        def everywhere(number: Any) -> Any:
            value = ir.Constant(vec, ir.Undefined)
            for lane in range(LANES):
                value = builder.insert_element(value, number, ir.IntType(32)(lane))
            return value

        factors, terms = everywhere(factor), everywhere(term)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vec, [float(c)] * LANES)) for c in range(CHAINS)]
        with cgutils.for_range(builder, rounds):
            for chain in sums:
                builder.store(builder.call(fma, [builder.load(chain), factors, terms]), chain)
        total = builder.load(sums[0])
        for chain in sums[1:]:
            total = builder.fadd(total, builder.load(chain))
        return builder.extract_element(total, ir.IntType(32)(0))

    return types.float32(types.int64, types.float32, types.float32), codegen


@overload(multiply_add_chains, inline="always")
def _multiply_add_chains(rounds, factor, term):  # type: ignore[no-untyped-def]
    return lambda rounds, factor, term: _chains(rounds, factor, term)


@kernel()
def multiply_items(start: int, stop: int, rounds: int, factor: Any, term: Any, out: Any) -> None:
    """Work items start..stop: out[item] = what the chains came to."""
    for item in range(start, stop):
        out[item] = multiply_add_chains(rounds, factor, term)


@kernel(fastmath={"reassoc"})
def read_items(start: int, stop: int, x: Any, out: Any) -> None:
    """Work items start..stop: out[item] = sum of x[item], (ARRAY, STREAM) float32 -> (ARRAY,)."""
    for item in range(start, stop):
        total = np.float32(0.0)
        for i in range(x.shape[1]):
            total += x[item, i]
        out[item] = total


def best(call: Any, seconds: float, least: int = 3) -> float:
    """The shortest of at least `least` calls, after one that does not count, until `seconds` are over."""
    call()
    shortest, began, count = float("inf"), perf_counter(), 0
    while count < least or perf_counter() - began < seconds:
        before = perf_counter()
        call()
        shortest = min(shortest, perf_counter() - before)
        count += 1
    return shortest


def compiled() -> bool:
    """Whether kernels are compiled; as plain Python (NUMBA_DISABLE_JIT) nothing here means anything."""
    return not target.INTERPRETED


def peak(seconds: float = 0.1, threads: int | None = None) -> float:
    """Floating-point operations a second, a fused multiply-add counted as two, as everywhere."""
    threads = threads or pool.threads()
    items = threads  # one each: pool.run uses no more threads than there are items
    out = np.zeros(items, np.float32)
    factor, term = np.float32(0.5), np.float32(1.0)  # converges to 2: no overflow, no subnormal numbers
    call = partial(pool.run, multiply_items, items, ROUNDS, factor, term, out)
    shortest = best(call, seconds)
    return items * ROUNDS * CHAINS * LANES * 2 / shortest


def bandwidth(seconds: float = 0.1, items: int = ARRAY) -> float:
    """Bytes a second of reading."""
    x, out = np.ones((items, STREAM), np.float32), np.zeros(items, np.float32)  # written, so the pages are real
    return x.nbytes / best(lambda: pool.run(read_items, items, x, out), seconds)


def limits(seconds: float = 0.1) -> Limits:
    """Both, with the threads that kernels use now."""
    return Limits(pool.threads(), peak(seconds), bandwidth(seconds))

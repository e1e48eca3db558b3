"""What this machine can do at most: the two numbers that every speed is a fraction of.

A kernel waits either for its arithmetic units or for memory. So two measurements, each of a loop that does nothing
else:

- `peak`: multiplications and additions a second, by the very instruction that the tile of a dtype uses (`Dot.add`).
  CHAINS running numbers, each a vector of its own that never leaves its register. One waits 4 to 6 cycles for its last
  result and two units start one each cycle, so fewer than 8 to 12 would measure waiting; 12 and the two others fit the
  16 registers of AVX2 too. No memory is touched. A number is a factor of its next, x = x + x f: were both factors the
  same all along, LLVM would multiply once, before the loop; and a sum that were another's would have to be copied
  first, by which int8 was beaten by its own kernel. The matrices of AMX are all zeros, in four chains (amx.py).
- `bandwidth`: bytes a second of reading an array larger than any cache, once, front to back, added up so that the
  reading cannot be left out.

Both take the best of many short runs: what else the machine does can only make them slower, and a run of 2 ms finds a
moment without where one of 4 ms did not. Both use the threads that the kernels use. On a shared machine they move from
minute to minute, so compare only what was measured in one run.
"""

from __future__ import annotations

from functools import cache, partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from ..cpu.amx import Tiles
from ..cpu.bfloat16_ops import DOT, PAIRS
from ..cpu.int8_tile import KIND
from ..cpu.tile import FLOAT32, SHAPE, Dot, Shape
from ..runtime import pool, target
from ..runtime.jit import kernel
from ..runtime.late import cgutils, intrinsic, overload, types

CHAINS = 12
ROUNDS = 1 << 18  # steps a chain makes in one work item, one a thread: 1 to 2 ms, so that the call costs nothing
STREAM = 1 << 20  # floats a work item of `bandwidth` reads: 4 MB
ARRAY = 64  # work items of the array: 256 MB

_f32, _i32, _i64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


class Unit(NamedTuple):
    """What multiplies in one dtype: its instruction, products of one lane, and the bits of a factor for the chains."""

    dot: Dot
    products: int
    factor: int

    @property
    def a_round(self) -> int:
        """Products of a round of the chains."""
        words = self.dot.CHAINED if isinstance(self.dot, Tiles) else CHAINS * self.dot.shape.vector
        return words * self.products


def _bits(number: float) -> int:
    return int(np.float32(number).view(np.int32))


# If there is no tile, LLVM makes of four floats what the machine has.
_PLAIN = FLOAT32._replace(shape=Shape(1, 1, 4), instruction="llvm.fma.v4f32")
_SMALL = _bits(2.0**-30)  # numbers neither grow nor vanish
_FLOATS = Unit(FLOAT32 if SHAPE.vector else _PLAIN, 1, _SMALL)
UNITS = {
    "float32": _FLOATS,
    "bfloat16": Unit(DOT, 2, _SMALL) if PAIRS else _FLOATS,  # widened, they are floats
    "int8": Unit(KIND.dot, KIND.inputs, 1) if KIND.dot.instruction else _FLOATS,
}


class Limits(NamedTuple):
    """The machine's limits with `threads` threads."""

    threads: int
    flops: float  # multiplications and additions a second, of linear maps
    bandwidth: float  # bytes a second, reading
    others: float  # as flops, in float32, in which all other ops are computed

    def peak_of(self, op: str) -> float:
        """The peak that an op, by its name, can reach."""
        return self.flops if op.startswith("linear") else self.others


@cache
def chains_kernel(dtype: str) -> Any:
    """Work items, each of which runs the chains of a dtype, and writes what one lane of them came to."""
    dot = UNITS[dtype].dot
    floats, lanes = dot.total == _f32, dot.shape.vector

    @intrinsic
    def chains(typing_context, rounds, factor):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            vector = ir.VectorType(dot.total, lanes)
            rounds, factor = arguments
            if isinstance(dot, Tiles):
                dot.chains(builder, rounds)
                return ir.Constant(ir.DoubleType(), 0)
            words = ir.VectorType(_i32, lanes)
            first = builder.insert_element(ir.Constant(words, ir.Undefined), builder.trunc(factor, _i32), _i32(0))
            factors = builder.shuffle_vector(first, first, ir.Constant(words, [0] * lanes))
            factors = builder.bitcast(factors, ir.VectorType(dot.word, lanes))
            number = float if floats else int
            sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [number(c)] * lanes)) for c in range(CHAINS)]
            with cgutils.for_range(builder, rounds):
                for chain in sums:
                    x = builder.load(chain)
                    builder.store(dot.add(builder, x, x, factors), chain)
            total = builder.load(sums[0])
            for chain in sums[1:]:
                total = (builder.fadd if floats else builder.add)(total, builder.load(chain))
            first = builder.extract_element(total, _i32(0))
            return builder.fpext(first, ir.DoubleType()) if floats else builder.sitofp(first, ir.DoubleType())

        return types.float64(types.int64, types.int64), codegen

    def multiply_add_chains(rounds: int, factor: int) -> float:
        """The definition: CHAINS numbers from 0 on, each x = x + x factor, `rounds` times; their sum.

        factor: the bits of a number, of a float32 if sums are.
        """
        f = float(np.int32(factor).view(np.float32)) if floats else float(factor)
        return sum(c * (1 + f) ** rounds for c in range(CHAINS))

    @overload(multiply_add_chains, inline="always")
    def compiled(rounds, factor):  # type: ignore[no-untyped-def]
        return lambda rounds, factor: chains(rounds, factor)

    def items(start: int, stop: int, rounds: int, factor: int, out: Any) -> None:
        for item in range(start, stop):
            out[item] = multiply_add_chains(rounds, factor)

    items.__name__ = f"chains_of_{dtype}"  # by which it is kept
    return kernel()(items)


CHAINS_OF = {dtype: chains_kernel("float32" if unit is _FLOATS else dtype) for dtype, unit in UNITS.items()}


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


def peak(seconds: float = 0.1, threads: int | None = None, dtype: str = "float32") -> float:
    """Operations a second of the unit for a dtype, a multiplication and an addition counted as two, as everywhere."""
    unit, items = UNITS[dtype], threads or pool.threads()  # one each: pool.run uses no more threads than items
    call = partial(pool.run, CHAINS_OF[dtype], items, ROUNDS, unit.factor, np.zeros(items))
    shortest = best(call, seconds)
    return items * ROUNDS * unit.a_round * 2 / shortest


def peaks(seconds: float = 0.1) -> dict[str, float]:
    """dtype -> `peak`; what is multiplied in float32 is measured once."""
    found: dict[str, float] = {}
    for dtype, unit in UNITS.items():
        found[dtype] = found["float32"] if found and unit is _FLOATS else peak(seconds, dtype=dtype)
    return found


def bandwidth(seconds: float = 0.1, items: int = ARRAY) -> float:
    """Bytes a second of reading."""
    x, out = np.ones((items, STREAM), np.float32), np.zeros(items, np.float32)  # written, so the pages are real
    return x.nbytes / best(lambda: pool.run(read_items, items, x, out), seconds)


def limits(dtype: str = "float32", seconds: float = 0.1, items: int = ARRAY) -> Limits:
    """Both, with the threads that kernels use now; dtype: of linear maps; items: as `bandwidth`."""
    others = peak(seconds)
    flops = others if UNITS[dtype] is _FLOATS else peak(seconds, dtype=dtype)
    return Limits(pool.threads(), flops, bandwidth(seconds, items), others)

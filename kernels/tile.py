"""The register tile: the one place where the multiplications happen.

A processor multiplies fastest when nothing but the multiplication is going on: when both factors and the sum are in
registers. The tile is the largest piece of a matrix product whose sums fit there: ROWS rows times COLUMNS columns of

    C[r, c] += sum over k of A[r, k] B[k, c]

For each k it loads one row of B (a few vectors), multiplies it by one number of each row of A, and adds to ROWS x
COLUMNS running sums, which never leave their registers. With 14 x 32 on AVX-512 that is 28 fused multiply-adds for 2
loads of B and 14 of A, so the arithmetic units, two a core, are what one waits for.

No loop in Python or C says "keep these in registers", and Numba's vectoriser cannot guess it. So the tile is written in
LLVM's own language through `numba.extending.intrinsic`: about forty lines, one add or load each, the same on every
machine; only the sizes follow the machine's vectors.

    machine      vector   registers   tile (rows x columns)   running sums
    AVX-512      16       32          14 x 32                 28
    AVX2 + FMA    8       16           6 x 16                 12
    NEON          4       32           6 x 16                 24
    any other     -        -           plain loops, below

Sums run over PIECE values of k at a time and are then added to C in memory. That is for accuracy (see `linear` in
numpy_ops) and costs about 3 % of the speed. Each sum is the same chain of additions whatever the number of rows in the
tile, which is why a row's result does not depend on its neighbours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .jit import kernel

PIECE = 64  # values of k summed before they join the running total; numpy_ops.SUM_PIECE is the same number


class Shape(NamedTuple):
    """A register tile: rows, vectors a row, floats a vector. vector = 0: no such tile on this machine."""

    rows: int
    vectors: int
    vector: int


AVX512, AVX2, NEON, PLAIN = Shape(14, 2, 16), Shape(6, 2, 8), Shape(6, 4, 4), Shape(8, 32, 0)


def cpu_features() -> set[str]:
    """Of the machine Numba compiles for: the host, or what NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say. Empty: no
    tile."""
    if numba.config.DISABLE_JIT:
        return set()
    if numba.config.CPU_FEATURES is not None:
        return {f[1:] for f in numba.config.CPU_FEATURES.split(",") if f.startswith("+")}
    if numba.config.CPU_NAME:
        return set()  # a named processor without its features: nothing is promised
    return {f for f, present in llvm.get_host_cpu_features().items() if present}


def choose_shape(features: set[str]) -> Shape:
    """The tile for a machine with these features."""
    if "avx512f" in features:
        return AVX512
    if {"avx2", "fma"} <= features:
        return AVX2
    if "neon" in features:
        return NEON
    return PLAIN


FEATURES = cpu_features()
SHAPE = choose_shape(FEATURES)
ROWS = SHAPE.rows
COLUMNS = SHAPE.vectors * max(SHAPE.vector, 1)  # of a tile, and so of a packed panel

_f32, _i16, _i32, _i64 = ir.FloatType(), ir.IntType(16), ir.IntType(32), ir.IntType(64)


class Dot(NamedTuple):
    """How the tile multiplies: what a 32-bit word of A and B holds, and the instruction that adds products to a sum."""

    word: Any  # LLVM type of a word
    total: Any  # LLVM type of a sum
    instruction: str  # sum' = instruction(...) on vectors
    sum_first: bool  # whether the sum is its first argument, or its last
    halves: bool = False  # whether B holds the upper halves of its words only


FLOAT32 = Dot(_f32, _f32, f"llvm.fma.v{SHAPE.vector}f32", sum_first=False)  # one float32 a word
BFLOAT16 = Dot(_i32, _f32, "llvm.x86.avx512bf16.dpbf16ps.512", sum_first=True)  # two bfloat16
BFLOAT16_STORED = FLOAT32._replace(halves=True)  # B in bfloat16, widened on the way; for all other machines
INT8 = Dot(_i32, _i32, "llvm.x86.avx512.vpdpbusd.512", sum_first=True)  # four: unsigned in A, signed in B


def _emit_tile(builder: Any, dot: Dot, rows: int, a: Any, lda: Any, b: Any, c: Any, ldc: Any, depth: Any) -> None:
    """Emit C[:rows] = A[:rows] B, sums in pieces; a, b, c are pointers to words, lda and ldc row strides in words."""
    words, sums_type = ir.VectorType(dot.word, SHAPE.vector), ir.VectorType(dot.total, SHAPE.vector)
    function_type = ir.FunctionType(
        sums_type, [sums_type, words, words] if dot.sum_first else [words, words, sums_type]
    )
    instruction = cgutils.get_or_insert_function(builder.module, function_type, dot.instruction)
    zero = ir.Constant(sums_type, [0] * SHAPE.vector)
    everywhere = ir.Constant(ir.VectorType(_i32, SHAPE.vector), [0] * SHAPE.vector)
    undefined = ir.Constant(words, ir.Undefined)
    add = builder.fadd if dot.total == _f32 else builder.add

    def vector_at(base: Any, j: int, kind: Any) -> Any:
        return builder.bitcast(builder.gep(base, [_i64(j * SHAPE.vector)]), kind.as_pointer())

    def load(base: Any, j: int, kind: Any) -> Any:
        value = builder.load(vector_at(base, j, kind))
        value.align = 2
        return value

    def store(value: Any, base: Any, j: int) -> None:
        builder.store(value, vector_at(base, j, sums_type)).align = 4

    def load_b(base: Any, j: int) -> Any:
        if not dot.halves:
            return load(base, j, words)
        wide = ir.VectorType(_i32, SHAPE.vector)
        value = builder.zext(load(base, j, ir.VectorType(_i16, SHAPE.vector)), wide)
        return builder.bitcast(builder.shl(value, ir.Constant(wide, [16] * SHAPE.vector)), words)

    columns = range(SHAPE.vectors)
    a_rows = [builder.gep(a, [builder.mul(lda, _i64(r))]) for r in range(rows)]
    c_rows = [builder.gep(c, [builder.mul(ldc, _i64(r))]) for r in range(rows)]
    sums = [[cgutils.alloca_once(builder, sums_type) for _ in columns] for _ in range(rows)]
    for r in range(rows):
        for j in columns:
            store(zero, c_rows[r], j)
    pieces = builder.udiv(builder.add(depth, _i64(PIECE - 1)), _i64(PIECE))
    with cgutils.for_range(builder, pieces) as piece:
        first = builder.mul(piece.index, _i64(PIECE))
        left = builder.sub(depth, first)
        count = builder.select(builder.icmp_unsigned("<", left, _i64(PIECE)), left, _i64(PIECE))
        for r in range(rows):
            for j in columns:
                builder.store(zero, sums[r][j])
        with cgutils.for_range(builder, count) as loop:
            k = builder.add(first, loop.index)
            b_row = builder.gep(b, [builder.mul(k, _i64(COLUMNS))])
            b_vectors = [load_b(b_row, j) for j in columns]
            for r in range(rows):
                word = builder.load(builder.gep(a_rows[r], [k]))
                spread = builder.shuffle_vector(builder.insert_element(undefined, word, _i32(0)), undefined, everywhere)
                for j in columns:
                    total = builder.load(sums[r][j])
                    order = [total, spread, b_vectors[j]] if dot.sum_first else [spread, b_vectors[j], total]
                    builder.store(builder.call(instruction, order), sums[r][j])
        for r in range(rows):
            for j in columns:
                store(add(load(c_rows[r], j, sums_type), builder.load(sums[r][j])), c_rows[r], j)


def tile_intrinsic(dot: Dot) -> Any:
    """The tile for `dot` as an intrinsic: a switch on the number of rows, each case a tile of exactly so many."""

    @intrinsic
    def multiply_tile(typing_context, rows, a, a_at, lda, b, b_at, c, c_at, ldc, depth):  # type: ignore[no-untyped-def]
        whole = types.int64
        signature = types.void(whole, a, whole, whole, b, whole, c, whole, whole, whole)

        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            rows, a, a_at, lda, b, b_at, c, c_at, ldc, depth = arguments
            _, a_type, _, _, b_type, _, c_type, *_ = signature.args

            def pointer(array_type: Any, array: Any, at: Any) -> Any:
                return builder.gep(context.make_array(array_type)(context, builder, array).data, [at])

            a, b, c = pointer(a_type, a, a_at), pointer(b_type, b, b_at), pointer(c_type, c, c_at)
            done = builder.append_basic_block("tile.done")
            switch = builder.switch(rows, done)
            for n in range(1, ROWS + 1):
                block = builder.append_basic_block(f"tile.{n}")
                switch.add_case(_i64(n), block)
                builder.position_at_end(block)
                _emit_tile(builder, dot, n, a, lda, b, c, ldc, depth)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, codegen

    return multiply_tile


# One product of a tile, C[:rows] = A[:rows] B with 1 <= rows <= ROWS. a, b, c are one-dimensional float32 arrays, a_at,
# b_at, c_at the places in them where the tile begins, lda and ldc the steps from row to row; b holds a packed panel
# (depth, COLUMNS). All COLUMNS columns of C are written, so they must exist.
if SHAPE.vector:
    _multiply_tile = tile_intrinsic(FLOAT32)

    @kernel(inline=True)
    def multiply(
        rows: int, a: Any, a_at: int, lda: int, b: Any, b_at: int, c: Any, c_at: int, ldc: int, depth: int
    ) -> None:
        _multiply_tile(rows, a, a_at, lda, b, b_at, c, c_at, ldc, depth)

else:

    @kernel(fastmath={"contract"}, inline=True)
    def multiply(
        rows: int, a: Any, a_at: int, lda: int, b: Any, b_at: int, c: Any, c_at: int, ldc: int, depth: int
    ) -> None:
        part = np.empty(COLUMNS, np.float32)
        for r in range(rows):
            for j in range(COLUMNS):
                c[c_at + r * ldc + j] = np.float32(0.0)
            for first in range(0, depth, PIECE):
                part[:] = np.float32(0.0)
                for k in range(first, min(first + PIECE, depth)):
                    number = a[a_at + r * lda + k]
                    for j in range(COLUMNS):
                        part[j] += number * b[b_at + k * COLUMNS + j]
                for j in range(COLUMNS):
                    c[c_at + r * ldc + j] += part[j]

"""The register tile: the one place where the multiplications happen.

A processor multiplies fastest when nothing but the multiplication is going on: when both factors and the sum are in
registers. The tile is a piece of a matrix product whose sums fit there: ROWS rows times COLUMNS columns of

    C[r, c] = S[r, c] + sum over k of A[r, k] B[k, c]

S is what the sum starts from: C itself, or a bias, the same row for all (a row stride of 0).

For each k it loads one row of B (a few vectors), multiplies it by one number of each row of A, and adds to ROWS x
COLUMNS running sums, which never leave their registers. With 6 x 64 on AVX-512 that is 24 fused multiply-adds for 4
loads of B and 6 of A, so the arithmetic units, two a core, are what one waits for.

No loop in Python or C says "keep these in registers", and Numba's vectoriser cannot guess it. So the tile is written in
LLVM's own language through `numba.extending.intrinsic`: about forty lines, one add or load each, the same on every
machine; only the sizes follow the machine's vectors.

A sum of floats is cut into pieces of PIECE products, each a chain of additions, that join C one after the other. It is
so whatever the number of rows, and a row's result does not depend on its neighbours. Whole numbers need no pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from ..runtime import target
from ..runtime.jit import helper
from ..runtime.late import cgutils, intrinsic, overload, types
from ..runtime.place import Place
from .asking import prefetch

LINE = 64  # bytes of a cache line
PIECE = 64  # products summed in a chain before they join the running total; numpy_ops.SUM_PIECE is the same


class Shape(NamedTuple):
    """A register tile: rows, vectors a row, floats a vector. vector = 0: no such tile on this machine."""

    rows: int
    vectors: int
    vector: int

    @property
    def columns(self) -> int:
        """Of a tile, and so of a packed panel."""
        return self.vectors * max(self.vector, 1)


AVX512, AVX2, NEON, PLAIN = Shape(6, 4, 16), Shape(6, 2, 8), Shape(6, 4, 4), Shape(6, 32, 0)


def cpu_features() -> set[str]:
    """Of the processor that kernels are compiled for. Empty: no tile."""
    return set() if target.INTERPRETED else target.features()


def choose_shape(features: set[str]) -> Shape:
    """The tile for a machine with these features.

    machine      vector   registers   tile (rows x columns)   running sums
    AVX-512      16       32          6 x 64                  24
    AVX2 + FMA    8       16          6 x 16                  12
    NEON          4       32          6 x 16                  24
    any other     -        -          plain loops, below
    """
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
COLUMNS = SHAPE.columns

_f32, _byte, _i32, _i64 = ir.FloatType(), *(ir.IntType(bits) for bits in (8, 32, 64))


class Dot(NamedTuple):
    """How the tile multiplies: what a 32-bit word of A and B holds, and the instruction that adds products to a sum."""

    word: Any  # LLVM type of a word
    total: Any  # LLVM type of a sum
    instruction: str  # sum' = instruction(...) on vectors
    sum_first: bool | None  # whether the sum is its first argument, or its last; None: none, it must be added
    halves: bool = False  # whether B holds the upper halves of its words only, two a word: column j and half a row on
    feature: str = ""  # what the processor must have besides its vectors
    shape: Shape = SHAPE
    factors: Any = None  # LLVM type of what the instruction takes for a vector of words, if it is not that

    @property
    def row_of_b(self) -> int:
        """Words of a row of B."""
        return self.shape.columns // 2 if self.halves else self.shape.columns

    def add(self, builder: Any, total: Any, a: Any, b: Any) -> Any:
        """Emit total + a b, vectors of sums and of words."""
        words, sums = ir.VectorType(self.word, self.shape.vector), ir.VectorType(self.total, self.shape.vector)
        factors = self.factors or words
        a, b = (builder.bitcast(x, factors) for x in (a, b))
        if self.sum_first is None:
            takes, order = [factors, factors], [a, b]
        elif self.sum_first:
            takes, order = [sums, factors, factors], [total, a, b]
        else:
            takes, order = [factors, factors, sums], [a, b, total]
        called = cgutils.get_or_insert_function(builder.module, ir.FunctionType(sums, takes), self.instruction)
        result = builder.call(called, order)
        return builder.add(total, result) if self.sum_first is None else result

    def multiply(self, builder: Any, turned: bool, rows: Any, arguments: list[Any]) -> None:
        """Emit the tile of `rows` rows: a switch on their number, each case a tile of exactly so many."""
        done = builder.append_basic_block("tile.done")
        switch = builder.switch(rows, done)
        for n in range(1, self.shape.rows + 1):
            block = builder.append_basic_block(f"tile.{n}")
            switch.add_case(_i64(n), block)
            builder.position_at_end(block)
            builder.call(_tile_function(builder.module, self, n, turned), arguments)
            builder.branch(done)
        builder.position_at_end(done)


FLOAT32 = Dot(_f32, _f32, f"llvm.fma.v{SHAPE.vector}f32", sum_first=False)  # one float32 a word
BFLOAT16 = Dot(_i32, _f32, "llvm.x86.avx512bf16.dpbf16ps.512", sum_first=True, feature="avx512bf16")  # two bfloat16
BFLOAT16_STORED = FLOAT32._replace(halves=True)  # B in bfloat16, widened on the way; for all other machines


def has_tile(dot: Dot) -> bool:
    """Whether this machine multiplies so in registers."""
    return dot.shape.vector > 0 if not dot.feature else dot.shape.vector == 16 and dot.feature in FEATURES


def _emit_tile(builder: Any, dot: Dot, turned: bool, rows: int, arguments: Any) -> None:
    """Emit C[:rows] = S[:rows] + A[:rows] B; a, b, s, c are pointers to words, lda, lds and ldc row strides.

    turned: A is stored as its transpose, A[r, k] at a[k lda + r]. `ahead` is a pointer to bytes and `apart` how many
    lie from what one round asks for to the next. Then, if B is in halves, comes a pointer to floats: B as it was
    widened, for the tiles that follow.
    """
    a, lda, b, s, lds, c, ldc, ahead, apart, depth, *kept = arguments
    vector = dot.shape.vector
    words, sums_type = ir.VectorType(dot.word, vector), ir.VectorType(dot.total, vector)
    everywhere = ir.Constant(ir.VectorType(_i32, vector), [0] * vector)
    undefined = ir.Constant(words, ir.Undefined)
    add = builder.fadd if dot.total == _f32 else builder.add

    def vector_at(base: Any, j: int, kind: Any) -> Any:
        return builder.bitcast(builder.gep(base, [_i64(j * vector)]), kind.as_pointer())

    def load(base: Any, j: int, kind: Any) -> Any:
        value = builder.load(vector_at(base, j, kind))
        value.align = 2
        return value

    def load_b(base: Any) -> list[Any]:
        """A row of B, in vectors."""
        if not dot.halves:
            return [load(base, j, words) for j in columns]
        bits = ir.VectorType(_i32, vector)
        stored = [load(base, j, bits) for j in range(row_of_b)]
        lower = [builder.shl(x, ir.Constant(bits, [16] * vector)) for x in stored]
        upper = [builder.and_(x, ir.Constant(bits, [0xFFFF0000] * vector)) for x in stored]
        return [builder.bitcast(x, words) for x in lower + upper]

    columns = range(dot.shape.vectors)
    row_of_b = dot.row_of_b // vector
    a_rows = [builder.gep(a, [_i64(r) if turned else builder.mul(lda, _i64(r))]) for r in range(rows)]
    s_rows = [builder.gep(s, [builder.mul(lds, _i64(r))]) for r in range(rows)]
    c_rows = [builder.gep(c, [builder.mul(ldc, _i64(r))]) for r in range(rows)]
    zero = ir.Constant(sums_type, [0] * vector)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in columns] for _ in range(rows)]  # LLVM: registers
    half = builder.lshr(apart, _i64(1))
    requests = 2 if dot.row_of_b * 4 > LINE else 1  # a narrow tile has no time for 2

    def add_piece(first: Any, last: Any, start: list[Any]) -> None:
        """c_rows = start + the products of first..last, one chain of additions."""
        for r in range(rows):
            for j in columns:
                builder.store(zero, sums[r][j])
        with cgutils.for_range_slice(builder, first, last, _i64(1)) as (k, _):
            b_row = builder.gep(b, [builder.mul(k, _i64(dot.row_of_b))])
            b_vectors = load_b(b_row)
            for wide in kept:
                for j, value in enumerate(b_vectors):
                    there = builder.gep(wide, [builder.mul(k, _i64(dot.shape.columns))])
                    builder.store(value, vector_at(there, j, words)).align = 4
            wanted = builder.gep(ahead, [builder.mul(k, apart)])
            for here in [wanted, builder.gep(wanted, [half])][:requests]:
                prefetch(builder, here, 2)
            along = builder.mul(k, lda) if turned else k
            for r in range(rows):
                word = builder.load(builder.gep(a_rows[r], [along]))
                spread = builder.shuffle_vector(builder.insert_element(undefined, word, _i32(0)), undefined, everywhere)
                for j in columns:
                    builder.store(dot.add(builder, builder.load(sums[r][j]), spread, b_vectors[j]), sums[r][j])
        for r in range(rows):
            for j in columns:
                total = add(load(start[r], j, sums_type), builder.load(sums[r][j]))
                builder.store(total, vector_at(c_rows[r], j, sums_type)).align = 4

    def least(x: Any, y: Any) -> Any:
        return builder.select(builder.icmp_signed("<", x, y), x, y)

    if dot.total != _f32:  # whole numbers are exact however long the chain
        add_piece(_i64(0), depth, s_rows)
        return
    add_piece(_i64(0), least(depth, _i64(PIECE)), s_rows)
    with cgutils.for_range_slice(builder, _i64(PIECE), depth, _i64(PIECE)) as (first, _):
        add_piece(first, least(depth, builder.add(first, _i64(PIECE))), c_rows)


def _tile_function(module: Any, dot: Dot, rows: int, turned: bool = False) -> Any:
    """The tile of exactly `rows` rows as a function of its own: (a, lda, b, s, lds, c, ldc, ahead, apart, depth).

    Never inlined: among the variables of the loops around it LLVM ran out of address registers and fetched them from
    the stack in every round. Alone it has enough, and a call costs 20 cycles of 1600: 101 -> 104 GFLOP/s for 6 rows.
    """
    name = f"nanodistil.tile.{dot.instruction}{'.halves' if dot.halves else ''}{'.turned' if turned else ''}.{rows}"
    word, stored, total = (t.as_pointer() for t in (dot.word, _i32 if dot.halves else dot.word, dot.total))
    takes = [word, _i64, stored, total, _i64, total, _i64, _byte.as_pointer(), _i64, _i64, *[total] * dot.halves]
    return own_function(
        module, name, takes, lambda builder, arguments: _emit_tile(builder, dot, turned, rows, arguments)
    )


def own_function(module: Any, name: str, takes: list[Any], emit: Callable[[Any, Any], None]) -> Any:
    """A function of its own, never inlined, of whatever `emit` emits."""
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), takes), name)
    function.linkage = "linkonce_odr"  # if several parts of a kernel have one, one remains
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block())
    emit(builder, function.args)
    builder.ret_void()
    return function


def _tile(dot: Dot, turned: bool) -> Any:
    """The tile for `dot` as an intrinsic."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        rows, *places, depth = arguments

        def pointer_and_step(kind: Any, place: Any) -> tuple[Any, Any]:
            array, at, step = cgutils.unpack_tuple(builder, place, 3)
            return builder.gep(context.make_array(kind.types[0])(context, builder, array).data, [at]), step

        (a, lda), (b, _), (s, lds), (c, ldc), (ahead, apart), *kept = map(
            pointer_and_step, signature.args[1:-1], places
        )
        size = context.get_abi_sizeof(ahead.type.pointee)
        ahead, apart = builder.bitcast(ahead, _byte.as_pointer()), builder.mul(apart, _i64(size))
        takes = [a, lda, b, s, lds, c, ldc, ahead, apart, depth, *[pointer for pointer, _ in kept]]
        dot.multiply(builder, turned, rows, takes)
        return context.get_dummy_value()

    @intrinsic
    def multiply_tile(typing_context, rows, a, b, s, c, ahead, depth):  # type: ignore[no-untyped-def]
        return types.void(types.int64, a, b, s, c, ahead, types.int64), codegen

    @intrinsic
    def multiply_and_keep(typing_context, rows, a, b, s, c, ahead, kept, depth):  # type: ignore[no-untyped-def]
        return types.void(types.int64, a, b, s, c, ahead, kept, types.int64), codegen

    return multiply_and_keep if dot.halves else multiply_tile


def in_registers(dot: Dot, *, turned: bool = False) -> Callable[[Callable[..., None]], Any]:
    """Compiled code takes the register tile for `dot` in the place of the decorated function, which defines it.

    Python runs the function as it stands; and it is what is compiled on a machine without the tile.
    """

    def decorate(definition: Callable[..., None]) -> Any:
        if not has_tile(dot):
            return helper(fastmath={"contract"} if dot.total == _f32 else None)(definition)
        multiply_tile = _tile(dot, turned)
        if dot.halves:

            @overload(definition, inline="always")
            def keeping(rows, a, b, s, c, kept, depth, ahead=None):  # type: ignore[no-untyped-def]
                if isinstance(ahead, types.BaseTuple):
                    return lambda rows, a, b, s, c, kept, depth, ahead=None: multiply_tile(
                        rows, a, b, s, c, ahead, kept, depth
                    )
                return lambda rows, a, b, s, c, kept, depth, ahead=None: multiply_tile(rows, a, b, s, c, b, kept, depth)

        else:

            @overload(definition, inline="always")
            def compiled(rows, a, b, s, c, depth, ahead=None):  # type: ignore[no-untyped-def]
                if isinstance(ahead, types.BaseTuple):
                    return lambda rows, a, b, s, c, depth, ahead=None: multiply_tile(rows, a, b, s, c, ahead, depth)
                return lambda rows, a, b, s, c, depth, ahead=None: multiply_tile(rows, a, b, s, c, b, depth)

        return definition

    return decorate


@helper(fastmath={"contract"})
def products(rows: int, a: Place, down: int, across: int, b: Place, s: Place, c: Place, depth: int) -> None:
    """What both of the following are, if A[r, k] stands at a.at + r down + k across."""
    for r in range(rows):
        total = np.zeros(COLUMNS, np.float32)
        for j in range(COLUMNS):
            total[j] = s.numbers[s.at + r * s.step + j]
        for first in range(0, depth, PIECE):
            sums = np.zeros(COLUMNS, np.float32)
            for k in range(first, min(first + PIECE, depth)):
                number = a.numbers[a.at + r * down + k * across]
                for j in range(COLUMNS):
                    sums[j] += number * b.numbers[b.at + k * COLUMNS + j]
            total += sums
        for j in range(COLUMNS):
            c.numbers[c.at + r * c.step + j] = total[j]


@in_registers(FLOAT32)
def multiply(rows: int, a: Place, b: Place, s: Place, c: Place, depth: int, ahead: Place | None = None) -> None:
    """C[:rows] = S[:rows] + A[:rows] B, with 1 <= rows <= ROWS: (rows, depth), (depth, COLUMNS) -> (rows, COLUMNS).

    a, b, s and c are places in float32 arrays; b is a packed panel, whose rows are COLUMNS long. All COLUMNS columns of
    S and C are touched, so they must exist. ahead: what will be needed soon, `ahead.step` words for each
    of the `depth` rounds (linear.py says why); without it, nothing is asked for that is not read anyway.
    """
    products(rows, a, a.step, 1, b, s, c, depth)


@in_registers(FLOAT32, turned=True)
def multiply_turned(rows: int, a: Place, b: Place, s: Place, c: Place, depth: int, ahead: Place | None = None) -> None:
    """The same if A is stored as its transpose: a.step is that from one k to the next, the rows lie side by side.

    The gradient of a weight needs the product of a transpose, dY^T X. A then lies turned, A[r, k] at a[k lda + r], and
    the tile reads it there: the numbers of one k, one for each row, are neighbours in memory, so nothing has to be
    transposed.
    """
    products(rows, a, 1, a.step, b, s, c, depth)

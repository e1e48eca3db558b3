"""AMX: a register that is itself a small matrix, and one instruction that multiplies two of them.

In tile.py the matrix in registers is our idea: 24 vectors, and an instruction for each product of a number and a
vector. Intel's Sapphire Rapids and later have eight registers of 16 rows x 64 bytes. `tdpbusd C, A, B` does

    C[r, c] += sum over k < 16 of A[r, k] B[k, c]        r, c < 16; A and B in words of 4 x 8 bits, C in 32 bits

16,384 products in 16 cycles, where vpdpbusd does 64 in half a one: eight times as many. `tdpbf16ps` does so with words
of two bfloat16. B lies as our panels do, a word for each column in a row, so nothing is packed anew: a load takes an
address and how far apart rows lie. Of the eight registers four are a C of 32 x 32, two are A's, two are B's:

              B0  B1       a step along the sum: 4 loads (8 cycles each), 4 products (16 cycles each),
         A0   C0  C1       so the loads are hidden behind the products. With one C it would be 2 loads
         A1   C2  C3       to each product, and the two would just be level.

How many rows and bytes a register has is said beforehand, in 64 bytes of memory (`ldtilecfg`). So what is left over, of
rows or of the sum, is a smaller register, which reads and writes nothing beyond. To say so takes some 200 cycles, as
long as a quarter of a tile; to ask what was said last (`sttilecfg`) some 20. So each tile asks first.

int8: the same whole numbers as on all machines. bfloat16: by the manual an instruction adds up its 16 products of even
inputs in a chain from 0, those of odd ones in another, then both, and the sum joins C; C starts from S. (vdpbf16ps adds
to one running sum, an odd product, then its even one.) Chains of 16, then of I / 32: shorter than our pieces. In both,
a multiplication with its addition is rounded once, to nearest, and denormals are 0; here they are in C and S too. All
cuts of the sum are multiples of 16 words, so a row's bits depend on nothing else.

None of this has run on such a processor. The tests have one of their own, after Intel's manual: tests/amx_machine.py.
Cycles are Intel's figures, not measured.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir

from ..runtime.late import cgutils
from .asking import prefetch
from .tile import Dot, Shape, own_function

INSTRUCTIONS = "llvm.x86."  # how LLVM calls them; the tests put functions of their own in their place
SIDE = 16  # rows of a register, and words of a row
LINE, WORD = 64, 4  # bytes
C, A, B = 0, 4, 6  # the first register of each
CONFIGURATION = 16  # words that describe the registers

_f32, _byte, _i32, _i64, _void = ir.FloatType(), *(ir.IntType(bits) for bits in (8, 32, 64)), ir.VoidType()


def _call(builder: Any, name: str, *arguments: Any) -> None:
    takes = ir.FunctionType(_void, [argument.type for argument in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, takes, INSTRUCTIONS + name), arguments)


def _configure(builder: Any, low: Any, high: Any, words: Any, now: Any) -> None:
    """Give registers their sizes, unless they have them: `low` rows of C0, C1 and A0, `high` of C2, C3 and A1.

    words: of a row of A, and rows of B.
    high: None if there is no second half; its registers then have no size. now: room for a configuration.

    Its bytes: 0 the number of the format, 1; from 16 on two for each register, the bytes of a row; from 48 on one for
    each, its rows.
    """
    kind = ir.VectorType(_i32, CONFIGURATION)
    wide, upper = LINE | LINE << 16, _i32(16)
    low, words = (builder.trunc(x, _i32) for x in (low, words))
    inputs, weights = builder.mul(words, _i32(WORD)), builder.mul(words, _i32(1 << 16 | 1 << 24))
    rows, rows_of_a = builder.mul(low, _i32(1 | 1 << 8)), low
    if high is not None:
        high = builder.trunc(high, _i32)
        inputs = builder.or_(inputs, builder.shl(inputs, upper))
        rows = builder.or_(rows, builder.mul(high, _i32(1 << 16 | 1 << 24)))
        rows_of_a = builder.or_(low, builder.shl(high, _i32(8)))
    wanted = ir.Constant(kind, [1, 0, 0, 0, wide, 0 if high is None else wide, 0, wide, *[0] * 8])
    for at, word in (6, inputs), (12, rows), (13, builder.or_(rows_of_a, weights)):
        wanted = builder.insert_element(wanted, word, _i32(at))
    pointer = builder.bitcast(now, _byte.as_pointer())
    _call(builder, "sttilecfg", pointer)
    differing = builder.icmp_unsigned("!=", builder.load(now), wanted)
    differing = builder.bitcast(differing, ir.IntType(CONFIGURATION))
    with builder.if_then(builder.icmp_unsigned("!=", differing, differing.type(0))):
        builder.store(wanted, now)
        _call(builder, "ldtilecfg", pointer)


class Tiles(Dot):
    """How the tile multiplies with AMX; `instruction` is its name without INSTRUCTIONS."""

    CHAINED = 4 * SIDE**3  # words that a round of `chains` multiplies

    def multiply(self, builder: Any, turned: bool, rows: Any, arguments: list[Any]) -> None:
        """Emit the tile of `rows` rows: one of one half, of up to 16 rows, or one of two."""
        takes = [argument.type for argument in (rows, *arguments)]
        two = builder.icmp_signed(">", rows, _i64(SIDE))
        with builder.if_else(two) as sides:
            for halves, side in zip((2, 1), sides, strict=True):
                with side:
                    name = f"nanodistil.amx.{self.instruction}.{halves}"
                    function = own_function(builder.module, name, takes, partial(self._emit, halves))
                    builder.call(function, [rows, *arguments])

    def _emit(self, halves: int, builder: Any, arguments: Any) -> None:
        """Emit C[:rows] = S[:rows] + A[:rows] B, of so many halves of rows; the sum's rest with smaller registers."""
        rows, a, lda, b, s, lds, c, ldc, ahead, far, depth = arguments
        now = cgutils.alloca_once(builder, ir.VectorType(_i32, CONFIGURATION))
        low, high = (rows, None) if halves == 1 else (_i64(SIDE), builder.sub(rows, _i64(SIDE)))
        rest = builder.and_(depth, _i64(SIDE - 1))
        whole = builder.sub(depth, rest)
        _configure(builder, low, high, _i64(SIDE), now)
        for left in range(0, self.shape.columns, 2 * SIDE):
            asked = (ahead, far) if left == 0 else None
            self._emit_sum(builder, halves, left, (_i64(0), whole), (a, lda, b), (s, lds), (c, ldc), asked)
        with builder.if_then(builder.icmp_signed(">", rest, _i64(0))):
            _configure(builder, low, high, rest, now)
            for left in range(0, self.shape.columns, 2 * SIDE):
                self._emit_sum(builder, halves, left, (whole, depth), (a, lda, b), (c, ldc), (c, ldc), None)

    def _emit_sum(
        self, builder: Any, halves: int, left: int, part: Any, factors: Any, start: Any, end: Any, asked: Any
    ) -> None:
        """Emit end = start + a part of the products, its first and last, for the 32 columns from `left` on."""
        a, lda, b = factors
        registers = [(2 * half + side, half, side) for half in range(halves) for side in (0, 1)]

        def move(name: str, register: int, base: Any, step: Any, *at: Any) -> None:
            for words in at:
                base = builder.gep(base, [words])
            bytes_apart = builder.mul(step, _i64(WORD))
            _call(builder, name, _byte(register), builder.bitcast(base, _byte.as_pointer()), bytes_apart)

        def move_sums(name: str, base: Any, step: Any) -> None:
            for register, half, side in registers:
                move(name, C + register, base, step, builder.mul(step, _i64(SIDE * half)), _i64(left + SIDE * side))

        move_sums("tileloadd64", *start)
        with cgutils.for_range_slice(builder, *part, _i64(SIDE)) as (k, _):
            row_of_b = builder.mul(k, _i64(self.row_of_b))
            for side in (0, 1):
                move("tileloadd64", B + side, b, _i64(self.row_of_b), row_of_b, _i64(left + SIDE * side))
            for half in range(halves):
                move("tileloadd64", A + half, a, lda, builder.mul(lda, _i64(SIDE * half)), k)
            for register, half, side in registers:
                _call(builder, self.instruction, _byte(C + register), _byte(A + half), _byte(B + side))
            if asked:  # for what tile.py asks for in as many rounds
                for n in range(SIDE):
                    here = builder.gep(asked[0], [builder.mul(builder.add(k, _i64(n)), asked[1])])
                    prefetch(builder, here, 2)
        move_sums("tilestored64", *end)

    def chains(self, builder: Any, rounds: Any) -> None:
        """Emit `rounds` products into each of the four C, of nothing but zeros: what the unit can do at most."""
        now = cgutils.alloca_once(builder, ir.VectorType(_i32, CONFIGURATION))
        _configure(builder, _i64(SIDE), _i64(SIDE), _i64(SIDE), now)
        for register in range(8):
            _call(builder, "tilezero", _byte(register))
        with cgutils.for_range(builder, rounds):
            for register in range(4):
                _call(builder, self.instruction, *map(_byte, (C + register, A + register // 2, B + register % 2)))


INT8 = Tiles(_i32, _i32, "tdpbusd", True, shape=Shape(2 * SIDE, 2, SIDE), feature="amx-int8")
BFLOAT16 = Tiles(_i32, _f32, "tdpbf16ps", True, shape=Shape(2 * SIDE, 4, SIDE), feature="amx-bf16")

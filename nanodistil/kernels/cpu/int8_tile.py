"""How eight bits are multiplied: the instruction for it on each kind of machine, and one definition of them all.

Inputs are whole numbers from 0 to 255, weights from -127 to 127, sums whole numbers in 32 bits: exact, and so the same
on every machine, whatever its instruction. A 32-bit word of A and of B holds a few of them:

machine                  a word holds   instruction                    tile
AMX (amx.py)             4 x 8 bits     tdpbusd, a matrix at a time   32 x 32
AVX-512 with VNNI        4 x 8 bits     vpdpbusd                       8 x 48
AVX-VNNI                 4 x 8 bits     vpdpbusd, half as wide         6 x 16
NEON with dot products   4 x 8 bits     sdot                           6 x 16
NEON                     4 x 8 bits     smull, smull2, addp, sadalp    6 x 16
AVX-512                  2 x 16 bits    vpmaddwd, vpaddd               8 x 48
AVX2                     2 x 16 bits    the same                       6 x 16
any other x86-64         2 x 16 bits    the same of SSE2               6 x 8
any other                2 x 16 bits    plain loops, below

Why 16 bits where there is no vpdpbusd: vpmaddubsw, which takes 8, adds two products in 16 bits, and 2 x 255 x 127 does
not fit. vpmaddwd adds two products in 32. Weights stay 8 bits in memory, and are widened a panel at a time.

NEON's instructions want both factors signed. So inputs are stored less 128 there, and sums begin with what that lacks.
"""

from __future__ import annotations

import platform
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from ..runtime import target
from ..runtime.jit import helper
from ..runtime.late import cgutils, intrinsic, overload, types
from ..runtime.place import Place
from . import amx
from .tile import AVX2, FEATURES, NEON, PLAIN, Dot, Shape, in_registers

_f32, _i8, _i16, _i32, _i64 = ir.FloatType(), *(ir.IntType(bits) for bits in (8, 16, 32, 64))


class Widening(Dot):
    """NEON without dot products: 16 products of 16 bits, added in pairs twice, at last in 32 bits.

    None overflows: 128 x 127 twice is 32,512.
    """

    def add(self, builder: Any, total: Any, a: Any, b: Any) -> Any:
        """Emit total + a b."""

        def call(name: str, result: Any, *arguments: Any) -> Any:
            kind = ir.FunctionType(result, [argument.type for argument in arguments])
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

        def half(vector: Any, first: int) -> Any:
            lanes = ir.Constant(ir.VectorType(_i32, 8), list(range(first, first + 8)))
            return builder.shuffle_vector(vector, vector, lanes)

        a, b = (builder.bitcast(x, ir.VectorType(_i8, 16)) for x in (a, b))
        wide = ir.VectorType(_i16, 8)
        products = [call("llvm.aarch64.neon.smull.v8i16", wide, half(a, i), half(b, i)) for i in (0, 8)]
        pairs = call("llvm.aarch64.neon.addp.v8i16", wide, *products)
        return builder.add(total, call("llvm.aarch64.neon.saddlp.v4i32.v8i16", total.type, pairs))


class Kind(NamedTuple):
    """How a machine multiplies eight bits."""

    dot: Dot
    inputs: int  # a 32-bit word holds so many: 4 of 8 bits, or 2 of 16
    offset: int = 0  # what inputs are stored less of


def _dot(instruction: str, shape: Shape, factor: Any = None, *, sum_first: bool | None = True) -> Dot:
    factors = factor and ir.VectorType(factor, shape.vector * 32 // factor.width)
    return Dot(_i32, _i32, instruction, sum_first, shape=shape, factors=factors)


WIDE, SSE2 = Shape(8, 3, 16), Shape(6, 2, 4)
AMX = Kind(amx.INT8, 4)
VNNI = Kind(_dot("llvm.x86.avx512.vpdpbusd.512", WIDE), 4)
VNNI_256 = Kind(_dot("llvm.x86.avx512.vpdpbusd.256", AVX2), 4)
NEON_DOT = Kind(_dot("llvm.aarch64.neon.sdot.v4i32.v16i8", NEON, _i8), 4, offset=128)
NEON_PLAIN = Kind(Widening(_i32, _i32, "smull", None, shape=NEON), 4, offset=128)
PAIRS_512 = Kind(_dot("llvm.x86.avx512.pmaddw.d.512", WIDE, _i16, sum_first=None), 2)
PAIRS_256 = Kind(_dot("llvm.x86.avx2.pmadd.wd", AVX2, _i16, sum_first=None), 2)
PAIRS_128 = Kind(_dot("llvm.x86.sse2.pmadd.wd", SSE2, _i16, sum_first=None), 2)
LOOPS = Kind(Dot(_i32, _i32, "", None, shape=PLAIN), 2)


def choose_kind(features: set[str], machine: str) -> Kind:
    """How a machine with these features multiplies eight bits; machine: as platform.machine() says."""
    if {"amx-tile", "amx-int8", "avx512f"} <= features:
        return AMX
    if "avx512vnni" in features:
        return VNNI
    if "avx512bw" in features:
        return PAIRS_512
    if "avxvnni" in features:
        return VNNI_256
    if "avx2" in features:
        return PAIRS_256
    if "neon" in features:
        return NEON_DOT if "dotprod" in features else NEON_PLAIN
    return PAIRS_128 if machine.lower() in ("x86_64", "amd64") else LOOPS


def multiplication(kind: Kind) -> Any:
    """`multiply_int8` for a machine."""
    inputs, bits = kind.inputs, 32 // kind.inputs
    high, columns, signed = 32 - bits, kind.dot.shape.columns, kind.offset > 0

    @in_registers(kind.dot)
    def multiply_int8(
        rows: int, a: Place, b: Place, s: Place, c: Place, depth: int, ahead: Place | None = None
    ) -> None:
        """`multiply` of words that hold some whole numbers each; sums in 32 bits, exact."""
        for r in range(rows):
            for j in range(columns):
                c.numbers[c.at + r * c.step + j] = s.numbers[s.at + r * s.step + j]
            for k in range(depth):
                word = np.int32(a.numbers[a.at + r * a.step + k])
                for n in range(inputs):
                    up = np.int32(high - n * bits)  # number n to the word's upper end, and then down
                    x = np.int32(word << up) >> np.int32(high)
                    if not signed:
                        x &= np.int32(255)
                    for j in range(columns):
                        w = np.int32(np.int32(b.numbers[b.at + k * columns + j]) << up) >> np.int32(high)
                        c.numbers[c.at + r * c.step + j] += np.int32(x * w)

    return multiply_int8


KIND = LOOPS if target.INTERPRETED else choose_kind(FEATURES, platform.machine())
multiply_int8 = multiplication(KIND)
COLUMNS, LANES = KIND.dot.shape.columns, KIND.dot.shape.vector
FUSED = not FEATURES.isdisjoint({"fma", "avx512f", "neon"})  # whether a product joins a sum unrounded


class Scales(NamedTuple):
    """What makes floats of a map's whole numbers again."""

    scale: Any  # (P COLUMNS,) float32 of the weights of each output
    sums: Any  # (P COLUMNS,) of the rounded weights: what a constant input of 1 would give, before scaling
    bias: Any  # (P COLUMNS,)


def scaled_back(totals: Place, low: Any, scale: Any, w: Scales, left: int, out: Place) -> None:
    """COLUMNS whole numbers of a row -> out = (scale totals + low w.sums) w.scale + w.bias.

    The sum in brackets, of two large numbers that cancel, is exact, and then rounded.
    """
    for j in range(COLUMNS):
        c, whole = left + j, np.float32(totals.numbers[totals.at + j])
        difference = np.float64(scale) * whole + np.float64(low) * w.sums[c]
        out.numbers[out.at + j] = np.float32(difference) * w.scale[c] + w.bias[c]


@intrinsic
def _scaled_back(typing_context, totals, low, scale, w, left, out):  # type: ignore[no-untyped-def]
    """The same in whole vectors. LLVM's own are a quarter as long, and so many small writes wait for one another."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        totals, low, scale, w, left, out = arguments
        floats, numbers = ir.VectorType(_f32, LANES), ir.VectorType(_i32, LANES)

        def pointer(kind: Any, array: Any, at: Any) -> Any:
            return builder.gep(context.make_array(kind)(context, builder, array).data, [at])

        def pointer_of(kind: Any, place: Any) -> Any:
            return pointer(kind.types[0], *(builder.extract_value(place, i) for i in (0, 1)))

        def spread(number: Any) -> Any:
            first = builder.insert_element(ir.Constant(floats, ir.Undefined), number, _i32(0))
            return builder.shuffle_vector(first, first, ir.Constant(numbers, [0] * LANES))

        def place(base: Any, j: int, kind: Any) -> Any:
            return builder.bitcast(builder.gep(base, [_i64(j)]), kind.as_pointer())

        def load(base: Any, j: int, kind: Any = floats) -> Any:
            value = builder.load(place(base, j, kind))
            value.align = 4
            return value

        def multiply_add(a: Any, b: Any, c: Any) -> Any:
            if FUSED:
                function = ir.FunctionType(floats, [floats] * 3)
                return builder.call(
                    cgutils.get_or_insert_function(builder.module, function, f"llvm.fma.v{LANES}f32"), [a, b, c]
                )
            return builder.fadd(builder.fmul(a, b), c)

        whole, result = pointer_of(signature.args[0], totals), pointer_of(signature.args[5], out)
        scales, sums, bias = (
            pointer(kind, builder.extract_value(w, i), left) for i, kind in enumerate(signature.args[3].types)
        )
        low, scale = spread(low), spread(scale)
        for j in range(0, COLUMNS, LANES):
            total = builder.sitofp(load(whole, j, numbers), floats)
            product = builder.fmul(scale, total)
            rest = multiply_add(scale, total, builder.fneg(product))  # what rounding took: 0 where nothing is fused
            total = builder.fadd(multiply_add(low, load(sums, j), product), rest)
            builder.store(multiply_add(total, load(scales, j), load(bias, j)), place(result, j, floats)).align = 4
        return context.get_dummy_value()

    return types.void(totals, types.float32, types.float32, w, types.int64, out), codegen


if LANES:

    @overload(scaled_back, inline="always")
    def _compiled(totals, low, scale, w, left, out):  # type: ignore[no-untyped-def]
        return lambda totals, low, scale, w, left, out: _scaled_back(totals, low, scale, w, left, out)
else:
    scaled_back = helper(fastmath={"contract"})(scaled_back)

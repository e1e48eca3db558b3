"""A square block of a matrix, turned on its diagonal without leaving the registers.

Attention needs the keys of a head as columns. A loop that copies element by element reads or writes one number at a
time, whichever way it runs: 1 ns each, half as long as the product it prepares. But a block of as many rows as a vector
has lanes can be turned by exchanging its quarters: swap the upper right with the lower left, then the same within each
quarter, and so on down to single numbers. (The steps commute; here the smallest come first.) Each exchange takes two
rows and makes two, in one instruction each: for 16 lanes, 64 instructions for 256 numbers.

    a b | c d         a e c g         a e i m
    e f | g h   ->    b f d h   ->    b f j n
    ----+----         i m k o         c g k o
    i j | k l         j n l p         d h l p
    m n | o p
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..runtime.jit import helper
from ..runtime.late import cgutils, intrinsic, overload, types
from ..runtime.place import Place
from .tile import SHAPE

LANES = SHAPE.vector or 8  # rows and columns of a block

_f32, _i32, _i64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def turn(x: Place, rows: int, scale: Any, out: Place) -> None:
    """out[j, r] = scale x[r, j] for a block of LANES x LANES: the definition; compiled code does it in registers.

    x and out are places in float32 arrays. Of x only the first `rows` rows exist; the last one stands in for others.
    """
    for r in range(LANES):
        for j in range(LANES):
            number = x.numbers[x.at + min(r, rows - 1) * x.step + j] * scale
            out.numbers[out.at + j * out.step + r] = number


def _exchanged(builder: Any, rows: list[Any], distance: int) -> list[Any]:
    """Swap what rows i and i + distance hold off the diagonal, for every pair of them."""
    lanes = range(LANES)
    first = [lane if not lane & distance else LANES + lane - distance for lane in lanes]
    second = [lane + distance if not lane & distance else LANES + lane for lane in lanes]
    new = list(rows)
    for i in lanes:
        if not i & distance:
            for target, picks in ((i, first), (i + distance, second)):
                mask = ir.Constant(ir.VectorType(_i32, LANES), picks)
                new[target] = builder.shuffle_vector(rows[i], rows[i + distance], mask)
    return new


@intrinsic
def _turn(typing_context, x, rows, scale, out):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        x, rows, scale, out = arguments
        x, at, step = cgutils.unpack_tuple(builder, x, 3)
        out, out_at, out_step = cgutils.unpack_tuple(builder, out, 3)
        x_type, out_type = signature.args[0].types[0], signature.args[3].types[0]
        vector = ir.VectorType(_f32, LANES)
        undefined = ir.Constant(vector, ir.Undefined)
        source = builder.gep(context.make_array(x_type)(context, builder, x).data, [at])
        target = builder.gep(context.make_array(out_type)(context, builder, out).data, [out_at])
        zeros = ir.Constant(ir.VectorType(_i32, LANES), [0] * LANES)
        scales = builder.shuffle_vector(builder.insert_element(undefined, scale, _i32(0)), undefined, zeros)
        last, block = builder.sub(rows, _i64(1)), []
        for r in range(LANES):
            row = builder.select(builder.icmp_signed("<", _i64(r), last), _i64(r), last)
            place = builder.gep(source, [builder.mul(row, step)])
            value = builder.load(builder.bitcast(place, vector.as_pointer()))
            value.align = 4
            block.append(builder.fmul(value, scales))
        distance = 1
        while distance < LANES:
            block = _exchanged(builder, block, distance)
            distance *= 2
        for j, value in enumerate(block):
            place = builder.gep(target, [builder.mul(out_step, _i64(j))])
            builder.store(value, builder.bitcast(place, vector.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(x, types.int64, types.float32, out), codegen


if SHAPE.vector:

    @overload(turn, inline="always")
    def _turn_compiled(x, rows, scale, out):  # type: ignore[no-untyped-def]
        return lambda x, rows, scale, out: _turn(x, rows, scale, out)

else:
    turn = helper()(turn)


@helper()
def turn_rows(x: Place, rows: int, columns: int, wide: int, scale: Any, out: Place) -> None:
    """out[j, r] = scale x[r, j]: (rows, columns) -> (columns, wide), wide being whole blocks; any number of columns.

    Of `wide` columns only the first `rows` mean anything: the others repeat the last row.
    """
    for first in range(0, wide, LANES):
        r = min(first, rows - 1)
        from_here, to_here = x.at + r * x.step, out.at + first
        if columns % LANES == 0:
            for j in range(0, columns, LANES):
                here = Place(x.numbers, from_here + j, x.step)
                turn(here, rows - r, scale, Place(out.numbers, to_here + j * out.step, out.step))
        else:
            for j in range(columns):
                for i in range(LANES):
                    number = x.numbers[from_here + min(i, rows - r - 1) * x.step + j]
                    out.numbers[to_here + j * out.step + i] = number * scale

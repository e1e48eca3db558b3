"""Softmax of rows, in place: the largest number of each, exp of what is below it, the sum, and a division.

Definition: attention_probs in numpy_ops.py.

Rows are whole multiples of WIDTH (attention.py fills them with -inf), so no loop has a ragged end. The maximum and the
sum are taken in WIDTH lanes, each a chain of its own, and at last of the lanes: 32 and 32, 16 and 16, down to one. So
a lane adds at most T / WIDTH numbers, and every machine adds the same numbers in the same order.

Written as loops, the lanes were an array, stored and loaded at every step, and the pass with exp in it was made of
vectors half as long as there are. Now lanes are registers, `reduced`; exp has a pass of its own, in which nothing is
added up; and each step is taken for all rows at hand. Attention as a whole, one core of an Ice Lake, T = 128 and 384:
34 % and 44 % of the peak, 49 and 63 with the first two, 53 and 64 with all three.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from ..runtime.jit import helper
from ..runtime.late import cgutils, intrinsic, overload, types
from ..runtime.vectors import whole_vectors
from .exp import exp_negative
from .tile import COLUMNS, SHAPE

f32 = np.float32
WIDTH = max(64, COLUMNS)  # lanes; a loop over fewer LLVM unrolls and does not vectorise
LEAST, ONE = f32(-np.inf), f32(1.0)


def in_lanes(sums: bool) -> Any:
    """`reduced` for a sum, or for a maximum."""

    def reduced(x: Any, at: int, width: int) -> Any:
        """x[at : at + width] in one number, x flat, `width` a multiple of WIDTH."""
        lanes = np.zeros(WIDTH, np.float32) if sums else np.full(WIDTH, LEAST)
        for first in range(at, at + width, WIDTH):
            for j in range(WIDTH):
                number = x[np.uint64(first + j)]
                lanes[j] = lanes[j] + number if sums else max(lanes[j], number)
        half = WIDTH // 2
        while half:
            for j in range(half):
                lanes[j] = lanes[j] + lanes[j + half] if sums else max(lanes[j], lanes[j + half])
            half //= 2
        return lanes[0]

    if not SHAPE.vector:
        return helper()(reduced)

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        x, at, width = arguments
        base = builder.gep(context.make_array(signature.args[0])(context, builder, x).data, [at])
        vector = ir.VectorType(ir.FloatType(), SHAPE.vector)

        def join(a: Any, b: Any) -> Any:
            return builder.fadd(a, b) if sums else builder.select(builder.fcmp_ordered(">", b, a), b, a)

        start = ir.Constant(vector, [0.0 if sums else float("-inf")] * SHAPE.vector)
        lanes = [cgutils.alloca_once_value(builder, start) for _ in range(WIDTH // SHAPE.vector)]
        with cgutils.for_range_slice(builder, ir.IntType(64)(0), width, ir.IntType(64)(WIDTH)) as (first, _):
            for j, lane in enumerate(lanes):
                place = builder.gep(base, [builder.add(first, ir.IntType(64)(j * SHAPE.vector))])
                numbers = builder.load(builder.bitcast(place, vector.as_pointer()))
                numbers.align = 4
                builder.store(join(builder.load(lane), numbers), lane)
        whole = [builder.load(lane) for lane in lanes]
        while len(whole) > 1:
            half = len(whole) // 2
            whole = [join(whole[j], whole[j + half]) for j in range(half)]
        (result,) = whole
        half = SHAPE.vector // 2
        while half:
            upper = ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(half, 2 * half)))
            lower = ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(half)))
            undefined = ir.Constant(result.type, ir.Undefined)
            result = join(*(builder.shuffle_vector(result, undefined, part) for part in (lower, upper)))
            half //= 2
        return builder.extract_element(result, ir.IntType(32)(0))

    @intrinsic
    def in_registers(typing_context, x, at, width):  # type: ignore[no-untyped-def]
        return types.float32(x, types.int64, types.int64), codegen

    @overload(reduced, inline="always")
    def compiled(x, at, width):  # type: ignore[no-untyped-def]
        return lambda x, at, width: in_registers(x, at, width)

    return reduced


largest_of, sum_of = in_lanes(False), in_lanes(True)


@helper(fastmath={"contract"})
def exp_below(x: Any, at: int, width: int, largest: Any) -> None:
    """x[at : at + width] = exp(it - largest), x flat."""
    whole_vectors()
    for j in range(width):
        i = np.uint64(at + j)
        x[i] = exp_negative(x[i] - largest)


@helper(fastmath={"contract"})
def scaled(x: Any, at: int, width: int, scale: Any) -> None:
    """x[at : at + width] *= scale, x flat."""
    whole_vectors()
    for j in range(width):
        x[np.uint64(at + j)] *= scale


@helper()
def softmax_block(n: int, x: Any, width: int, numbers: Any) -> None:
    """x (n, width) = softmax of each row, x flat, `width` a multiple of WIDTH. numbers: (n,) to work in.

    Step by step for all rows: of a short row each step is a chain that waits for itself, and other rows fill the time.
    """
    for r in range(n):
        numbers[r] = largest_of(x, r * width, width)
    for r in range(n):
        exp_below(x, r * width, width, numbers[r])
    for r in range(n):
        numbers[r] = ONE / sum_of(x, r * width, width)
    for r in range(n):
        scaled(x, r * width, width, numbers[r])

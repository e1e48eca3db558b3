"""exp for float32, as a polynomial that vectorises.

Numba has no vector math library: math.exp in a loop is one scalar call an element. So, as every libm does, split
x = n ln2 + f with n whole and |f| <= ln2 / 2; then exp(x) = 2^n exp(f), exp(f) is a polynomial of degree 6 (fitted by
tests/golden/fit_polynomials.py, truncation 2e-9), and 2^n is n written into the exponent bits. Nothing branches, so a
loop over an array becomes vector code. (n is found by cutting off, not by np.floor, which Numba makes a call of: one
call in the middle kept the whole loop scalar, and GELU took 7.1 ns an element instead of 0.56.)

Only x <= 0 is asked for here (softmax, the normal tail). Below LOWEST the result is exactly 0: a masked key has no
weight at all, and subnormal numbers, which are slow, never appear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from ..runtime.jit import helper
from ..runtime.late import intrinsic, overload, types

f32 = np.float32

LOWEST = f32(-87.0)  # exp(-87) = 1.6e-38, just above the smallest normal float32
LOG2_E = f32(1.4426950408889634)
LN2_HIGH = f32(0.693359375)  # ln2 in two parts, so that n * LN2_HIGH is exact
LN2_LOW = f32(-2.12194440054690583e-4)
C0, C1, C2 = f32(0.9999999999595482), f32(1.0000000377274485), f32(0.5000000107749384)
C3, C4 = f32(0.16666415477235322), f32(0.04166621827440191)
C5, C6 = f32(0.008375128890467473), f32(0.0013948580818093912)
HALF, ZERO = f32(0.5), f32(0.0)


def power_of_two(n: Any) -> Any:
    """2^n as float32 for an int32 n in -126..127: the definition; compiled code writes the bits."""
    return f32(2.0) ** f32(n)


@intrinsic
def _exponent_bits(typing_context, n):  # type: ignore[no-untyped-def]
    """int32 n -> the float32 whose exponent field is n + 127."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        i32 = ir.IntType(32)
        biased = builder.add(arguments[0], ir.Constant(i32, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(i32, 23)), ir.FloatType())

    return types.float32(types.int32), codegen


@overload(power_of_two, inline="always")
def _power_of_two(n):  # type: ignore[no-untyped-def]
    return lambda n: _exponent_bits(n)


@helper(fastmath={"contract"})
def exp_negative(x: Any) -> Any:
    """exp(x) for one float32 x <= 0; 0 below LOWEST, NaN for NaN.

    >>> float(exp_negative(f32(0.0))), float(exp_negative(f32(-1000.0)))
    (1.0, 0.0)
    """
    y = max(x, LOWEST)
    whole = np.int32(y * LOG2_E - HALF)  # cut towards 0, and so, y being negative, the nearest; np.floor is a call
    n = f32(whole)
    f = (y - n * LN2_HIGH) - n * LN2_LOW
    p = C0 + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6)))))
    return ZERO if x < LOWEST else p * power_of_two(whole)

"""GELU, exact, one polynomial: x Phi(x) = max(x, 0) - |x| Q(|x|).

The usual form, x (1 + erf(x / sqrt 2)) / 2, needs an erf with two branches and loses digits for negative x, where 1 + erf
cancels. Seen as ReLU minus a bump, GELU needs only the tail Q(z) of the normal distribution for z >= 0, and

    Q(z) = exp(-z^2 / 2) R(s),   s = 2 / (1 + z / 4) - 1

where R is so smooth in s that a polynomial of degree 12 is within 2e-9 of it everywhere from 0 to infinity (fitted by
tests/golden/fit_polynomials.py; degree 10 would leave 4e-8). No branch, one division, one exp: it vectorises.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .exp import exp_negative
from .jit import kernel

f32 = np.float32

R0, R1, R2 = f32(0.09441064134906005), f32(0.17039772031292164), f32(0.12437925067038588)
R3, R4, R5 = f32(0.07170744266111631), f32(0.030864879981590678), f32(0.008491804367315869)
R6, R7, R8 = f32(0.0005070967234031866), f32(-0.0006377692002538717), f32(-0.0001858099840417665)
R9, R10 = f32(4.367325280500483e-05), f32(2.6518464959249327e-05)
R11, R12 = f32(-2.8714791859122906e-06), f32(-2.5772491022788294e-06)
ZERO, QUARTER, HALF, ONE, TWO, FAR = f32(0.0), f32(0.25), f32(0.5), f32(1.0), f32(2.0), f32(40.0)


@kernel(fastmath={"contract"}, inline=True)
def gelu_one(x: Any) -> Any:
    """GELU of one float32."""
    z = min(abs(x), FAR)  # beyond 40 the bump is 0; the bound keeps inf * 0 away
    s = TWO / (ONE + z * QUARTER) - ONE
    r = R6 + s * (R7 + s * (R8 + s * (R9 + s * (R10 + s * (R11 + s * R12)))))
    r = R0 + s * (R1 + s * (R2 + s * (R3 + s * (R4 + s * (R5 + s * r)))))
    return max(x, ZERO) - z * (exp_negative(-HALF * z * z) * r)


@kernel(fastmath={"contract"})
def gelu_rows(start: int, stop: int, x: Any, out: Any) -> None:
    """out[start:stop] = gelu(x[start:stop]): (N, F) float32 -> (N, F)."""
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = gelu_one(x[i, j])

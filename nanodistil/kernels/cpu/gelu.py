"""GELU, exact, one polynomial: x Phi(x) = max(x, 0) - |x| Q(|x|).

Definition: gelu in gelu.py; gelu_slope, gelu_new and gelu_new_slope in activations.py.

The usual form, x (1 + erf(x / sqrt 2)) / 2, needs an erf with two branches and loses digits for negative x, where 1 +
erf cancels. Seen as ReLU minus a bump, GELU needs only the tail Q(z) of the normal distribution for z >= 0, and

    Q(z) = exp(-z^2 / 2) R(u),   u = z / (z + 4)

where R is so smooth in u that a polynomial of degree 12 is within 2e-9 of it everywhere from 0 to infinity (fitted by
tests/golden/fit_polynomials.py; degree 10 would leave 4e-8). No branch, one division, one exp: it vectorises. u is
small where z is, so R = 1/2 + u (...) has no rounding error to speak of near 0; in s = 1 - 2u, which looks more natural
for a Chebyshev series, the same polynomial was off by 6 units in the last place there instead of 2.

The slope needs nothing new. It is Phi(x) + x phi(x), and the density phi is the same exp(-z^2 / 2), divided by
sqrt(2 pi). So with B(z) = exp(-z^2 / 2) (R(u) - z / sqrt(2 pi)) it is B for negative x and 1 - B for positive x.

GPT-2's GELU, by tanh, is of the same form: its tail is the logistic function's, Q(z) = e / (1 + e), where e is
exp(-2 w(z)) and w(z) = sqrt(2 / pi) (z + 0.044715 z^3). Q' = -2 w' Q (1 - Q), and so B(z) = Q + z Q'.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime.jit import helper, kernel
from ..runtime.vectors import whole_vectors
from .exp import exp_negative

f32 = np.float32

R1, R2, R3 = f32(-1.5957690762617147), f32(2.4042282341486216), f32(-2.1064771182082436)
R4, R5, R6 = f32(0.8712018053648407), f32(0.11028637611744366), f32(-0.2323544261681747)
R7, R8, R9 = f32(0.045896396397286335), f32(-0.08933175217511727), f32(0.21302694672845843)
R10, R11, R12 = f32(-0.17937023676025712), f32(0.06921926331035289), f32(-0.010556412322934085)
ZERO, HALF, ONE, FOUR, FAR = f32(0.0), f32(0.5), f32(1.0), f32(4.0), f32(40.0)
TWICE, CUBE, THRICE_CUBE = f32(2 * np.sqrt(2 / np.pi)), f32(0.044715), f32(3 * 0.044715)
DENSITY = f32(0.3989422804014327)  # 1 / sqrt(2 pi)


@helper(fastmath={"contract"})
def scaled_tail(z: Any) -> Any:
    """R: exp(z^2 / 2) Q(z) for one float32 z >= 0."""
    u = z / (z + FOUR)
    r = R6 + u * (R7 + u * (R8 + u * (R9 + u * (R10 + u * (R11 + u * R12)))))
    return HALF + u * (R1 + u * (R2 + u * (R3 + u * (R4 + u * (R5 + u * r)))))


@helper(fastmath={"contract"})
def gelu_one(x: Any) -> Any:
    """GELU of one float32."""
    z = min(abs(x), FAR)  # beyond 40 the bump is 0; the bound keeps inf * 0 away
    return max(x, ZERO) - z * (exp_negative(-HALF * z * z) * scaled_tail(z))


@helper(fastmath={"contract"})
def gelu_slope_one(x: Any) -> Any:
    """d gelu / dx at one float32."""
    z = min(abs(x), FAR)
    bump = exp_negative(-HALF * z * z) * (scaled_tail(z) - z * DENSITY)
    return bump if x < ZERO else ONE - bump


@helper(fastmath={"contract"})
def logistic_tail(z: Any) -> Any:
    """Q of the approximation, for one float32 z >= 0."""
    e = exp_negative(-TWICE * z * (ONE + CUBE * z * z))
    return e / (ONE + e)


@helper(fastmath={"contract"})
def gelu_new_one(x: Any) -> Any:
    """GELU by tanh of one float32."""
    z = min(abs(x), FAR)
    return max(x, ZERO) - z * logistic_tail(z)


@helper(fastmath={"contract"})
def gelu_new_slope_one(x: Any) -> Any:
    """d gelu_new / dx at one float32."""
    z = min(abs(x), FAR)
    tail = logistic_tail(z)
    bump = tail - z * TWICE * (ONE + THRICE_CUBE * z * z) * tail * (ONE - tail)
    return bump if x < ZERO else ONE - bump


@helper(fastmath={"contract"})
def gelu_in_place(x: Any, at: int, count: int) -> None:
    """x[at : at + count] = gelu of it, x flat."""
    whole_vectors()
    for j in range(count):
        i = np.uint64(at + j)  # unsigned, or every access would ask whether it counts from the end
        x[i] = gelu_one(x[i])


def kernels_of(gelu: Any, slope: Any) -> tuple[Any, Any]:
    """Forward and back over rows, of one of the two."""

    @kernel(fastmath={"contract"})
    def gelu_rows(start: int, stop: int, x: Any, out: Any) -> None:
        """out[start:stop] = gelu(x[start:stop]): (N, F) float32 -> (N, F)."""
        whole_vectors()
        for i in range(start, stop):
            for j in range(x.shape[1]):
                out[i, j] = gelu(x[i, j])

    @kernel(fastmath={"contract"})
    def gelu_backward_rows(start: int, stop: int, dy: Any, x: Any, dx: Any) -> None:
        """dx[start:stop] = dy gelu'(x): 2 x (N, F) float32 -> (N, F)."""
        whole_vectors()
        for i in range(start, stop):
            for j in range(x.shape[1]):
                dx[i, j] = dy[i, j] * slope(x[i, j])

    return gelu_rows, gelu_backward_rows


gelu_rows, gelu_backward_rows = kernels_of(gelu_one, gelu_slope_one)
gelu_new_rows, gelu_new_backward_rows = kernels_of(gelu_new_one, gelu_new_slope_one)
ROWS = {"gelu": gelu_rows} | dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_accurate"), gelu_new_rows)
BACK = {"gelu": gelu_backward_rows} | dict.fromkeys(set(ROWS) - {"gelu"}, gelu_new_backward_rows)

"""Every float32 there is, through exp and GELU: how many units in the last place is the worst result off, and where?

    python tests/bench/accuracy_sweeps.py [--every N] [--threads N]

Needs mpmath to check its own references. Minutes on two cores; --every takes each n-th float32 only.

The references are float64, computed by kernels written for this file, since 2^32 calls of a library would take hours:
exp by a polynomial of degree 13 after the same reduction as everybody's, the tail of the normal distribution by the
Chebyshev series of numpy_ops.py. Each is first compared with mpmath at 2,000 points and must be within 1e-13, a
millionth of what a float32 can show.

ulp: the distance between the result and the exact value, in units of the exact value's float32 spacing; results may
round either way, so 0.5 is perfection. exp is asked for x <= 0 only, and below LOWEST its result is 0 by design (there
the distance is given in absolute terms). GELU's result for negative x is a product with a tail that falls to 0, where
"relative to the result" asks more than the encoder needs; both are printed: ulp of the result, and the error over |x|,
which is what docs/exactness.md rests on.
"""

from __future__ import annotations

import argparse
from time import perf_counter
from typing import Any

import numpy as np
from numba import njit

from nanodistil.kernels.cpu.exp import LOWEST, exp_negative
from nanodistil.kernels.cpu.gelu import gelu_one
from nanodistil.kernels.definitions.gelu import TAIL
from nanodistil.kernels.runtime import pool

CHUNK = 1 << 20  # float32 numbers a work item
NORMAL = 2.0**-126  # the smallest normal float32: below it the spacing no longer shrinks
LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.693147180369123816490, 1.90821492927058770002e-10
SERIES = np.array(TAIL)


@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def exp64(x: Any) -> Any:
    """exp in float64, for -700 < x <= 0."""
    n = np.floor(x * LOG2_E + 0.5)
    f = (x - n * LN2_HIGH) - n * LN2_LOW
    p = 1.0
    for k in range(14, 0, -1):
        p = 1.0 + f / k * p
    half = np.int64(n) // 2  # 2^n in two factors: n may be below the exponents of normal numbers
    return p * 2.0**half * 2.0 ** (np.int64(n) - half)


@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def tail64(z: Any) -> Any:
    """Q(z), the upper tail of the normal distribution, in float64, for 0 <= z < 37: Clenshaw's rule on the series."""
    s = 2.0 / (1.0 + z / 4.0) - 1.0
    b1, b2 = 0.0, 0.0
    for k in range(SERIES.size - 1, 0, -1):
        b1, b2 = SERIES[k] + 2.0 * s * b1 - b2, b1
    return exp64(-0.5 * z * z) * (SERIES[0] + s * b1 - b2)


@njit(nogil=True, error_model="numpy")
def spacing(exact: Any) -> Any:
    """The float32 spacing at a float64 value."""
    return 2.0 ** (np.floor(np.log2(max(abs(exact), NORMAL))) - 23.0)


@njit(nogil=True, error_model="numpy")
def sweep_exp(start: int, stop: int, bits: Any, every: int, worst: Any) -> None:
    """Work items start..stop, x <= 0 from bits[item] on: worst[item] = ulp, x, largest result below LOWEST."""
    for item in range(start, stop):
        for i in range(0, CHUNK, every):
            x = bits[item] + np.uint32(i)
            v = np.uint32(x).view(np.float32)
            if not v >= -np.inf:
                continue
            got = np.float64(exp_negative(v))
            if v < LOWEST:
                worst[item, 2] = max(worst[item, 2], got)
                continue
            exact = exp64(np.float64(v))
            ulp = abs(got - exact) / spacing(exact)
            if not ulp <= worst[item, 0]:
                worst[item, 0], worst[item, 1] = ulp, v


@njit(nogil=True, error_model="numpy")
def sweep_gelu(start: int, stop: int, bits: Any, every: int, worst: Any) -> None:
    """As sweep_exp: worst[item] = ulp of normal results, its x, error over |x|, its x, least |x| with over 2 ulp."""
    for item in range(start, stop):
        worst[item, 4] = np.inf
        for i in range(0, CHUNK, every):
            v = np.uint32(bits[item] + np.uint32(i)).view(np.float32)
            x = np.float64(v)
            if not abs(x) < np.inf:
                continue
            z = min(abs(x), 37.0)
            exact = max(x, 0.0) - abs(x) * tail64(z)
            error = abs(np.float64(gelu_one(v)) - exact)
            if abs(exact) >= NORMAL:
                ulp = error / spacing(exact)
                if not ulp <= worst[item, 0]:
                    worst[item, 0], worst[item, 1] = ulp, x
                if ulp > 2:
                    worst[item, 4] = min(worst[item, 4], abs(x))
            if abs(x) >= NORMAL:
                relative = error / abs(x)
                if not relative <= worst[item, 2]:
                    worst[item, 2], worst[item, 3] = relative, x


def check_references() -> None:
    """The float64 references against mpmath. Raises AssertionError."""
    import mpmath

    for x in np.linspace(-87.5, 0, 1000):
        assert abs(exp64(x) / mpmath.exp(mpmath.mpf(float(x))) - 1) < 1e-13, x
    for z in np.linspace(0, 13.2, 1000):
        exact = mpmath.erfc(mpmath.mpf(float(z)) / mpmath.sqrt(2)) / 2
        assert abs(tail64(z) / exact - 1) < 1e-13, z


def sweep(kernel: Any, first: int, last: int, every: int, width: int) -> np.ndarray:
    """Run over the bit patterns first..last (exclusive): the rows of all work items."""
    bits = np.arange(first, last, CHUNK, dtype=np.int64).astype(np.uint32)
    worst = np.zeros((len(bits), width))
    pool.run(kernel, len(bits), bits, every, worst)
    return worst


def exp_report(every: int) -> tuple[float, float, float]:
    """Worst ulp of exp over all x in [LOWEST, 0], where it is, and the largest result below LOWEST."""
    rows = np.concatenate([sweep(sweep_exp, 0, CHUNK, every, 3)[:1], sweep(sweep_exp, 1 << 31, 1 << 32, every, 3)])
    at = rows[:, 0].argmax()
    return rows[at, 0], rows[at, 1], rows[:, 2].max()


def gelu_report(every: int, first: int = 0, last: int = 1 << 32) -> tuple[float, float, float, float, float]:
    """Worst ulp of GELU and where, worst error over |x| and where, and the least |x| with more than 2 ulp."""
    rows = sweep(sweep_gelu, first, last, every, 5)
    a, b = rows[:, 0].argmax(), rows[:, 2].argmax()
    return rows[a, 0], rows[a, 1], rows[b, 2], rows[b, 3], rows[:, 4].min()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take each n-th float32 only")
    parser.add_argument("--threads", type=int, default=pool.available_threads())
    args = parser.parse_args()
    pool.set_threads(args.threads)
    check_references()
    began = perf_counter()
    ulp, at, below = exp_report(args.every)
    print(
        f"exp, x <= 0: {ulp:.3f} ulp at {at:.9g}; below {LOWEST}: {below:g}; {perf_counter() - began:.0f} s", flush=True
    )
    for name, first, last in (("x >= 0", 0, 1 << 31), ("x < 0", 1 << 31, 1 << 32)):
        began = perf_counter()
        ulp, at, relative, there, beyond = gelu_report(args.every, first, last)
        print(f"GELU, {name}: {ulp:.3g} ulp at {at:.9g}, over 2 ulp from |x| = {beyond:.9g} on;", end=" ")
        print(f"{relative:.3g} |x| at {there:.9g}; {perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()

"""exp and GELU over a sample of every float32, evenly spaced in its bits; tests/bench/accuracy_sweeps.py takes all."""

import math

import numpy as np
import pytest

STEP = 131_071  # prime, so that all patterns of the low bits turn up
NORMAL = 2.0**-126


def sample(first, last):
    """Finite float32 numbers whose bits are first, first + STEP, ... below last."""
    x = np.arange(first, last, STEP, dtype=np.int64).astype(np.uint32).view(np.float32)
    return x[np.isfinite(x)]


def ulps(got, exact):
    spacing = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), NORMAL))) - 23)
    return np.abs(got.astype(np.float64) - exact) / spacing


def test_exp_is_within_two_ulp_everywhere():
    exp = pytest.importorskip("nanodistil.kernels.cpu.exp")
    x = sample(1 << 31, 1 << 32)  # all x <= 0
    got = np.array([exp.exp_negative(v) for v in x], np.float32)
    near = x >= exp.LOWEST
    assert ulps(got[near], np.exp(x[near].astype(np.float64))).max() <= 1.1  # all of them: 1.069, at -5.197
    assert (got[~near] == 0).all() and not near.all()


def test_gelu_everywhere():
    """Less than one unit of |x|, and 2 ulp of the result for x >= 0; for x < 0 results are small, as is their error."""
    gelu_one = pytest.importorskip("nanodistil.kernels.cpu.gelu").gelu_one
    x = np.concatenate([sample(0, 1 << 31), sample(1 << 31, 1 << 32)])
    wide = x.astype(np.float64)
    exact = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in wide.tolist()])
    got = np.array([gelu_one(v) for v in x], np.float32)
    assert (np.abs(got - exact) <= 1e-7 * np.abs(wide) + NORMAL).all()  # all x >= 0: 9.4e-8, at 0.673
    right = x >= 0
    assert ulps(got[right], exact[right]).max() <= 2  # all of them: 1.90, at 0.0302

"""The CUDA kernels, on a GPU where there is one and else on the CPU under the stand-in for CuPy, against float64."""

from __future__ import annotations

import numpy as np
import pytest

from nanodistil.kernels import numpy_ops

EPS = np.float32(numpy_ops.LAYER_NORM_EPS)


@pytest.fixture
def compiled(cupy):
    from nanodistil.kernels.cuda_source import compiled

    return compiled


@pytest.fixture(params=["float32", "float16", "bfloat16"])
def stored(request):
    """A stored type: its name in CUDA C and its NumPy dtype."""
    if request.param == "bfloat16":
        return "bfloat16", np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return {"float32": "float", "float16": "float16"}[request.param], np.dtype(request.param)


HALF_UNIT = {"float32": 2**-24, "float16": 2**-11, "bfloat16": 2**-8}  # relative error of rounding once


def close(result, truth, dtype, slack=0.0):
    """Within one rounding of the stored type, and slack, of the truth, which is float64."""
    bound = HALF_UNIT[dtype.name] * np.abs(truth) + slack
    return bool((np.abs(result.astype(np.float64) - truth) <= bound).all())


def pieces(D):
    return -(-D // 256)


@pytest.mark.parametrize("N, D", [(1, 1), (5, 37), (9, 64), (3, 768), (2, 1030)])
@pytest.mark.parametrize("residual", [False, True])
def test_layer_norm(cupy, compiled, thread_order, stored, N, D, residual):
    name, dtype = stored
    rng = np.random.default_rng(D)
    x = (3 + rng.standard_normal((N, D))).astype(dtype)
    r = rng.standard_normal((N, D)).astype(np.float32)
    weight, bias = rng.standard_normal((2, D)).astype(np.float32)
    truth = x.astype(np.float64) + residual * r.astype(np.float64)
    truth = numpy_ops.layer_norm(truth, weight.astype(np.float64), bias.astype(np.float64))
    module = compiled("layer_norm.cu", STORED=name, PIECES=pieces(D))
    kernel = module.get_function("add_layer_norm" if residual else "layer_norm")
    out, copy = cupy.empty((N, D), np.float32), cupy.empty((N, D), dtype)
    rest = (*(map(cupy.asarray, (weight, bias))), out, copy, np.int32(N), np.int32(D), EPS)
    kernel((-(-N // 4),), (128,), (cupy.asarray(x), *([cupy.asarray(r)] if residual else []), *rest))
    assert close(out.get(), truth, out.dtype, slack=2e-6)
    if name != "float":
        assert close(copy.get(), truth, dtype, slack=2e-6)

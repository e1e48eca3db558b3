"""Products by cublasLt against float64, on a GPU where there is one, otherwise on a stand-in for the library.

The stand-in (tests/emulation/cublas_lt.cpp) checks every argument and multiplies with loops; CuPy's place is taken by
tests/emulation/cupy, whose arrays lie between forbidden pages. So all of kernels/gpu/cublas_lt.py runs, and none of
NVIDIA's code.
"""

import ctypes
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from itertools import product as product_of
from pathlib import Path

import numpy as np
import pytest

from nanodistil.kernels.gpu import cublas_lt

if sys.platform != "linux":
    pytest.skip("the library is looked up as Linux names it", allow_module_level=True)

TYPES = ["float32", "float16", "bfloat16"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No plans, handles and workspaces of other tests."""
    for state in ("_handles", "_workspaces", "_plans"):
        monkeypatch.setattr(cublas_lt, state, {})


@pytest.fixture
def library(cupy):
    """The stand-in for the library, which counts and can be told what to refuse."""
    if not hasattr(cupy, "emulation"):
        pytest.skip("is about the stand-in")
    from cupy.cuda.cublas import CHOICES, emulated

    yield emulated
    emulated.choose(**dict.fromkeys(CHOICES, 0))


def dtype_of(name):
    return pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else name


def matrix(cupy, rng, rows, length, dtype, extra=0):
    """(rows, length) on the device, columns of a matrix that is `extra` wider, and as float64."""
    host = rng.standard_normal((rows, length + extra)).astype(dtype_of(dtype))
    return cupy.asarray(host)[:, :length], host[:, :length].astype(np.float64)


def product(cupy, N, W, O, operands, result, *, extra=0, bias=False, accumulate=False, compute="float32", ta=0, tb=0):
    """matmul of random matrices: what it gave, what it should have, and how far off each number may be."""
    rng = np.random.default_rng([N, W, O, extra])
    rows, K = (W, N) if ta else (N, W)
    a, exact_a = matrix(cupy, rng, N, W, operands, extra)
    b, exact_b = matrix(cupy, rng, *((O, K) if tb else (K, O)), operands, extra)
    out, before = matrix(cupy, rng, rows, O, result, extra)
    added, exact_bias = matrix(cupy, rng, 1, O, result)
    parts = {"bias": added[0]} if bias else {"accumulate": True} if accumulate else {}
    cublas_lt.matmul(a, b, out, transpose_a=bool(ta), transpose_b=bool(tb), compute=compute, **parts)
    left, right = exact_a.T if ta else exact_a, exact_b.T if tb else exact_b
    rest = exact_bias if bias else before if accumulate else np.zeros_like(before)
    exact, size = left @ right + rest, np.abs(left) @ np.abs(right) + np.abs(rest)
    rounding = {"float32": 2**-23, "float16": 2**-11, "bfloat16": 2**-8}[result]
    allowed = (K + 4) * 2**-24 * size + rounding * np.abs(exact) + 2**-24
    if compute == "tf32":
        allowed += 2**-9 * size
    return out.get().astype(np.float64), exact, allowed


def check(got, exact, allowed):
    assert (np.abs(got - exact) <= allowed).all(), np.nanmax(np.abs(got - exact) / allowed)


@pytest.mark.parametrize("ta, tb", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("operands, result", [(t, r) for t in TYPES for r in dict.fromkeys((t, "float32"))])
def test_products_are_those_of_float64(cupy, operands, result, ta, tb):
    for N, W, O in [(1, 1, 1), (1, 8, 2), (7, 5, 3), (16, 64, 24), (33, 100, 17), (130, 16, 40)]:
        for extra in (0, 3, 8):
            for parts in ({}, {"bias": True}, {"accumulate": True}):
                check(*product(cupy, N, W, O, operands, result, extra=extra, ta=ta, tb=tb, **parts))


def test_nothing_beside_the_result_is_written(cupy):
    whole = cupy.asarray(np.full((12, 20), 7, np.float32))
    ones = cupy.asarray(np.ones((9, 9), np.float32))
    cublas_lt.matmul(ones, ones, whole[2:11, 5:14], bias=ones[0], compute="float32")
    expected = np.full((12, 20), 7, np.float32)
    expected[2:11, 5:14] = 10
    np.testing.assert_array_equal(whole.get(), expected)


@pytest.mark.parametrize("which", ["x", "weight", "bias", "y"])
@pytest.mark.parametrize("dtype", TYPES)
def test_addresses_aligned_to_no_more_than_a_number(cupy, dtype, which):
    rng = np.random.default_rng(0)

    def placed(name, rows, length):
        """At the beginning of an allocation, or one number after it."""
        flat, exact = matrix(cupy, rng, 1, rows * length + 1, dtype)
        part = slice(1, None) if name == which else slice(0, -1)
        return flat[0, part].reshape(rows, length), exact[0, part].reshape(rows, length)

    (x, exact_x), (weight, exact_weight) = placed("x", 10, 32), placed("weight", 8, 32)
    (bias, exact_bias), (y, _) = placed("bias", 1, 8), placed("y", 10, 8)
    cublas_lt.matmul(x, weight, y, transpose_b=True, bias=bias[0], compute="float32")
    exact = exact_x @ exact_weight.T + exact_bias
    np.testing.assert_allclose(y.get().astype(np.float64), exact, rtol=2**-8, atol=1e-4)


def test_tf32_rounds_and_float32_does_not(cupy):
    got, exact, allowed = product(cupy, 64, 256, 64, "float32", "float32", tb=1, compute="tf32")
    check(got, exact, allowed)
    *_, float32_allowed = plain = product(cupy, 64, 256, 64, "float32", "float32", tb=1)
    check(*plain)
    assert (np.abs(got - exact) > float32_allowed).any()


def test_float32_stays_float32_where_the_environment_forces_tf32(cupy, library):
    library.choose(force_tf32=True)
    check(*product(cupy, 64, 256, 64, "float32", "float32", tb=1))


def test_nvidia_tf32_override_does_not_reach_float32(cupy):
    if hasattr(cupy, "emulation"):
        pytest.skip("asks NVIDIA's library")
    here = os.environ | {"NVIDIA_TF32_OVERRIDE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", f"{__file__}::test_tf32_rounds_and_float32_does_not"]
    done = subprocess.run(command, env=here, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("accumulate", [False, True])
def test_no_rows(cupy, accumulate):
    x, w = cupy.empty((0, 5), "float32"), cupy.asarray(np.ones((3, 5), np.float32))
    y = cupy.empty((0, 3), "float32")
    cublas_lt.matmul(x, w, y, transpose_b=True, bias=w[:, :3][0], compute="float32")
    dw = cupy.asarray(np.full((3, 5), 2, np.float32))
    cublas_lt.matmul(y, x, dw, transpose_a=True, accumulate=accumulate, compute="float32")  # a sum over no tokens
    np.testing.assert_array_equal(dw.get(), np.full((3, 5), 2 * accumulate, np.float32))


def test_one_search_serves_all_lengths_that_round_to_the_same(cupy, library):
    searches, checks = library.count("searches"), library.count("checks")
    descriptors = []
    for N in (104, 97, 100, 97, 104, 100):
        check(*product(cupy, N, 16, 24, "float32", "float32", tb=1, bias=True))
        descriptors.append(library.count("descriptors"))
    assert library.count("searches") - searches == 1
    assert library.count("checks") - checks == 2  # of 97 and of 100
    assert len(set(descriptors)) == 1
    check(*product(cupy, 105, 16, 24, "float32", "float32", tb=1, bias=True))
    assert library.count("searches") - searches == 2


def test_a_length_whose_check_fails_is_searched_for_alone(cupy, library):
    searches = library.count("searches")
    library.choose(check_refuses=True)
    for _ in range(2):
        check(*product(cupy, 100, 16, 24, "float32", "float32", tb=1))
    assert library.count("searches") - searches == 2  # for 104, then for 100


def test_weights_of_one_shape_share_a_plan_and_keep_their_biases(cupy, library):
    x = cupy.asarray(np.ones((4, 3), np.float32))
    weights = [cupy.asarray(np.full((8, 3), n, np.float32)) for n in (1, 2)]
    biases = [cupy.asarray(np.full(8, 100 * n, np.float32)) for n in (1, 2)]
    for _ in range(2):
        for n, weight, bias in zip((1, 2), weights, biases, strict=True):
            y = cupy.empty((4, 8), "float32")
            cublas_lt.matmul(x, weight, y, transpose_b=True, bias=bias, compute="float32")
            np.testing.assert_array_equal(y.get(), np.full((4, 8), 103 * n, np.float32))
    assert len(cublas_lt._plans) == 1


def test_threads_do_not_mix_their_products(cupy):
    """All use one plan, whose descriptors change from call to call."""
    results, device = {}, cupy.cuda.runtime.getDevice()

    def work(n):
        cupy.cuda.runtime.setDevice(device)
        w, bias = cupy.asarray(np.full((8, 4), n, np.float32)), cupy.asarray(np.full(8, 1000 * n, np.float32))
        results[n] = True
        for i in range(30):
            N = 16 + (n + i) % 2
            x, y = cupy.asarray(np.full((N, 4), i, np.float32)), cupy.empty((N, 8), "float32")
            cublas_lt.matmul(x, w, y, transpose_b=True, bias=bias, compute="float32")
            results[n] &= bool((y.get() == 4 * n * i + 1000 * n).all())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results.values()) and len(results) == 6


@pytest.mark.parametrize("operands", TYPES)
def test_a_bias_that_no_algorithm_takes_is_written_first(cupy, library, operands):
    library.choose(no_bias=True)
    check(*product(cupy, 9, 30, 5, operands, operands, tb=1, bias=True))


def test_refusals_are_named(cupy, library):
    library.choose(nothing_found=True)
    named = r"no algorithm for \(7, 4\) x \(6, 4\)\^T in float16 -> \(7, 6\)"
    with pytest.raises(cublas_lt.CublasLtError, match=named):
        product(cupy, 7, 4, 6, "float16", "float16", tb=1)
    library.choose(nothing_found=False, fail_product=True)
    named = r"CUBLAS_STATUS_EXECUTION_FAILED \(13\) from cublasLtMatmul: \(8, 4\) x"
    with pytest.raises(cublas_lt.CublasLtError, match=named) as error:
        product(cupy, 8, 4, 6, "float32", "float32", tb=1, bias=True)
    assert "\n" not in str(error.value)
    library.choose(fail_search=True)
    named = r"CUBLAS_STATUS_INTERNAL_ERROR .* from cublasLtMatmulAlgoGetHeuristic: \(104, 4\)"
    with pytest.raises(cublas_lt.CublasLtError, match=named):
        product(cupy, 100, 4, 6, "float32", "float32", tb=1)


def test_each_stream_has_one_workspace_and_is_told(cupy, library):
    kept = {}
    for number in (5, 6, 5):
        with cupy.cuda.Stream() as stream:
            stream.ptr = number
            check(*product(cupy, 20, 70, 3, "float32", "float32", tb=1))
        assert library.count("last_stream") == number
        workspace = cublas_lt._workspaces[0, number]
        assert kept.setdefault(number, workspace) is workspace
        assert workspace.nbytes == cublas_lt.WORKSPACE
    assert len(cublas_lt._workspaces) == 2


def test_arrays_that_do_not_go_together(cupy):
    def zeros(*shape, dtype="float32"):
        return cupy.asarray(np.zeros(shape, dtype))

    x, w, y, half = zeros(4, 3), zeros(5, 3), zeros(4, 5), zeros(4, 3, dtype="float16")
    for arrays, options in [
        ((x, w, y), {}),  # not transposed
        ((x, w, zeros(5, 4)), {"transpose_b": True}),
        ((half, w, y), {"transpose_b": True}),
        ((x, w, zeros(4, 5, dtype="float16")), {"transpose_b": True}),
        ((zeros(3, 4).T, w, y), {"transpose_b": True}),  # columns contiguous, not rows
        ((x, w, y), {"transpose_b": True, "bias": zeros(4)}),
        ((x, w, y), {"transpose_b": True, "bias": zeros(10)[::2]}),
        ((x, w, y), {"transpose_b": True, "bias": zeros(5, dtype="float16")}),
        ((x, w, y), {"transpose_b": True, "bias": zeros(5), "accumulate": True}),
        ((x, w, y), {"transpose_b": True, "compute": "float16"}),
        ((half, zeros(5, 3, dtype="float16"), y), {"transpose_b": True, "compute": "tf32"}),
    ]:
        with pytest.raises(ValueError):
            cublas_lt.matmul(*arrays, **({"compute": "float32"} | options))


def test_a_missing_library_is_one_line(cupy, library, monkeypatch):
    cublas_lt._library.cache_clear()
    monkeypatch.setattr(cupy.cuda.runtime, "runtimeGetVersion", lambda: 99000)
    with pytest.raises(cublas_lt.CublasLtError, match=r"is missing: libcublasLt\.so\.99: .*\[ctk\]") as error:
        product(cupy, 2, 3, 4, "float32", "float32")
    assert "\n" not in str(error.value)


def test_the_one_struct_that_is_laid_out_here():
    assert ctypes.sizeof(cublas_lt._Result) == 96  # by the header of CUDA 13: 64 + 8 + 4 + 4 + 16
    assert cublas_lt._Result.state.offset == 72


def test_nvidias_own_library_takes_the_descriptors(monkeypatch):
    """Where it is installed, with a GPU or without: it knows every attribute that is set, and their sizes."""
    found = find_spec("nvidia")
    folders = [Path(folder) for folder in (found.submodule_search_locations if found else None) or ()]
    files = sorted(file for folder in folders for file in folder.glob("*/lib/libcublasLt.so.1[23]"))
    if not files:
        pytest.skip("no package of NVIDIA's with cuBLASLt here")
    lt = ctypes.CDLL(str(files[-1]))
    for entry, arguments in cublas_lt._SIGNATURES.items():
        getattr(lt, entry).argtypes = arguments
    lt.cublasLtGetStatusName.restype = ctypes.c_char_p
    monkeypatch.setattr(cublas_lt, "_library", lambda: lt)
    for operands, result, compute in product_of(TYPES, TYPES, ["float32", "tf32"]):
        if result not in (operands, "float32") or (compute == "tf32" and operands != "float32"):
            continue
        for ta, tb, bias in product_of([False, True], [False, True], [0, 16]):
            distances = 96, 32, 32
            kind = cublas_lt._Kind(0, 64, 96, 32, distances, (operands, result), compute, ta, tb, (256, 256, 256, bias))
            plan = cublas_lt._planned(lt, kind)
            cublas_lt._resize(lt, plan, 100)
            put = lt.cublasLtMatmulDescSetAttribute
            cublas_lt._set(put, plan.operation, cublas_lt.BIAS_POINTER, ctypes.c_void_p(4096))
    with pytest.raises(cublas_lt.CublasLtError, match="INVALID_VALUE"):
        cublas_lt._set(put, plan.operation, cublas_lt.BIAS_POINTER, ctypes.c_int32(0))
    with pytest.raises(cublas_lt.CublasLtError, match="cublasLtMatmulAlgoGetHeuristic"):  # after its preferences
        cublas_lt._found(lt, ctypes.c_void_p(0), kind, plan)

"""The CUDA kernels, on a GPU where there is one and else on the CPU under the stand-in for CuPy, against float64."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nanodistil import kernels
from nanodistil.kernels.definitions import numpy_ops

SOURCES = Path(kernels.__file__).parent / "gpu" / "cuda"

HALF_TYPES = ({"STORED": "float16"}, {"STORED": "bfloat16"})
TYPES = ({"STORED": "float"}, *HALF_TYPES)
VARIANTS = {  # what each file is compiled for where it matters most; those not named, as they stand
    "attention.cu": tuple(
        {**t, "HEAD": 64, **more} for t in HALF_TYPES for more in ({}, {"DROPOUT": 1}, {"QUERIES": 128}, {"CAUSAL": 1})
    ),
    "attention_float32.cu": tuple(
        {"STORED": "float", "HEAD": 64, **more} for more in ({}, {"DROPOUT": 1}, {"CAUSAL": 1})
    ),
    "attention_backward.cu": ({"STORED": "bfloat16", "HEAD": 64}, {"STORED": "float16", "HEAD": 64, "DROPOUT": 1}),
    "attention_backward_float32.cu": ({"STORED": "float", "HEAD": 64}, {"STORED": "float", "HEAD": 64, "DROPOUT": 1}),
    "layer_norm_backward.cu": ({"INPUT": "float"}, {"STORED": "bfloat16"}, {"INPUT": "float", "PIECES": 5}),
    "activation_backward.cu": tuple(
        {"INPUT": t, "STORED": "float", "SLOPE": slope}
        for t in ("float", "float16")
        for slope in ("gelu_slope", "tanh_slope")
    ),
    "losses.cu": ({"AT_WORK": 128}, {"AT_WORK": 512}),
    "layer_norm.cu": (*TYPES, {"STORED": "float16", "INPUT": "float"}, {"STORED": "float", "PIECES": 12}),
    "embed.cu": TYPES,
    "gelu.cu": (*TYPES, {"STORED": "float16", "INPUT": "float"}, {"ACTIVATION": "hyperbolic_tangent"}),
}
MOST_SPILLED = {"sm_80": 128, "sm_90": 0, "sm_100": 128}  # bytes a thread; the kernels' sizes were chosen on sm_90
EPS = np.float32(1e-5)


@pytest.fixture
def compiled(cupy):
    from nanodistil.kernels.gpu.cuda_source import compiled

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
    """At least 3, so that most widths share one compilation."""
    return max(3, -(-D // 256))


def test_sources_hold_each_file_once(cupy):
    from nanodistil.kernels.gpu.cuda_source import source

    text = source("embed.cu")
    assert "#include" not in text
    for name in ("embed.cu", "row.cuh", "device.cuh", "ptx.cuh"):
        assert text.count(f'#line 1 "{name}"') == 1
    line = text.splitlines().index(
        'extern "C" __global__ void embed(const long long* __restrict__ ids, const long long* __restrict__ positions,'
    )
    before = [n for n, t in enumerate(text.splitlines()[:line]) if t.startswith("#line")][-1]
    named = int(text.splitlines()[before].split()[1]) + line - before - 1
    assert (
        (SOURCES / "embed.cu")
        .read_text("utf-8")
        .splitlines()[named - 1]
        .startswith('extern "C" __global__ void embed(')
    )


def test_compiled_once(cupy, compiled):
    assert compiled("gelu.cu", STORED="float16") is compiled("gelu.cu", STORED="float16")
    assert compiled("gelu.cu", STORED="float16") is not compiled("gelu.cu", STORED="bfloat16")


@pytest.mark.parametrize("writable", [True, False])
def test_cupy_finds_a_folder_to_cache_in(cupy, monkeypatch, tmp_path, writable):
    """CuPy makes this folder when it is imported, and fails where it cannot."""
    from nanodistil.kernels.gpu.cuda_source import settle_cache

    (tmp_path / "file").touch()
    place = tmp_path / ("folder" if writable else "file") / "kernel_cache"
    monkeypatch.setenv("CUPY_CACHE_DIR", str(place))
    settle_cache()  # CuPy is there already: too late, nothing changes
    assert not place.exists() and os.environ["CUPY_CACHE_DIR"] == str(place)
    monkeypatch.delitem(sys.modules, "cupy")
    settle_cache()
    found = Path(os.environ["CUPY_CACHE_DIR"])
    assert (found == place) is writable and found.is_dir() and (writable or found.stat().st_mode & 0o777 == 0o700)


@pytest.mark.sweep
@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc here")
@pytest.mark.parametrize("file", [path.name for path in sorted(SOURCES.glob("*.cu"))])
def test_nvcc_compiles_them_without_spilling(cupy, tmp_path, file):
    from nanodistil.kernels.gpu.cuda_source import source

    path = tmp_path / file
    path.write_text(source(file), encoding="utf-8")
    targets = [f"-gencode=arch={a.replace('sm', 'compute')},code={a}" for a in MOST_SPILLED]
    for defines in VARIANTS.get(file, ({},)):
        options = [f"-D{name}={value}" for name, value in defines.items()]
        command = ["nvcc", "-std=c++17", "-ftz=true", "-Werror=all-warnings", "-Xptxas=-v", *targets, *options]
        result = subprocess.run(
            [*command, "-fatbin", "-o", str(tmp_path / "out"), str(path)], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        compiled = re.findall(r"for '(sm_\d+)'.*?(\d+) bytes spill stores", result.stderr, re.DOTALL)
        assert {architecture for architecture, _ in compiled} == set(MOST_SPILLED)
        assert not [c for c in compiled if int(c[1]) > MOST_SPILLED[c[0]]], (defines, result.stderr)


@pytest.mark.parametrize("N, D", [(1, 1), (5, 37), (9, 64), (3, 768), (2, 1030)])
@pytest.mark.parametrize("residual", [False, True])
def test_layer_norm(cupy, compiled, thread_order, stored, N, D, residual):
    name, dtype = stored
    rng = np.random.default_rng(D)
    x = (3 + rng.standard_normal((N, D))).astype(dtype)
    r = rng.standard_normal((N, D)).astype(np.float32)
    weight, bias = rng.standard_normal((2, D)).astype(np.float32)
    truth = x.astype(np.float64) + residual * r.astype(np.float64)
    truth = numpy_ops.layer_norm(truth, weight.astype(np.float64), bias.astype(np.float64), 1e-5)
    module = compiled("layer_norm.cu", STORED=name, PIECES=pieces(D))
    kernel = module.get_function("add_layer_norm" if residual else "layer_norm")
    out, copy = cupy.empty((N, D), np.float32), cupy.empty((N, D), dtype)
    rest = (*(map(cupy.asarray, (weight, bias))), out, copy, np.int32(N), np.int32(D), EPS)
    kernel((-(-N // 4),), (128,), (cupy.asarray(x), *([cupy.asarray(r)] if residual else []), *rest))
    assert close(out.get(), truth, out.dtype, slack=2e-6)
    if name != "float":
        assert close(copy.get(), truth, dtype, slack=2e-6)


def numbers(dtype):
    """Every kind of number an activation may meet: both signs, small, large, the largest, zeros."""
    rng = np.random.default_rng(7)
    plain = np.concatenate([rng.standard_normal(500), 6 * rng.standard_normal(500), [0, -0.0, 1e-5, -1e-5, 1e4, -1e4]])
    largest = float(np.finfo(np.float32).max if dtype.name == "bfloat16" else np.finfo(dtype).max)
    return np.append(plain, [largest, -largest, np.inf]).astype(dtype)


@pytest.mark.parametrize(
    "function, name",
    [("gelu", "gelu"), ("gelu_tanh", "gelu_new"), ("relu", "relu"), ("hyperbolic_tangent", "tanh")],
)
def test_activation(cupy, compiled, stored, function, name):
    type_name, dtype = stored
    x = numbers(dtype)
    with np.errstate(invalid="ignore"):
        truth = numpy_ops.activation(x.astype(np.float64), name)
    x, truth = x[~np.isnan(truth)], truth[~np.isnan(truth)]  # the definition's gelu_new of -infinity is none
    kernel = compiled("gelu.cu", ACTIVATION=function, STORED=type_name).get_function("activation")
    given, out = cupy.asarray(x), cupy.empty(x.shape, dtype)
    launch = (-(-x.size // (8 * 64)),), (64,)
    kernel(*launch, (given, out, np.int64(x.size)))
    finite = np.isfinite(truth)
    assert close(out.get()[finite], truth[finite], dtype, slack=1.5e-7)
    assert (out.get()[~finite] == truth[~finite]).all()
    kernel(*launch, (given, given, np.int64(x.size)))  # in place
    assert (given.get() == out.get()).all()


def test_activation_from_one_type_to_another(cupy, compiled):
    x = np.linspace(-3, 3, 77, dtype=np.float32)
    kernel = compiled("gelu.cu", INPUT="float", STORED="float16").get_function("activation")
    out = cupy.empty(x.shape, np.float16)
    kernel((1,), (32,), (cupy.asarray(x), out, np.int64(77)))
    assert close(out.get(), numpy_ops.activation(x.astype(np.float64), "gelu"), out.dtype, slack=1.5e-7)


@pytest.mark.parametrize("function", ["gelu", "relu", "hyperbolic_tangent"])
def test_activation_keeps_nan(cupy, compiled, function):
    x = cupy.asarray(np.array([np.nan, 1.0], np.float32))
    compiled("gelu.cu", ACTIVATION=function).get_function("activation")((1,), (32,), (x, x, np.int64(2)))
    assert np.isnan(x.get()).tolist() == [True, False]


def test_activation_of_rows_that_begin_anywhere(cupy, compiled):
    """A slice begins on no multiple of 16 bytes, and its neighbours stay as they are."""
    x = cupy.asarray(np.linspace(-1, 1, 100, dtype=np.float16))
    before = x.get()
    compiled("gelu.cu", STORED="float16").get_function("activation")((1,), (32,), (x[3:60], x[3:60], np.int64(57)))
    changed = x.get() != before
    assert not changed[:3].any() and not changed[60:].any() and changed[3:60].sum() > 50


@pytest.mark.parametrize("N, D", [(1, 1), (6, 20), (5, 768)])
def test_embed(cupy, compiled, thread_order, stored, N, D):
    name, dtype = stored
    rng = np.random.default_rng(D)
    words, places = rng.standard_normal((2, 9, D)).astype(np.float32)
    ids, positions = rng.integers(0, 9, (2, N))
    ids[-1], positions[-1] = 8, 8
    weight, bias = rng.standard_normal((2, D)).astype(np.float32)
    truth = numpy_ops.embed(ids, positions, words.astype(np.float64), places.astype(np.float64))
    module = compiled("embed.cu", STORED=name, PIECES=pieces(D))
    tables = tuple(map(cupy.asarray, (ids, positions, words, places)))
    out, copy = cupy.empty((N, D), np.float32), cupy.empty((N, D), dtype)
    launch = (-(-N // 2),), (64,)
    module.get_function("embed")(*launch, (*tables, out, np.int32(N), np.int32(D)))
    assert close(out.get(), truth, out.dtype)
    norm = (cupy.asarray(weight), cupy.asarray(bias))
    module.get_function("embed_layer_norm")(*launch, (*tables, *norm, out, copy, np.int32(N), np.int32(D), EPS))
    truth = numpy_ops.layer_norm(truth, weight.astype(np.float64), bias.astype(np.float64), 1e-5)
    assert close(out.get(), truth, out.dtype, slack=2e-6)
    if name != "float":
        assert close(copy.get(), truth, dtype, slack=2e-6)


def test_most_probable(cupy, compiled, thread_order):
    """A whole vocabulary, as many words as are ever ranked so, equal logits among them; then a row that is damaged."""
    rng = np.random.default_rng(8)
    V, k = 30522, 128
    x = np.round(3 * rng.standard_normal((2, V)), 2).astype(np.float32)
    x[1, 9] = np.nan
    probs, words = cupy.empty((2, k), np.float32), cupy.empty((2, k), np.int64)
    kernel = compiled("most_probable.cu").get_function("most_probable")
    kernel((2,), (512,), (cupy.asarray(x), probs, words, np.int32(V), np.int32(k)))
    truth, order = numpy_ops.most_probable(x[:1].astype(np.float64), k)
    np.testing.assert_array_equal(words.get()[:1], order)
    np.testing.assert_allclose(probs.get()[:1], truth, rtol=1e-6)
    assert len(np.unique(truth)) < k and np.isnan(probs.get()[1]).all()


def test_layer_norm_of_rows_far_from_zero(cupy, compiled):
    """The mean's rounding error, a thousandth of the deviation here, is taken out again."""
    rng = np.random.default_rng(3)
    x = (1000 + 0.1 * rng.standard_normal((4, 768))).astype(np.float32)
    one, zero = np.ones(768, np.float32), np.zeros(768, np.float32)
    out = cupy.empty(x.shape, np.float32)
    args = (cupy.asarray(x), cupy.asarray(one), cupy.asarray(zero), out, cupy.empty(0, np.float32))
    compiled("layer_norm.cu").get_function("layer_norm")((1,), (128,), (*args, np.int32(4), np.int32(768), EPS))
    truth = numpy_ops.layer_norm(x.astype(np.float64), one.astype(np.float64), zero.astype(np.float64), 1e-5)
    assert np.abs(out.get() - truth).max() < 2e-6

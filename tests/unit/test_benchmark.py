"""bench: what is counted, what is printed; never how fast anything is."""

import json
import os
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TINY, random_tensors

from nanodistil import benchmark
from nanodistil.backend import gpu_module
from nanodistil.cli import main
from nanodistil.cli.bench import op_table
from nanodistil.family.distilbert import DistilBertModel


def test_operations_and_bytes_by_hand():
    model = DistilBertModel(TINY, random_tensors(TINY, "base"), backend="numpy")
    profile = benchmark.profile(model, "3x5", seconds=0)
    ops = {op.name: op for op in profile.ops}
    N, D, F, L = 15, TINY.dim, TINY.hidden_dim, TINY.n_layers
    assert ops["qkv_lin linear"].flops == L * 2 * N * D * 3 * D
    assert ops["lin1 linear_activation"].flops == ops["lin2 linear"].flops == L * 2 * N * D * F
    assert ops["attention"].flops == L * 3 * (2 * 5 * 5 * D) * 2  # scores and averaged values, heads together
    assert ops["out_lin linear"].bytes == 4 * L * (N * D + D * D + D + N * D)
    assert ops["sa_layer_norm add_layer_norm"].bytes == 4 * L * (2 * N * D + 2 * D + N * D)
    assert ops["word_embeddings embed_layer_norm"].bytes == 4 * 3 * N * D
    assert "output_layer_norm add_layer_norm" in ops
    assert profile.flops == sum(op.flops for op in profile.ops)
    assert not isinstance(model.ops, benchmark.Timed)  # put back


def test_the_limit_is_the_slower_of_arithmetic_and_memory():
    class Ops:
        @staticmethod
        def linear(x, w):
            return np.zeros((x.shape[0], 8), np.float32)

        @staticmethod
        def attention(q, k, v, who):
            return q

    class Machine:
        bandwidth = 1e9

        @staticmethod
        def peak_of(op):
            return {"linear": 1e9, "attention": 1e3}[op]

    timed = benchmark.Timed(Ops, {}, Machine)
    timed.linear(np.zeros((1, 4), np.float32), np.zeros((8, 4), np.float32))
    (row,) = timed.seen.values()
    assert (row.flops, row.bytes, row.bound) == (64, 4 * (4 + 32 + 8), "bandwidth")
    assert row.floor == pytest.approx(176e-9) and row.reached() == row.floor / row.seconds
    timed.linear(np.zeros((100, 4), np.float32), np.zeros((8, 4), np.float32))
    assert row.bound == "peak" and row.calls == 2
    assert row.arithmetic == pytest.approx(6464e-9)
    who, x = SimpleNamespace(asking=np.array([0, 1]), starts=np.array([0, 1])), np.zeros((1, 4), np.float32)
    timed.attention(x, x, x, who)  # not in int8, whatever linear maps are
    rows = list(timed.seen.values())
    assert rows[1].arithmetic == pytest.approx(16e-3)
    assert benchmark.Profile("1x1", 0.032, 0, rows).of_peak() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("shape", ["", "8", "8x", "0x4", "8x128x2", "ax3", "-1x-2"])
def test_shapes_that_are_none(shape, capsys):
    assert main(["bench", f"--shape={shape}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_bench(capsys, backend, monkeypatch):
    if backend == "numba" and os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        pytest.skip("minutes as plain Python")
    if backend == "cupy":  # the stand-in multiplies large matrices for hours
        gpu = gpu_module("device")
        monkeypatch.setattr(gpu, "limits", partial(gpu.limits, side=64, copied=1 << 16))
    argv = ["bench", "--model", "nanodistil-mini", "--backend", backend, "--shape", "1x2", "--seconds", "0"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "qkv_lin linear" in out and "all, timed apart" in out and "1x2" in out
    assert main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["backend"] == backend and found["shapes"][0]["shape"] == "1x2"


def test_too_long_for_the_model(capsys):
    argv = ["bench", "--model", "nanodistil-mini", "--backend", "numpy", "--shape", "1x4096", "--seconds", "0"]
    assert main(argv) == 2 and "positions" in capsys.readouterr().err


def test_the_ladder_is_verified_step_by_step():
    pytest.importorskip("numba")
    rungs = benchmark.ladder(seconds=0, shape=(17, 70, 45))
    assert rungs[0].name == "three loops" and rungs[-1].name == "threads"
    assert all(0 < r.error <= 1 and r.gflops > 0 for r in rungs)


def test_a_wrong_step_is_not_timed(monkeypatch):
    pytest.importorskip("numba")
    from nanodistil.kernels.instruments import ladder

    monkeypatch.setattr(ladder, "plain_blas", lambda x, weight, bias: lambda: x @ weight.T)  # forgets the bias
    with pytest.raises(AssertionError, match="BLAS"):
        benchmark.ladder(seconds=0, shape=(2, 3, 4))


def test_the_ladder_on_the_command_line(capsys, monkeypatch):
    pytest.importorskip("numba")
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.setenv(variable, "1")  # the verb sets them where they are not set; here they must not stay
    monkeypatch.setattr(benchmark, "LADDER_SHAPE", (3, 5, 7))
    monkeypatch.setattr(benchmark.ladder, "__defaults__", (0.0, (3, 5, 7)))
    assert main(["bench", "--ladder", "--seconds", "0"]) == 0
    assert "register tile" in capsys.readouterr().out
    assert main(["bench", "--ladder", "--seconds", "0", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6


def test_an_op_whose_data_was_in_a_cache_reaches_no_share_of_the_bandwidth():
    """It would be 11315 % of what memory can give."""
    cached = benchmark.OpTime("embed", 1, seconds=1e-5, bytes=10**6, floor=1e-3, bound="bandwidth")
    moved = benchmark.OpTime("norm", 1, seconds=1e-3, bytes=10**6, floor=5e-4, bound="bandwidth")
    fast = benchmark.OpTime("lin1", 1, seconds=1e-3, flops=10**6, floor=1.8e-3, bound="peak")  # in bfloat16, say
    table = op_table(benchmark.Profile("1x8", 1.0, 1, [cached, moved, fast]), None)
    assert [line.split("  ")[-1] for line in table.splitlines()[1:4]] == [
        "in cache",
        "50% of bandwidth",
        "180% of peak",
    ]
    found = benchmark.Profile("1x8", 1.0, 1, [cached, moved]).as_dict()["ops"]
    assert [op["in_cache"] for op in found] == [True, False]


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="is about machine code")
@pytest.mark.sweep
def test_the_inner_loop_of_the_matrix_product_is_multiply_adds_on_registers(capsys):
    tile = pytest.importorskip("nanodistil.kernels.cpu.tile")
    assert main(["bench", "--show-asm", "--json"]) == 0
    loop = json.loads(capsys.readouterr().out)
    assert loop["kernel"] == "linear_blocks" and loop["lines"]
    if tile.SHAPE.vector:
        assert loop["multiply_adds"] == tile.SHAPE.rows * tile.SHAPE.vectors and loop["stack"] == 0
    assert main(["bench", "--show-asm", "gelu"]) == 0
    shown = capsys.readouterr().out
    assert "gelu_rows, its innermost loop" in shown
    if "avx512f" in tile.FEATURES:  # of some processors LLVM prefers half as long vectors
        assert "%zmm" in shown and "%ymm" not in shown
    assert main(["bench", "--show-asm", "x"]) == 2 and "choose one of linear" in capsys.readouterr().err

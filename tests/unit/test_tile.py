"""The register tile on other machines than this one: AVX2 and no vectors by pretence, NEON by its assembly."""

import json
import os
import subprocess
import sys

import pytest

numba = pytest.importorskip("numba")

from nanodistil.kernels import tile  # noqa: E402

compiled_only = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="is about compiled code")

PROBE = """
import json
import numpy as np
from nanodistil.kernels import bfloat16_backward, bfloat16_ops, int8_ops, numba_backward, numba_ops, numpy_ops, tile
rng = np.random.default_rng(0)
errors = []
for N, I, O in [(1, 1, 1), (13, 37, 5), (15, 66, 70), (29, 130, 33)]:
    x, weight, bias = (rng.standard_normal(s).astype(np.float32) for s in ((N, I), (O, I), (O,)))
    exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    row = []
    for ops in (numba_ops, bfloat16_ops, int8_ops):
        got = ops.linear(x, ops.prepare_linear(weight, bias))
        row.append(float(np.abs(got - exact).max() / np.sqrt(I)))
    errors.append(row)
    dy = rng.standard_normal((N, O)).astype(np.float32)
    row = []
    for ops in (numba_backward, bfloat16_backward):
        dx, dW, db = ops.linear_backward_input(dy, ops.prepare_backward(weight, bias)), 0 * weight, 0 * bias
        ops.linear_backward_weight(dy, x, dW, db)
        pairs = (dx, dy @ weight), (dW, dy.T @ x), (db, dy.sum(0))
        row.append(max(float(np.abs(got - exact).max() / 12) for got, exact in pairs))
    errors.append(row)
starts = np.array([0, 1, 18])
q = rng.standard_normal((18, 60)).astype(np.float32)
wide = q.astype(np.float64)
exact = numpy_ops.attention(wide[:, :20], wide[:, 20:40], wide[:, 40:], starts, starts, 4, None)
got = numba_ops.attention(q[:, :20], q[:, 20:40], q[:, 40:], starts, starts, 4, None)
print(json.dumps({"shape": tile.SHAPE, "errors": errors, "attention": float(np.abs(got - exact).max())}))
"""


@compiled_only
@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("haswell", "+avx,+avx2,+fma,+sse3,+ssse3,+sse4.1,+sse4.2,+bmi,+bmi2,+popcnt", tile.AVX2),
        ("x86-64-v4", "+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx2,+fma,+avx", tile.AVX512),
        ("generic", None, tile.PLAIN),
    ],
)
def test_the_tile_of_another_machine(name, features, expected):
    """float32 as exact as ever; bfloat16 and int8, on whatever path is left to them, within their rounding."""
    here = tile.cpu_features()
    if features and not {f[1:] for f in features.split(",")} <= here:
        pytest.skip("this machine cannot run that one's code")
    environment = {**os.environ, "NUMBA_CPU_NAME": name}
    if features:
        environment["NUMBA_CPU_FEATURES"] = features
    result = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    assert tuple(seen["shape"]) == expected
    for float32, *rough in seen["errors"]:
        assert float32 < 1e-6 and all(error < 0.06 for error in rough)
    assert seen["attention"] < 2e-6


@compiled_only
@pytest.mark.parametrize("turned", [False, True])
def test_the_neon_tile_compiles_to_neon(monkeypatch, turned):
    """Its inner loop for aarch64: 24 sums, each one fused multiply-add by a scalar, none spilled."""
    import llvmlite.binding as llvm
    from llvmlite import ir

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite was built without aarch64")
    monkeypatch.setattr(tile, "SHAPE", tile.NEON)
    monkeypatch.setattr(tile, "COLUMNS", tile.NEON.vectors * tile.NEON.vector)
    module = ir.Module()
    module.triple = "aarch64-unknown-linux-gnu"
    dot = tile.FLOAT32._replace(instruction="llvm.fma.v4f32")
    tile._tile_function(module, dot, tile.NEON.rows, turned).linkage = ""
    machine = target.create_target_machine(cpu="neoverse-n1", opt=3)
    parsed = llvm.parse_assembly(str(module))
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    llvm.create_pass_builder(machine, options).getModulePassManager().run(
        parsed, llvm.create_pass_builder(machine, options)
    )
    assembly = machine.emit_assembly(parsed)
    assert assembly.count("fmla") >= tile.NEON.rows * tile.NEON.vectors


def test_the_choice_follows_the_features():
    assert tile.choose_shape({"avx512f", "avx2", "fma"}) == tile.AVX512
    assert tile.choose_shape({"avx2", "fma"}) == tile.AVX2
    assert tile.choose_shape({"neon"}) == tile.NEON
    assert tile.choose_shape({"sse2"}) == tile.choose_shape(set()) == tile.PLAIN

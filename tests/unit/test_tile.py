"""The register tile on other machines than this one: AVX2 and no vectors by pretence, NEON by its assembly.

For which processor Numba compiles is settled when a process begins, so each pretended machine is a process of its own.
Nearly all of its time goes into compiling. So all run at the same time, and one that has the tile of this machine only
tries the lower precisions, whose instructions it may lack; what it does in float32 all other tests try here.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from nanodistil.kernels.cpu import (  # noqa: E402
    bfloat16_backward,
    bfloat16_ops,
    bfloat16_stored,
    int8_tile,
    numba_ops,
    tile,
    transpose,
)
from nanodistil.kernels.cpu.bfloat16_ops import rounded  # noqa: E402
from nanodistil.kernels.runtime import jit  # noqa: E402
from nanodistil.kernels.runtime.place import Place  # noqa: E402

compiled_only = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="is about compiled code")

PROBE = """
import json
import sys
import numpy as np
from nanodistil.kernels.cpu import bfloat16_backward, bfloat16_ops, int8_ops, numba_backward, numba_ops, tile
from nanodistil.kernels.definitions import numpy_ops
from nanodistil.kernels.definitions.sentences import Sentences
rng = np.random.default_rng(0)
exactly = "float32" in sys.argv
forward = [numba_ops] * exactly + [bfloat16_ops, int8_ops]
backward = [numba_backward] * exactly + [bfloat16_backward]
errors = []
for N, I, O in [(1, 1, 1), (13, 37, 5), (15, 66, 70), (29, 130, 33)]:
    x, weight, bias = (rng.standard_normal(s).astype(np.float32) for s in ((N, I), (O, I), (O,)))
    exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    row = []
    for ops in forward:
        got = ops.linear(x, ops.prepare_linear(weight, bias))
        row.append(float(np.abs(got - exact).max() / np.sqrt(I)))
    errors.append(row)
    dy = rng.standard_normal((N, O)).astype(np.float32)
    row = []
    for ops in backward:
        dx, dW, db = ops.linear_backward_input(dy, ops.prepare_backward(weight, bias)), 0 * weight, 0 * bias
        ops.linear_backward_weight(dy, x, dW, db)
        pairs = (dx, dy @ weight), (dW, dy.T @ x), (db, dy.sum(0))
        row.append(max(float(np.abs(got - exact).max() / 12) for got, exact in pairs))
    errors.append(row)
found = {"shape": tile.SHAPE, "errors": errors}
if exactly:
    starts = np.array([0, 1, 18])
    q = rng.standard_normal((18, 60)).astype(np.float32)
    wide = q.astype(np.float64)
    exact = numpy_ops.attention(wide[:, :20], wide[:, 20:40], wide[:, 40:], Sentences(starts, starts, 4, None))
    got = numba_ops.attention(q[:, :20], q[:, 20:40], q[:, 40:], Sentences(starts, starts, 4, None))
    found["attention"] = float(np.abs(got - exact).max())
print(json.dumps(found))
"""
MACHINES = {  # Numba's name for a processor: its features, and its tile
    "haswell": ("+avx,+avx2,+fma,+sse3,+ssse3,+sse4.1,+sse4.2,+bmi,+bmi2,+popcnt", tile.AVX2),
    "x86-64-v4": ("+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx2,+fma,+avx", tile.AVX512),
    "generic": (None, tile.PLAIN),
}


@pytest.fixture(scope="module")
def probes():
    """The machines whose code this one can run: name -> a process that tries their tile."""
    here, running = tile.cpu_features(), {}
    for name, (features, shape) in MACHINES.items():
        if features is None or {f[1:] for f in features.split(",")} <= here:
            environment = {**os.environ, "NUMBA_CPU_NAME": name}
            if features:
                environment["NUMBA_CPU_FEATURES"] = features
            command = [sys.executable, "-c", PROBE, *["float32"] * (shape != tile.SHAPE)]
            running[name] = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
    yield running
    for process in running.values():
        process.kill()
        process.communicate()


@compiled_only
@pytest.mark.sweep
@pytest.mark.parametrize("name", MACHINES)
def test_the_tile_of_another_machine(name, probes):
    """float32 as exact as ever; bfloat16 and int8, on whatever path is left to them, within their rounding."""
    if name not in probes:
        pytest.skip("this machine cannot run that one's code")
    out, problem = probes[name].communicate(timeout=300)
    assert probes[name].returncode == 0, problem
    seen, shape = json.loads(out), MACHINES[name][1]
    assert tuple(seen["shape"]) == shape
    for errors in seen["errors"]:
        if shape != tile.SHAPE:
            assert errors.pop(0) < 1e-6
        assert errors and all(error < 0.06 for error in errors)
    if shape != tile.SHAPE:
        assert seen["attention"] < 2e-6


@compiled_only
@pytest.mark.parametrize("turned", [False, True])
def test_the_neon_tile_compiles_to_neon(turned):
    """Its inner loop for aarch64: 24 sums, each one fused multiply-add by a scalar, none spilled."""
    dot = tile.FLOAT32._replace(instruction="llvm.fma.v4f32", shape=tile.NEON)
    assert for_aarch64(dot, turned).count("fmla") >= tile.NEON.rows * tile.NEON.vectors


@compiled_only
@pytest.mark.parametrize(
    ("kind", "features", "wanted"),
    [
        (int8_tile.NEON_DOT, "+dotprod", ["sdot"]),
        (int8_tile.NEON_PLAIN, "", ["smull", "addp", "sadalp"]),
    ],
)
def test_eight_bits_compile_to_neon(kind, features, wanted):
    assembly = for_aarch64(kind.dot, features=features)
    for instruction in wanted:
        assert assembly.count(instruction) >= tile.NEON.rows * tile.NEON.vectors


def for_aarch64(dot, turned=False, features=""):
    """The tile of whole height as assembly."""
    from llvmlite import ir
    from other_processors import assembly_for

    module = ir.Module()
    tile._tile_function(module, dot, dot.shape.rows, turned).linkage = ""
    return assembly_for(module, "aarch64-unknown-linux-gnu", "cortex-a72", features)


def whole(shape, dtype, low, high):
    return np.random.default_rng(0).integers(low, high, shape).astype(dtype)


@compiled_only
@pytest.mark.parametrize("name", ["multiply", "multiply_turned", "pairs", "turned_pairs"])
def test_the_tile_does_what_its_definition_in_plain_python_says(name):
    """Small whole numbers, so both are exact; the places begin and step differently, so mixing two up would show."""
    twin, a, b = {
        "multiply": (tile.multiply, whole(900, np.float32, -4, 5), whole(900, np.float32, -4, 5)),
        "multiply_turned": (tile.multiply_turned, whole(900, np.float32, -4, 5), whole(900, np.float32, -4, 5)),
        "pairs": (bfloat16_ops.multiply_pairs, *pairs_of_bfloat16()),
        "turned_pairs": (bfloat16_backward.multiply_turned_pairs, *pairs_of_bfloat16()),
    }[name]
    same_sums(twin, a, b, whole(900, np.float32, -4, 5), tile.SHAPE)


def same_sums(twin, a, b, s, shape):
    """The compiled tile and its definition, on places that begin and step differently."""
    compiled = jit.helper()(lambda rows, a, b, s, c, depth: twin(rows, a, b, s, c, depth))  # there it is the tile
    for rows in {1, 2, shape.rows}:
        sums = []
        for run in (getattr(twin, "py_func", twin), compiled):
            c = np.zeros(900, s.dtype)
            run(rows, Place(a, 3, 17), Place(b, 5, shape.columns), Place(s, 7, 9), Place(c, 2, shape.columns + 1), 4)
            sums.append(c)
        assert sums[0].any() and np.array_equal(*sums)


EIGHT_BITS = {  # a way to multiply them, and what a processor needs for it
    "VNNI": {"avx512vnni"},
    "AMX": {"amx-int8"},
    "VNNI_256": {"avx512vnni", "avx512vl"},
    "PAIRS_512": {"avx512bw"},
    "PAIRS_256": {"avx2"},
    "PAIRS_128": {"sse2"},
    "NEON_DOT": {"dotprod"},
    "NEON_PLAIN": {"neon"},
    "LOOPS": set(),
}


@compiled_only
@pytest.mark.parametrize("name", ["VNNI", *(pytest.param(n, marks=pytest.mark.sweep) for n in list(EIGHT_BITS)[1:])])
def test_eight_bits_on_every_machine(name):
    """Each way is its definition, on the widest numbers: none is lost in an instruction that saturates."""
    if not EIGHT_BITS[name] <= tile.cpu_features():
        pytest.skip("this machine lacks the instruction")
    kind = getattr(int8_tile, name)
    shape = kind.dot.shape._replace(rows=2)  # each height takes its time to compile
    random = np.random.default_rng(0)
    x, w = random.choice([0, 254, 255], 900 * kind.inputs), random.choice([-127, -126, 127], 900 * kind.inputs)
    inputs = (np.int8 if kind.offset else np.uint8) if kind.inputs == 4 else np.int16
    a, b = (x - kind.offset).astype(inputs), w.astype(np.int8 if kind.inputs == 4 else np.int16)
    twin = int8_tile.multiplication(kind._replace(dot=kind.dot._replace(shape=shape)))
    same_sums(twin, a.view(np.int32), b.view(np.int32), whole(900, np.int32, -4, 5), shape)


@compiled_only
def test_whole_numbers_become_floats_as_their_definition_says():
    totals, twin = whole(900, np.int32, -(2**16), 2**16), int8_tile.scaled_back
    w = int8_tile.Scales(*(whole(900, np.float32, -9, 9) for _ in range(3)))
    compiled = jit.helper()(lambda totals, low, scale, w, left, out: twin(totals, low, scale, w, left, out))
    outs = []
    for run in (getattr(twin, "py_func", twin), compiled):
        out = np.zeros(900, np.float32)
        run(Place(totals, 7, 0), np.float32(-3), np.float32(2), w, 5, Place(out, 11, 0))
        outs.append(out)
    assert outs[0].any() and np.array_equal(*outs)


def test_the_choice_for_eight_bits():
    choose = int8_tile.choose_kind
    assert choose({"avx512f", "avx512bw", "avx2", "avx512vnni"}, "x86_64") is int8_tile.VNNI
    assert choose({"avx512f", "avx512bw", "avx2"}, "x86_64") is int8_tile.PAIRS_512
    assert choose({"avx2", "avxvnni"}, "x86_64") is int8_tile.VNNI_256
    assert choose({"avx2"}, "x86_64") is int8_tile.PAIRS_256
    assert choose(set(), "AMD64") is int8_tile.PAIRS_128
    assert choose({"neon", "dotprod"}, "aarch64") is int8_tile.NEON_DOT
    assert choose({"neon"}, "aarch64") is int8_tile.NEON_PLAIN
    assert choose(set(), "riscv64") is int8_tile.LOOPS


def pairs_of_bfloat16():
    """Two arrays of words that hold two small whole numbers each."""
    bits = rounded(whole((2, 900, 2), np.float32, -4, 5)).astype(np.uint32)
    return (bits[..., 0] | bits[..., 1] << np.uint32(16)).view(np.int32)


@compiled_only
@pytest.mark.skipif(bfloat16_ops.PAIRS or not tile.SHAPE.vector, reason="here nothing is widened")
@pytest.mark.parametrize("rows", [1, 5, 16 * tile.ROWS + 7])
def test_stored_bfloat16_is_float32_with_rounded_weights_to_the_bit(rows):
    x, weight = whole((rows, 130), np.float32, -99, 99) / 7, whole((75, 130), np.float32, -99, 99) / 7
    bias = whole(75, np.float32, -9, 9) / 7
    stored = bfloat16_ops.linear(x, bfloat16_ops.prepare_linear(weight, bias))
    assert np.array_equal(
        stored, numba_ops.linear(x, numba_ops.prepare_linear(bfloat16_ops.widened(rounded(weight)), bias))
    )


@compiled_only
def test_a_tile_keeps_what_it_has_widened():
    words, x = pairs_of_bfloat16()[0], whole(900, np.float32, -4, 5)
    compiled = jit.helper()(
        lambda r, a, b, s, c, kept, depth: bfloat16_stored.multiply_halves(r, a, b, s, c, kept, depth)
    )
    seen = []
    for run in (bfloat16_stored.multiply_halves, compiled):
        c, kept = np.zeros(900, np.float32), np.zeros(900, np.float32)
        at = Place(c, 2, tile.COLUMNS + 1)
        run(tile.ROWS, Place(x, 3, 17), Place(words, 5, tile.COLUMNS // 2), at, at, Place(kept, 1, tile.COLUMNS), 4)
        seen.append(np.concatenate([c, kept]))
    assert seen[0].any() and np.array_equal(*seen)


@compiled_only
def test_a_block_is_turned_as_its_definition_says():
    x, turn = np.random.default_rng(0).standard_normal(900).astype(np.float32), transpose.turn
    compiled = jit.helper()(lambda x, rows, scale, out: turn(x, rows, scale, out))
    for rows in (1, 5, transpose.LANES):
        turned = []
        for run in (getattr(turn, "py_func", turn), compiled):
            out = np.zeros(900, np.float32)
            run(Place(x, 3, 19), rows, np.float32(0.5), Place(out, 5, 21))
            turned.append(out)
        assert turned[0].any() and np.array_equal(*turned)


def test_the_choice_follows_the_features():
    assert tile.choose_shape({"avx512f", "avx2", "fma"}) == tile.AVX512
    assert tile.choose_shape({"avx2", "fma"}) == tile.AVX2
    assert tile.choose_shape({"neon"}) == tile.NEON
    assert tile.choose_shape({"sse2"}) == tile.choose_shape(set()) == tile.PLAIN

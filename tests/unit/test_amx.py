"""AMX without a machine that has it: its code is compiled and looked at, and run with a machine of the tests' own.

tests/amx_machine.py is that one. Only instructions are replaced, so what is tried is the code that is compiled.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

numba = pytest.importorskip("numba")

import amx_machine  # noqa: E402
import llvmlite.binding as llvm  # noqa: E402
from llvmlite import ir  # noqa: E402
from other_processors import assembly_for  # noqa: E402

from nanodistil.kernels.cpu import amx, bfloat16_ops, int8_ops, int8_tile  # noqa: E402
from nanodistil.kernels.instruments import assembly  # noqa: E402
from nanodistil.kernels.runtime import target, tiles_allowed  # noqa: E402

compiled_only = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="is about compiled code")
DOTS = {"int8": amx.INT8, "bfloat16": amx.BFLOAT16}
DTYPES = ["int8", pytest.param("bfloat16", marks=pytest.mark.sweep)]
SUMS = {"int8": amx_machine.add_products_of_bytes, "bfloat16": amx_machine.add_products_of_bfloat16}
SAPPHIRE_RAPIDS = "+amx-tile,+amx-int8,+amx-bf16"


def module(dot):
    """The tile of `dot` as a function of its own, `tile`."""
    made = ir.Module()
    words, sums, n = dot.word.as_pointer(), dot.total.as_pointer(), ir.IntType(64)
    takes = [n, words, n, words, sums, n, sums, n, ir.IntType(8).as_pointer(), n, n]
    function = ir.Function(made, ir.FunctionType(ir.VoidType(), takes), "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    dot.multiply(builder, False, function.args[0], function.args[1:])
    builder.ret_void()
    return made


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_inner_loop_holds_nothing_but_tiles(dtype):
    """As for a Sapphire Rapids: four products, four loads, the prefetches; no stack, no configuring."""
    listing = assembly_for(module(DOTS[dtype]), "x86_64-unknown-linux-gnu", "sapphirerapids", SAPPHIRE_RAPIDS)
    lines = listing.splitlines()
    loop = assembly.busiest_loop(lines)[1:]
    words = [line.split() for line in loop]
    names = [word[0] for word in words]
    count = assembly.multiply_adds(loop)  # LLVM may have unrolled it
    assert count and count % 4 == 0 and count == names.count(DOTS[dtype].instruction) == names.count("tileloadd")
    assert set(names) <= {"tileloadd", DOTS[dtype].instruction, "prefetcht1", "leaq", "addq", "cmpq", "jl", "jne"}
    assert not any("rsp" in line or "rbp" in line for line in loop)
    assert {word[-1] for word in words if word[0].startswith("tdp")} == {"%tmm0", "%tmm1", "%tmm2", "%tmm3"}


class Emulated:
    """The tile of a dtype, compiled for this machine, on the one that the tests have."""

    def __init__(self, dtype, monkeypatch):
        prefix = f"nanodistil_tests_{id(self)}_"
        monkeypatch.setattr(amx, "INSTRUCTIONS", prefix)
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.machine, self.dtype, self.dot = amx_machine.Machine(), dtype, DOTS[dtype]
        self.doors = self.machine.plug_in(llvm, prefix)
        native = llvm.Target.from_default_triple().create_target_machine(opt=1)
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module(self.dot))), native)
        self.engine.finalize_object()
        self.tile = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 11)(self.engine.get_function_address("tile"))

    def right(self, rows, depth, bias=False):
        """Whether the tile of such sizes is what it should be, all bits, and has touched nothing else.

        All three matrices are a part of a wider one, that ends where the last row does: reading on would be outside.
        """
        random, columns, total = np.random.default_rng(rows + depth), self.dot.shape.columns, np.int32
        if self.dtype == "int8":
            a, b = (random.integers(-(2**31), 2**31, n).astype(np.int32) for n in (rows * (depth + 3), depth * columns))
            s = random.integers(-(2**31), 2**31, rows * (columns + 2)).astype(np.int32)
        else:
            total = np.float32
            a, b = (self.pairs(random, n) for n in (rows * (depth + 3), depth * columns))
            s = random.standard_normal(rows * (columns + 2)).astype(np.float32)
        end = (
            (rows - 1) * (depth + 3) + depth,
            (rows - 1) * (columns + 2) + columns,
            (rows - 1) * (columns + 5) + columns,
        )
        a, s, c = a[: end[0]].copy(), s[: columns if bias else end[1]].copy(), np.full(end[2], 77, total)
        self.machine.may_touch(a, b, s, c)
        self.machine.wrong.clear()
        steps = depth + 3, 0 if bias else columns + 2, columns + 5
        places = [a.ctypes.data, steps[0], b.ctypes.data, s.ctypes.data, steps[1], c.ctypes.data, steps[2]]
        self.tile(rows, *places, 0, 0, depth)
        wide = np.lib.stride_tricks.as_strided
        left, wanted = (
            wide(x, (rows, n), (4 * step, 4)) for x, n, step in ((a, depth, steps[0]), (s, columns, steps[1]))
        )
        for k in range(0, depth, 16):
            wanted = SUMS[self.dtype](wanted, left[:, k : k + 16].copy(), b.reshape(depth, columns)[k : k + 16].copy())
        expected = np.full(end[2], 77, total)
        wide(expected, (rows, columns), (4 * steps[2], 4))[...] = wanted
        return not self.machine.wrong and np.array_equal(c.view(np.int32), expected.view(np.int32))

    @staticmethod
    def pairs(random, n):
        """Words of two bfloat16 of very different sizes, some so small that what comes of them is denormal."""
        x = random.standard_normal((n, 2)) * 2.0 ** random.integers(-6, 6, (n, 2))
        x[::37] *= 2.0**-124
        return bfloat16_ops.rounded(x.astype(np.float32)).view(np.int32)[:, 0]


SIZES = [(rows, (1, 15, 16, 17, 40)[rows % 5]) for rows in range(1, 33)]


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_height_and_ragged_sums(dtype, monkeypatch):
    emulated = Emulated(dtype, monkeypatch)
    assert [size for size in SIZES if not emulated.right(*size)] == []
    assert emulated.right(32, 33, bias=True) and emulated.right(5, 64, bias=True)


@compiled_only
def test_sizes_are_said_once(monkeypatch):
    emulated = Emulated("int8", monkeypatch)
    for n in range(3):
        assert emulated.right(32, 48) and emulated.machine.counts["ldtilecfg"] == 1, n
    assert emulated.right(31, 48) and emulated.right(31, 32) and emulated.machine.counts["ldtilecfg"] == 2
    assert emulated.right(31, 33) and emulated.machine.counts["ldtilecfg"] == 3


A, B, SUMS_OF = (4, 5), (6, 7), (0, 1, 2, 3)  # registers
MISTAKES = {  # of the code: what it would have asked of the machine instead: an instruction, and its arguments
    "halves of rows swapped": lambda name, x, *y: (name, x ^ 2, *y) if name == "tilestored64" else (name, x, *y),
    "columns swapped": lambda name, x, *y: (name, 13 - x, *y) if name == "tileloadd64" and x in B else (name, x, *y),
    "one row of A for all": lambda name, x, *y: (
        (name, x, y[0], 0) if name == "tileloadd64" and x in A else (name, x, *y)
    ),
    "rows of B too near": lambda name, x, *y: (
        (name, x, y[0], 64) if name == "tileloadd64" and x in B else (name, x, *y)
    ),
    "sums from 0": lambda name, x, *y: ("tilezero", x) if name == "tileloadd64" and x in SUMS_OF else (name, x, *y),
    "factors swapped": lambda name, x, *y: (name, x, *reversed(y)) if name == "tdpbusd" else (name, x, *y),
}


@compiled_only
def test_mistakes_are_found(monkeypatch):
    emulated = Emulated("int8", monkeypatch)
    for name, mistake in MISTAKES.items():
        assert emulated.right(20, 40)
        emulated.machine.asked = mistake
        assert not emulated.right(20, 40), name
        del emulated.machine.asked
    emulated.right(32, 16)
    monkeypatch.setattr(emulated.machine, "ldtilecfg", lambda address: None)
    for rows, depth in ((31, 16), (32, 15)):  # as if sizes had not been said: beyond arrays
        assert not emulated.right(rows, depth) and "outside" in emulated.machine.wrong[0]


PROBE = """
import sys
import numpy as np
import llvmlite.binding as llvm
import amx_machine
from nanodistil.kernels.cpu import amx
amx.INSTRUCTIONS = "emulated_"
machine = amx_machine.Machine()
doors = machine.plug_in(llvm, amx.INSTRUCTIONS)
from nanodistil.kernels.cpu import bfloat16_ops, int8_ops
assert bfloat16_ops.DOT is amx.BFLOAT16 and int8_ops.KIND.dot is amx.INT8
found = {}
for n, ops in enumerate((int8_ops, bfloat16_ops)):
    x, weight, bias = (np.load(f"{sys.argv[1]}/{name}.npy") for name in ("x", "weight", "bias"))
    w = ops.prepare_linear(weight, bias)
    found[ops.__name__.rpartition(".")[2]] = ops.linear(x, w)
    found[ops.__name__.rpartition(".")[2] + "_alone"] = ops.linear(x[40:43], w)
assert not machine.wrong, machine.wrong[:3]
assert machine.counts["tdpbusd"] and machine.counts["tdpbf16ps"]
np.savez(f"{sys.argv[1]}/found.npz", **found)
"""


@compiled_only
@pytest.mark.sweep
@pytest.mark.skipif(int8_tile.KIND is not int8_tile.VNNI, reason="the machine itself must have VNNI")
def test_whole_maps(tmp_path):
    """int8 as this machine computes it, and bfloat16 as the manual says, all bits, in a batch and alone."""
    random = np.random.default_rng(0)
    x, weight, bias = (random.standard_normal(s).astype(np.float32) for s in ((150, 300), (40, 300), (40,)))
    for name, array in {"x": x, "weight": weight, "bias": bias}.items():
        np.save(tmp_path / name, array)
    features = [*target.host_features(), "avx512bf16", "amx-tile", "amx-int8", "amx-bf16"]
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": llvm.get_host_cpu_name(),
        "NUMBA_CPU_FEATURES": ",".join(f"+{feature}" for feature in features),
        "NANODISTIL_CACHE_DIR": str(tmp_path / "kernels"),
        "NANODISTIL_NUM_THREADS": "1",  # the machine has one set of registers
        "NUMBA_OPT": "0",  # no time is spent on speed
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    ran = subprocess.run([sys.executable, "-c", PROBE, tmp_path], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(found["int8_ops"], int8_ops.linear(x, int8_ops.prepare_linear(weight, bias)))
    np.testing.assert_array_equal(found["bfloat16_ops"], by_the_manual(x, weight, bias))
    for name in ("int8_ops", "bfloat16_ops"):
        np.testing.assert_array_equal(found[name + "_alone"], found[name][40:43])


def by_the_manual(x, weight, bias):
    """A map in bfloat16, of an even number of inputs."""
    a, b = (bfloat16_ops.rounded(y).view(np.int32) for y in (x, weight))
    total = np.tile(bias, (len(x), 1))
    for k in range(0, a.shape[1], 16):
        total = amx_machine.add_products_of_bfloat16(total, a[:, k : k + 16].copy(), b.T[k : k + 16].copy())
    return total


@pytest.mark.skipif(bfloat16_ops.DOT is not amx.BFLOAT16, reason="this machine has no AMX")
def test_this_machine_does_what_the_manual_says():
    x, weight, bias = (np.random.default_rng(0).standard_normal(s).astype(np.float32) for s in ((37, 60), (70, 60), 70))
    got = bfloat16_ops.linear(x, bfloat16_ops.prepare_linear(weight, bias))
    np.testing.assert_array_equal(got, by_the_manual(x, weight, bias))


def test_it_is_chosen_if_the_system_lets_us(monkeypatch):
    has = {"avx512f", "avx512bw", "avx512vnni", "amx-tile", "amx-int8"}
    assert int8_tile.choose_kind(has, "x86_64") is int8_tile.AMX
    assert int8_tile.choose_kind(has - {"amx-int8"}, "x86_64") is int8_tile.VNNI
    monkeypatch.setattr(target, "_of_the_processor", lambda: has)
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        monkeypatch.delenv(name, raising=False)
    for leave in (True, False):
        monkeypatch.setattr(tiles_allowed, "granted", lambda leave=leave: leave)
        assert (
            ("amx-int8" in target.features()) is ("+amx-int8" in target.here()) is ("amx-int8" in target.key()) is leave
        )
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx2,+amx-int8")  # and if they are named, too
    assert target.features() == {"avx2"}
    monkeypatch.setattr(target, "_of_the_processor", lambda: {"avx2"})  # for another machine
    assert target.features() == {"avx2", "amx-int8"}


def test_leave_is_asked_for_once(monkeypatch):
    asked = []

    class System:
        @staticmethod
        def syscall(*arguments):
            asked.append([x.value for x in arguments])
            return answers.pop()

    monkeypatch.setattr(tiles_allowed.sys, "platform", "linux")
    monkeypatch.setattr(tiles_allowed.ctypes, "CDLL", lambda name: System)
    answers = [-1, 0]
    assert tiles_allowed._asked() and not tiles_allowed._asked()
    assert asked == [[158, 0x1023, 18]] * 2
    monkeypatch.setattr(tiles_allowed.sys, "platform", "darwin")
    assert not tiles_allowed._asked()


def test_other_machines_are_not_asked(monkeypatch):
    monkeypatch.setattr(tiles_allowed, "granted", lambda: pytest.fail("asked"))
    assert tiles_allowed.usable({"avx2", "fma"}, {"avx2", "fma"}) == {"avx2", "fma"}

"""Kernels are loaded from the cache without Numba, and go together with Numba where it is needed after all."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")
from nanodistil.kernels.runtime import linking, target

compiled_only = pytest.mark.skipif(target.INTERPRETED, reason="is about compiled code")

PROGRAM = """
import sys
import numpy as np
from nanodistil.kernels.runtime import jit, pool


@jit.helper()
def doubled(number):
    return number + number


@jit.kernel()
def double(start, stop, x, size):
    spare = np.empty(size, np.float32)
    for i in range(start, stop):
        spare[0] = x[i]
        x[i] = doubled(spare[0])


x = np.arange(4, dtype=np.float32)
pool.run(double, 4, x, 1, least=4)
print(x.tolist(), "numba" in sys.modules)
try:
    pool.run(double, 4, x, 1 << 60, least=4)
except MemoryError as error:
    print("no memory", "numba" in sys.modules)
if sys.argv[1:]:
    pool.run(double, 4, x.astype(np.float64), 1, least=4)  # compiled beside what was loaded
    pool.run(double, 4, x, 1, least=4)
    print(x.tolist(), doubled(3))
"""


def run(program, *arguments, **environment):
    command = [sys.executable, program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})


@compiled_only
def test_what_is_kept_is_loaded_without_numba(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    places = {"NANODISTIL_CACHE_DIR": str(tmp_path / "kept")}
    assert run(program, **places).stdout == "[0.0, 2.0, 4.0, 6.0] True\nno memory True\n"
    again = run(program, "more", **places).stdout.splitlines()
    # what fails says so by way of Numba, which is imported for it
    assert again == ["[0.0, 2.0, 4.0, 6.0] False", "no memory True", "[0.0, 4.0, 8.0, 12.0] 6"]


@compiled_only
@pytest.mark.sweep
@pytest.mark.skipif("avx2" not in target.features(), reason="has no AVX2 to try")
def test_what_is_compiled_for_another_processor_is_loaded_there(tmp_path):
    program, only = tmp_path / "program.py", tmp_path / "only.py"
    program.write_text(PROGRAM)
    only.write_text(PROGRAM.replace("x = np", "pool.only_compile()\nx = np"))
    there = {
        "NANODISTIL_CACHE_DIR": str(tmp_path / "kept"),
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma",
    }
    only.rename(program)  # of the same name, as kernels are kept by it
    assert run(program, **there).stdout == "[0.0, 1.0, 2.0, 3.0] True\n"  # nothing was run
    program.write_text(PROGRAM)
    assert run(program, **there).stdout.startswith("[0.0, 2.0, 4.0, 6.0] False")
    del there["NUMBA_CPU_NAME"], there["NUMBA_CPU_FEATURES"]
    assert run(program, **there).stdout.startswith("[0.0, 2.0, 4.0, 6.0] True")  # not this machine's


@pytest.mark.parametrize("named", ["haswell", "haswell,avx2", "haswell,+no-such", "a b,+avx2", ""])
def test_targets_that_are_none(named):
    assert target.wrong(named) and not target.wrong(target.here())


@compiled_only
def test_code_that_needs_what_nobody_has_is_not_linked():
    assert linking.linked(linking.packed("f", ["malloc", "nanodistil_has_no_such_function"], b"")) is None


@compiled_only
def test_a_key_is_the_processor_s(monkeypatch):
    here = target.key()
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    assert target.features() == set() and target.key() != here
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+fma,-avx512f,+avx2")
    assert target.features() == {"avx2", "fma"} and target.key().endswith(",haswell,avx2,fma")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx2,+fma")  # in any order
    assert target.key().endswith(",haswell,avx2,fma")

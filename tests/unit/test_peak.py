"""The measuring kernels do what they say they measure."""

import numpy as np
import pytest

pytest.importorskip("numba")

from nanodistil.kernels.cpu import tile
from nanodistil.kernels.instruments import assembly, peak
from nanodistil.kernels.runtime.pool import run

DISTINCT = [dtype for dtype, unit in peak.UNITS.items() if dtype == "float32" or unit is not peak.UNITS["float32"]]


@pytest.mark.parametrize("dtype", DISTINCT)
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_the_chains_are_their_definition(dtype, rounds):
    """In every dtype, with its own instruction: small numbers, which all of them hold exactly."""
    if isinstance(peak.UNITS[dtype].dot, peak.Tiles):
        pytest.skip("its chains are of zeros")
    one = 1 if peak.UNITS[dtype].dot.total != peak._f32 else peak._bits(1)
    out = np.zeros(3)
    run(peak.CHAINS_OF[dtype], 3, rounds, one, out)
    np.testing.assert_array_equal(out, [66 * 2**rounds] * 3)


@pytest.mark.parametrize("dtype", DISTINCT)
@pytest.mark.skipif(not tile.SHAPE.vector, reason="is about the machine code of vectors")
def test_nothing_leaves_the_loop_of_the_chains(dtype):
    """All that its vectors do is to multiply and to add, and none touches memory: else our own kernel would beat it."""
    run(peak.CHAINS_OF[dtype], 1, 1, 0, np.zeros(1))
    lines = assembly.code_of(peak.CHAINS_OF[dtype])
    loop = assembly.busiest_loop(lines)
    count = assembly.multiply_adds(loop)
    tiles = isinstance(peak.UNITS[dtype].dot, peak.Tiles)
    assert count and count % (4 if tiles else peak.CHAINS) == 0  # LLVM may have unrolled it
    assert not any("[" in line or "(%" in line for line in loop)
    if peak.UNITS[dtype].dot.sum_first is not None:
        assert sum("mm" in line for line in loop) in (0, count)  # 0: registers of another name than x86's


def test_a_peak_counts_the_products_of_its_unit(monkeypatch):
    monkeypatch.setattr(peak, "best", lambda call, seconds: 1.0)
    for dtype, unit in peak.UNITS.items():
        words = 4 * 16**3 if isinstance(unit.dot, peak.Tiles) else 12 * unit.dot.shape.vector
        assert peak.peak(threads=3, dtype=dtype) == 3 * peak.ROUNDS * words * unit.products * 2


def test_what_is_multiplied_in_float32_has_its_peak(monkeypatch):
    asked = []
    monkeypatch.setattr(peak, "peak", lambda seconds, dtype="float32": asked.append(dtype) or 7.0 + len(asked))
    monkeypatch.setattr(peak, "bandwidth", lambda *given: 1.0)
    monkeypatch.setitem(peak.UNITS, "bfloat16", peak.UNITS["float32"])
    monkeypatch.setitem(peak.UNITS, "int8", peak.UNITS["float32"]._replace(products=4))
    assert peak.peaks() == {"float32": 8.0, "bfloat16": 8.0, "int8": 9.0} and asked == ["float32", "int8"]
    machine = peak.limits("int8")
    assert (machine.peak_of("linear_activation"), machine.peak_of("attention")) == (11.0, 10.0)
    assert peak.limits("bfloat16").flops == 12.0


def test_reading_reads_everything():
    x, out = np.arange(12, dtype=np.float32).reshape(3, 4), np.zeros(3, np.float32)
    peak.read_items(0, 2, x, out)
    np.testing.assert_array_equal(out, [6, 22, 0])


def test_best_calls_often_enough():
    calls = []
    assert peak.best(lambda: calls.append(1), 0.0, least=4) < 1 and len(calls) == 5

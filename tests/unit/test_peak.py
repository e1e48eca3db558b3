"""The measuring kernels do what they say they measure."""

import numpy as np
import pytest

pytest.importorskip("numba")

from nanodistil.kernels.instruments import peak


@pytest.mark.parametrize("rounds", [0, 1, 7])
def test_the_chains_are_their_definition(rounds):
    out = np.zeros(3, np.float32)
    peak.multiply_items(1, 3, rounds, np.float32(0.5), np.float32(3.0), out)
    chains = [float(c) for c in range(peak.CHAINS)]
    for _ in range(rounds):
        chains = [0.5 * c + 3 for c in chains]
    np.testing.assert_allclose(out, [0, sum(chains), sum(chains)])


def test_reading_reads_everything():
    x, out = np.arange(12, dtype=np.float32).reshape(3, 4), np.zeros(3, np.float32)
    peak.read_items(0, 2, x, out)
    np.testing.assert_array_equal(out, [6, 22, 0])


def test_best_calls_often_enough():
    calls = []
    assert peak.best(lambda: calls.append(1), 0.0, least=4) < 1 and len(calls) == 5

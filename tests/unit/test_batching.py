"""Batches of rows, and what becomes of one that is too large for the memory there is."""

import numpy as np
import pytest

from nanodistil.cli import main
from nanodistil.pipelines import batching
from nanodistil.pipelines.batching import ON_CPU, by_length


def rows(*lengths):
    return [np.arange(n) for n in lengths]


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    tried = []

    def compute(ids, real):
        tried.append(len(ids))
        if len(ids) > 2:
            raise MemoryError("of the GPU")
        return real.sum(1)

    assert by_length(rows(5, 3, 4, 1, 2), compute, ON_CPU) == [5, 3, 4, 1, 2]
    assert tried == [5, 2, 3, 1, 2]


def test_one_row_that_does_not_fit_is_an_error():
    def compute(ids, real):
        raise MemoryError("of the GPU")

    with pytest.raises(MemoryError, match="of the GPU"):
        by_length(rows(3, 4), compute, ON_CPU)


def test_the_command_line_says_so(monkeypatch, capsys):
    def computed(rows, compute):
        raise MemoryError("no room for 5 bytes")

    monkeypatch.setattr(batching, "computed", computed)
    assert main(["fill-mask", "a [MASK]", "--model", "nanodistil-mini", "--backend", "numpy"]) == 2
    assert "out of memory (no room for 5 bytes)" in capsys.readouterr().err

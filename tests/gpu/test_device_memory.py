"""Where a GPU's memory goes: what a batch took is given back, and a batch takes no more than its arrays."""

import gc
from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, random_tensors

from nanodistil import DistilBertForMaskedLM
from nanodistil.heads.masked_lm import objective
from nanodistil.training.trainee import Trainee

pytestmark = pytest.mark.sweep
SMALL = replace(TINY, dim=32, n_heads=2, hidden_dim=64)
RNG = np.random.default_rng(0)


def in_use(cupy) -> int:
    gc.collect()
    cupy.cuda.runtime.deviceSynchronize()
    return cupy.get_default_memory_pool().used_bytes()


def ids_of(B, T):
    return RNG.integers(1, SMALL.vocab_size, (B, T))


def test_batches_give_back_what_they_took(cupy):
    model = DistilBertForMaskedLM(SMALL, random_tensors(SMALL, scale=0.1), backend="cupy", dtype="float16")

    def ask() -> None:
        for size in ((1, 8), (3, 11)):  # from recordings
            model(ids_of(*size))
        model(ids_of(2, 7), output_hidden_states=True)  # launch by launch

    ask()
    before = in_use(cupy)
    for _ in range(3):
        ask()
    assert in_use(cupy) == before


def test_steps_give_back_what_they_took(cupy):
    trainee = Trainee(DistilBertForMaskedLM(SMALL, random_tensors(SMALL, scale=0.1), backend="cupy"))
    ids, used = ids_of(2, 9), []
    for _ in range(4):
        objective(trainee, {"input_ids": ids, "labels": ids}, key=1)
        used.append(in_use(cupy))
    assert len(set(used[1:])) == 1

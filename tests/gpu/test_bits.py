"""The same question, the same bits: asked again, by a model made anew, and of a step of training.

cuBLASLt promises it for one shape on one GPU and stream; our kernels add in an order that shapes alone decide.
"""

from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, random_tensors

from nanodistil import DistilBertForMaskedLM
from nanodistil.heads.masked_lm import objective
from nanodistil.training.trainee import Trainee

pytestmark = pytest.mark.sweep
SMALL = replace(TINY, dim=32, n_heads=2, hidden_dim=64)
WHOLE = replace(TINY, vocab_size=2000, max_position_embeddings=128, dim=768, n_heads=12, hidden_dim=3072)
TIMES = 3


def of_size(cupy):
    """A model, and B and T: DistilBERT's widths on a GPU, and small in the emulator."""
    return (SMALL, 3, 20) if hasattr(cupy, "emulation") else (WHOLE, 16, 128)


def batch(config, B, T):
    rng = np.random.default_rng(0)
    mask = np.arange(T) < rng.integers(3, T + 1, B)[:, None]
    return np.where(mask, rng.integers(1, config.vocab_size, (B, T)), 0), mask


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_answers(cupy, dtype):
    config, B, T = of_size(cupy)
    ids, mask = batch(config, B, T)
    tensors, found = random_tensors(config, scale=0.03), set()
    for _ in range(2):
        model = DistilBertForMaskedLM(config, tensors, backend="cupy", dtype=dtype)
        found |= {model(ids, mask).logits.tobytes() for _ in range(TIMES)}
    assert len(found) == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients(cupy, dtype):
    config, B, T = of_size(cupy)
    ids, mask = batch(config, B, T)
    labelled = {"input_ids": ids, "attention_mask": mask, "labels": np.where(mask, ids, -100)}
    found = set()
    for _ in range(TIMES):
        trainee = Trainee(
            DistilBertForMaskedLM(config, random_tensors(config, scale=0.03), backend="cupy"), dtype=dtype
        )
        loss = objective(trainee, labelled, key=7)
        found.add((loss, trainee.ops.fetch(trainee.flat_gradients).tobytes()))
    assert len(found) == 1

"""The compiled derivatives of linear maps against PyTorch's autograd: in float32 no further from the truth than it."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

import torch

from nanodistil.kernels.cpu import bfloat16_backward, bfloat16_ops, numba_backward

pytestmark = pytest.mark.parity


def theirs(dy, x, weight, dtype, under=torch.float32):
    """dx, dW and db of torch.nn.functional.linear, in `dtype`; under: the dtype its products are taken in."""
    a, w = (torch.tensor(v, dtype=dtype, requires_grad=True) for v in (x, weight))
    b = torch.zeros(len(weight), dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=under == torch.bfloat16):
        y = torch.nn.functional.linear(a, w, b)
    y.backward(torch.tensor(dy, dtype=y.dtype))
    return [t.grad.double().numpy() for t in (a, w, b)]


def ours(backward, dy, x, weight):
    dW, db = np.zeros_like(weight), np.zeros(len(weight), np.float32)
    dx = backward.linear_backward_input(dy, backward.prepare_backward(weight, db))
    backward.linear_backward_weight(dy, x, dW, db)
    return dx, dW, db


@pytest.mark.parametrize(("N", "O", "I"), [(640, 768, 256), (1100, 256, 768), (33, 3072, 70), (200, 5, 384)])
def test_no_further_from_the_truth(N, O, I):
    rng = np.random.default_rng((N, O, I))
    dy, x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((N, O), (N, I), (O, I)))
    truth, single = theirs(dy, x, weight, torch.float64), theirs(dy, x, weight, torch.float32)
    for exact, their, our in zip(truth, single, ours(numba_backward, dy, x, weight), strict=True):
        least = 2.0**-25 * np.abs(exact).max()  # half a unit in the last place of the largest
        for measure in (np.max, lambda e: np.sqrt(np.mean(e * e))):
            assert measure(np.abs(our - exact)) <= max(measure(np.abs(their - exact)), least)


def test_bfloat16_no_further_than_autocast():
    """PyTorch rounds the results to bfloat16 as well, and the bias's gradient; ours stay float32."""
    rng = np.random.default_rng(0)
    dy, x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((640, 256), (640, 128), (256, 128)))
    truth, autocast = theirs(dy, x, weight, torch.float64), theirs(dy, x, weight, torch.float32, torch.bfloat16)
    for exact, their, our in zip(truth, autocast, ours(bfloat16_backward, dy, x, weight), strict=True):
        assert np.sqrt(np.mean((our - exact) ** 2)) <= np.sqrt(np.mean((their - exact) ** 2))
    if bfloat16_ops.PAIRS:
        assert not np.array_equal(ours(bfloat16_backward, dy, x, weight)[1], ours(numba_backward, dy, x, weight)[1])

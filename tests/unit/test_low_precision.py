"""bfloat16 and int8 linear maps: against definitions of their own rounding, and close enough to float32 to be used."""

import numpy as np
import pytest
from conftest import TINY, random_tensors

pytest.importorskip("numba")

from nanodistil import DistilBertForMaskedLM, backend
from nanodistil.kernels.cpu import bfloat16_backward, bfloat16_ops, int8_ops, numba_backward, numba_ops

SHAPES = [(1, 1, 1), (3, 37, 5), (17, 64, 33), (31, 66, 70)]
RNG = np.random.default_rng(5)


def some(N, I, O):
    return tuple(RNG.standard_normal(s).astype(np.float32) for s in ((N, I), (O, I), (O,)))


def widened(x):
    return bfloat16_ops.widened(bfloat16_ops.rounded(x))


def test_rounding_to_bfloat16_is_to_nearest_even():
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-7, -(1 + 2**-9), 0.0, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(widened(x), [1.0, 1 + 2**-6, 1 + 2**-7, -1.0, 0.0, np.inf, np.nan])


def test_rounding_compiled_is_rounding():
    x = RNG.standard_normal((5, 8)).astype(np.float32)
    x[0, :3] = [np.nan, np.inf, -0.0]
    out = np.empty(x.shape, np.uint16)
    bfloat16_ops.round_rows(0, 5, x.view(np.uint32), out)
    np.testing.assert_array_equal(out, bfloat16_ops.rounded(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_linear(shape):
    """Exact products of the rounded factors, summed in float32."""
    x, weight, bias = some(*shape)
    got = bfloat16_ops.linear(x, bfloat16_ops.prepare_linear(weight, bias))
    a = widened(x) if bfloat16_ops.PAIRS else x
    exact = a.astype(np.float64) @ widened(weight).T.astype(np.float64) + bias
    size = np.abs(a).astype(np.float64) @ np.abs(weight).T.astype(np.float64) + np.abs(bias)
    assert (np.abs(got - exact) <= size * (shape[1] + 2) * 2**-24).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_int8_linear(shape):
    """Whole numbers exactly, then two scales and a bias."""
    x, weight, bias = some(*shape)
    got = int8_ops.linear(x, int8_ops.prepare_linear(weight, bias))
    low = x.min(1, keepdims=True)
    x_scale = (x.max(1, keepdims=True) - low) / np.float32(255)
    inverse = np.divide(1, x_scale, out=np.zeros_like(x_scale), where=x_scale > 0)
    xq = np.floor((x - low) * inverse + np.float32(0.5)).astype(np.int64)
    w_scale = np.abs(weight).max(1) / np.float32(127)
    wq = np.rint(weight / w_scale[:, None]).astype(np.int64)
    expected = (xq @ wq.T) * (x_scale.astype(np.float64) * w_scale) + low * (wq.sum(1) * w_scale) + bias
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=4e-6)
    assert np.abs(got - (x @ weight.T + bias)).max() <= 0.06 * np.sqrt(shape[1])


def test_zeros_and_constant_rows():
    for ops in (bfloat16_ops, int8_ops):
        w = ops.prepare_linear(np.zeros((4, 6), np.float32), np.arange(4, dtype=np.float32))
        np.testing.assert_array_equal(ops.linear(np.zeros((2, 6), np.float32), w), [[0, 1, 2, 3]] * 2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_int8_does_not_hide_what_is_not_finite(wrong):
    """It has no number of its own for it, so the whole row tells; the rows beside it do not."""
    x, weight, bias = some(3, 40, 5)
    w = int8_ops.prepare_linear(weight, bias)
    before = int8_ops.linear(x, w)
    x[1, 7] = wrong
    after = int8_ops.linear(x, w)
    assert not np.isfinite(after[1]).any()
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_model_in_low_precision(dtype):
    tensors = random_tensors(TINY, scale=0.1)
    ids = np.arange(20).reshape(2, 10)
    exact = DistilBertForMaskedLM(TINY, tensors, backend="numpy")(ids).logits
    rough = DistilBertForMaskedLM(TINY, tensors, dtype=dtype)(ids).logits
    cosine = (exact * rough).sum() / np.sqrt((exact**2).sum() * (rough**2).sum())
    assert cosine > 0.999 and not np.array_equal(exact, rough)
    alone = DistilBertForMaskedLM(TINY, tensors, dtype=dtype)(ids[1:]).logits[0]
    np.testing.assert_array_equal(alone, rough[1])


def test_the_choice():
    assert backend.choose(None, "int8") == ("numba", "int8")
    assert backend.load("numba", dtype="bfloat16").__name__.endswith("bfloat16_ops")


def test_a_precision_is_these_ops_with_another_linear():
    """Every op is there; what is no linear map is float32's own, and no linear map is float32's by accident."""
    for ops in (bfloat16_ops, int8_ops):
        assert ops.attention is numba_ops.attention and ops.send is numba_ops.send
        for name in ("prepare_linear", "linear", "linear_activation"):
            assert getattr(ops, name).__module__ == ops.__name__
        assert not hasattr(ops, "restore_linear")  # the rounding cannot be undone
    assert int8_ops.prepare_head is bfloat16_ops.prepare_head
    assert bfloat16_backward.adamw is numba_backward.adamw
    assert bfloat16_backward.prepare_backward.__module__ == bfloat16_backward.__name__

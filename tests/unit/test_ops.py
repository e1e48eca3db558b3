"""Every op of every backend: by hand, against float64, and bitwise where that is promised."""

import math

import numpy as np
import pytest
from conftest import assert_same

from nanodistil.kernels.definitions import activations, numpy_ops
from nanodistil.kernels.definitions.sentences import Sentences

RNG = np.random.default_rng(7)
EPS = 1e-12


def f32(*shape, scale=1.0):
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


def ulps(got, exact):
    """The error in units of the last place of the exact value."""
    return np.abs(got.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)


def test_gelu_by_hand(ops):
    x = np.array([[-3.0, -1.0, 0.0, 1.0, 3.0]], np.float32)
    exact = [[v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x[0].tolist()]]
    np.testing.assert_allclose(ops.activation(x, "gelu"), exact, rtol=2e-7, atol=1e-9)


def test_gelu_is_not_the_tanh_one(ops):
    x = np.array([[2.5]], np.float32)
    tanh = 0.5 * 2.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (2.5 + 0.044715 * 2.5**3)))
    assert abs(float(ops.activation(x, "gelu")[0, 0]) - tanh) > 1e-4


def test_gelu_over_the_line(ops, backend):
    """Within two roundings of the truth everywhere (measured: numpy 1.9e-7 |x|, numba 1.0e-7), finite to the ends."""
    x = np.concatenate([np.linspace(-12, 12, 4001), [-3e38, -1e30, -1e-30, 1e-38, 3e38]]).astype(np.float32)
    exact = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64).tolist()])
    error = np.abs(ops.activation(x[None], "gelu")[0] - exact)
    assert (error <= {"numpy": 2.0e-7, "numba": 1.2e-7, "cupy": 1.2e-7}[backend] * np.maximum(np.abs(x), 1e-30)).all()


def test_gelu_in_float64_is_exact():
    x = np.linspace(-6, 30, 2001)
    exact = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])
    np.testing.assert_allclose(activations.gelu(x), exact, rtol=1e-14)


def test_gelu_at_the_ends(ops):
    ends = np.array([[np.inf, -np.inf, np.nan]], np.float32)
    np.testing.assert_array_equal(ops.activation(ends, "gelu"), [[np.inf, 0, np.nan]])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (2, 64, 32), (5, 65, 33), (130, 66, 70), (1, 200, 31)])
def test_linear(ops, shape):
    N, I, O = shape
    x, weight, bias = f32(N, I), f32(O, I), f32(O)
    got = ops.linear(x, ops.prepare_linear(weight, bias))
    exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    size = np.abs(x).astype(np.float64) @ np.abs(weight).T.astype(np.float64) + np.abs(bias)
    assert got.dtype == np.float32 and got.shape == (N, O)
    assert (np.abs(got - exact) <= size * (min(I, 64) + I / 64 + 2) * 2**-24).all()


def test_linear_activation_is_the_two_in_turn(ops):
    x, w = f32(5, 40), ops.prepare_linear(f32(37, 40), f32(37))
    np.testing.assert_array_equal(ops.linear_activation(x, w, "gelu"), ops.activation(ops.linear(x, w), "gelu"))
    np.testing.assert_array_equal(ops.linear_activation(x, w, "relu"), np.maximum(ops.linear(x, w), 0))


def test_layer_norm_uses_the_biased_variance(ops):
    got = ops.layer_norm(np.array([[1.0, 3.0]], np.float32), *np.array([[1, 10], [0, 0.5]], np.float32), EPS)
    np.testing.assert_allclose(got, [[-1.0, 10.5]], rtol=1e-6)


def test_layer_norm_of_a_constant_row_is_the_bias(ops):
    weight, bias = np.full(6, 2, np.float32), np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(ops.layer_norm(np.full((1, 6), 7.25, np.float32), weight, bias, EPS), bias[None])


def test_layer_norm_far_from_zero(ops):
    """A mean a thousand times the deviation: one-pass formulas lose all digits here."""
    x, weight, bias = 1000 + f32(4, 768), f32(768), f32(768)
    exact = numpy_ops.layer_norm(x.astype(np.float64), weight.astype(np.float64), bias.astype(np.float64), EPS)
    np.testing.assert_allclose(ops.layer_norm(x, weight, bias, EPS), exact, atol=2e-6)


def test_add_layer_norm_adds_first(ops):
    x, r, weight, bias = f32(33, 20), f32(33, 20), f32(20), f32(20)
    np.testing.assert_allclose(
        ops.add_layer_norm(x, r, weight, bias, EPS), ops.layer_norm(x + r, weight, bias, EPS), rtol=1e-6, atol=1e-6
    )


def test_add(ops):
    x, residual = f32(33, 20), f32(33, 20)
    np.testing.assert_array_equal(ops.add(x, residual), x + residual)


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.75])
def test_eps_is_added_to_the_variance(ops, eps):
    """Rows of +-r have the variance r^2, so the norm gives r / sqrt(r^2 + eps), times its sign: of each way to ask."""
    r = np.array([1e-6, 1e-3, 0.5, 8.0])
    x = (r[:, None] * [1, -1, -1, 1]).astype(np.float32)
    weight, bias = np.full(4, 2, np.float32), np.full(4, 0.25, np.float32)
    expected = 0.25 + 2 * np.sign(x) * (r / np.sqrt(r * r + eps))[:, None]
    rows, nothing = np.arange(4), np.zeros_like(x)
    for got in (
        ops.layer_norm(x, weight, bias, eps),
        ops.add_layer_norm(x, nothing, weight, bias, eps),
        ops.embed_layer_norm(rows, rows, x, nothing, weight, bias, eps),
    ):
        np.testing.assert_allclose(got, expected, rtol=5e-7)


def test_embed_by_hand(ops):
    words, places = np.array([[0, 1], [2, 3]], np.float32), np.array([[10, 20], [30, 40]], np.float32)
    got = ops.embed(np.array([1, 0]), np.array([0, 1]), words, places)
    np.testing.assert_array_equal(got, [[12, 23], [30, 41]])


@pytest.mark.parametrize("N, D", [(0, 20), (1, 1), (40, 20), (5, 768)])
def test_embed_layer_norm_is_both(ops, backend, N, D):
    words, places, weight, bias = f32(9, D), f32(7, D), f32(D), f32(D)
    tables = RNG.integers(0, 9, N), RNG.integers(0, 7, N), words, places
    both = ops.layer_norm(ops.embed(*tables), weight, bias, EPS)
    assert_same(backend, ops.embed_layer_norm(*tables, weight, bias, EPS), both)


def softmax(ops, x):
    """Of rows (R, T), through the op that takes (H, T, T) or anything of three axes."""
    return ops.attention_probs([x[None]])[0][0]


def test_softmax(ops):
    x = np.array([[0.0, 0.0], [1000.0, -1000.0]], np.float32)
    np.testing.assert_array_equal(softmax(ops, x), [[0.5, 0.5], [1, 0]])
    x = f32(9, 301, scale=5)
    exact = numpy_ops.softmax(x.astype(np.float64))
    below = x.max(-1, keepdims=True) - x  # rounding this difference is the larger part of the error
    assert (np.abs(softmax(ops, x) - exact) <= exact * (below * 2**-24 + 4 * 2**-23)).all()


STARTS = np.array([0, 1, 6, 17])


def qkv(N=17, D=20):
    """Three views into one matrix, as the model has them."""
    both = f32(N, 3 * D)
    return both[:, :D], both[:, D : 2 * D], both[:, 2 * D :]


@pytest.mark.parametrize("masked", [None, [3, 6, 16], [0, 1, 2, 3]])
def test_attention_against_float64(ops, masked):
    q, k, v = qkv()
    keep = None
    if masked is not None:
        keep = np.ones(17, np.bool_)
        keep[masked] = False
    wide = [np.ascontiguousarray(a, np.float64) for a in (q, k, v)]
    exact = numpy_ops.attention(*wide, Sentences(STARTS, STARTS, 4, keep))
    np.testing.assert_allclose(ops.attention(q, k, v, Sentences(STARTS, STARTS, 4, keep)), exact, rtol=1e-5, atol=2e-6)


def test_attention_by_parts_is_bitwise_attention(ops, backend):
    """What a tap sees is what the fused kernel computes."""
    q, k, v = qkv()
    keep = np.arange(17) % 5 != 0
    scores = ops.attention_scores(q, k, Sentences(STARTS, STARTS, 4, keep))
    probs = ops.attention_probs(scores)
    fused = ops.attention(q, k, v, Sentences(STARTS, STARTS, 4, keep))
    assert_same(backend, ops.attention_context(probs, v, STARTS), fused)
    assert [p.shape for p in probs] == [(4, 1, 1), (4, 5, 5), (4, 11, 11)]
    for p, s in zip(probs, numpy_ops.sentences(STARTS), strict=True):
        if keep[s].any():
            assert (p[..., ~keep[s]] == 0).all()  # a masked key weighs exactly nothing


def test_a_sentence_without_real_tokens_attends_to_all_alike(ops):
    q, k, v = qkv()
    keep = np.ones(17, np.bool_)
    keep[1:6] = False
    got = ops.attention(q, k, v, Sentences(STARTS, STARTS, 4, keep))[1:6]
    np.testing.assert_allclose(got, np.tile(v[1:6].mean(0), (5, 1)), rtol=1e-5, atol=1e-6)


def test_attention_stays_within_its_sentence(ops):
    """What the first and the last sentence say does not reach the one between them."""
    q, k, v = qkv()
    before = ops.attention(q, k, v, Sentences(STARTS, STARTS, 4, None))[1:6]
    others = np.r_[0, 6:17]
    for a in (q, k, v):
        a[others] = 100.0
    after = ops.attention(q, k, v, Sentences(STARTS, STARTS, 4, None))[1:6]
    np.testing.assert_array_equal(before, after)


def test_some_queries_only(ops, backend):
    """In the last layer only the rows a head looks at ask: they get what they get when all ask (BLAS: nearly)."""
    q, k, v = qkv()
    rows, asking = np.array([0, 3, 5, 8]), np.array([0, 1, 3, 4])
    full = ops.attention(q, k, v, Sentences(STARTS, STARTS, 4, None))[rows]
    some = ops.attention(q[rows], k, v, Sentences(asking, STARTS, 4, None))
    if backend == "numba":
        np.testing.assert_array_equal(some, full)
    else:
        np.testing.assert_allclose(some, full, rtol=1e-6, atol=1e-7)
    scores = ops.attention_scores(q[rows], k, Sentences(asking, STARTS, 4, None))
    assert [s.shape for s in scores] == [(4, 1, 1), (4, 2, 5), (4, 1, 11)]
    assert_same(backend, ops.attention_context(ops.attention_probs(scores), v, STARTS), some)
    nobody = ops.attention(q[:0], k, v, Sentences(np.zeros(4, np.int64), STARTS, 4, None))
    assert nobody.shape == (0, 20)


@pytest.mark.parametrize("M, V, k", [(1, 1, 1), (3, 7, 2), (4, 16, 16), (2, 1001, 5), (5, 600, 128), (1, 3000, 200)])
def test_most_probable(ops, M, V, k):
    x = f32(M, V, scale=3)
    exact = numpy_ops.softmax(x.astype(np.float64))
    order = np.argsort(-x, axis=-1, kind="stable")[:, :k]
    probs, words = ops.most_probable(x, k)
    np.testing.assert_array_equal(words, order)
    np.testing.assert_allclose(probs, np.take_along_axis(exact, order, -1), rtol=3e-6, atol=1e-12)
    np.testing.assert_allclose(ops.vocabulary_softmax(x), exact, rtol=3e-6, atol=1e-12)


def test_a_score_does_not_depend_on_how_it_is_asked_for(ops, backend):
    """One word takes nearly all: PyTorch's order of summing then shows, on a CPU in both ops, on a GPU in neither."""
    x = f32(1, 30522)
    x[0, 77] = 15
    (best,), (word,) = ops.most_probable(x, 1)[0][0], ops.most_probable(x, 1)[1][0]
    assert word == 77
    assert best == pytest.approx(ops.vocabulary_softmax(x)[0, 77], rel=2e-7)
    assert ops.most_probable(x, 2000)[0][0, 0] == pytest.approx(best, rel=2e-7)
    exact = numpy_ops.softmax(x.astype(np.float64))[0, 77]
    assert abs(best - exact) < (1e-7 if backend == "cupy" else 5e-5)


def test_words_as_probable_as_each_other_keep_their_order(ops):
    x = np.zeros((2, 700), np.float32)
    x[0, [650, 20, 533]], x[1, ::2] = 1, -2
    assert ops.most_probable(x, 5)[1].tolist() == [[20, 533, 650, 0, 1], [1, 3, 5, 7, 9]]


def test_no_words_and_no_rows(ops):
    for M, k in ((3, 0), (0, 2), (0, 0)):
        probs, words = ops.most_probable(np.zeros((M, 9), np.float32), k)
        assert probs.shape == words.shape == (M, k)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 8, 99])
def test_a_logit_that_is_not_finite_is_not_passed_over(ops, wrong, at):
    x = f32(2, 100)
    x[1, at] = wrong
    probs, _ = ops.most_probable(x, 3)
    assert np.isfinite(probs[0]).all() and np.isnan(probs[1]).all()
    assert np.isnan(ops.vocabulary_softmax(x)[1]).all()

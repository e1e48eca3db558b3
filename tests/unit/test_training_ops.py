"""The derivatives of every op but the linear maps: the definitions against central differences, the kernels against the
definitions in float64, dropout's masks bit for bit, and the same bits with any number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest

from nanodistil import backend as backends
from nanodistil.kernels.definitions import activations, numpy_backward, numpy_ops
from nanodistil.kernels.definitions.sentences import Sentences

ULP = 2.0**-24  # half a unit in the last place of a float32, relative
RNG = np.random.default_rng(11)
LEARNED = {
    "prelu": [np.array([0.3])],
    "xielu": [np.array([0.4]), np.array([-0.2]), np.array(0.5), np.array(-1e-6)],
}
STARTS = np.array([0, 1, 8, 19])  # three sentences
SOME = np.array([0, 1, 3, 3])  # so many of their tokens ask: of the last none
MASKED = [3, 9, 1, 2, 4, 5, 6, 7]  # one of the last sentence, and all of the second


@pytest.fixture
def backward(backend):
    if backend == "cupy":
        pytest.skip("test_cuda_backward.py has them")
    return backends.load_backward(backend)


@pytest.fixture
def compiled():
    pytest.importorskip("numba")
    return backends.load_backward("numba")


def f32(*shape, scale=1.0):
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


def wide(*arrays):
    return [np.asarray(a, np.float64) for a in arrays]


def slope_along(loss, x, direction, h=1e-5):
    """The central difference of a loss at x along a direction."""
    return (loss(x + h * direction) - loss(x - h * direction)) / (2 * h)


def assert_gradient(loss, x, dx, tolerance=1e-8):
    """dx is the gradient of loss at x, float64, along three random directions."""
    for _ in range(3):
        direction = RNG.standard_normal(x.shape)
        expected = slope_along(loss, x, direction)
        size = np.abs(dx * direction).sum() + abs(loss(x))
        assert abs((dx * direction).sum() - expected) <= tolerance * size, (expected, (dx * direction).sum())


# ---- the definitions, in float64


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_slope_of_every_activation(name):
    """Away from corners, and in the far ends, where nothing may overflow."""
    assert activations.DERIVATIVES.keys() == activations.ACTIVATIONS.keys()
    x = np.array([-30.0, -9.1, -3.0, -1.3, -0.4, -1e-3, 1e-3, 0.2, 0.9, 2.5, 5.9, 6.1, 9.9, 10.1, 25.0])
    f, slope, learned = activations.ACTIVATIONS[name], activations.DERIVATIVES[name], LEARNED.get(name, [])
    h = 1e-5
    expected = (f(x + h, *learned) - f(x - h, *learned)) / (2 * h)
    np.testing.assert_allclose(slope(x, *learned), expected, rtol=2e-9, atol=3e-10)


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("error")
def test_slopes_keep_the_dtype_and_never_overflow(name, dtype):
    x = np.array([-np.inf, -1e30, -1e4, -90.0, -1.0, -0.0, 1e-30, 1.0, 90.0, 1e4], dtype)
    slopes = activations.DERIVATIVES[name](x, *[n.astype(dtype) for n in LEARNED.get(name, [])])
    assert slopes.dtype == dtype and np.isfinite(slopes).all()


def test_slopes_at_corners_are_torchs():
    at = {name: activations.DERIVATIVES[name] for name in activations.DERIVATIVES}
    zero, six = np.array([0.0]), np.array([6.0])
    assert [at[n](zero)[0] for n in ("relu", "relu2", "relu6", "leaky_relu")] == [0, 0, 0, 0.01]
    assert at["prelu"](zero, np.array([0.25])) == 0.25 and at["relu6"](six) == 0
    _, alpha_n, beta, eps = LEARNED["xielu"]
    c = beta + np.log1p(np.exp(alpha_n))
    np.testing.assert_allclose(at["xielu"](zero, *LEARNED["xielu"]), beta - c, rtol=1e-15)
    np.testing.assert_allclose(at["xielu"](eps[None], *LEARNED["xielu"]), beta - c * (1 - np.exp(eps) / 2), rtol=1e-15)


@pytest.mark.parametrize("eps", [1e-12, 0.5])
def test_layer_norm_backward_is_the_gradient(eps):
    x, weight, bias, w = RNG.standard_normal((5, 9)), *RNG.standard_normal((2, 9)), RNG.standard_normal((5, 9))
    dweight, dbias = np.ones(9), np.ones(9)
    dx = numpy_backward.layer_norm_backward(w, x, weight, dweight, dbias, eps)
    assert_gradient(lambda x: (w * numpy_ops.layer_norm(x, weight, bias, eps)).sum(), x, dx)
    assert_gradient(lambda weight: (w * numpy_ops.layer_norm(x, weight, bias, eps)).sum(), weight, dweight - 1)
    assert_gradient(lambda bias: (w * numpy_ops.layer_norm(x, weight, bias, eps)).sum(), bias, dbias - 1)
    residual, again = RNG.standard_normal((5, 9)), np.zeros((2, 9))
    dx = numpy_backward.add_layer_norm_backward(w, x, residual, weight, *again, eps)
    assert_gradient(lambda r: (w * numpy_ops.add_layer_norm(x, r, weight, bias, eps)).sum(), residual, dx)


@pytest.mark.parametrize("masked", [[], MASKED])
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("asking", [STARTS, SOME])
def test_attention_backward_is_the_gradient(asking, rate, masked):
    N, D, H = STARTS[-1], 6, 2
    qkv = [RNG.standard_normal((asking[-1], D)), *RNG.standard_normal((2, N, D))]
    keep = np.ones(N, np.bool_)
    keep[masked] = False
    w = RNG.standard_normal((asking[-1], D))

    def context(q, k, v):
        return numpy_backward.attention_dropped(q, k, v, Sentences(asking, STARTS, H, keep), rate, 5)

    gradients = numpy_backward.attention_backward(w, *qkv, context(*qkv), Sentences(asking, STARTS, H, keep), rate, 5)
    for i, dx in enumerate(gradients):
        assert_gradient(lambda x, i=i: (w * context(*qkv[:i], x, *qkv[i + 1 :])).sum(), qkv[i], dx)


def test_losses_are_what_their_gradients_say():
    student, teacher, labels = RNG.standard_normal((4, 7)), RNG.standard_normal((4, 7)), np.array([3, -100, 0, 6])
    for name, arguments in [
        ("cross_entropy", (labels,)),
        ("divergence", (teacher, 2.5)),
        ("squared_error", (teacher,)),
        ("cosine_distance", (teacher,)),
    ]:
        loss = getattr(numpy_backward, name)
        d = np.ones((4, 7))
        value = loss(student, *arguments, 3.0, d)
        assert value > 0

        def scaled(x, loss=loss, arguments=arguments):
            return 3 * loss(x, *arguments, 0.0, np.zeros((4, 7)))

        assert_gradient(scaled, student, d - 1)


def test_embed_backward_by_hand(backward):
    dx = np.array([[1, 2], [10, 20], [100, 200]], np.float32)
    words, places = np.ones((3, 2), np.float32), np.zeros((2, 2), np.float32)
    backward.embed_backward(dx, np.array([2, 0, 2]), np.array([0, 1, 0]), words, places)
    assert words.tolist() == [[11, 21], [1, 1], [102, 203]] and places.tolist() == [[101, 202], [10, 20]]


# ---- dropout


def test_dropout_by_hand(backward):
    x = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    assert backward.dropout(x, 0.5, 1).tolist() == [[2, 4, 6, 0], [0, 12, 14, 16]]  # the doctest of `kept`
    assert backward.dropout(x, 0.0, 1) is x


@pytest.mark.parametrize("key", [0, 12345, 2**63, 2**64 - 1])
@pytest.mark.parametrize("shape", [(3,), (5, 7), (2, 3, 19), (0, 4), (33, 64)])
def test_dropout_is_the_same_on_both_backends(compiled, shape, key):
    x = f32(*shape)
    np.testing.assert_array_equal(compiled.dropout(x, 0.1, key), numpy_backward.dropout(x, 0.1, key))


def test_dropout_keeps_as_often_as_it_should_and_keys_differ():
    a, b = (numpy_backward.kept((100_000,), 0.1, key) for key in (1, 2))
    alike = 0.9 * 0.9 + 0.1 * 0.1  # of two independent ones
    for mask, share in ((a, 0.9), (b, 0.9), (a == b, alike), (a[1:] == a[:-1], alike)):
        assert abs(mask.mean() - share) < 5 * np.sqrt(share * (1 - share) / mask.size)


# ---- the kernels against the definitions in float64


def test_gelu_backward(backward, backend):
    """Within two units in the last place of 1 everywhere; of the slope itself, within 1.5 for x > 0 (measured: 9.2e-8
    and 1.39) and within 10 from -5 to -0.9, beyond its zero at -0.75; then exp of a large number loses digits."""
    x = np.concatenate([np.linspace(-13, 13, 1200), [-3e38, -1e30, -1e-30, 0.0, 3e38, np.inf, -np.inf]])
    x = x.astype(np.float32).reshape(-1, 17)
    got = backward.activation_backward(np.ones_like(x), x, "gelu").astype(np.float64)
    exact = activations.gelu_slope(x.astype(np.float64))
    error = np.abs(got - exact)
    assert error.max() <= 2 * 2.0**-23
    if backend == "numba":
        assert error.max() <= 1.0e-7
        ulps = error / np.spacing(np.abs(exact).astype(np.float32))
        assert ulps[x > 0].max() <= 1.5 and ulps[(x > -5) & (x < -0.9)].max() <= 10
    assert np.isnan(
        backward.activation_backward(np.ones((1, 1), np.float32), np.full((1, 1), np.nan, np.float32), "gelu")
    )


def test_other_activations_backward(compiled):
    x, dy = f32(3, 5), f32(3, 5)
    for name in activations.ACTIVATIONS:
        which = (name, *(n.astype(np.float32) for n in LEARNED[name])) if name in LEARNED else name
        got, exact = compiled.activation_backward(dy, x, which), numpy_backward.activation_backward(dy, x, which)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, exact, rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize("shape", [(1, 1), (3, 20), (32, 5), (33, 7), (65, 33)])
@pytest.mark.parametrize("adding", [False, True])
@pytest.mark.parametrize("eps", [1e-12, 0.5])
def test_layer_norm_backward(compiled, shape, adding, eps):
    """Rounded once: within a unit in the last place, though the mean is a hundred deviations away."""
    N, D = shape
    dy, x, residual, weight = f32(N, D), 100 + f32(N, D), f32(N, D), f32(D)
    sums, exact_sums = np.ones((2, D), np.float32), np.ones((2, D))
    if adding:
        got = compiled.add_layer_norm_backward(dy, x, residual, weight, *sums, eps)
        x = x + residual
    else:
        got = compiled.layer_norm_backward(dy, x, weight, *sums, eps)
    exact = numpy_backward.layer_norm_backward(*wide(dy, x, weight), *exact_sums, eps)
    assert got.dtype == np.float32 and got.shape == (N, D)
    assert (np.abs(got - exact) <= 1.01 * ULP * np.abs(exact) + 1e-12 * np.abs(exact).max()).all()
    assert (np.abs(sums - exact_sums) <= 1.01 * ULP * np.abs(exact_sums) + 1e-12).all()


def test_embed_backward_adds_in_the_order_of_the_rows(compiled):
    dx, ids, positions = f32(40, 70), RNG.integers(0, 6, 40), RNG.integers(0, 4, 40)
    words, places = f32(6, 70), f32(4, 70)
    expected = words.copy(), places.copy()
    numpy_backward.embed_backward(dx, ids, positions, *expected)
    compiled.embed_backward(dx, ids, positions, words, places)
    np.testing.assert_array_equal(words, expected[0])
    np.testing.assert_array_equal(places, expected[1])


def attention_case(D, lengths, asking=None, masked=()):
    starts = np.concatenate([[0], np.cumsum(lengths)])
    qkv = f32(starts[-1], 3 * D)  # three views of one product, as the model has them
    q, k, v = qkv[:, :D], qkv[:, D : 2 * D], qkv[:, 2 * D :]
    if asking is not None:
        q = f32(asking[-1], D)
    keep = None
    if len(masked):
        keep = np.ones(starts[-1], np.bool_)
        keep[list(masked)] = False
    return f32(len(q), D), q, k, v, starts if asking is None else asking, starts, keep


CASES = {
    "small heads": (4, attention_case(12, [1, 7, 11])),
    "some ask": (4, attention_case(20, [1, 7, 11], SOME)),
    "masked": (2, attention_case(10, [1, 7, 11], None, MASKED)),
    "some ask, masked": (2, attention_case(16, [1, 7, 11], SOME, MASKED)),
    "two blocks of queries": (1, attention_case(3, [66])),
    "whole vectors": (1, attention_case(16, [18])),
    "a vector and a bit": (2, attention_case(40, [1, 7])),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_attention_backward(compiled, case, rate):
    """Against float64: within some roundings of the size of what was added up."""
    heads, (d, q, k, v, asking, starts, keep) = CASES[case]
    where = Sentences(asking, starts, heads, keep), rate, 2**64 - 9
    context = compiled.attention_dropped(q, k, v, *where)
    exact = numpy_backward.attention_dropped(*wide(q, k, v), *where)
    np.testing.assert_allclose(context, exact, rtol=1e-6, atol=1e-6)
    got = compiled.attention_backward(d, q, k, v, context, *where)
    truth = numpy_backward.attention_backward(*wide(d, q, k, v), exact, *where)
    for name, mine, right in zip("qkv", got, truth, strict=True):
        assert mine.dtype == np.float32 and mine.shape == right.shape
        np.testing.assert_allclose(mine, right, rtol=1e-6, atol=2e-6, err_msg=name)


def test_attention_with_rate_0_is_attention(compiled):
    heads, (_, q, k, v, asking, starts, keep) = CASES["masked"]
    from nanodistil.kernels.cpu import numba_ops

    got = compiled.attention_dropped(q, k, v, Sentences(asking, starts, heads, keep), 0.0, 3)
    np.testing.assert_array_equal(got, numba_ops.attention(q, k, v, Sentences(asking, starts, heads, keep)))


def test_no_gradient_reaches_a_masked_key(compiled):
    heads, (d, q, k, v, asking, starts, keep) = CASES["masked"]
    where = Sentences(asking, starts, heads, keep), 0.0, 3
    dq, dk, dv = compiled.attention_backward(d, q, k, v, compiled.attention_dropped(q, k, v, *where), *where)
    assert (dk[~keep] == 0).all() and (dv[9] == 0).all()
    assert (dq[1:8] == 0).all() and (dv[1:8] != 0).all()  # all masked: every value counts alike, scores do not


@pytest.mark.parametrize("V", [1, 3, 64, 131])
def test_cross_entropy(compiled, V):
    M, scale = 6, 0.25
    logits, labels, d = f32(M, V, scale=6), np.array([0, V - 1, -100, 0, -1, V // 2]), f32(M, V)
    before = d.astype(np.float64)
    right = before.copy()
    exact = numpy_backward.cross_entropy(logits.astype(np.float64), labels, scale, right)
    got = compiled.cross_entropy(logits, labels, scale, d)
    assert abs(got - exact) <= 1e-7 * (abs(exact) + 1)
    assert_close_to_probabilities(d, right, scale * numpy_ops.softmax(logits.astype(np.float64)), logits, before)
    np.testing.assert_array_equal(d[labels < 0], before[labels < 0])


def assert_close_to_probabilities(got, right, p, logits, before):
    """p = exp(x - largest) / sum: the rounding of x - largest, some of exp, one of what p is added to."""
    below = logits.max(-1, keepdims=True) - logits
    assert (np.abs(got - right) <= p * (below + 4) * 2 * ULP + 1.01 * ULP * (np.abs(right) + np.abs(before))).all()


def test_cross_entropy_of_a_sure_row_keeps_its_digits(compiled):
    """1 - softmax of 1e-6 is not what is left of 1 after a rounding."""
    logits = np.array([[14.0, 0.0]], np.float32)
    d = np.zeros((1, 2), np.float32)
    compiled.cross_entropy(logits, np.array([0]), 1.0, d)
    np.testing.assert_allclose(d, [[-1 / (1 + np.exp(14.0)), 1 / (1 + np.exp(14.0))]], rtol=3e-7)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.7])
@pytest.mark.parametrize("V", [1, 5, 64, 131])
def test_divergence(compiled, V, temperature):
    M, scale = 5, 0.5
    student, teacher, d = f32(M, V, scale=4), f32(M, V, scale=4), f32(M, V)
    before = d.astype(np.float64)
    right = before.copy()
    exact = numpy_backward.divergence(*wide(student, teacher), temperature, scale, right)
    got = compiled.divergence(student, teacher, temperature, scale, d)
    assert abs(got - exact) <= 2e-7 * (abs(exact) + 1)
    p = scale / temperature * sum(numpy_ops.softmax(x / temperature) for x in wide(student, teacher))
    spread = np.maximum(np.ptp(student, -1, keepdims=True), np.ptp(teacher, -1, keepdims=True)) / temperature
    assert (np.abs(d - right) <= p * (2 * spread + 6) * 2 * ULP + 1.01 * ULP * (np.abs(right) + np.abs(before))).all()


@pytest.mark.parametrize("name", ["squared_error", "cosine_distance"])
def test_distances(compiled, name):
    student, teacher, d = f32(5, 37), f32(5, 37), f32(5, 37)
    right = d.astype(np.float64)
    exact = getattr(numpy_backward, name)(*wide(student, teacher), 0.5, right)
    got = getattr(compiled, name)(student, teacher, 0.5, d)
    assert abs(got - exact) <= 1e-12 * abs(exact)
    assert (np.abs(d - right) <= 3 * ULP * (np.abs(right) + np.abs(student) + np.abs(teacher))).all()


def test_losses_of_no_rows_are_0(backward):
    nothing, labels = np.zeros((0, 7), np.float32), np.zeros(0, np.int64)
    assert backward.cross_entropy(nothing, labels, 1.0, nothing.copy()) == 0
    assert backward.divergence(nothing, nothing, 2.0, 1.0, nothing.copy()) == 0


def test_a_nan_is_not_hidden(compiled):
    """The training loop stops at a loss that is no number, so a loss must not lose one."""
    bad, good = np.array([[1.0, np.nan, 2.0]], np.float32), np.ones((1, 3), np.float32)
    assert np.isnan(compiled.cross_entropy(bad, np.array([0]), 1.0, np.zeros_like(bad)))
    for name, rest in (("divergence", (1.0, 1.0)), ("squared_error", (1.0,)), ("cosine_distance", (1.0,))):
        assert np.isnan(getattr(compiled, name)(bad, good, *rest, np.zeros_like(bad))), name
        assert np.isnan(getattr(compiled, name)(good, bad, *rest, np.zeros_like(bad))), name


# ---- threads


def everything(ops):
    """Every result of every op here, on fixed inputs large enough to be divided."""
    random = np.random.default_rng(0)

    def some(*shape):
        return random.standard_normal(shape).astype(np.float32)

    results = [ops.dropout(some(64, 9), 0.2, 4), ops.activation_backward(some(64, 9), some(64, 9), "gelu")]
    sums = np.zeros((4, 130), np.float32)
    results += [ops.layer_norm_backward(some(100, 130), some(100, 130), some(130), *sums[:2], 1e-12)]
    results += [
        ops.add_layer_norm_backward(some(100, 130), some(100, 130), some(100, 130), some(130), *sums[2:], 1e-12)
    ]
    words, places = np.zeros((9, 130), np.float32), np.zeros((4, 130), np.float32)
    ops.embed_backward(some(50, 130), random.integers(0, 9, 50), random.integers(0, 4, 50), words, places)
    starts = np.array([0, 3, 20, 29])
    d, q, k, v = some(4, 29, 12)
    where = Sentences(starts, starts, 3, None), 0.1, 8
    context = ops.attention_dropped(q, k, v, *where)
    results += [sums, words, places, context, *ops.attention_backward(d, q, k, v, context, *where)]
    student, teacher, d = some(3, 40, 70)
    losses = [
        ops.cross_entropy(student, random.integers(-1, 70, 40), 0.1, d),
        ops.divergence(student, teacher, 2.0, 0.1, d),
        ops.squared_error(student, teacher, 0.1, d),
        ops.cosine_distance(student, teacher, 0.1, d),
    ]
    return [*results, d, np.array(losses)]


def test_any_number_of_threads_gives_the_same_bits(compiled):
    from nanodistil.kernels.runtime import pool

    before = pool.threads()
    try:
        pool.set_threads(1)
        alone = everything(compiled)
        for n in (2, 3):
            pool.set_threads(n)
            for a, b in zip(alone, everything(compiled), strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        pool.set_threads(before)


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("haswell", "+avx,+avx2,+fma,+sse3,+ssse3,+sse4.1,+sse4.2,+bmi,+bmi2,+popcnt"),  # a tile of 16 columns
        ("generic", None),  # no tile
    ],
)
def test_on_another_machine(name, features):
    """This file again, compiled for a machine with another tile, or none."""
    from nanodistil.kernels.cpu import tile

    if not tile.SHAPE.vector or (features and not {f[1:] for f in features.split(",")} <= tile.cpu_features()):
        pytest.skip("this machine cannot run that one's code")
    environment = {**os.environ, "NUMBA_CPU_NAME": name}
    if features:
        environment["NUMBA_CPU_FEATURES"] = features
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not sweep", __file__]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout

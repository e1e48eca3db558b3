"""The cupy backend's derivatives and losses against numpy_backward in float64, on a GPU or under the stand-in for CuPy.

Inputs are of the type the backend gets them in, so what is allowed is the error of float32 arithmetic alone, in units
of the sums it is made in. Every op is run three times, by threads in three orders (on a GPU: three times), and must
give the same bits: training can be repeated.
"""

from __future__ import annotations

import numpy as np
import pytest

from nanodistil.kernels.definitions import numpy_backward
from nanodistil.kernels.definitions.sentences import Sentences
from nanodistil.kernels.definitions.step import step_of

pytestmark = pytest.mark.sweep  # a minute of g++ where nothing is compiled yet

UNIT = 2.0**-24  # the relative error of rounding a float32
STORED = ["float32", "float16", "bfloat16"]
SHAPES = [(1, 1), (9, 7), (17, 64), (3, 384), (20, 768), (2, 1030)]


@pytest.fixture
def bops(cupy):
    from nanodistil.kernels.gpu.cupy_backward import CupyBackwardOps

    return CupyBackwardOps("float32")


@pytest.fixture
def repeated(cupy, monkeypatch):
    """Runs a function three times, by threads in another order each: what it gives, on the host, if it is one thing."""

    def run(function):
        results = []
        for order in ("forward", "backward", "shuffled"):
            if hasattr(cupy, "emulation"):
                monkeypatch.setattr(cupy.emulation, "thread_order", order)
            found = function()
            found = found if isinstance(found, tuple) else (found,)
            results.append([x.get() if isinstance(x, cupy.ndarray) else np.array(x) for x in found])
        for other in results[1:]:
            for x, y in zip(results[0], other, strict=True):
                assert x.tobytes() == y.tobytes()
        return results[0]

    return run


def dtype_of(name):
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def draw(rng, *shape, dtype="float32"):
    """Random numbers of a type, and the same in float64."""
    x = rng.standard_normal(shape).astype(dtype_of(dtype))
    return x, x.astype(np.float64)


def near(found, truth, allowed):
    __tracebackhide__ = True
    wrong = np.abs(found.astype(np.float64) - truth)
    assert (wrong <= allowed).all(), f"{np.max(wrong / np.maximum(allowed, 1e-300))} times what is allowed"


# ---- row by row


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("N, D", SHAPES)
@pytest.mark.parametrize("added, eps", [(False, 1e-12), (True, 1e-12), (True, 0.5)])
def test_layer_norm_backward(cupy, bops, repeated, stored, N, D, added, eps):
    rng = np.random.default_rng([N, D])
    (dy, exact_dy), (weight, exact_weight) = draw(rng, N, D), draw(rng, D)
    (x, exact_x), (residual, exact_residual) = draw(rng, N, D, dtype=stored), draw(rng, N, D)
    (before, exact_sums) = draw(rng, 2, D)
    truth = numpy_backward.layer_norm_backward(
        exact_dy, exact_x + added * exact_residual, exact_weight, exact_sums[0], exact_sums[1], eps
    )
    on_device = [cupy.asarray(array) for array in (dy, x, *([residual] if added else []), weight)]

    def run():
        sums = cupy.asarray(before.copy())
        op = bops.add_layer_norm_backward if added else bops.layer_norm_backward
        return op(*on_device, sums[0], sums[1], eps), sums

    dx, sums = repeated(run)
    total = exact_x + added * exact_residual
    centred = total - total.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    n = centred / deviation
    size = np.abs(exact_dy * exact_weight).max(-1, keepdims=True) * (1 + np.abs(n))
    near(dx, truth, 16 * UNIT * size * (1 + np.abs(total).max(-1, keepdims=True) / deviation) / deviation)
    slip = 1 + np.abs(total).max(-1, keepdims=True) / deviation  # what rounding x does to n, in units
    near(sums[0], exact_sums[0], 16 * UNIT * ((np.abs(exact_dy) * (np.abs(n) + slip)).sum(0) + np.abs(before[0])))
    near(sums[1], exact_sums[1], 16 * UNIT * (np.abs(exact_dy).sum(0) + np.abs(before[1])))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradients_bring_their_rounded_copies_along(cupy, dtype):
    """What a linear map is handed after a LayerNorm's derivative or a dropout: dx to the bit, rounded once."""
    from nanodistil.kernels.gpu.cupy_backward import CupyBackwardOps

    bops, rng = CupyBackwardOps(dtype), np.random.default_rng(0)
    dy, x, weight, sums = (cupy.asarray(draw(rng, *shape)[0]) for shape in ((9, 40), (9, 40), (40,), (2, 40)))
    dx = bops.layer_norm_backward(dy, x, weight, sums[0], sums[1], 1e-12)
    for array in (dx, bops.dropout(dx, 0.5, 3)):
        np.testing.assert_array_equal(bops.ops.operand(array).get(), array.get().astype(dtype_of(dtype)))
    assert getattr(bops.dropout(cupy.asarray(x.get().astype(dtype_of(dtype))), 0.5, 3), "rounded", None) is None


def test_layer_norm_backward_undoes_shift_and_stretch(cupy, bops):
    """Moving x along 1 or along itself changes nothing, so dx has no part in either direction."""
    rng = np.random.default_rng(0)
    dy, x, weight = (cupy.asarray(draw(rng, *shape)[0]) for shape in ((11, 96), (11, 96), (96,)))
    sums = cupy.zeros((2, 96), np.float32)
    dx = bops.layer_norm_backward(dy, x, weight, sums[0], sums[1], 1e-12).get()
    assert np.abs(dx.sum(1, dtype=np.float64)).max() < 1e-5
    assert np.abs((dx.astype(np.float64) * x.get()).sum(1)).max() < 1e-5


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("which", ["gelu", "gelu_new", "relu", "tanh"])
def test_activation_backward(cupy, bops, repeated, stored, which):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.standard_normal(400), 5 * rng.standard_normal(300), [0, -0.0, 40, -40, 100, -100, 7]])
    x = x.astype(dtype_of(stored)).reshape(7, -1)
    dy, exact_dy = draw(rng, *x.shape)
    truth = numpy_backward.activation_backward(exact_dy, x.astype(np.float64), which)
    (dx,) = repeated(lambda: bops.activation_backward(cupy.asarray(dy), cupy.asarray(x), which))
    assert dx.dtype == np.float32 and dx.shape == x.shape
    near(dx, truth, np.abs(exact_dy) * 8 * UNIT)


@pytest.mark.parametrize("which", ["gelu", "silu"])  # silu: on the host
@pytest.mark.parametrize("dtype", STORED)
def test_activation_backward_rounds_for_the_products_that_follow(cupy, dtype, which):
    from nanodistil.kernels.gpu.cupy_backward import CupyBackwardOps

    rng = np.random.default_rng(1)
    (x, exact_x), (dy, exact_dy) = draw(rng, 5, 31, dtype=dtype), draw(rng, 5, 31)
    dx = CupyBackwardOps(dtype).activation_backward(cupy.asarray(dy), cupy.asarray(x), which)
    truth = numpy_backward.activation_backward(exact_dy, exact_x, which)
    assert dx.dtype == x.dtype
    near(dx.get(), truth, {"float32": UNIT, "float16": 2**-11, "bfloat16": 2**-8}[dtype] * np.abs(truth) + 1e-6)


@pytest.mark.parametrize("N, D", [(1, 1), (40, 7), (30, 64), (9, 384), (12, 768)])
def test_embed_backward_is_the_definition_to_the_bit(cupy, bops, repeated, N, D):
    rng = np.random.default_rng([N, D])
    ids, positions = rng.integers(0, 5, N), rng.integers(0, 3, N)  # words that come up to a dozen times
    ids[0] = 6
    dx, tables = draw(rng, N, D)[0], draw(rng, 12, D)[0]
    words, places = tables[:8].copy(), tables[8:].copy()
    numpy_backward.embed_backward(dx, ids, positions, words, places)

    def run():
        on_device = cupy.asarray(tables)
        arrays = (cupy.asarray(array) for array in (dx, ids, positions))
        bops.embed_backward(*arrays, on_device[:8], on_device[8:])
        return on_device

    (found,) = repeated(run)
    np.testing.assert_array_equal(found, np.concatenate([words, places]))


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("shape", [(1,), (7, 13), (3, 1024), (5, 31, 17)])
def test_dropout_drops_what_the_definition_drops(cupy, bops, repeated, stored, shape):
    rng = np.random.default_rng(2)
    x, exact = draw(rng, *shape, dtype=stored)
    for rate, key in ((0.1, 1), (0.5, 2**64 - 1), (1 - 2**-20, 3)):
        truth = numpy_backward.dropout(exact, rate, key)
        (found,) = repeated(lambda rate=rate, key=key: bops.dropout(cupy.asarray(x), rate, key))
        assert found.dtype == x.dtype
        kept = numpy_backward.kept(shape, rate, key)
        np.testing.assert_array_equal(found != 0, kept & (x != 0))
        if rate < 0.9:
            near(
                found, truth, {"float32": 2 * UNIT, "float16": 2**-11, "bfloat16": 2**-8}[stored] * np.abs(truth) * 1.01
            )
    given = cupy.asarray(x)
    assert bops.dropout(given, 0.0, 5) is given


# ---- losses


@pytest.fixture
def checked_loss(cupy, bops, repeated):
    """Runs a loss and its definition on the same arrays: both within `allowed` of float64."""

    def check(name, x, truth, numbers, per_row, allowed):
        rng = np.random.default_rng(9)
        before, gradient = draw(rng, *x.shape)
        exact_truth = truth.astype(np.float64) if truth.dtype.kind == "f" else truth
        loss = getattr(numpy_backward, name)(x.astype(np.float64), exact_truth, *numbers, gradient)

        def run():
            d = cupy.asarray(before.copy())
            return np.float64(getattr(bops, name)(cupy.asarray(x), cupy.asarray(truth), *numbers, d)), d

        found, d = repeated(run)
        assert abs(float(found) - loss) <= per_row * len(x) + 1e-7 * abs(loss)
        near(d, gradient, allowed + UNIT * 2 * np.abs(gradient) + UNIT * np.abs(before))

    return check


WIDE = [(1, 1), (4, 2), (5, 7), (3, 127), (3, 768), (2, 30522)]


@pytest.mark.parametrize("M, V", WIDE)
@pytest.mark.parametrize("spread", [1, 12])
def test_cross_entropy(checked_loss, M, V, spread):
    rng = np.random.default_rng([M, V])
    x, labels = (spread * draw(rng, M, V)[0]).astype(np.float32), rng.integers(0, V, M)
    if M > 2:
        labels[1] = -1  # does not count
        labels[0] = x[0].argmax()
    checked_loss("cross_entropy", x, labels, (0.7,), 40 * UNIT * (1 + spread), 0.7 * (8 + 8 * spread) * UNIT)


def test_cross_entropy_of_what_is_nearly_certain(cupy, bops):
    """Loss and gradient at the label are 2e-9, which 1 - softmax in float32 would call 0."""
    x, labels = np.zeros((1, 3), np.float32), np.array([1])
    x[0, 1] = 20
    d, exact = cupy.zeros((1, 3), np.float32), np.zeros((1, 3))
    loss = bops.cross_entropy(cupy.asarray(x), cupy.asarray(labels), 1.0, d)
    truth = numpy_backward.cross_entropy(x.astype(np.float64), labels, 1.0, exact)
    assert loss == pytest.approx(truth, rel=1e-6)
    np.testing.assert_allclose(d.get(), exact, rtol=1e-6)


@pytest.mark.parametrize("M, V", WIDE)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_divergence(checked_loss, M, V, temperature):
    rng = np.random.default_rng([M, V])
    student, teacher = (4 * draw(rng, 2 * M, V)[0]).astype(np.float32).reshape(2, M, V)
    checked_loss("divergence", student, teacher, (temperature, 0.3), 400 * UNIT, 0.3 * 40 * UNIT / temperature)


def test_divergence_from_itself_is_nothing(cupy, bops):
    x = cupy.asarray(draw(np.random.default_rng(0), 3, 500)[0])
    d = cupy.zeros((3, 500), np.float32)
    assert abs(bops.divergence(x, x, 2.0, 1.0, d)) < 1e-12 and not d.get().any()


@pytest.mark.parametrize("M, V", WIDE)
def test_squared_error(checked_loss, M, V):
    rng = np.random.default_rng([M, V])
    student, teacher = draw(rng, 2, M, V)[0]
    size = np.abs(student) + np.abs(teacher)
    checked_loss("squared_error", student, teacher, (0.4,), 8 * UNIT * (size**2).sum() / M, 0.8 * 2 * UNIT * size)


@pytest.mark.parametrize("M, V", WIDE)
def test_cosine_distance(checked_loss, M, V):
    rng = np.random.default_rng([M, V])
    student, teacher = draw(rng, 2, M, V)[0]
    length = np.linalg.norm(student, axis=-1, keepdims=True)
    checked_loss("cosine_distance", student, teacher, (0.9,), 4 * UNIT, 4 * UNIT / length)


def test_losses_of_no_rows(cupy, bops):
    nothing = cupy.zeros((0, 5), np.float32)
    assert bops.squared_error(nothing, nothing, 1.0, nothing) == 0.0
    assert bops.cross_entropy(nothing, cupy.zeros(0, np.int64), 1.0, nothing) == 0.0


# ---- the step


@pytest.mark.parametrize("n", [1, 255, 1000, (1 << 17) + 5])
def test_sum_of_squares(cupy, bops, repeated, n):
    x, exact = draw(np.random.default_rng(n), n)
    (found,) = repeated(lambda: np.float64(bops.sum_of_squares(cupy.asarray(x))))
    assert float(found) == pytest.approx(float((exact**2).sum()), rel=1e-14)


def test_sum_of_squares_beyond_float32(cupy, bops):
    x = np.full(3, 1e30, np.float32)
    assert bops.sum_of_squares(cupy.asarray(x)) == pytest.approx(3e60, rel=1e-6)


@pytest.mark.parametrize("n", [1, 700])
def test_adamw(cupy, bops, repeated, n):
    """Ten steps of weights that begin anywhere, against the definition in float64."""
    rng = np.random.default_rng(n)
    x, exact = draw(rng, n + 3)
    gradients = [draw(rng, n) for _ in range(10)]
    settings = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.98, "eps": 1e-6, "weight_decay": 0.1, "scale": 0.5}
    part, means = exact[3:], np.zeros((2, n))
    for step, (_, g) in enumerate(gradients, 1):
        numpy_backward.adamw(part, g, *means, step_of(step, **settings))

    def run():
        flat, m, v = cupy.asarray(x), cupy.zeros(n, np.float32), cupy.zeros(n, np.float32)
        for step, (g, _) in enumerate(gradients, 1):
            bops.adamw(flat[3:], cupy.asarray(g), m, v, step_of(step, **settings))
        return flat, m, v

    flat, m, v = repeated(run)
    np.testing.assert_array_equal(flat[:3], x[:3])
    near(flat[3:], part, 10 * 8 * UNIT * (np.abs(part) + 1e-2))
    near(m, means[0], 40 * UNIT)
    near(v, means[1], 40 * UNIT)


def test_what_is_added_to_must_lie_in_one_piece(cupy, bops):
    x = cupy.zeros((4, 6), np.float32)
    with pytest.raises(TypeError, match="contiguous"):
        bops.squared_error(x[:, :3], x[:, :3], 1.0, x[:, :3])


# ---- linear maps


@pytest.mark.parametrize("N, O, I", [(1, 1, 1), (7, 5, 3), (300, 33, 8), (600, 70, 4), (0, 3, 4)])
@pytest.mark.parametrize("dtype", ["float32", "tf32", "float16", "bfloat16"])
def test_linear_backward(cupy, dtype, N, O, I):
    from nanodistil.kernels.gpu.cupy_backward import CupyBackwardOps

    stored = "float32" if dtype == "tf32" else dtype
    dtype_of(stored)
    bops, rng = CupyBackwardOps(dtype), np.random.default_rng([N, O])
    (dy, exact_dy), (x, exact_x), (w, exact_w) = draw(rng, N, O), draw(rng, N, I, dtype=stored), draw(rng, O, I)
    (dW, exact_dW), (db, exact_db) = draw(rng, O, I), draw(rng, O)
    bound = UNIT if dtype == "float32" else {"tf32": 2**-11, "float16": 2**-11, "bfloat16": 2**-8}[dtype]
    size_dx, size_dW = np.abs(exact_dy) @ np.abs(exact_w), np.abs(exact_dy).T @ np.abs(exact_x) + np.abs(dW)
    size_db = np.abs(exact_dy).sum(0) + np.abs(db)
    numpy_backward.linear_backward_weight(exact_dy, exact_x, exact_dW, exact_db)
    dy, x, dW, db = (cupy.asarray(array) for array in (dy, x, dW, db))
    dx = bops.linear_backward_input(dy, bops.prepare_backward(w, np.zeros(O, np.float32)))
    bops.linear_backward_weight(dy, x, dW, db)
    assert dx.dtype == dW.dtype == np.float32
    near(dx.get(), exact_dy @ exact_w, (4 * bound + O * UNIT) * size_dx)
    near(dW.get(), exact_dW, (4 * bound + (N + 2) * UNIT) * size_dW)
    near(db.get(), exact_db, 64 * UNIT * size_db)


# ---- attention


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "heads, rate, asked", [(2, 0.0, None), (2, 0.3, None), (2, 0.3, (1, 0, 5)), (4, 0.3, (1, 0, 5))]
)
def test_attention_and_its_derivative(cupy, dtype, heads, rate, asked):
    """Packed sentences, q, k and v columns of one matrix, some keys masked; dropout, and fewer queries than keys."""
    from nanodistil.kernels.gpu.cupy_backward import CupyBackwardOps

    bops, rng = CupyBackwardOps(dtype), np.random.default_rng(7)
    A, lengths = 32, (3, 70, 5)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    asking = starts if asked is None else np.concatenate([[0], np.cumsum(asked)])
    qkv, exact = draw(rng, starts[-1], 3 * A, dtype=dtype)
    dcontext, exact_dcontext = draw(rng, asking[-1], A, dtype=dtype)
    keep = rng.random(starts[-1]) < 0.8
    keep[0:3] = False  # a sentence with nothing to attend to
    on_device = cupy.asarray(qkv)
    q, k, v = (on_device[:, i * A : (i + 1) * A] for i in range(3))
    exact_q, exact_k, exact_v = (exact[:, i * A : (i + 1) * A] for i in range(3))
    who = Sentences(asking, starts, heads, keep)
    q, exact_q = q[: asking[-1]], exact_q[: asking[-1]]
    given = q, k, v, who._replace(keep=cupy.asarray(keep)), rate, 5
    context = bops.attention_dropped(*given)
    truth = numpy_backward.attention_dropped(exact_q, exact_k, exact_v, who, rate, 5)
    unit = {"float32": 2**-19, "float16": 2**-9, "bfloat16": 2**-6}[dtype]
    assert context.dtype == dtype_of(dtype)
    near(context.get(), truth, unit * np.abs(truth).max())
    exact_gradients = numpy_backward.attention_backward(exact_dcontext, exact_q, exact_k, exact_v, truth, who, rate, 5)
    found = bops.attention_backward(cupy.asarray(dcontext), q, k, v, context, *given[3:])
    for gradient, exact_gradient in zip(found, exact_gradients, strict=True):
        near(gradient.get(), exact_gradient, unit * np.abs(exact_gradient).max())


def test_blocks_of_keys(bops):
    """Two sentences of 3 and 70 keys, of which 1 and 2 rows ask: those that are asked most come first."""
    from nanodistil.kernels.gpu.cupy_backward import blocks_of_keys

    tiles, places = blocks_of_keys(np.array([0, 1, 3]), np.array([0, 3, 73]))
    assert tiles.tolist() == [[1, 2, 3, 64], [1, 2, 67, 6], [0, 1, 0, 3]]
    assert places.tolist() == [[1, 0, 0, 70], [1, 0, 64, 70], [0, 0, 0, 3]]


def test_heads_too_large_for_the_kernels_are_worked_on_by_the_host(cupy, bops):
    rng, starts = np.random.default_rng(1), np.array([0, 4])
    (x, exact), (d, exact_d) = draw(rng, 4, 3 * 130), draw(rng, 4, 130)
    parts, exact_parts = ([a[:, i * 130 : (i + 1) * 130] for i in range(3)] for a in (cupy.asarray(x), exact))
    who = Sentences(starts, starts, 1, None)
    context = bops.attention_dropped(*parts, who, 0.1, 3)
    exact_context = numpy_backward.attention_dropped(*exact_parts, who, 0.1, 3)
    near(context.get(), exact_context, 1e-5)
    found = bops.attention_backward(cupy.asarray(d), *parts, context, who, 0.1, 3)
    truth = numpy_backward.attention_backward(exact_d, *exact_parts, exact_context, who, 0.1, 3)
    for gradient, exact_gradient in zip(found, truth, strict=True):
        near(gradient.get(), exact_gradient, 1e-5 * np.abs(exact_gradient).max())

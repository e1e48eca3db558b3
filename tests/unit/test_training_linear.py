"""Linear maps backwards, their packing, and the optimiser's step: compiled against the definitions in float64."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from nanodistil.kernels.cpu import adamw, bfloat16_backward, bfloat16_ops, linear, numba_backward  # noqa: E402
from nanodistil.kernels.cpu.tile import COLUMNS, PIECE  # noqa: E402
from nanodistil.kernels.definitions import numpy_backward  # noqa: E402
from nanodistil.kernels.definitions.step import step_of  # noqa: E402
from nanodistil.kernels.runtime import pool  # noqa: E402

SHAPES = [(1, 1, 1), (3, 32, 37), (7, 37, 32), (70, 20, 66), (37, 130, 5)]  # N, O, I: tails of every kind
EPS = 2.0**-24

compiled_only = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="is about compiled code")


def f32(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def short(x):
    """x as bfloat16 has it."""
    return bfloat16_ops.widened(bfloat16_ops.rounded(x))


@pytest.fixture
def small_parts(monkeypatch):
    """Batches in parts of 32 rows instead of 1024, so that small ones have several, and the last is a tail."""
    monkeypatch.setattr(numba_backward, "DEPTH", 32)


@pytest.fixture
def threads():
    """Puts the number of threads back."""
    before = pool._threads
    yield pool.set_threads
    pool._threads = before


def packed_plainly(rows):
    """(O, I) -> (P, I, COLUMNS) by slicing."""
    O, I = rows.shape
    panels = np.zeros((-(-O // COLUMNS), I, COLUMNS), rows.dtype)
    for p in range(len(panels)):
        some = rows[p * COLUMNS : (p + 1) * COLUMNS]
        panels[p, :, : len(some)] = some.T
    return panels


@pytest.mark.parametrize("shape", [(1, 1), (5, 37), (64, 16), (70, 33), (130, 15)])
def test_packing_moves_every_bit(shape):
    weight, bias = f32(*shape), f32(shape[0])
    weight.flat[0], weight.flat[-1] = -np.inf, np.nan
    w = linear.pack(weight, bias)
    assert w.panels.tobytes() == packed_plainly(weight).tobytes()
    back = linear.unpack(w)
    assert back[0].tobytes() == weight.tobytes() and back[1].tobytes() == bias.tobytes()
    transpose = numba_backward.prepare_backward(weight, bias)
    assert transpose.panels.tobytes() == packed_plainly(np.ascontiguousarray(weight.T)).tobytes()
    assert transpose.width == shape[1] and not transpose.bias.any()


@pytest.mark.parametrize("shape", [(1, 1), (5, 37), (64, 16), (70, 33), (130, 15)])
def test_packing_in_bfloat16_moves_every_bit(shape):
    weight, bias = f32(*shape), f32(shape[0])
    weight.flat[0], weight.flat[-1] = -np.inf, np.nan
    if not bfloat16_ops.SHAPE.vector:
        pytest.skip("this machine packs rounded float32")
    O, I = shape
    halves = np.zeros((-(-O // COLUMNS) * COLUMNS, -(-I // 2) * 2), np.uint16)
    halves[:O, :I] = bfloat16_ops.rounded(weight)
    if bfloat16_ops.PAIRS:  # two inputs of a column a word
        expected = packed_plainly(halves[:O].view(np.int32))
    else:  # two columns of an input
        lower, upper = np.split(halves[:, :I].reshape(-1, COLUMNS, I).astype(np.uint32), 2, axis=1)
        expected = (lower | upper << np.uint32(16)).transpose(0, 2, 1)
    assert bfloat16_ops.prepare_linear(weight, bias).panels.tobytes() == expected.tobytes()


def test_any_layout_of_a_weight_is_packed():
    """A transposed view, a file's read-only pages, and numbers that begin between two multiples of four bytes."""
    weight, bias = f32(20, 33), f32(20)
    expected = linear.pack(weight, bias).panels.tobytes()
    odd = np.frombuffer(b"x" + weight.tobytes(), np.float32, offset=1).reshape(weight.shape)
    for other in (np.asfortranarray(weight), odd):
        assert linear.pack(other, bias).panels.tobytes() == expected


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("apart", [False, True])
def test_derivatives_of_a_linear_map(shape, apart, small_parts):
    """Within the bound of sums in pieces; added to what was there; rows may lie apart."""
    N, O, I = shape
    dy, x, weight = f32(N, O), f32(N, I, seed=1), f32(O, I, seed=2)
    if apart:
        dy, x = f32(N, 3 * O)[:, O : 2 * O], f32(N, I + 3)[:, 2 : 2 + I]
    wide = [a.astype(np.float64) for a in (dy, x, weight)]

    got = numba_backward.linear_backward_input(dy, numba_backward.prepare_backward(weight, f32(O)))
    assert got.shape == (N, I) and got.dtype == np.float32
    size = np.abs(wide[0]) @ np.abs(wide[2])
    assert (np.abs(got - wide[0] @ wide[2]) <= size * (min(O, PIECE) + O / PIECE + 2) * EPS).all()

    before = f32(O, I, seed=3), f32(O, seed=3)
    dW, db = before[0].copy(), before[1].copy()
    exact = before[0].astype(np.float64), before[1].astype(np.float64)
    numpy_backward.linear_backward_weight(wide[0], wide[1], *exact)
    numba_backward.linear_backward_weight(dy, x, dW, db)
    size = np.abs(wide[0]).T @ np.abs(wide[1]) + np.abs(before[0])
    assert (np.abs(dW - exact[0]) <= size * (min(N, PIECE) + N / 32 + 2) * EPS).all()
    assert (np.abs(db - exact[1]) <= (np.abs(wide[0]).sum(0) + np.abs(before[1])) * (N / 32 + 2) * EPS).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_derivatives_in_bfloat16(shape, small_parts):
    """Exact products of the rounded factors, summed in float32; db from dy as it is."""
    N, O, I = shape
    dy, x, weight = f32(N, 2 * O)[:, O:], f32(N, I, seed=1), f32(O, I, seed=2)
    factors = [short(a) if bfloat16_ops.PAIRS else a for a in (dy, x)] + [short(weight)]
    a, b, w = (factor.astype(np.float64) for factor in factors)

    got = bfloat16_backward.linear_backward_input(dy, bfloat16_backward.prepare_backward(weight, f32(O)))
    assert (np.abs(got - a @ w) <= np.abs(a) @ np.abs(w) * (O + 2) * EPS).all()

    before = f32(O, I, seed=3), f32(O, seed=3)
    dW, db = before[0].copy(), before[1].copy()
    bfloat16_backward.linear_backward_weight(dy, x, dW, db)
    size = np.abs(a).T @ np.abs(b) + np.abs(before[0])
    assert (np.abs(dW - (before[0] + a.T @ b)) <= size * (N + 2) * EPS).all()
    np.testing.assert_allclose(db, before[1].astype(np.float64) + dy.astype(np.float64).sum(0), rtol=1e-5, atol=1e-5)

    exact = dy.astype(np.float64).T @ x
    rough = np.abs(dW - before[0] - exact) <= np.abs(dy).T @ np.abs(x) * 2.1 * 2**-8 + size * (N + 2) * EPS
    assert rough.all()  # two roundings to 8 bits, whatever the machine


@pytest.mark.parametrize("backward", [numba_backward, bfloat16_backward])
def test_no_rows_change_nothing(backward):
    weight = f32(5, 7)
    dW, db = f32(5, 7), f32(5)
    backward.linear_backward_weight(f32(0, 5), f32(0, 7), dW, db)
    np.testing.assert_array_equal(dW, weight)
    np.testing.assert_array_equal(db, f32(5))
    assert backward.linear_backward_input(f32(0, 5), backward.prepare_backward(weight, db)).shape == (0, 7)


@compiled_only
@pytest.mark.parametrize("backward", [numba_backward, bfloat16_backward])
def test_gradients_that_lie_apart_are_refused(backward):
    with pytest.raises(TypeError, match="contiguous"):
        backward.linear_backward_weight(f32(4, 5), f32(4, 7), f32(5, 14)[:, :7], f32(5))


@pytest.mark.parametrize("backward", [numba_backward, bfloat16_backward])
def test_threads_change_no_bit(backward, threads, small_parts):
    dy, x, weight = f32(40, 130), f32(40, 70), f32(130, 70)
    seen = []
    for n in (1, 2, 3):
        threads(n)
        dW, db = f32(130, 70, seed=1), f32(130, seed=1)
        backward.linear_backward_weight(dy, x, dW, db)
        dx = backward.linear_backward_input(dy, backward.prepare_backward(weight, db))
        seen.append(dW.tobytes() + db.tobytes() + dx.tobytes())
    assert seen[0] == seen[1] == seen[2]


def test_a_row_alone_gets_the_same_gradient():
    dy, weight = f32(9, 37), f32(37, 20)
    w = numba_backward.prepare_backward(weight, f32(37))
    whole = numba_backward.linear_backward_input(dy, w)
    np.testing.assert_array_equal(numba_backward.linear_backward_input(dy[4:5], w)[0], whole[4])


@pytest.mark.parametrize("n", [0, 1, 77])
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_adamw_is_its_definition_to_the_bit(n, scale, threads, monkeypatch):
    monkeypatch.setattr(numba_backward, "STRETCH", 16)  # the least for a thread
    threads(3)
    ours = [f32(n, seed=s) for s in range(4)]
    ours[3] = np.abs(ours[3])
    theirs = [a.copy() for a in ours]
    for step in (1, 2, 1000):
        numbers = step_of(step, 5e-4, beta1=0.9, beta2=0.98, eps=1e-6, weight_decay=0.01, scale=scale)
        numba_backward.adamw(*ours, numbers)
        numpy_backward.adamw(*theirs, numbers)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n", [0, 1, adamw.STRETCH + 77])
def test_the_sum_of_squares(n, threads):
    x = f32(n)
    x[:1] = 3e20  # its square is beyond float32
    sums = []
    for count in (1, 2, 3):
        threads(count)
        sums.append(numba_backward.sum_of_squares(x))
    assert sums[0] == sums[1] == sums[2]
    assert sums[0] == pytest.approx(numpy_backward.sum_of_squares(x), rel=1e-14)


@compiled_only
def test_no_further_from_the_truth_than_a_plain_product():
    """Sums in pieces round less than NumPy's BLAS, which adds up longer chains."""
    dy, x = f32(600, 30), f32(600, 40)
    exact = dy.astype(np.float64).T @ x.astype(np.float64)
    dW, db = np.zeros((30, 40), np.float32), np.zeros(30, np.float32)
    numba_backward.linear_backward_weight(dy, x, dW, db)
    assert np.abs(dW - exact).mean() <= 1.05 * np.abs(dy.T @ x - exact).mean()

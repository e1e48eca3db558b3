"""The derivatives against PyTorch's: the definitions in float64 to 1e-12, and the float32 kernels no further from the
truth than PyTorch's float32."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("numba")

import torch
from torch.nn import functional as F
from transformers.activations import ACT2FN

from nanodistil.kernels.cpu import numba_backward, numba_ops
from nanodistil.kernels.definitions import activations, numpy_backward, numpy_ops
from nanodistil.kernels.definitions.sentences import Sentences

pytestmark = pytest.mark.parity

RNG = np.random.default_rng(3)
LEARNED = {"prelu": ["weight"], "xielu": ["alpha_p", "alpha_n", "beta", "eps"]}


def f32(*shape, scale=1.0):
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


def theirs(f, dtype, *inputs):
    """A scalar function of tensors: its value and its gradients at the inputs, in `dtype`."""
    tensors = [torch.tensor(np.asarray(a, dtype), requires_grad=True) for a in inputs]
    value = f(*tensors)
    value.backward()
    return [np.float64(value.item()), *(t.grad.numpy() for t in tensors)]


def largest(error):
    return np.abs(error).max()


def typical(error):
    return np.sqrt(np.mean(np.square(error)))


def judge(f, ours, *inputs, measure=largest):
    """`ours(backward, forward ops, dtype)` gives value and gradients like `theirs`: both claims, output by output.

    `measure` of the errors of each output is compared. For a single number, PyTorch's may be right by luck: half a unit
    in its last place is always allowed; of arrays a hundredth of that of the largest number, where float32 is exact.
    """
    truth = theirs(f, np.float64, *inputs)
    for exact, mine in zip(truth, ours(numpy_backward, numpy_ops, np.float64), strict=True):
        assert np.abs(mine - exact).max() <= 1e-12 * max(np.abs(exact).max(), 1.0)
    others, kernels = theirs(f, np.float32, *inputs), ours(numba_backward, numba_ops, np.float32)
    for i, (exact, other, mine) in enumerate(zip(truth, others, kernels, strict=True)):
        allowed = (1 if np.ndim(exact) == 0 else 0.01) * 2.0**-24 * np.abs(exact).max()
        limit = max(measure(other - exact), allowed)
        assert measure(mine - exact) <= limit, (i, measure(mine - exact) / limit)


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_slopes(name):
    """Corners included."""
    corners = [-1e-6, 0.0, 6.0, 10.0, -10.0]
    x = np.concatenate([np.linspace(-12, 12, 401), corners])
    f = ACT2FN[name]
    f = f.double() if hasattr(f, "double") else f
    learned = [np.asarray(getattr(f, n).detach().double().numpy()) for n in LEARNED.get(name, [])]
    tensor = torch.tensor(x, requires_grad=True)
    f(tensor).sum().backward()
    np.testing.assert_allclose(activations.DERIVATIVES[name](x, *learned), tensor.grad.numpy(), rtol=1e-12, atol=1e-12)


def test_gelu():
    x, dy = f32(64, 300, scale=2), f32(64, 300)

    def ours(ops, _, dtype):
        d = ops.activation_backward(dy.astype(dtype), x.astype(dtype), "gelu")
        return [d]

    judge_gradients(lambda x: (F.gelu(x) * torch.tensor(dy).to(x.dtype)).sum(), ours, x)


def judge_gradients(f, ours, *inputs, measure=largest):
    """The same where ours gives gradients only: the loss around them is the test's own."""

    def with_value(ops, forward, dtype):
        return [theirs(f, np.float64, *inputs)[0], *ours(ops, forward, dtype)]

    judge(f, with_value, *inputs, measure=measure)


@pytest.mark.parametrize("shape", [(6, 20), (64, 384), (100, 768)])
@pytest.mark.parametrize("eps", [1e-12, 1e-5])
def test_layer_norm(shape, eps):
    N, D = shape
    x, residual, weight, dy = 3 * f32(N, D) + 1, f32(N, D), 1 + f32(D, scale=0.1), f32(N, D)
    bias = f32(D)

    def loss(x, weight, bias):
        return (F.layer_norm(x, (D,), weight, bias, eps) * torch.tensor(dy).to(x.dtype)).sum()

    def ours(ops, _, dtype):
        sums = np.zeros((2, D), dtype)
        return [ops.layer_norm_backward(dy.astype(dtype), x.astype(dtype), weight.astype(dtype), *sums, eps), *sums]

    judge_gradients(loss, ours, x, weight, bias)

    def with_residual(x, residual, weight, bias):
        return loss(x + residual, weight, bias)

    def ours_with_residual(ops, _, dtype):
        sums = np.zeros((2, D), dtype)
        arrays = [a.astype(dtype) for a in (dy, x, residual, weight)]
        dx = ops.add_layer_norm_backward(*arrays, *sums, eps)
        return [dx, dx, *sums]

    judge_gradients(with_residual, ours_with_residual, x, residual, weight, bias)


def eager(q, k, v, heads, keep):
    """One sentence, as transformers' eager attention computes it."""
    (Q, D), T = q.shape, k.shape[0]
    q, k, v = (a.view(n, heads, D // heads).transpose(0, 1) for a, n in ((q, Q), (k, T), (v, T)))
    scores = q @ k.transpose(1, 2) * (D // heads) ** -0.5
    if keep is not None:
        scores = scores.masked_fill(~torch.tensor(keep), torch.finfo(scores.dtype).min)
    return (torch.softmax(scores, -1) @ v).transpose(0, 1).reshape(Q, D)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("D", "heads", "lengths"), [(768, 12, [128, 37]), (384, 12, [128, 60, 1]), (40, 2, [300])])
def test_attention(D, heads, lengths, masked):
    """By the root of the mean square: of two errors of the same distribution the larger maximum is a matter of luck."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    N = starts[-1]
    q, k, v, d = f32(4, N, D)
    keep = RNG.random(N) < 0.8 if masked else None

    def loss(q, k, v):
        w, total = torch.tensor(d).to(q.dtype), 0
        for s in numpy_ops.sentences(starts):
            total = total + (eager(q[s], k[s], v[s], heads, None if keep is None else keep[s]) * w[s]).sum()
        return total

    def ours(ops, _, dtype):
        arrays = [a.astype(dtype) for a in (q, k, v)]
        context = ops.attention_dropped(*arrays, Sentences(starts, starts, heads, keep), 0.0, 0)
        return ops.attention_backward(d.astype(dtype), *arrays, context, Sentences(starts, starts, heads, keep), 0.0, 0)

    judge_gradients(loss, ours, q, k, v, measure=typical)


def test_embeddings():
    words, places = f32(50, 64), f32(20, 64)
    ids, positions, dy = RNG.integers(0, 50, 200), RNG.integers(0, 20, 200), f32(200, 64)

    def loss(words, places):
        x = F.embedding(torch.tensor(ids), words) + F.embedding(torch.tensor(positions), places)
        return (x * torch.tensor(dy).to(x.dtype)).sum()

    def ours(ops, _, dtype):
        out = np.zeros((50, 64), dtype), np.zeros((20, 64), dtype)
        ops.embed_backward(dy.astype(dtype), ids, positions, *out)
        return out

    judge_gradients(loss, ours, words, places)


@pytest.mark.parametrize("V", [2, 300, 30522])
def test_cross_entropy(V):
    logits, labels = f32(12, V, scale=4), RNG.integers(0, V, 12)
    labels[::5] = -100
    scale = 1 / (labels >= 0).sum()

    def ours(ops, _, dtype):
        d = np.zeros((12, V), dtype)
        return [scale * ops.cross_entropy(logits.astype(dtype), labels, scale, d), d]

    judge(lambda x: F.cross_entropy(x, torch.tensor(labels)), ours, logits)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("V", [3, 30522])
def test_divergence(V, temperature):
    """As upstream writes it: KLDivLoss(batchmean) of log-softmax and softmax, times temperature squared."""
    N = max(10, 6000 // V)  # of 30 numbers the largest error is a matter of luck
    student, teacher = f32(N, V, scale=4), f32(N, V, scale=4)
    scale = temperature**2 / N

    def loss(s):
        t = torch.tensor(teacher).to(s.dtype)
        log_p = F.log_softmax(s / temperature, -1)
        return F.kl_div(log_p, F.softmax(t / temperature, -1), reduction="batchmean") * temperature**2

    def ours(ops, _, dtype):
        d = np.zeros((N, V), dtype)
        return [scale * ops.divergence(student.astype(dtype), teacher.astype(dtype), temperature, scale, d), d]

    judge(loss, ours, student)


def test_squared_error():
    student, teacher = f32(10, 3000), f32(10, 3000)

    def ours(ops, _, dtype):
        d = np.zeros((10, 3000), dtype)
        return [0.1 * ops.squared_error(student.astype(dtype), teacher.astype(dtype), 0.1, d), d]

    judge(lambda s: F.mse_loss(s, torch.tensor(teacher).to(s.dtype), reduction="sum") / 10, ours, student)


def test_cosine_distance():
    student, teacher = f32(30, 768), f32(30, 768)

    def loss(s):
        return F.cosine_embedding_loss(s, torch.tensor(teacher).to(s.dtype), torch.ones(30, dtype=s.dtype))

    def ours(ops, _, dtype):
        d = np.zeros((30, 768), dtype)
        return [ops.cosine_distance(student.astype(dtype), teacher.astype(dtype), 1 / 30, d) / 30, d]

    judge(loss, ours, student)

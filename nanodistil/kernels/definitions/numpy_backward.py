"""The derivatives: for every op of numpy_ops, what it does to a gradient, in plain NumPy as the chain rule gives it.

Notation: for a loss L, dy is dL/dy, an array of the shape of y. An op's derivative takes dy and what the op saw, and
gives dx; gradients of weights are added to the arrays that are passed for them (dW, db, ...), because a weight may be
used more than once, and a step may be made of several batches.

As in numpy_ops these are the definitions: the Numba backend has the same names and must agree, and in float64 they are
the truth, themselves checked against central differences and against PyTorch. They recompute what is cheap (a softmax,
a LayerNorm's statistics) rather than ask the forward pass to keep it.

Losses stand here too, as sums over rows with a scale, so that a batch may be worked through in pieces: each returns its
sum and adds scale times its gradient to an array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .activations import DERIVATIVES
from .numpy_ops import SUM_PIECE, Activation, Array, sentence_scores, sentences, softmax, split_heads
from .sentences import Sentences
from .step import Step

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

# ---------------------------------------------------------------------------------------------------- linear maps


def prepare_backward(weight: Array, bias: Array) -> Array:
    """(O, I), (O,) -> the weight in the layout `linear_backward_input` wants: again whenever the weight changed."""
    return weight


def linear_backward_input(dy: Array, w: Array) -> Array:
    """y = x W^T + b, so dx = dy W: (N, O) -> (N, I).

    Summed in pieces, as in `linear`, and for the same reason. Measured on two full-width layers, error of all gradients
    against float64, relative to PyTorch's float32: one BLAS call 1.03, pieces of 64 0.7; no other op here matters so.
    """
    dx = np.zeros((dy.shape[0], w.shape[1]), dy.dtype)
    for o in range(0, dy.shape[1], SUM_PIECE):
        dx += dy[:, o : o + SUM_PIECE] @ w[o : o + SUM_PIECE]
    return dx


def linear_backward_weight(dy: Array, x: Array, dW: Array, db: Array) -> None:
    """dW += dy^T x and db += the sum of dy's rows: (N, O), (N, I), adding to (O, I) and (O,)."""
    dW += dy.T @ x
    db += dy.sum(0)


# ---------------------------------------------------------------------------------------------------- activations


def activation_backward(dy: Array, x: Array, which: Activation) -> Array:
    """dy times the activation's slope at x, which is what the activation was given: any shape, twice."""
    name, *learned = (which,) if isinstance(which, str) else which
    return dy * DERIVATIVES[name](x, *learned)


# --------------------------------------------------------------------------------------------------- normalisation


def layer_norm_backward(dy: Array, x: Array, weight: Array, dweight: Array, dbias: Array, eps: float) -> Array:
    """dx of layer_norm(x): (N, D), (N, D), (D,), adding to (D,) and (D,) -> (N, D).

    With n the normalised x and g = dy weight: dx = (g - mean(g) - n mean(g n)) / deviation. What is taken away are the
    two directions in which moving x changes nothing, since the norm undoes a shift and a stretch.
    """
    mean = x.mean(-1, keepdims=True, dtype=np.float64)
    centred = x - mean
    deviation = np.sqrt((centred * centred).mean(-1, keepdims=True) + eps)  # (N, 1)
    n = centred / deviation
    dweight += (dy * n).sum(0)
    dbias += dy.sum(0)
    g = dy * weight
    dx = (g - g.mean(-1, keepdims=True) - n * (g * n).mean(-1, keepdims=True)) / deviation
    return np.asarray(dx, x.dtype)


def add_layer_norm_backward(
    dy: Array, x: Array, residual: Array, weight: Array, dweight: Array, dbias: Array, eps: float
) -> Array:
    """The same of layer_norm(x + residual): -> (N, D), the gradient of x and of residual alike."""
    return layer_norm_backward(dy, x + residual, weight, dweight, dbias, eps)


def embed_backward(dx: Array, ids: Ints, positions: Ints, dwords: Array, dplaces: Array) -> None:
    """Every row of dx goes to its word and its place: (N, D), (N,), (N,), adding to (V, D) and (P, D)."""
    np.add.at(dwords, ids, dx)
    np.add.at(dplaces, positions, dx)


# --------------------------------------------------------------------------------------------------------- dropout

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / the golden ratio: steps of it visit all 64-bit numbers


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 bits, stirred until each depends on all: any shape (splitmix64's finaliser, Steele et al. 2014, section 4)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def kept(shape: tuple[int, ...], rate: float, key: int) -> Mask:
    """True where dropout leaves a number alone, which it does with probability 1 - rate: an array of this shape.

    Number i of the array is a function of key and i alone: no state, so the backward pass makes the same mask again
    instead of keeping it, and any thread may make any part of it. key: 0 .. 2^64 - 1, another for every use.

    >>> kept((2, 4), 0.5, 1).astype(int)
    array([[1, 1, 1, 0],
           [0, 1, 1, 1]])
    """
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        bits = mixed(np.uint64(key) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * GOLDEN) >> np.uint64(32)
    return (bits >= np.uint64(round(rate * 2**32))).reshape(shape)


def dropout(x: Array, rate: float, key: int) -> Array:
    """x / (1 - rate), with a share `rate` of it 0: any shape (Srivastava et al. 2014). dx is dropout(dy, rate, key)."""
    if rate == 0:
        return x
    return np.where(kept(x.shape, rate, key), x / x.dtype.type(1 - rate), x.dtype.type(0))


def pair_key(key: int, sentence: int, head: int, heads: int) -> int:
    """The key of the attention probabilities of one head of one sentence."""
    with np.errstate(over="ignore"):
        number = np.array([sentence * heads + head + 1], np.uint64)
        return int(mixed(np.uint64(key) + number * GOLDEN)[0])


# ------------------------------------------------------------------------------------------------------- attention


def _dropped(probs: Array, rate: float, key: int, sentence: int) -> Array:
    """Dropout on the probabilities of one sentence, every head with a key of its own: (H, Q, T) -> (H, Q, T)."""
    H = probs.shape[0]
    return np.stack([dropout(probs[h], rate, pair_key(key, sentence, h, H)) for h in range(H)])


def attention_dropped(q: Array, k: Array, v: Array, who: Sentences, rate: float, key: int) -> Array:
    """`attention` with dropout on the probabilities, as training has it: (M, D), 2 x (N, D) -> (M, D)."""
    out = np.empty((q.shape[0], v.shape[1]), q.dtype)
    for b, (a, s) in enumerate(zip(sentences(who.asking), sentences(who.starts), strict=True)):
        scores = sentence_scores(q, k, who, a, s)  # (H, Q, T)
        probs = _dropped(softmax(scores), rate, key, b)
        out[a] = (probs @ split_heads(v[s], who.heads)).transpose(1, 0, 2).reshape(-1, v.shape[1])
    return out


def attention_backward(
    dcontext: Array, q: Array, k: Array, v: Array, context: Array, who: Sentences, rate: float, key: int
) -> tuple[Array, Array, Array]:
    """dq, dk, dv of attention_dropped (of attention: rate 0): (M, D), ... -> (M, D), 2 x (N, D).

    With P the probabilities before dropout and R those after it: dv = R^T dcontext; dR = dcontext v^T; dropout passes
    dP; through softmax, ds = P (dP - sum of P dP over the keys). That sum is the product of dcontext with context, row
    by row (Dao et al. 2022, section 3.1, where this form was found), so a fast version needs no second pass over the
    keys for it. A masked score was replaced by a constant, so no gradient passes it.
    """
    dq, dk, dv = (np.zeros_like(a) for a in (q, k, v))
    heads = who.heads
    scale = q.dtype.type(np.sqrt(q.shape[1] // heads))
    for b, (a, s) in enumerate(zip(sentences(who.asking), sentences(who.starts), strict=True)):
        mask = None if who.keep is None else who.keep[s]
        qh, kh, vh = split_heads(q[a], heads), split_heads(k[s], heads), split_heads(v[s], heads)  # (H, ., Dh)
        P = softmax(sentence_scores(q, k, who, a, s))  # (H, Q, T)
        do, o = split_heads(dcontext[a], heads), split_heads(context[a], heads)  # (H, Q, Dh)
        dv[s] = _joined(_dropped(P, rate, key, b).transpose(0, 2, 1) @ do)
        dP = _dropped(do @ vh.transpose(0, 2, 1), rate, key, b)  # (H, Q, T)
        ds = P * (dP - (do * o).sum(-1, keepdims=True)) / scale
        if mask is not None:
            ds = np.where(mask, ds, ds.dtype.type(0))
        dq[a] = _joined(ds @ kh)
        dk[s] = _joined(ds.transpose(0, 2, 1) @ qh)
    return dq, dk, dv


def _joined(x: Array) -> Array:
    """The inverse of split_heads: (H, T, Dh) -> (T, D)."""
    return x.transpose(1, 0, 2).reshape(x.shape[1], x.shape[0] * x.shape[2])


# ---------------------------------------------------------------------------------------------------------- losses

HEAD_ROWS = 256  # rows whose logits over a vocabulary should exist at a time: of 30522 words, 31 MB


def log_softmax(x: Array) -> Array:
    """log of softmax over the last axis, without losing it if softmax is tiny: any shape."""
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def cross_entropy(logits: Array, labels: Ints, scale: float, dlogits: Array) -> float:
    """The sum over rows of -log softmax(logits)[label]: (M, V), (M,), adding to (M, V) -> a number.

    Rows with a negative label do not count. d = softmax - 1 at the label.
    """
    rows = np.nonzero(labels >= 0)[0]
    truth = log_softmax(logits[rows])  # (n, V)
    d = np.exp(truth)
    d[np.arange(len(rows)), labels[rows]] -= 1
    dlogits[rows] += logits.dtype.type(scale) * d
    return float(-truth[np.arange(len(rows)), labels[rows]].sum(dtype=np.float64))


def divergence(student: Array, teacher: Array, temperature: float, scale: float, dstudent: Array) -> float:
    """The sum over rows of KL(p_T || p_S), p = softmax(. / temperature): 2 x (M, V), adding to (M, V) -> a number.

    Hinton, Vinyals and Dean 2015, section 2. d = (p_S - p_T) / temperature.
    """
    S, T = (
        log_softmax(student / student.dtype.type(temperature)),
        log_softmax(teacher / teacher.dtype.type(temperature)),
    )
    dstudent += student.dtype.type(scale / temperature) * (np.exp(S) - np.exp(T))
    return float((np.exp(T) * (T - S)).sum(dtype=np.float64))


def squared_error(student: Array, teacher: Array, scale: float, dstudent: Array) -> float:
    """The sum of (student - teacher)^2: 2 x (M, V), adding to (M, V) -> a number."""
    difference = student - teacher
    dstudent += student.dtype.type(2 * scale) * difference
    return float((difference * difference).sum(dtype=np.float64))


def cosine_distance(student: Array, teacher: Array, scale: float, dstudent: Array) -> float:
    """The sum over rows of 1 - cos(student, teacher): 2 x (N, D), adding to (N, D) -> a number (Sanh 2019, section 2).

    With u and t the two directions, d = -(t - u cos) / |student|.
    """
    length = np.linalg.norm(student, axis=-1, keepdims=True)  # (N, 1)
    u, t = student / length, teacher / np.linalg.norm(teacher, axis=-1, keepdims=True)
    cosine = (u * t).sum(-1, keepdims=True)
    dstudent += student.dtype.type(scale) * (u * cosine - t) / length
    return float((1 - cosine).sum(dtype=np.float64))


# -------------------------------------------------------------------------------------------------------- the step


def sum_of_squares(x: Array) -> float:
    """The sum of x^2 in float64: (n,) -> a number."""
    return float(np.square(x, dtype=np.float64).sum())


def adamw(x: Array, dx: Array, m: Array, v: Array, step: Step) -> None:
    """One step of x against its gradient, in place: 4 x (n,) (Loshchilov and Hutter 2019, algorithm 2).

    m and v are the running means of the gradient and of its square, 0 at first. The decay takes its share of x itself,
    not of the gradient.
    """
    s = step.rounded(x.dtype.type)
    g = dx * s.scale
    x *= s.keep
    m += s.share1 * (g - m)
    v += s.share2 * (g * g - v)
    deviation = np.sqrt(v) / s.correction + s.eps
    x -= s.rate * m / deviation

"""The definitions: every op of DistilBERT in plain NumPy, as the papers write it.

This file is the meaning of the project. The Numba and CuPy backends carry the same names with the same arguments and
must agree with it; in float64 it is the truth that every float32 result, ours or anyone's, is judged by. So it is
written to be read and to be right, and it differs from the shortest code in three places, each for accuracy:

- `linear` sums in short pieces (see there). It is why float32 here lies closer to float64 than BLAS alone does.
- `gelu` is the exact one, with erf. The well-known tanh formula is off by up to 4e-4, a hundred times float32's own
  error over the whole model. NumPy has no erf, so its tail is evaluated here from a series of our own.
- masked scores are the most negative finite number, not -inf: a sentence with every key masked then gets uniform
  attention, as in transformers, and never NaN.

Shapes use the letters of nanodistil/model.py: N packed rows, D width, H heads, Dh = D / H, T tokens of one sentence.
Every function keeps the dtype of its input, float32 or float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Array = NDArray[np.floating]

# ---------------------------------------------------------------------------------------------------- linear maps

SUM_PIECE = 64  # products added before they join the running total; the Numba kernels sum in the same pieces


class Linear(NamedTuple):
    """A linear map as this backend keeps it: weight (O, I) as in the checkpoint, bias (O,)."""

    weight: Array
    bias: Array


def prepare_linear(weight: Array, bias: Array) -> Linear:
    """(O, I), (O,) -> the map in the layout `linear` wants: called once, at load."""
    return Linear(weight, bias)


def prepare_head(weight: Array, bias: Array) -> Linear:
    """The same for the maps of a head, which a backend that rounds may round less: nothing averages out after them."""
    return prepare_linear(weight, bias)


def linear(x: Array, w: Linear) -> Array:
    """x W^T + b: (N, I) -> (N, O).

    A dot product of length I in float32, summed left to right, gathers rounding errors in proportion to I. Summed in
    pieces of 64 that are then added up, in proportion to 64 + I / 64: a third as much for I = 768. Measured on a
    full-size model, largest error of the logits against float64, relative to PyTorch's float32: one BLAS call 1.3-1.7,
    pieces of 256 1.2, of 128 0.8, of 64 0.7.

    >>> w = prepare_linear(np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]]), np.array([0.5, 0.0, -1.0]))
    >>> linear(np.array([[10.0, 1.0]]), w)
    array([[12.5, -1. , 29. ]])
    """
    y = np.zeros((x.shape[0], w.weight.shape[0]), x.dtype)
    for i in range(0, x.shape[1], SUM_PIECE):
        y += x[:, i : i + SUM_PIECE] @ w.weight[:, i : i + SUM_PIECE].T
    return y + w.bias


# ---------------------------------------------------------------------------------------------------- activations

# exp(z^2/2) Q(z), where Q is the upper tail of the normal distribution, as a Chebyshev series in s = 2 / (1 + z/4) - 1,
# which maps z in [0, inf) to (-1, 1]. Fitted with 50 digits by tests/golden/fit_polynomials.py; truncation below 1e-17.
TAIL = (
    0.1682882016232327, 0.22915709990540908, 0.07778835509065742, 0.020384686418274105, 0.003918137045458075,
    0.0004666606283379171, 6.287520132139339e-06, -8.58398579912788e-06, -1.0167576108636199e-06,
    1.397526759521329e-07, 3.669280791486882e-08, -2.8041788924924713e-09, -1.2584224132220847e-09,
    8.950222407260244e-11, 4.536086530984231e-11, -4.474287656506267e-12, -1.671687905185684e-12,
    2.683781469553837e-13, 5.721760333130976e-14, -1.621048267715444e-14, -1.3744940820337785e-15,
    9.10143893328047e-16, -2.2734886306808515e-17, -4.421463813334421e-17,
)  # fmt: skip


def normal_tail(z: Array) -> Array:
    """Q(z) = erfc(z / sqrt 2) / 2 for z >= 0, the probability that a standard normal exceeds z: any shape.

    >>> float(normal_tail(np.array(0.0))), float(normal_tail(np.array(1.96)).round(6))
    (0.5, 0.024998)
    """
    s = 2 / (1 + z / 4) - 1
    return np.exp(-z * z / 2) * chebyshev.chebval(s, np.array(TAIL, s.dtype))


def gelu(x: Array) -> Array:
    """x Phi(x) = x (1 + erf(x / sqrt 2)) / 2: any shape (Hendrycks and Gimpel 2016, section 2).

    Written as ReLU minus a bump, max(x, 0) - |x| Q(|x|): the same function, but without the cancellation of 1 + erf
    for negative x.

    >>> gelu(np.array([-1.0, 0.0, 1.0, 3.0])).round(6)
    array([-0.158655,  0.      ,  0.841345,  2.99595 ])
    """
    z = np.minimum(np.abs(x), 40)  # beyond 40 the bump is 0; the bound keeps inf * 0 away
    return np.maximum(x, 0) - z * normal_tail(z)


def relu(x: Array) -> Array:
    """max(x, 0): any shape."""
    return np.maximum(x, 0)


ACTIVATIONS = {"gelu": gelu, "relu": relu}


def activation(x: Array, name: str) -> Array:
    """The activation a checkpoint's config names: any shape."""
    return ACTIVATIONS[name](x)


def linear_activation(x: Array, w: Linear, name: str) -> Array:
    """activation(linear(x)): (N, I) -> (N, O). One op, because a fast backend never writes the value in between."""
    return activation(linear(x, w), name)


# --------------------------------------------------------------------------------------------------- normalisation

LAYER_NORM_EPS = 1e-12  # a constant of DistilBERT, not a field of its config


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """(x - mean) / sqrt(variance + eps) * weight + bias, the variance biased: (N, D), (D,), (D,) -> (N, D).

    Ba, Kiros and Hinton 2016, eq. 4. The two statistics are taken in float64, whatever x is: they enter every element,
    and at D = 768 the cost is not measurable.

    >>> layer_norm(np.array([[1.0, 3.0]]), np.array([1.0, 10.0]), np.array([0.0, 0.5]))
    array([[-1. , 10.5]])
    """
    mean = x.mean(-1, keepdims=True, dtype=np.float64)
    centred = x - mean
    variance = (centred * centred).mean(-1, keepdims=True)
    return (centred / np.sqrt(variance + LAYER_NORM_EPS) * weight + bias).astype(x.dtype)


def add_layer_norm(x: Array, residual: Array, weight: Array, bias: Array) -> Array:
    """layer_norm(x + residual): (N, D), (N, D) -> (N, D)."""
    return layer_norm(x + residual, weight, bias)


def embed(ids: NDArray[np.int64], positions: NDArray[np.int64], words: Array, places: Array) -> Array:
    """words[ids] + places[positions]: (N,), (N,), (V, D), (P, D) -> (N, D)."""
    return words[ids] + places[positions]


# ------------------------------------------------------------------------------------------------------- attention


def split_heads(x: Array, heads: int) -> Array:
    """(T, D) -> (H, T, Dh)."""
    return x.reshape(x.shape[0], heads, x.shape[1] // heads).transpose(1, 0, 2)


def softmax(scores: Array) -> Array:
    """exp(s) / sum exp(s) over the last axis: any shape. The largest score is subtracted first, or exp overflows.

    >>> softmax(np.array([0.0, 1000.0, 1000.0]))
    array([0. , 0.5, 0.5])
    """
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sentence_scores(q: Array, k: Array, heads: int, keep: NDArray[np.bool_] | None) -> Array:
    """q k^T / sqrt(Dh) of one sentence: (Q, D), (T, D) -> (H, Q, T). `keep` (T,) is False where a key is masked."""
    qh, kh = split_heads(q, heads), split_heads(k, heads)  # (H, T, Dh)
    scores = (qh / qh.dtype.type(np.sqrt(qh.shape[2]))) @ kh.transpose(0, 2, 1)  # (H, Q, T)
    if keep is not None:
        scores = np.where(keep, scores, np.finfo(scores.dtype).min)
    return scores


def sentence_context(probs: Array, v: Array) -> Array:
    """probs v of one sentence, heads side by side again: (H, Q, T), (T, D) -> (Q, D)."""
    context = probs @ split_heads(v, probs.shape[0])  # (H, Q, Dh)
    return context.transpose(1, 0, 2).reshape(probs.shape[1], v.shape[1])


# The packed forms. `starts` (B + 1,) holds the row at which each sentence begins, then N; `asking` the same for the
# queries, which are all tokens (Q = T, asking = starts) or, in the last layer, those a head needs. `keep` (N,) is
# False at masked keys, or None where there are none. Scores and probs are B arrays (H, Q, T).


def sentences(starts: NDArray[np.int64]) -> list[slice]:
    """(B + 1,) -> the rows of each sentence, B slices."""
    return [slice(a, b) for a, b in zip(starts.tolist()[:-1], starts.tolist()[1:], strict=True)]


def attention_scores(
    q: Array,
    k: Array,
    asking: NDArray[np.int64],
    starts: NDArray[np.int64],
    heads: int,
    keep: NDArray[np.bool_] | None,
) -> list[Array]:
    """Scaled dot products of every sentence with itself: (M, D), (N, D) -> B x (H, Q, T)."""
    pairs = zip(sentences(asking), sentences(starts), strict=True)
    return [sentence_scores(q[a], k[s], heads, None if keep is None else keep[s]) for a, s in pairs]


def attention_probs(scores: Sequence[Array]) -> list[Array]:
    """softmax over the keys: B x (H, Q, T) -> B x (H, Q, T)."""
    return [softmax(s) for s in scores]


def attention_context(probs: Sequence[Array], v: Array, starts: NDArray[np.int64]) -> Array:
    """The values, averaged by the probabilities: B x (H, Q, T), (N, D) -> (M, D)."""
    parts = [sentence_context(p, v[s]) for p, s in zip(probs, sentences(starts), strict=True)]
    return np.concatenate([np.empty((0, v.shape[1]), v.dtype), *parts])


def attention(
    q: Array,
    k: Array,
    v: Array,
    asking: NDArray[np.int64],
    starts: NDArray[np.int64],
    heads: int,
    keep: NDArray[np.bool_] | None,
) -> Array:
    """softmax(q k^T / sqrt(Dh)) v, each sentence by itself: (M, D), 2 x (N, D) -> (M, D) (Vaswani 2017, eq. 1)."""
    return attention_context(attention_probs(attention_scores(q, k, asking, starts, heads, keep)), v, starts)

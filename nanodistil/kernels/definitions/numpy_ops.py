"""The definitions: every op of DistilBERT in plain NumPy, as the papers write it.

This file is the meaning of the project. The Numba and CuPy backends carry the same names with the same arguments and
must agree with it; in float64 it is the truth that every float32 result, ours or anyone's, is judged by. So it is
written to be read and to be right, and it differs from the shortest code in four places, each for its digits:

- `linear` sums in short pieces (see there). It is why float32 here lies closer to float64 than BLAS alone does.
- `gelu` is the exact one, with erf, which NumPy lacks: see gelu.py.
- masked scores are the most negative finite number, not -inf: a sentence with every key masked then gets uniform
  attention, as in transformers, and never NaN.
- `vocabulary_softmax` adds in PyTorch's order, so that scores can be compared.

Shapes use the letters of nanodistil/model.py: N packed rows, D width, H heads, Dh = D / H, T tokens of one sentence.
Every function keeps the dtype of its input, float32 or float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .activations import ACTIVATIONS
from .remembered import Rows
from .sentences import Sentences

Array = NDArray[np.floating]

# ------------------------------------------------------------------------------------------------- where arrays are


def send(x: NDArray[Any]) -> NDArray[Any]:
    """An array of the host, where this backend computes: the same here; on a GPU, in its memory."""
    return x


def fetch(x: NDArray[Any]) -> NDArray[Any]:
    """And back."""
    return x


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


def restore_linear(w: Linear) -> tuple[Array, Array]:
    """The weight (O, I) and bias (O,) that `prepare_linear` was given, to save or change them."""
    return w.weight, w.bias


def linear(x: Array, w: Linear) -> Array:
    """x W^T + b: (N, I) -> (N, O).

    A dot product of length I in float32, summed left to right, gathers rounding errors in proportion to I at worst, to
    its root as a rule. Summed in pieces of 64 that are then added up, in proportion to 64 + I / 64: for I = 768 a tenth
    at worst, less than half as a rule. Measured on a full-size model, largest error of the logits against float64,
    relative to PyTorch's float32: one BLAS call 1.3-1.7, pieces of 256 1.2, of 128 0.8, of 64 0.7.

    >>> w = prepare_linear(np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]]), np.array([0.5, 0.0, -1.0]))
    >>> linear(np.array([[10.0, 1.0]]), w)
    array([[12.5, -1. , 29. ]])
    """
    y = np.zeros((x.shape[0], w.weight.shape[0]), x.dtype)
    for i in range(0, x.shape[1], SUM_PIECE):
        y += x[:, i : i + SUM_PIECE] @ w.weight[:, i : i + SUM_PIECE].T
    return y + w.bias


# ---------------------------------------------------------------------------------------------------- activations


Activation = str | tuple[Any, ...]  # a name, or a name and learned numbers: ("prelu", weight)


def activation(x: Array, which: Activation) -> Array:
    """The activation a checkpoint's config names, "gelu" in all official ones (gelu.py): any shape."""
    name, *learned = (which,) if isinstance(which, str) else which
    return ACTIVATIONS[name](x, *learned)


def linear_activation(x: Array, w: Linear, which: Activation) -> Array:
    """activation(linear(x)): (N, I) -> (N, O). One op, because a fast backend never writes the value in between."""
    return activation(linear(x, w), which)


# --------------------------------------------------------------------------------------------------- normalisation


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """(x - mean) / sqrt(variance + eps) * weight + bias, the variance biased: (N, D), 2 x (D,) -> (N, D).

    Ba, Kiros and Hinton 2016, eq. 4. The two statistics are taken in float64, whatever x is: they enter every element,
    and at D = 768 the cost is not measurable. eps, for rows that hardly vary: 1e-12 in BERT and DistilBERT.

    >>> layer_norm(np.array([[1.0, 3.0]]), np.array([1.0, 10.0]), np.array([0.0, 0.5]), 1e-12)
    array([[-1. , 10.5]])
    """
    mean = x.mean(-1, keepdims=True, dtype=np.float64)
    centred = x - mean
    variance = (centred * centred).mean(-1, keepdims=True)
    return (centred / np.sqrt(variance + eps) * weight + bias).astype(x.dtype)


def add_layer_norm(x: Array, residual: Array, weight: Array, bias: Array, eps: float) -> Array:
    """layer_norm(x + residual): (N, D), (N, D) -> (N, D)."""
    return layer_norm(x + residual, weight, bias, eps)


def add(x: Array, residual: Array) -> Array:
    """x + residual, for blocks that do not normalise it: (N, D), (N, D) -> (N, D)."""
    return x + residual


def embed(ids: NDArray[np.int64], positions: NDArray[np.int64], words: Array, places: Array) -> Array:
    """words[ids] + places[positions]: (N,), (N,), (V, D), (P, D) -> (N, D)."""
    return words[ids] + places[positions]


def embed_layer_norm(
    ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    words: Array,
    places: Array,
    weight: Array,
    bias: Array,
    eps: float,
) -> Array:
    """layer_norm(embed(...)): ..., 2 x (D,) -> (N, D)."""
    return layer_norm(embed(ids, positions, words, places), weight, bias, eps)


# ------------------------------------------------------------------------------------------------------ vocabulary

LANES = 16  # in which the vocabulary's probabilities are summed


def vocabulary_softmax(logits: Array) -> Array:
    """exp(s) / sum exp(s) over the vocabulary, summed in PyTorch's order: (M, V) -> (M, V). NaN for a row with a
    number that is not finite.

    Thirty thousand numbers added one after the other in float32 lose the small ones beside the large: PyTorch, which
    adds in 16 lanes on AVX-512, reports .98362 where float64 has .98360, and that error is larger than all others of
    the model together. Scores are for comparing with scores seen elsewhere, so we add in the same 16 lanes and get the
    same digits (to 1e-7). In float64 the order does not matter, so `--truth` shows what it is worth.

    >>> vocabulary_softmax(np.array([[0.0, 0.0, -1000.0]]))
    array([[0.5, 0.5, 0. ]])
    """
    M, V = logits.shape
    deep = -(-V // LANES)
    e = np.zeros((M, deep, LANES), logits.dtype)
    flat = e.reshape(M, deep * LANES)
    with np.errstate(invalid="ignore"):
        flat[:, :V] = np.exp(logits - logits.max(-1, keepdims=True))
        total = e.sum(axis=1).sum(axis=-1, keepdims=True)  # (M, 1): each lane from top to bottom, then the lanes
        return flat[:, :V] / (total + 0 * logits.sum(-1, keepdims=True))  # 0 times infinity is NaN


def most_probable(logits: Array, k: int) -> tuple[Array, NDArray[np.int64]]:
    """vocabulary_softmax at the k largest, largest first, equal ones in their order: (M, V) -> (M, k), (M, k).

    >>> most_probable(np.array([[0.0, 1.0, 1.0]]), 2)[1]
    array([[1, 2]])
    """
    words = np.argsort(-logits, axis=-1, kind="stable")[:, :k]  # (M, k)
    return np.take_along_axis(vocabulary_softmax(logits), words, -1), words


# ------------------------------------------------------------------------------------------------------- attention


def split_heads(x: Array, heads: int) -> Array:
    """(T, D) -> (H, T, Dh)."""
    return x.reshape(x.shape[0], heads, x.shape[1] // heads).transpose(1, 0, 2)


def softmax(scores: Array) -> Array:
    """exp(s) / sum exp(s) over the last axis: any shape.

    The largest score is subtracted first, or exp overflows; above and below the line, so the quotient stays.

    >>> softmax(np.array([0.0, 1000.0, 1000.0]))
    array([0. , 0.5, 0.5])
    """
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sentence_scores(q: Array, k: Array, who: Sentences, asking: slice, keys: slice) -> Array:
    """q k^T / sqrt(Dh) of one of the sentences: its rows of (M, D) and (N, D) -> (H, Q, T)."""
    q, k, heads = q[asking], k[keys], who.heads
    qh, kh = split_heads(q, heads), split_heads(k, heads)  # (H, T, Dh)
    scores = (qh / qh.dtype.type(np.sqrt(qh.shape[2]))) @ kh.transpose(0, 2, 1)  # (H, Q, T)
    if who.keep is not None:
        scores = np.where(who.keep[keys], scores, np.finfo(scores.dtype).min)
    if who.reach is not None:  # what lies beyond is not there at all: never the score of a row without other keys
        scores = np.where(np.arange(len(k)) < who.reach[asking, None], scores, scores.dtype.type(-np.inf))
    return scores


def sentence_context(probs: Array, v: Array) -> Array:
    """probs v of one sentence, heads side by side again: (H, Q, T), (T, D) -> (Q, D)."""
    context = probs @ split_heads(v, probs.shape[0])  # (H, Q, Dh)
    return context.transpose(1, 0, 2).reshape(probs.shape[1], v.shape[1])


# The packed forms, which `Sentences` tells where each sentence begins. Scores and probs are B arrays (H, Q, T).


def sentences(starts: NDArray[np.int64]) -> list[slice]:
    """(B + 1,) -> the rows of each sentence, B slices."""
    return [slice(a, b) for a, b in zip(starts.tolist()[:-1], starts.tolist()[1:], strict=True)]


def attention_scores(q: Array, k: Array, who: Sentences) -> list[Array]:
    """q k^T / sqrt(Dh), of every sentence with itself: (M, D), (N, D) -> B x (H, Q, T)."""
    pairs = zip(sentences(who.asking), sentences(who.starts), strict=True)
    return [sentence_scores(q, k, who, a, s) for a, s in pairs]


def attention_probs(scores: Sequence[Array]) -> list[Array]:
    """softmax over the keys: B x (H, Q, T) -> B x (H, Q, T)."""
    return [softmax(s) for s in scores]


def attention_context(probs: Sequence[Array], v: Array, starts: NDArray[np.int64]) -> Array:
    """probs v, the values averaged by the probabilities: B x (H, Q, T), (N, D) -> (M, D)."""
    parts = [sentence_context(p, v[s]) for p, s in zip(probs, sentences(starts), strict=True)]
    return np.concatenate([np.empty((0, v.shape[1]), v.dtype), *parts])


def attention(q: Array, k: Array, v: Array, who: Sentences) -> Array:
    """softmax(q k^T / sqrt(Dh)) v, each sentence by itself: (M, D), 2 x (N, D) -> (M, D) (Vaswani 2017, eq. 1)."""
    return attention_context(attention_probs(attention_scores(q, k, who)), v, who.starts)


def remember(widths: Sequence[int], head: int) -> Rows:
    """Room for the keys and values of texts that are written on. widths: A of every layer; head: Dh, of all."""
    return Rows(attention, len(widths))

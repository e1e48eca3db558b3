"""The forward pass of DistilBERT: one screen a function, every shape on the line that makes it.

DistilBERT is BERT with half the layers and without token types and pooler (Sanh et al. 2019, section 3). A sentence
goes through

    embeddings -> L x block (self-attention, then feed-forward, each followed by add and LayerNorm) -> a head

    B  sentences in the batch         D   width of the residual stream    dim
    T  tokens per sentence            F   feed-forward width              hidden_dim
    N  rows: all real tokens of       L   layers                          n_layers
       the batch, packed              H   heads; Dh = D / H               n_heads
    M  masked positions asked for     V   vocabulary                      vocab_size
    C  classes                        A   D without pruned heads          pruned_heads
    I, O  in and out widths of a      P   positions                       max_position_embeddings
       linear map, its W is (O, I)

How it differs from the obvious:

- There is no padding. All real tokens of a batch stand in one (N, D) matrix (`Packed`, below); linear maps, GELU and
  LayerNorm work row by row and do not care where a sentence ends. Only attention is told.
- Names are the checkpoint's: `grep q_lin` leads from here to weights/names.py and to the file on disk.
- The arithmetic is in `ops`, a backend (kernels/definitions/ says what each computes). This file does not know which.
- `x = tap("name", x)` is the one way to look inside: the identity by default, otherwise any function of name and value
  that may record or replace it. `showing(ops, tap, "name")` are the same ops, but what a fused one never holds (scores,
  pre-activations) passes the tap under this name, if it wants to see it (taps.py).

What it does not do: read files and check input (pretrained.py), train (training/backward.py stands beside this file).
"""

from __future__ import annotations

from typing import NamedTuple

from nanodistil.backend import Array, Ints, Mask, Ops, Sentences
from nanodistil.config import Config
from nanodistil.taps import Tap, showing
from nanodistil.weights.layout import LayerWeights, Weights


class Packed(NamedTuple):
    """A batch without padding: the tokens of sentence b are rows starts[b] : starts[b + 1]."""

    ids: Ints  # (N,) token ids
    positions: Ints  # (N,) place of each token in its sentence, counted before anything was left out
    starts: Ints  # (B + 1,) first row of each sentence, then N
    keep: Mask | None  # (N,) False at rows that are computed but must not be attended to; None: there are none


class Look(NamedTuple):
    """The rows a head will look at, if it does not need all: the last layer computes no others."""

    rows: Ints  # (M,) ascending rows of the packed matrix
    starts: Ints  # (B + 1,) which of them belong to sentence b: rows[starts[b] : starts[b + 1]]


def embeddings(batch: Packed, w: Weights, ops: Ops, tap: Tap) -> Array:
    """What each token is, plus where it stands: (N,) -> (N, D)."""
    words, places = w.word_embeddings, w.position_embeddings
    if w.LayerNorm is None:  # pre-norm: the first block begins with one
        return tap("embeddings.sum", ops.embed(batch.ids, batch.positions, words, places))  # (N, D)
    summing = showing(ops, tap, "embeddings.sum")
    x = summing.embed_layer_norm(batch.ids, batch.positions, words, places, *w.LayerNorm)  # (N, D)
    return tap("embeddings.LayerNorm", x)


def attending(batch: Packed, config: Config, ops: Ops) -> Sentences:
    """Who attends to whom: every token to all of its own sentence, or to itself and those before it."""
    who = Sentences(asking=batch.starts, starts=batch.starts, heads=config.n_heads, keep=batch.keep)
    return who.causal(ops.send) if config.causal else who


def self_attention(
    x: Array, layer: LayerWeights, who: Sentences, config: Config, ops: Ops, tap: Tap, at: str, look: Look | None
) -> Array:
    """Every token gathers from the tokens of its own sentence: (N, D) -> (N, D) (Vaswani et al. 2017, section 3.2).

    With `look` only its M rows gather, from all: -> (M, D).
    """
    qkv = ops.linear(x, layer.qkv_lin)  # (N, 3D): q_lin, k_lin and v_lin in one product
    A = qkv.shape[1] // 3  # D, less the heads that were pruned here
    q = tap(f"{at}.q_lin", qkv[:, :A])  # (N, A)
    k = tap(f"{at}.k_lin", qkv[:, A : 2 * A])  # (N, A)
    v = tap(f"{at}.v_lin", qkv[:, 2 * A :])  # (N, A)
    who = who._replace(heads=A * config.n_heads // config.dim)
    if look is not None:
        q, who = q[look.rows], who.asked_by(*look)  # (M, A)
    if layer.sharpness != 1:
        q = q * layer.sharpness  # (N or M, A)
    gathering = showing(ops, tap, f"{at}.scores", f"{at}.probs")  # B x (H, Q, T) both, Q of its T tokens ask
    context = tap(f"{at}.context", gathering.attention(q, k, v, who))  # (N or M, A), and so from here on
    return tap(f"{at}.out_lin", ops.linear(context, layer.out_lin))  # (N or M, D)


def feed_forward(x: Array, layer: LayerWeights, ops: Ops, tap: Tap, at: str) -> Array:
    """Every token by itself, through F hidden units: (N, D) -> (N, D) (Vaswani et al. 2017, section 3.3)."""
    h = showing(ops, tap, f"{at}.lin1").linear_activation(x, layer.lin1, layer.activation)  # (N, F)
    h = tap(f"{at}.activation", h)
    return tap(f"{at}.lin2", ops.linear(h, layer.lin2))  # (N, D)


def block(
    x: Array, layer: LayerWeights, who: Sentences, config: Config, ops: Ops, tap: Tap, at: str, look: Look | None
) -> Array:
    """One layer, post-norm: the result is added to what was there, and the sum normalised: (N, D) -> (N or M, D).

    With config.pre_norm, as in GPT-2, what is given to each half is normalised instead, and a sum stays as it is.
    """
    given = tap(f"{at}.sa_layer_norm", ops.layer_norm(x, *layer.sa_layer_norm)) if config.pre_norm else x  # (N, D)
    a = self_attention(given, layer, who, config, ops, tap, f"{at}.attention", look)  # (N or M, D)
    if look is not None:
        x = x[look.rows]  # (M, D)
    if config.pre_norm:
        x = tap(f"{at}.attended", ops.add(a, x))  # (N or M, D), and so from here on
        given = tap(f"{at}.output_layer_norm", ops.layer_norm(x, *layer.output_layer_norm))
        f = feed_forward(given, layer, ops, tap, f"{at}.ffn")
        return tap(f"{at}.fed", ops.add(f, x))
    x = tap(f"{at}.sa_layer_norm", ops.add_layer_norm(a, x, *layer.sa_layer_norm))  # (N or M, D)
    f = feed_forward(x, layer, ops, tap, f"{at}.ffn")  # (N or M, D)
    return tap(f"{at}.output_layer_norm", ops.add_layer_norm(f, x, *layer.output_layer_norm))  # (N or M, D)


def encoder(batch: Packed, w: Weights, config: Config, ops: Ops, tap: Tap, look: Look | None = None) -> Array:
    """Token ids to hidden states: (N,) -> (N, D), or (M, D) at the rows of `look`."""
    x = embeddings(batch, w, ops, tap)  # (N, D)
    who, last = attending(batch, config, ops), len(w.layers) - 1
    for i, layer in enumerate(w.layers):
        x = block(x, layer, who, config, ops, tap, f"layer.{i}", look if i == last else None)  # (N, D)
    return last_norm(x, w, ops, tap)


def last_norm(x: Array, w: Weights, ops: Ops, tap: Tap) -> Array:
    """What pre-norm blocks give, normalised: (N or M, D). Post-norm ones have done so."""
    if w.last_layer_norm is None:
        return x
    return tap("last_layer_norm", ops.layer_norm(x, *w.last_layer_norm))

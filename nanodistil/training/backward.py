"""The backward pass of DistilBERT: model.py read from bottom to top, function by function.

Each function here has the name of one there, and undoes its lines in reverse order. A line y = f(x) becomes a line that
takes dy, the loss's derivative by y, and gives dx; if f has weights, their gradients are added to `d` on the way.
Where a value went two ways (a residual connection), the gradients that come back are added.

    model.py                                    backward.py
    x = tap("lin1", ops.linear(x, w.lin1))      bops.linear_backward_weight(dz, x, *d.lin1)
                                                dx = bops.linear_backward_input(dz, w.lin1)

The shape letters are those of model.py. `w` and `layer` hold the weights in the layout the backward pass wants, `d` the
gradients under the same names: a linear map is there the pair (dW, db), and tied weights are one array, to which both
uses add. `seen` is what the forward pass kept (saved.py), and `dropout` what it dropped.

Heads go back in their own files (heads/), by the same rules.

What looks odd is the last layer: a head that needs only M rows of it (`look` in model.py) sends back
only M; the other rows of x were asked for their keys and values alone.
"""

from __future__ import annotations

import numpy as np

from nanodistil.backend import Array, BackwardOps, Ops
from nanodistil.config import Config
from nanodistil.model import Look, attending
from nanodistil.training.saved import Pass, Run, block
from nanodistil.weights.layout import LayerWeights, Weights

Seen = dict[str, Array]


def embeddings_backward(dx: Array, run: Run, w: Weights, d: Weights, pad: int | None, bops: BackwardOps) -> Array:
    """To what was summed: (N, D) -> (N, D); word and position embeddings get theirs of it.

    pad: the token whose word vector does not learn from being read, PyTorch's padding_idx.
    """
    if w.LayerNorm and d.LayerNorm and run.total is not None:
        dx = run.dropout("embeddings.LayerNorm", dx)  # (N, D)
        dx = bops.layer_norm_backward(dx, run.total, w.LayerNorm.weight, *d.LayerNorm)  # (N, D)
    else:  # pre-norm
        dx = run.dropout("embeddings.sum", dx)  # (N, D)
    unmoved = None if pad is None else d.word_embeddings[pad].copy()  # (D,)
    bops.embed_backward(dx, run.batch.ids, run.batch.positions, d.word_embeddings, d.position_embeddings)
    if pad is not None:
        d.word_embeddings[pad] = unmoved
    return dx


def self_attention_backward(
    dy: Array, x: Array, layer: LayerWeights, d: LayerWeights, seen: Seen, told: Pass, at: str, look: Look | None
) -> Array:
    """(N, D) -> (N, D). With `look` only M rows gathered, and dy is (M, D)."""
    _, who, config, _, bops, dropout = told
    q, k, v, context = (seen[f"{at}.{name}"] for name in ("q_lin", "k_lin", "v_lin", "context"))  # (N, A)
    A = q.shape[1]
    who = who._replace(heads=A * config.n_heads // config.dim)
    if look is not None:
        q, who = q[look.rows], who.asked_by(*look)  # (M, A)
    if layer.sharpness != 1:
        q = q * layer.sharpness  # (N or M, A)
    dy = dropout(f"{at}.out_lin", dy)  # (N or M, D)
    bops.linear_backward_weight(dy, context, *d.out_lin)
    dcontext = bops.linear_backward_input(dy, layer.out_lin)  # (N or M, A)
    given = dcontext, q, k, v, context, who
    dq, dk, dv = bops.attention_backward(*given, *dropout.at(f"{at}.probs"))  # (N or M, A), 2 x (N, A)
    if layer.sharpness != 1:
        dq = dq * layer.sharpness
    dqkv = np.empty_like(dk, shape=(len(x), 3 * A))  # (N, 3A)
    if look is not None:
        dqkv[:, :A] = 0
    dqkv[slice(None) if look is None else look.rows, :A] = dq
    dqkv[:, A : 2 * A], dqkv[:, 2 * A :] = dk, dv
    bops.linear_backward_weight(dqkv, x, *d.qkv_lin)
    return bops.linear_backward_input(dqkv, layer.qkv_lin)  # (N, D)


def feed_forward_backward(
    dy: Array, x: Array, layer: LayerWeights, d: LayerWeights, seen: Seen, told: Pass, at: str
) -> Array:
    """(N, D) -> (N, D). The activation is computed again: see saved.py."""
    ops, bops, dropout = told.ops, told.bops, told.dropout
    z = seen[f"{at}.lin1"]  # (N, F)
    dy = dropout(f"{at}.lin2", dy)  # (N, D)
    bops.linear_backward_weight(dy, ops.activation(z, layer.activation), *d.lin2)
    dh = bops.linear_backward_input(dy, layer.lin2)  # (N, F)
    dz = bops.activation_backward(dh, z, layer.activation)  # (N, F)
    bops.linear_backward_weight(dz, x, *d.lin1)
    return bops.linear_backward_input(dz, layer.lin1)  # (N, D)


def block_backward(
    dx: Array, x: Array, layer: LayerWeights, d: LayerWeights, seen: Seen, told: Pass, at: str, look: Look | None
) -> Array:
    """One layer, from the gradient of what it gave to that of what it was given, x: (N or M, D) -> (N, D)."""
    bops, rows = told.bops, slice(None) if look is None else look.rows
    if told.config.pre_norm:
        attended, given = seen[f"{at}.attended"], seen[f"{at}.output_layer_norm"]  # (N or M, D)
        dn = feed_forward_backward(dx, given, layer, d, seen, told, f"{at}.ffn")
        dx = dx + bops.layer_norm_backward(dn, attended, layer.output_layer_norm.weight, *d.output_layer_norm)
        given = seen[f"{at}.sa_layer_norm"]  # (N, D), and so from here on
        dn = self_attention_backward(dx, given, layer, d, seen, told, f"{at}.attention", look)
        if look is not None:
            dx, few = np.zeros_like(x), dx
            dx[rows] = few
        return dx + bops.layer_norm_backward(dn, x, layer.sa_layer_norm.weight, *d.sa_layer_norm)
    between, f = seen[f"{at}.sa_layer_norm"], seen[f"{at}.ffn.lin2"]  # (N or M, D)
    dx = bops.add_layer_norm_backward(dx, f, between, layer.output_layer_norm.weight, *d.output_layer_norm)
    dx = dx + feed_forward_backward(dx, between, layer, d, seen, told, f"{at}.ffn")
    residual = x if look is None else x[rows]  # (N or M, D)
    a = seen[f"{at}.attention.out_lin"]  # (N or M, D)
    dx = bops.add_layer_norm_backward(dx, a, residual, layer.sa_layer_norm.weight, *d.sa_layer_norm)
    da = self_attention_backward(dx, x, layer, d, seen, told, f"{at}.attention", look)  # (N, D)
    da[rows] += dx
    return da


def encoder_backward(
    dx: Array, run: Run, w: Weights, forward: Weights, d: Weights, config: Config, ops: Ops, bops: BackwardOps
) -> Array:
    """From the hidden states to the sum of embeddings, or to the lowest block that learns: (N or M, D) -> (N, D).

    Uses `run` up.

    forward: the weights as model.py wants them, for layers that kept nothing and are computed once more.
    """
    told = Pass(run.batch, attending(run.batch, config, ops), config, ops, bops, run.dropout)
    if w.last_layer_norm and d.last_layer_norm:  # pre-norm
        dx = bops.layer_norm_backward(dx, run.last, w.last_layer_norm.weight, *d.last_layer_norm)  # (N or M, D)
    while run.inputs:
        x, seen, i = run.inputs.pop(), run.seen.pop(), run.first + len(run.inputs)
        at, look = f"layer.{i}", run.look if i == config.n_layers - 1 else None
        if seen is None:
            _, seen = block(x, forward.layers[i], told, at, look)
        dx = block_backward(dx, x, w.layers[i], d.layers[i], seen, told, at, look)  # (N, D)
    return dx if run.first else embeddings_backward(dx, run, w, d, config.padding_idx, bops)  # (N, D)

"""The forward pass while training: model.py itself, with dropout, and with what the backward pass will need kept.

Both come through the tap. Every intermediate that dropout falls on has a name, so a tap that replaces the value under
that name is dropout, and one that remembers values, the Recorder that serves users too, is all that a backward pass
asks of a forward one. model.py is not touched, and what it computes without a key is bitwise what it computes for a
user.

One place needs a thought. Attention probabilities never exist as arrays (a fused kernel makes and uses them row by
row), so dropout on them is an op of its own, which stands in for `attention` in the ops that model.py is handed.

What is kept of a block, in rows of width D: its input, q, k, v, context, out_lin, sa_layer_norm and lin2, and lin1 at 4
D, together 12 D numbers a token; with pre-norm as many, the first sum and the second norm instead of out_lin and lin2.
The T x T probabilities are never kept. Nor is the activation of lin1, another 4 D: to compute GELU once more takes 1.9
ms of a block's 400 (1024 tokens, one thread), and a step on them peaks 271 MB above the weights instead of 332; with
checkpointing (`encoder`, below) at 147.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np

from nanodistil import model
from nanodistil.backend import Array, BackwardOps, Ops, Sentences
from nanodistil.config import Config
from nanodistil.head import Head
from nanodistil.model import Look, Packed
from nanodistil.taps import Recorder, Value
from nanodistil.weights.layout import LayerWeights, Weights

BLOCK = (  # what the backward pass of a block asks for
    "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.context", "sa_layer_norm", "ffn.lin1",
)  # fmt: skip
POST_NORM, PRE_NORM = ("attention.out_lin", "ffn.lin2"), ("attended", "output_layer_norm")  # and of its order


def site_key(key: int, site: int) -> int:
    """The key of one place of dropout in a forward pass with this key: 64 bits.

    >>> site_key(1, 0) == site_key(1, 0), site_key(1, 0) == site_key(1, 1), site_key(1, 0) == site_key(2, 0)
    (True, False, False)
    """
    return int(np.random.SeedSequence([key, site]).generate_state(1, np.uint64)[0])


def dropout_rates(config: Config, head: Head) -> dict[str, float]:
    """Where there is dropout, by the name of the intermediate, and how much, as transformers' modules have it.

    A head adds places of its own ("hidden" is what it is given), or none.
    """
    rates = {"embeddings.sum" if config.pre_norm else "embeddings.LayerNorm": config.embedding_dropout}
    for i in range(config.n_layers):
        rates |= {f"layer.{i}.attention.probs": config.attention_dropout, f"layer.{i}.ffn.lin2": config.dropout}
        if config.attention_out_dropout:
            rates[f"layer.{i}.attention.out_lin"] = config.attention_out_dropout
    return rates | {name: rate(config) for name, rate in head.dropout}


class Dropout:
    """Dropout at named places, as a tap: a rate and a key for each. Its own derivative, since it only multiplies."""

    def __init__(self, rates: dict[str, float], key: int | None, op: Callable[[Array, float, int], Array]) -> None:
        """key: of this forward pass, another at every step; None for no dropout."""
        self.op = op
        self.sites: dict[str, tuple[float, int]] = {}
        if key is not None:
            self.sites = {name: (rate, site_key(key, n)) for n, (name, rate) in enumerate(rates.items()) if rate > 0}

    def __call__(self, name: str, value: Value) -> Value:
        """The value as it is, or with dropout if it falls on this name: any shape."""
        if name not in self.sites:
            return value
        return cast(Value, self.op(cast(Array, value), *self.sites[name]))

    def wants(self, *names: str) -> bool:
        """It asks for no intermediate that a fused kernel would not hold: dropout on probabilities is an op."""
        return False

    def at(self, name: str) -> tuple[float, int]:
        """Rate and key at this name; rate 0 for none."""
        return self.sites.get(name, (0.0, 0))


class DroppedAttention:
    """A backend whose `attention` has dropout on its probabilities; all else is the backend's."""

    def __init__(self, ops: Ops, bops: BackwardOps, rate: float, key: int) -> None:
        self.ops, self.bops, self.rate, self.key = ops, bops, rate, key

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)

    def attention(self, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        return self.bops.attention_dropped(q, k, v, who, self.rate, self.key)


class Pass(NamedTuple):
    """What every block is told of a batch, on the way there and on the way back."""

    batch: Packed
    who: Sentences
    config: Config
    ops: Ops
    bops: BackwardOps
    dropout: Dropout


def block(x: Array, layer: LayerWeights, told: Pass, at: str, look: Look | None) -> tuple[Array, dict[str, Array]]:
    """model.block, and what its backward pass needs: (N, D) -> (N or M, D)."""
    _, who, config, ops, bops, dropout = told
    kept = (*BLOCK, *(PRE_NORM if config.pre_norm else POST_NORM))
    tap = Recorder([f"{at}.{name}" for name in kept], dropout)
    rate, key = dropout.at(f"{at}.attention.probs")
    if rate:
        ops = cast(Ops, DroppedAttention(ops, bops, rate, key))
    return model.block(x, layer, who, config, ops, tap, at, look), tap.seen


class Run(NamedTuple):
    """A batch after the encoder, and the way back."""

    x: Array  # (N, D), or (M, D) at the rows of `look`
    batch: Packed
    look: Look | None
    dropout: Dropout
    total: Array | None  # (N, D) embeddings.sum; None if what it went through is frozen
    last: Array  # (N or M, D) what the last block gave
    inputs: list[Array]  # of each block: (N, D)
    seen: list[dict[str, Array] | None]  # of each block; None: to be computed again when its turn comes
    first: int = 0  # the block that the first of these lists is of: those below it are frozen


def encoder(
    w: Weights, told: Pass, look: Look | None, checkpointing: bool, first: int = 0, x: Array | None = None
) -> Run:
    """model.encoder, and what its backward pass needs.

    checkpointing: keep only the input of every block, D numbers a token instead of 12 D, and let the backward pass
    compute each block once more (Chen et al. 2016): a third more time for a twelfth of the memory. The keys of dropout
    are the same then, and so is every bit. first, x: the block to begin with, and what it is given, (N, D), if the
    blocks below it are frozen (below.py).
    """
    batch, ops, dropout = told.batch, told.ops, told.dropout
    tap = Recorder(["embeddings.sum"], dropout)
    if x is None:
        x = model.embeddings(batch, w, ops, tap)  # (N, D)
    inputs: list[Array] = []
    kept: list[dict[str, Array] | None] = []
    for i, layer in enumerate(w.layers[first:], first):
        inputs.append(x)
        last = look if i == len(w.layers) - 1 else None
        x, seen = block(x, layer, told, f"layer.{i}", last)  # (N, D)
        kept.append(None if checkpointing else seen)
    normed = model.last_norm(x, w, ops, tap)  # (N or M, D)
    return Run(normed, batch, look, dropout, tap.seen.get("embeddings.sum"), x, inputs, kept, first)

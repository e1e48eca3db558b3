"""Changing the shape of a model: fewer heads, other vocabularies, other numbers of positions.

Each function takes a config and tensors under the names of weights/names.py and returns both, changed; the arrays that
stay are not copied. Random rows come from a generator of NumPy's, so they are not the numbers PyTorch would draw, but
follow the same distribution.
"""

from __future__ import annotations

from dataclasses import replace
from operator import index
from typing import Any

import numpy as np

from nanodistil.backend import Array
from nanodistil.config import Config
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.initial import sinusoidal
from nanodistil.weights.names import TIED

Tensors = dict[str, Array]

TINY = 1e-9  # by which the covariance of new rows is scaled in transformers: almost the mean itself, but not equal


def prune_heads(config: Config, tensors: Tensors, heads: dict[int, list[int]]) -> tuple[Config, Tensors]:
    """Without some heads (Michel, Levy and Neubig 2019): rows of q, k, v_lin and columns of out_lin go.

    heads: layer -> numbers, always those of the unpruned model; ones that are gone already may be named again. Layers
    may be counted from the end, -1 the last.
    Raises InputError for layers or heads that do not exist, or a layer left without heads.
    """
    try:
        asked = {index(layer): [index(n) for n in numbers] for layer, numbers in heads.items()}
    except (AttributeError, TypeError):
        raise InputError(f"prune_heads takes layers and their heads, {{0: [1, 2]}}, not {str(heads)[:40]}") from None
    pruned, tensors = dict(config.pruned_heads), dict(tensors)
    Dh = config.dim // config.n_heads
    L = config.n_layers
    for at_layer, numbers in asked.items():
        layer = at_layer + L if at_layer < 0 else at_layer
        if layer not in range(L):
            raise InputError(f"prune_heads: there is no layer {at_layer}; they are 0 to {L - 1}, or -{L} to -1")
        wrong = [n for n in numbers if n not in range(config.n_heads)]
        if wrong:
            raise InputError(f"prune_heads: there is no head {wrong[0]}; they are 0 to {config.n_heads - 1}")
        gone = set(pruned.get(layer, ()))
        left = [n for n in range(config.n_heads) if n not in gone]
        if gone | set(numbers) == set(range(config.n_heads)):
            raise InputError(f"prune_heads: layer {layer} would be left without a head; keep one")
        kept = np.repeat([n not in numbers for n in left], Dh)  # (A,) of what the layer has now
        at = f"transformer.layer.{layer}.attention"
        for name in ("q_lin", "k_lin", "v_lin"):
            for kind in ("weight", "bias"):
                tensors[f"{at}.{name}.{kind}"] = tensors[f"{at}.{name}.{kind}"][kept]
        tensors[f"{at}.out_lin.weight"] = np.ascontiguousarray(tensors[f"{at}.out_lin.weight"][:, kept])
        pruned[layer] = sorted(gone | set(numbers))
    return replace(config, pruned_heads=pruned), tensors


def rounded_up(size: int, multiple: int | None) -> int:
    """`size`, up to the next multiple. Raises InputError for numbers that cannot be."""
    for number in (size, 1 if multiple is None else multiple):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise InputError(f"a size must be a whole number of at least 1, not {excerpt(number)}")
    return int(size) if multiple is None else -(-int(size) // int(multiple)) * int(multiple)


def resize_tokens(
    config: Config, tensors: Tensors, size: int, mean_resizing: bool, rng: np.random.Generator
) -> tuple[Config, Tensors]:
    """With `size` words: (V, D) embeddings and, in a masked LM, its projection and bias."""
    changed = _sized(
        config, vocab_size=size, pad_token_id=None if (pad := config.pad_token_id) is None else min(pad, size - 1)
    )
    tensors = dict(tensors)
    for name in ("embeddings.word_embeddings.weight", *sorted(TIED), "vocab_projector.bias"):
        if name not in tensors:
            continue
        old = tensors[name]
        count = max(0, size - len(old))
        if not count:
            tensors[name] = old[:size]
            continue
        if mean_resizing and not (name.endswith("bias") and config.tie_word_embeddings):  # 0 there, as in transformers
            new = _around_mean(old.reshape(len(old), -1), count, rng)
        else:
            spread = 0.0 if name.endswith("bias") else config.initializer_range
            new = rng.normal(0.0, spread, (count, old.size // len(old)))
        rows = new.reshape(count, *old.shape[1:]).astype(old.dtype)
        tensors[name] = np.concatenate([old, rows])
    return changed, tensors


def _around_mean(old: Array, count: int, rng: np.random.Generator) -> Array:
    """`count` rows from a normal distribution with the mean of (n, D) rows and TINY times their covariance."""
    rows = old.astype(np.float64)
    mean = rows.mean(axis=0)
    # R^T R is the covariance of the rows, so standard normal rows times R have it too; R is at most (D, D).
    R = np.linalg.qr((rows - mean) / np.sqrt(len(rows)), mode="r")
    return np.asarray(mean + np.sqrt(TINY) * rng.standard_normal((count, len(R))) @ R)


def resize_positions(config: Config, tensors: Tensors, size: int, rng: np.random.Generator) -> tuple[Config, Tensors]:
    """With `size` positions: the first rows stay, new ones are drawn from N(0, 1), or computed if sinusoidal."""
    size = rounded_up(size, None)
    changed = _sized(config, max_position_embeddings=size)
    name = "embeddings.position_embeddings.weight"
    old = tensors[name]
    if config.sinusoidal_pos_embds:
        new: Array = sinusoidal(size, config.dim)[len(old) :]
    else:
        new = rng.standard_normal((max(0, size - len(old)), config.dim))
    return changed, {**tensors, name: np.concatenate([old[:size], new.astype(old.dtype)])}


def _sized(config: Config, **sizes: Any) -> Config:
    try:
        return replace(config, **sizes)
    except CheckpointError as error:
        raise InputError(str(error)) from None

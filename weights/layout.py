"""Weight layout, converted once at load: from the checkpoint's tensors to what the forward pass wants.

    checkpoint                                              here
    embeddings.word_embeddings.weight        (V, D)         word_embeddings, and vocab_projector (tied: the same)
    embeddings.position_embeddings.weight    (P, D)         position_embeddings
    embeddings.LayerNorm.{weight,bias}                      LayerNorm
    attention.{q,k,v}_lin.{weight,bias}      3 x (D, D)     qkv_lin, one map (3D, D): one pass over x instead of three
    attention.out_lin, ffn.lin1, ffn.lin2                   out_lin, lin1, lin2
    sa_layer_norm, output_layer_norm                        the same
    vocab_transform, vocab_layer_norm                       the same
    vocab_projector.bias                     (V,)           vocab_projector

`prepare` and `prepare_head` are the backend's functions of nearly these names: they may copy a weight into any order
its kernel reads fastest. The model sees only the result, so no other file knows about layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .safetensors_reader import release

Tensors = dict[str, NDArray[Any]]
Prepare = Callable[[NDArray[Any], NDArray[Any]], Any]  # weight, bias -> a map in a backend's layout


class Norm(NamedTuple):
    """Scale and shift of a LayerNorm: (D,) each."""

    weight: NDArray[Any]
    bias: NDArray[Any]


class LayerWeights(NamedTuple):
    """One block. The `_lin` and `lin` are linear maps in the backend's own layout."""

    qkv_lin: Any  # (3D, D)
    out_lin: Any  # (D, D)
    sa_layer_norm: Norm
    lin1: Any  # (F, D)
    lin2: Any  # (D, F)
    output_layer_norm: Norm


class Weights(NamedTuple):
    """A whole model; the last three are None where it has no masked-LM head."""

    word_embeddings: NDArray[Any]  # (V, D)
    position_embeddings: NDArray[Any]  # (P, D)
    LayerNorm: Norm
    layers: tuple[LayerWeights, ...]
    vocab_transform: Any = None  # (D, D)
    vocab_layer_norm: Any = None  # Norm
    vocab_projector: Any = None  # (V, D)


def lay_out(tensors: Tensors, n_layers: int, prepare: Prepare, prepare_head: Prepare) -> Weights:
    """Checked tensors under their checkpoint names -> Weights. Raises KeyError on a missing name: check first."""

    def norm(name: str) -> Norm:
        return Norm(tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def packed(*parts: tuple[NDArray[Any], NDArray[Any]], prepare: Prepare = prepare) -> Any:
        """Weights and biases, stacked along their outputs, in the backend's layout; without the file's pages beside it,
        which would double the memory."""
        weights, biases = zip(*parts, strict=True)
        if len(parts) == 1:
            prepared = prepare(weights[0], biases[0])
        else:
            prepared = prepare(np.concatenate(weights), np.concatenate(biases))
        for weight in weights:
            release(weight)
        return prepared

    def linear(*names: str, prepare: Prepare = prepare) -> Any:
        """The named maps, stacked."""
        return packed(*((tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in names), prepare=prepare)

    def layer(at: str) -> LayerWeights:
        return LayerWeights(
            qkv_lin=linear(*(f"{at}.attention.{c}_lin" for c in "qkv")),
            out_lin=linear(f"{at}.attention.out_lin"),
            sa_layer_norm=norm(f"{at}.sa_layer_norm"),
            lin1=linear(f"{at}.ffn.lin1"),
            lin2=linear(f"{at}.ffn.lin2"),
            output_layer_norm=norm(f"{at}.output_layer_norm"),
        )

    words, head = tensors["embeddings.word_embeddings.weight"], {}
    if "vocab_transform.weight" in tensors:
        head = {  # the projector is by far the largest, so it comes first, while little else is in memory
            "vocab_projector": packed(
                (tensors.get("vocab_projector.weight", words), tensors["vocab_projector.bias"]), prepare=prepare_head
            ),
            "vocab_transform": linear("vocab_transform", prepare=prepare_head),
            "vocab_layer_norm": norm("vocab_layer_norm"),
        }
    return Weights(
        word_embeddings=words,
        position_embeddings=tensors["embeddings.position_embeddings.weight"],
        LayerNorm=norm("embeddings.LayerNorm"),
        layers=tuple(layer(f"transformer.layer.{i}") for i in range(n_layers)),
        **head,
    )

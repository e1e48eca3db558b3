"""Weight layout, converted once at load: from the checkpoint's tensors to what the forward pass wants.

    checkpoint                                              here
    embeddings.word_embeddings.weight        (V, D)         word_embeddings, and head.vocab_projector (tied: the same)
    embeddings.position_embeddings.weight    (P, D)         position_embeddings
    embeddings.token_type_embeddings.weight  (Y, D)         position_embeddings, for every pair of type and position
    embeddings.LayerNorm.{weight,bias}                      LayerNorm
    attention.{q,k,v}_lin.{weight,bias}      3 x (D, D)     qkv_lin, one map (3D, D): one pass over x instead of three
    attention.out_lin, ffn.lin1, ffn.lin2                   out_lin, lin1, lin2
    sa_layer_norm, output_layer_norm                        the same
    transformer.last_layer_norm              of pre-norm    the same, and LayerNorm is None
    vocab_projector.bias                     (V,)           head.vocab_projector
    what else the head has, whatever it is                  head.NAME: a linear map, or a norm
    ffn.activation, activation               scalars        activation, with the name: ("prelu", weight)

`read_back` undoes it, for saving and for changing the model. `prepare`, `prepare_head` and `send` are the backend's
functions of nearly these names: they may copy a weight into any order its kernel reads fastest, or into a GPU's memory.
The model sees only the result, so no other file knows about layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .mapped import release
from .names import BODY, LEARNED, Head, is_norm

POSITIONS = "embeddings.position_embeddings.weight"
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"

Tensors = dict[str, NDArray[Any]]
Activation = str | tuple[Any, ...]  # a name, or a name and learned numbers: ("prelu", weight)
Prepare = Callable[[NDArray[Any], NDArray[Any]], Any]  # weight, bias -> a map in a backend's layout
Restore = Callable[[Any], tuple[NDArray[Any], NDArray[Any]]]  # and back
Move = Callable[[NDArray[Any]], NDArray[Any]]  # an array of the host, where a backend computes; and back


class Norm(NamedTuple):
    """Scale and shift of a LayerNorm, (D,) each, or their gradients; and what is added to the variance."""

    weight: NDArray[Any]
    bias: NDArray[Any]
    eps: float


class LayerWeights(NamedTuple):
    """One block. The `_lin` and `lin` are linear maps in the backend's own layout."""

    qkv_lin: Any  # (3D, D)
    out_lin: Any  # (D, D)
    sa_layer_norm: Norm
    lin1: Any  # (F, D)
    activation: Activation
    lin2: Any  # (D, F)
    output_layer_norm: Norm
    sharpness: float  # what scores are multiplied by besides 1 / sqrt(Dh)


class Weights(NamedTuple):
    """A whole model."""

    word_embeddings: NDArray[Any]  # (V, D)
    position_embeddings: NDArray[Any]  # (P, D), or (Y P, D), see `places`
    LayerNorm: Norm | None  # None: pre-norm
    layers: tuple[LayerWeights, ...]
    last_layer_norm: Norm | None  # of pre-norm
    activation: Activation  # of a head that applies the config's
    head: SimpleNamespace  # the head's maps and norms, under their names
    tables: tuple[NDArray[Any], NDArray[Any]] | None = None  # token types (Y, D) and positions (P, D), as they were


def places(token_types: NDArray[Any], positions: NDArray[Any]) -> NDArray[Any]:
    """What is added to a word for where it stands and what it is: (Y, D), (P, D) -> (Y P, D), row P type + position.

    A BERT adds three vectors where DistilBERT adds two. A token's type, 0 in the first text of a pair and 1 in the
    second, depends on where it stands as its position does. So the two tables are added up once, for every pair of
    them, 1024 rows for an official BERT, and from there on a type is one more place.
    """
    both: NDArray[Any] = token_types[:, None] + positions  # (Y, P, D)
    return both.reshape(-1, positions.shape[1])


class Shape(Protocol):
    """What is asked here of a config."""

    @property
    def n_layers(self) -> int: ...
    @property
    def activation(self) -> str: ...
    @property
    def layer_norm_eps(self) -> float: ...
    @property
    def pre_norm(self) -> bool: ...
    def sharpness(self, layer: int) -> float: ...


def lay_out(
    tensors: Tensors, config: Shape, head: Head, prepare: Prepare, prepare_head: Prepare, send: Move
) -> Weights:
    """Checked tensors under their checkpoint names -> Weights. Raises KeyError on a missing name: check first.

    head: whose tied weights are the word embeddings if they have no array of their own.
    """
    activation = config.activation
    if head.coarse:
        prepare_head = prepare

    def norm(name: str) -> Norm:
        """Of a file's read-only pages a copy: it is small, and two such make a kernel's call 5 us shorter."""
        both = (tensors[f"{name}.{kind}"] for kind in ("weight", "bias"))
        weight, bias = (send(x if getattr(x.flags, "writeable", True) else x.copy()) for x in both)
        return Norm(weight, bias, config.layer_norm_eps)

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
        """The named maps, stacked. One without a bias has zeros."""
        weights = [tensors.get(f"{name}.weight", words) for name in names]
        biases = [tensors.get(f"{name}.bias") for name in names]
        parts = [(w, np.zeros(len(w), w.dtype) if b is None else b) for w, b in zip(weights, biases, strict=True)]
        return packed(*parts, prepare=prepare)

    def activated(at: str) -> Activation:
        learned = [tensors.get(f"{at}.{name}") for name in LEARNED.get(activation, ())]  # a base model's head has none
        return (activation, *learned) if learned else activation

    def layer(number: int) -> LayerWeights:
        at = f"transformer.layer.{number}"
        return LayerWeights(
            qkv_lin=linear(*(f"{at}.attention.{c}_lin" for c in "qkv")),
            out_lin=linear(f"{at}.attention.out_lin"),
            sa_layer_norm=norm(f"{at}.sa_layer_norm"),
            lin1=linear(f"{at}.ffn.lin1"),
            activation=activated(f"{at}.ffn.activation"),
            lin2=linear(f"{at}.ffn.lin2"),
            output_layer_norm=norm(f"{at}.output_layer_norm"),
            sharpness=config.sharpness(number),
        )

    words, positions = tensors["embeddings.word_embeddings.weight"], tensors[POSITIONS]
    tables = (tensors[TOKEN_TYPES], positions) if TOKEN_TYPES in tensors else None
    maps: dict[str, Any] = {}
    names = (*(name for name in tensors if not name.startswith(BODY)), *head.tied)
    of_head = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    # A projection tied to the words is by far the largest, so it comes first, while little else is in memory.
    for name in sorted(of_head, key=lambda name: f"{name}.weight" in tensors):
        if name == "activation":  # its numbers, below
            continue
        maps[name] = norm(name) if is_norm(f"{name}.weight") else linear(name, prepare=prepare_head)
    return Weights(
        word_embeddings=send(words),
        position_embeddings=send(places(*tables) if tables else positions),
        LayerNorm=None if config.pre_norm else norm("embeddings.LayerNorm"),
        layers=tuple(map(layer, range(config.n_layers))),
        last_layer_norm=norm("transformer.last_layer_norm") if config.pre_norm else None,
        activation=activated("activation"),
        head=SimpleNamespace(**{name: maps[name] for name in of_head if name in maps}),  # in the table's order
        tables=tables and (send(tables[0]), send(positions)),
    )


def read_back(w: Weights, restore: Restore, fetch: Move, wanted: Collection[str]) -> Tensors:
    """What `lay_out` was given, bit for bit, if the backend keeps every bit. wanted: the names of what that was."""
    tensors: Tensors = {
        "embeddings.word_embeddings.weight": fetch(w.word_embeddings),
        POSITIONS: fetch(w.tables[1] if w.tables else w.position_embeddings),
    }
    if w.tables:
        tensors[TOKEN_TYPES] = fetch(w.tables[0])

    def norm(name: str, value: Norm | None) -> None:
        if value is not None:
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = fetch(value.weight), fetch(value.bias)

    def linear(value: Any, *names: str) -> None:
        weight, bias = restore(value)
        for name, rows, numbers in zip(names, np.split(weight, len(names)), np.split(bias, len(names)), strict=True):
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = rows, numbers

    def learned(value: Activation, at: str) -> None:
        if not isinstance(value, str):
            for name, number in zip(LEARNED[value[0]], value[1:], strict=True):
                if number is not None:
                    tensors[f"{at}.{name}"] = number

    norm("embeddings.LayerNorm", w.LayerNorm)
    norm("transformer.last_layer_norm", w.last_layer_norm)
    for i, layer in enumerate(w.layers):
        at = f"transformer.layer.{i}"
        linear(layer.qkv_lin, *(f"{at}.attention.{c}_lin" for c in "qkv"))
        linear(layer.out_lin, f"{at}.attention.out_lin")
        norm(f"{at}.sa_layer_norm", layer.sa_layer_norm)
        linear(layer.lin1, f"{at}.ffn.lin1")
        learned(layer.activation, f"{at}.ffn.activation")
        linear(layer.lin2, f"{at}.ffn.lin2")
        norm(f"{at}.output_layer_norm", layer.output_layer_norm)
    for name, value in vars(w.head).items():
        if isinstance(value, Norm):
            norm(name, value)
        else:
            linear(value, name)
    learned(w.activation, "activation")
    return {name: array for name, array in tensors.items() if name in wanted}

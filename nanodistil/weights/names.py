"""The names: which arrays a DistilBERT is made of, and their shapes. This table *is* the model, seen from the file.

Each line below reads "name: shape" in the shape letters of model.py (V vocabulary, P positions, D width, F feed-forward
width, L layers, C classes, Y token types, and A, which is D less the heads pruned from a layer); a linear map's weight
is (out, in).
Everything else follows from the table: checking a file before its data is touched, counting parameters, drawing fresh
weights, walking over gradients. It has one name per array, the one `DistilBertModel` uses; what files call the same
array (four habits, 2018 to now) is undone by `canonical`:

  - `distilbert.` stands before the body's names in a file written by a task model, not in one of a base model;
  - LayerNorms had `gamma` and `beta` before they had `weight` and `bias` (old conversions from TensorFlow).
    transformers renames them in modules called `LayerNorm` only, and draws `sa_layer_norm` at random; here all norms;
  - `embeddings.position_ids`, the numbers 0 .. P-1, was saved as if it were a weight, until about 2023;
  - `vocab_projector.weight` is the word embedding once more (weight tying): .bin files repeat it, safetensors leave it
    out. Where the config ties the two, transformers reads both and then lets the embedding win; so it is ignored here,
    even where the two differ. Where the config unties them it is a weight of its own.

A base model read from a task's file drops that task's head without a word. Any other name is unexpected.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "V D",
    "embeddings.position_embeddings.weight": "P D",
    "embeddings.LayerNorm.weight": "D",
    "embeddings.LayerNorm.bias": "D",
}

LAYER = {  # L times, behind "transformer.layer.0." and so on
    "attention.q_lin.weight": "A D",
    "attention.q_lin.bias": "A",
    "attention.k_lin.weight": "A D",
    "attention.k_lin.bias": "A",
    "attention.v_lin.weight": "A D",
    "attention.v_lin.bias": "A",
    "attention.out_lin.weight": "D A",
    "attention.out_lin.bias": "D",
    "sa_layer_norm.weight": "D",
    "sa_layer_norm.bias": "D",
    "ffn.lin1.weight": "F D",
    "ffn.lin1.bias": "F",
    "ffn.lin2.weight": "D F",
    "ffn.lin2.bias": "D",
    "output_layer_norm.weight": "D",
    "output_layer_norm.bias": "D",
}

LEARNED = {  # activations with numbers of their own, for each layer's ffn and for the masked-LM head; a scalar is ""
    "prelu": {"weight": "1"},
    "xielu": {"alpha_p": "1", "alpha_n": "1", "beta": "", "eps": ""},
}
TOKEN_TYPES = {"embeddings.token_type_embeddings.weight": "Y D"}  # of a family that has them
PREFIX = "distilbert."
COPIES: Mapping[str, str] = MappingProxyType({})  # as Names in renamed.py has it
BODY = ("embeddings.", "transformer.")  # what the body's names begin with
HEAD_MODULES = {"activation"}  # what those of heads begin with: each head adds its own when it is defined
TIED: set[str] = set()  # projections that may be the word embeddings again: each head adds its own
FIELDS = {"V": "vocab_size", "P": "max_position_embeddings", "D": "dim", "F": "hidden_dim", "C": "num_labels",
          "Y": "token_types"}  # fmt: skip


class Head(Protocol):
    """What is asked here of a head (nanodistil/head.py)."""

    @property
    def arrays(self) -> Mapping[str, str]:
        """Canonical name -> shape, as in the tables above."""

    @property
    def tied(self) -> Mapping[str, str]:
        """Arrays of their own only if the config says tie_word_embeddings: false."""

    @property
    def activated(self) -> bool:
        """Whether it applies the config's activation."""

    @property
    def bare(self) -> bool:
        """Whether it is none: the body alone, whose files know no prefix."""

    @property
    def optional(self) -> bool:
        """Whether a file may lack it, and then the model does without."""

    @property
    def coarse(self) -> bool:
        """Whether its maps are rounded as the body's are, where a dtype would round a head's less."""


class Bare(NamedTuple):
    """The body alone."""

    arrays: Mapping[str, str] = MappingProxyType({})
    tied: Mapping[str, str] = MappingProxyType({})
    activated: bool = False
    bare: bool = True
    optional: bool = False
    coarse: bool = False


BARE = Bare()


def expected(config: Any, head: Head = BARE) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of every array of the model, in the table's order.

    config: any object with vocab_size, max_position_embeddings, dim, hidden_dim, n_layers (and tie_word_embeddings,
    taken as True where absent; num_labels where the head classifies; n_heads and pruned_heads where heads were pruned;
    token_types and pre_norm in a family that has them).

    >>> from types import SimpleNamespace
    >>> uncased = SimpleNamespace(vocab_size=30522, max_position_embeddings=512, dim=768, hidden_dim=3072, n_layers=6)
    >>> expected(uncased)["transformer.layer.5.ffn.lin1.weight"]
    (3072, 768)
    >>> count(expected(uncased))
    66362880
    """

    def shape(letters: str, A: int = 0) -> tuple[int, ...]:
        return tuple(
            A if c == "A" else int(c) if c.isdigit() else int(getattr(config, FIELDS[c])) for c in letters.split()
        )

    learned = LEARNED.get(getattr(config, "activation", ""), {})
    tables = EMBEDDINGS | (TOKEN_TYPES if getattr(config, "token_types", 0) else {})
    if pre_norm := getattr(config, "pre_norm", False):
        tables = {name: letters for name, letters in tables.items() if not is_norm(name)}
    shapes = {name: shape(letters) for name, letters in tables.items()}
    for i in range(config.n_layers):
        A = attention_width(config, i)
        shapes |= {f"transformer.layer.{i}.{name}": shape(letters, A) for name, letters in LAYER.items()}
        shapes |= {f"transformer.layer.{i}.ffn.activation.{name}": shape(letters) for name, letters in learned.items()}
    if pre_norm:
        shapes |= {f"transformer.last_layer_norm.{kind}": shape("D") for kind in ("weight", "bias")}
    shapes |= {name: shape(letters) for name, letters in head.arrays.items()}
    if head.activated:
        shapes |= {f"activation.{name}": shape(letters) for name, letters in learned.items()}
    if not getattr(config, "tie_word_embeddings", True):
        shapes |= {name: shape(letters) for name, letters in head.tied.items()}
    return shapes


def attention_width(config: Any, layer: int) -> int:
    """A: what q_lin, k_lin and v_lin of this layer give, dim less what its pruned heads would be."""
    pruned = getattr(config, "pruned_heads", {}).get(layer, ())
    return int(config.dim) - len(pruned) * (config.dim // config.n_heads) if pruned else int(config.dim)


def count(shapes: dict[str, tuple[int, ...]]) -> int:
    """How many numbers arrays of these shapes hold together.

    >>> count({"weight": (2, 3), "bias": (2,)})
    8
    """
    return sum(math.prod(shape) for shape in shapes.values())


def canonical(name: str) -> str | None:
    """The table's name for what a file calls `name`; None for `position_ids`, which is no weight.

    >>> canonical("distilbert.transformer.layer.0.sa_layer_norm.gamma")
    'transformer.layer.0.sa_layer_norm.weight'
    >>> canonical("embeddings.LayerNorm.beta"), canonical("vocab_transform.bias")
    ('embeddings.LayerNorm.bias', 'vocab_transform.bias')
    """
    name = name.removeprefix(PREFIX)
    if name == "embeddings.position_ids":
        return None
    module, _, last = name.rpartition(".")
    if is_norm(name):
        last = {"gamma": "weight", "beta": "bias"}.get(last, last)
    return f"{module}.{last}" if module else last


def is_norm(name: str) -> bool:
    """Whether an array belongs to a LayerNorm, which only the module's name tells: a linear map has a weight too."""
    return name.rpartition(".")[0].endswith(("LayerNorm", "layer_norm"))


def is_head(name: str) -> bool:
    """Whether a canonical name belongs to some task's head (of this family), which a base model leaves aside."""
    return name.partition(".")[0] in HEAD_MODULES


def set_aside(name: str, head: Head) -> bool:
    """Whether a model of this head leaves a canonical name of the file alone without a word."""
    return head.bare and is_head(name)


def parts(name: str) -> tuple[Any, ...]:
    """An array of a DistilBERT's file is one array here: see renamed.Names."""
    return ()


def whole(name: str) -> str:
    """The same the other way round."""
    return name


def filed(name: str, head: Head) -> str:
    """The inverse of `canonical` for writing: transformers' name for the array in a file of this head.

    >>> filed("embeddings.LayerNorm.bias", Bare()), filed("vocab_projector.bias", Bare(bare=False))
    ('embeddings.LayerNorm.bias', 'vocab_projector.bias')
    """
    return PREFIX + name if name.startswith(BODY) and not head.bare else name

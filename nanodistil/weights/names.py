"""The names: which arrays a DistilBERT is made of, and their shapes. This table *is* the model, seen from the file.

Each line below reads "name: shape" in the shape letters of model.py (V vocabulary, P positions, D width, F feed-forward
width, L layers, C classes, and A, which is D less the heads pruned from a layer); a linear map's weight is (out, in).
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
from typing import Any

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

HEADS: dict[str, dict[str, str]] = {  # what each task puts on top
    "base": {},
    "masked_lm": {
        "vocab_transform.weight": "D D",
        "vocab_transform.bias": "D",
        "vocab_layer_norm.weight": "D",
        "vocab_layer_norm.bias": "D",
        "vocab_projector.bias": "V",
    },
    "sequence_classification": {
        "pre_classifier.weight": "D D",
        "pre_classifier.bias": "D",
        "classifier.weight": "C D",
        "classifier.bias": "C",
    },
    "token_classification": {
        "classifier.weight": "C D",
        "classifier.bias": "C",
    },
    "question_answering": {
        "qa_outputs.weight": "2 D",
        "qa_outputs.bias": "2",
    },
    "multiple_choice": {
        "pre_classifier.weight": "D D",
        "pre_classifier.bias": "D",
        "classifier.weight": "1 D",
        "classifier.bias": "1",
    },
}
LEARNED = {  # activations with numbers of their own, for each layer's ffn and for the masked-LM head; a scalar is ""
    "prelu": {"weight": "1"},
    "xielu": {"alpha_p": "1", "alpha_n": "1", "beta": "", "eps": ""},
}
TIED = {"vocab_projector.weight": "V D"}  # an array of its own only where the config says tie_word_embeddings: false

PREFIX = "distilbert."
HEAD_MODULES = (
    "vocab_transform", "activation", "vocab_layer_norm", "vocab_projector", "pre_classifier", "classifier",
    "qa_outputs",
)  # fmt: skip
FIELDS = {"V": "vocab_size", "P": "max_position_embeddings", "D": "dim", "F": "hidden_dim", "C": "num_labels"}


def expected(config: Any, head: str = "base") -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of every array of the model, in the table's order.

    config: any object with vocab_size, max_position_embeddings, dim, hidden_dim, n_layers (and tie_word_embeddings,
    taken as True where absent; num_labels where the head classifies; n_heads and pruned_heads where heads were pruned).
    head: a key of HEADS.

    >>> from types import SimpleNamespace
    >>> uncased = SimpleNamespace(vocab_size=30522, max_position_embeddings=512, dim=768, hidden_dim=3072, n_layers=6)
    >>> expected(uncased)["transformer.layer.5.ffn.lin1.weight"]
    (3072, 768)
    >>> count(expected(uncased)), count(expected(uncased, "masked_lm"))
    (66362880, 66985530)
    """

    def shape(letters: str, A: int = 0) -> tuple[int, ...]:
        return tuple(
            A if c == "A" else int(c) if c.isdigit() else int(getattr(config, FIELDS[c])) for c in letters.split()
        )

    learned = LEARNED.get(getattr(config, "activation", ""), {})
    shapes = {name: shape(letters) for name, letters in EMBEDDINGS.items()}
    for i in range(config.n_layers):
        A = attention_width(config, i)
        shapes |= {f"transformer.layer.{i}.{name}": shape(letters, A) for name, letters in LAYER.items()}
        shapes |= {f"transformer.layer.{i}.ffn.activation.{name}": shape(letters) for name, letters in learned.items()}
    shapes |= {name: shape(letters) for name, letters in HEADS[head].items()}
    if head == "masked_lm":
        shapes |= {f"activation.{name}": shape(letters) for name, letters in learned.items()}
    if head == "masked_lm" and not getattr(config, "tie_word_embeddings", True):
        shapes |= {name: shape(letters) for name, letters in TIED.items()}
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


def set_aside(name: str, head: str) -> bool:
    """Whether a model of this head leaves a canonical name of the file alone without a word."""
    return head == "base" and is_head(name)


def filed(name: str, head: str) -> str:
    """The inverse of `canonical` for writing: transformers' name for the array in a file of this head.

    >>> filed("embeddings.LayerNorm.bias", "masked_lm"), filed("vocab_projector.bias", "masked_lm")
    ('distilbert.embeddings.LayerNorm.bias', 'vocab_projector.bias')
    """
    return name if head == "base" or is_head(name) else PREFIX + name

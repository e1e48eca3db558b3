"""A BERT's config.json: the checkpoint's own field names, and the same config in DistilBERT's words.

The checks are DistilBertConfig's: `as_distilbert` is made once when a config is made, and what it finds wrong is told
under BERT's names. Added are the fields DistilBERT lacks. Three of them say that a file is a BERT in name only, and are
refused where they do: relative positions and decoders are other architectures, and another layer_norm_eps is a constant
of the kernels (1e-12 in all official BERTs).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nanodistil.config import DistilBertConfig, check_type, labels_of, pruned_of, unnamed_labels
from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.small_files import FOR_CONFIG, read_json

DISTILBERT = {  # field -> what DistilBERT calls it; those not listed have the same name
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}
BERT_ONLY = ("type_vocab_size", "layer_norm_eps", "position_embedding_type", "is_decoder", "extra")
MAX_PLACES = 65_536  # positions times token types


@dataclass(frozen=True)
class BertConfig:
    """The hyper-parameters of a BERT; defaults are those of transformers' BertConfig.

    Raises CheckpointError for a value of the wrong type or outside its range, or one that is not computed here.

    >>> BertConfig(num_hidden_layers=3).as_distilbert().n_layers
    3
    >>> BertConfig(hidden_size=100)
    Traceback (most recent call last):
    nanodistil.weights.errors.CheckpointError: config: hidden_size 100 cannot be divided among num_attention_heads 12
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    position_embedding_type: str = "absolute"
    is_decoder: bool = False
    tie_word_embeddings: bool = True
    output_hidden_states: bool = False
    output_attentions: bool = False
    id2label: dict[int, str] = field(default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"})
    problem_type: str | None = None
    pruned_heads: dict[int, list[int]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)  # what else the file said

    def __post_init__(self) -> None:
        for f in fields(self):
            check_type(f.name, getattr(self, f.name), f.type)
        object.__setattr__(self, "pruned_heads", pruned_of(self.pruned_heads, self.num_hidden_layers))
        if self.layer_norm_eps != 1e-12:
            raise CheckpointError(f"config: layer_norm_eps is {self.layer_norm_eps}; only BERT's own 1e-12 is computed")
        if self.position_embedding_type != "absolute":
            kind = self.position_embedding_type[:40]
            raise CheckpointError(f"config: position_embedding_type is {excerpt(kind)}; only 'absolute' is computed")
        if self.is_decoder:
            raise CheckpointError("config: is_decoder is true; only encoders are computed")
        if not 1 <= self.type_vocab_size <= MAX_PLACES // max(1, self.max_position_embeddings):
            raise CheckpointError(
                f"config: {self.type_vocab_size} token types (type_vocab_size) times {self.max_position_embeddings} "
                f"positions lie outside 1 to {MAX_PLACES}"
            )
        try:
            self.as_distilbert()
        except CheckpointError as error:
            told = str(error)
            for ours, theirs in DISTILBERT.items():
                told = re.sub(rf"\b{theirs}\b", ours, told)
            raise CheckpointError(told) from None

    def as_distilbert(self) -> DistilBertConfig:
        """The DistilBERT of the same shape: all that it has in common with this BERT, under its own names."""
        shared = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in BERT_ONLY}
        return DistilBertConfig(**{DISTILBERT.get(name, name): value for name, value in shared.items()})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BertConfig:
        """A config from the parsed JSON of a config.json; unknown keys are kept and ignored.

        Raises CheckpointError for another model_type, and as the class does.
        """
        model_type = values.get("model_type", "bert")  # files of 2018 and 2019 have none
        if model_type != "bert":
            raise CheckpointError(f"this is a {excerpt(model_type)} model, and model_type 'bert' is wanted")
        values = {k: v for k, v in values.items() if k != "pad_token_id" or v is not None}
        known = {f.name for f in fields(cls)} - {"extra"}
        found = {k: v for k, v in values.items() if k in known}
        if found.get("id2label") is not None:
            found["id2label"] = labels_of(found["id2label"])
        else:
            found["id2label"] = unnamed_labels(values.get("num_labels", 2))
        if "pruned_heads" in found:
            found["pruned_heads"] = pruned_of(
                found["pruned_heads"], found.get("num_hidden_layers", cls.num_hidden_layers)
            )
        derived = {"model_type", "num_labels", "label2id"}
        return cls(**found, extra={k: v for k, v in values.items() if k not in known | derived})

    @classmethod
    def from_json_file(cls, path: str | Path) -> BertConfig:
        """A config from a config.json. Raises CheckpointError where the file is missing, too large or not such JSON."""
        return cls.from_dict(read_json(Path(path), FOR_CONFIG))

    @property
    def num_labels(self) -> int:
        """How many labels id2label names."""
        return len(self.id2label)

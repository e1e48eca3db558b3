"""config.json as a frozen dataclass, with the checkpoint's own field names and every value checked.

Only the fields below are read. Anything else in the file is never acted on, but kept in `extra` and written back by
`to_dict`, so that a round trip loses nothing. Bounds are generous against any DistilBERT and tight against a lying
file: nothing is allocated from a number that has not been checked here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.small_files import FOR_CONFIG, read_json

ACTIVATIONS = (  # transformers' names
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh",
    "gelu_pytorch_tanh", "laplace", "leaky_relu", "linear", "mish", "prelu", "quick_gelu", "relu", "relu2", "relu6",
    "sigmoid", "silu", "swish", "tanh", "xielu",
)  # fmt: skip
ALIASES = {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"}
PROBLEM_TYPES = (None, "regression", "single_label_classification", "multi_label_classification")

# field -> smallest and largest value that makes sense
_RANGES: dict[str, tuple[float, float]] = {
    "vocab_size": (1, 1_000_000),
    "max_position_embeddings": (1, 65_536),
    "n_layers": (1, 48),
    "n_heads": (1, 256),
    "dim": (1, 16_384),
    "hidden_dim": (1, 65_536),
    "pad_token_id": (0, 1_000_000),
    "dropout": (0.0, 1.0),
    "attention_dropout": (0.0, 1.0),
    "qa_dropout": (0.0, 1.0),
    "seq_classif_dropout": (0.0, 1.0),
    "initializer_range": (0.0, 10.0),
}
MAX_LABELS = 100_000
MAX_PARAMETERS = 2_000_000_000  # 8 GB of float32; the largest DistilBERT, multilingual, has 135 million


@dataclass(frozen=True)
class DistilBertConfig:
    """The hyper-parameters of a DistilBERT; defaults are those of transformers' DistilBertConfig.

    Raises CheckpointError for a value of the wrong type or outside its range.

    >>> DistilBertConfig().dim
    768
    >>> DistilBertConfig(dim=100)
    Traceback (most recent call last):
    nanodistil.weights.errors.CheckpointError: config: dim 100 cannot be divided among n_heads 12
    """

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    sinusoidal_pos_embds: bool = False
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072  # 4 * 768, not 4 * dim: a config with another dim and no hidden_dim still means 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu"
    initializer_range: float = 0.02
    qa_dropout: float = 0.1
    seq_classif_dropout: float = 0.2
    pad_token_id: int = 0
    tie_word_embeddings: bool = True
    output_hidden_states: bool = False
    output_attentions: bool = False
    id2label: dict[int, str] = field(default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"})
    problem_type: str | None = None  # None: told from num_labels and the labels' dtype, see losses.py
    pruned_heads: dict[int, list[int]] = field(default_factory=dict)  # layer -> heads that are gone, numbered as before
    extra: dict[str, Any] = field(default_factory=dict)  # what else the file said

    def __post_init__(self) -> None:
        for f in fields(self):
            check_type(f.name, getattr(self, f.name), f.type)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise CheckpointError(f"config: {name} is {excerpt(value)}, outside {low} to {high}")
        if self.dim % self.n_heads:
            raise CheckpointError(f"config: dim {self.dim} cannot be divided among n_heads {self.n_heads}")
        if self.activation not in ACTIVATIONS:
            raise CheckpointError(
                f"config: activation {excerpt(self.activation)} is not one of {', '.join(ACTIVATIONS)}"
            )
        if self.problem_type not in PROBLEM_TYPES:
            raise CheckpointError(
                f"config: problem_type {excerpt(self.problem_type)} is not one of {PROBLEM_TYPES[1:]}"
            )
        if sorted(self.id2label) != list(range(len(self.id2label))):
            raise CheckpointError(
                f"config: id2label should number its labels from 0, not {str(list(self.id2label))[:40]}"
            )
        for layer, heads in self.pruned_heads.items():
            if layer not in range(self.n_layers) or not set(heads) < set(range(self.n_heads)):
                raise CheckpointError(
                    f"config: pruned_heads {str(heads)[:40]} of layer {layer}: no such layer or heads"
                )
        if self.pad_token_id >= self.vocab_size:
            raise CheckpointError(f"config: pad_token_id {self.pad_token_id} is outside vocab_size {self.vocab_size}")
        tables = (self.vocab_size + self.max_position_embeddings) * self.dim
        layers = self.n_layers * (4 * self.dim * self.dim + 2 * self.dim * self.hidden_dim)
        if tables + layers > MAX_PARAMETERS:
            raise CheckpointError(f"config: about {tables + layers:,} parameters, more than {MAX_PARAMETERS:,}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DistilBertConfig:
        """A config from the parsed JSON of a config.json; unknown keys are kept and ignored.

        >>> DistilBertConfig.from_dict({"model_type": "distilbert", "hidden_size": 48, "n_heads": 4}).dim
        48
        """
        model_type = values.get("model_type", "distilbert")
        if model_type != "distilbert":
            more = "; a BERT is loaded by nanodistil.family.bert, as a teacher" if model_type == "bert" else ""
            kind = str(model_type)[:40]
            raise CheckpointError(f"this is a {excerpt(kind)} model; nanodistil runs model_type 'distilbert'{more}")
        known = {f.name for f in fields(cls)} - {"extra"}
        values = {
            k: v for k, v in values.items() if k != "pad_token_id" or v is not None
        }  # null: as if it were not there
        found = {ALIASES[k]: v for k, v in values.items() if k in ALIASES}
        found |= {k: v for k, v in values.items() if k in known}
        if found.get("id2label") is not None:
            found["id2label"] = labels_of(found["id2label"])
        else:
            found["id2label"] = unnamed_labels(values.get("num_labels", 2))
        if "pruned_heads" in found:
            found["pruned_heads"] = pruned_of(found["pruned_heads"])
        derived = {"model_type", "num_labels", "label2id", *ALIASES}
        return cls(**found, extra={k: v for k, v in values.items() if k not in known | derived})

    @classmethod
    def from_json_file(cls, path: str | Path) -> DistilBertConfig:
        """A config from a config.json. Raises CheckpointError where the file is missing, too large or not such JSON."""
        return cls.from_dict(read_json(Path(path), FOR_CONFIG))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> DistilBertConfig:
        """The config of a folder or hub id. Raises ModelNotFoundError or CheckpointError.

        >>> DistilBertConfig.from_pretrained("nanodistil-mini").dim
        384
        """
        from nanodistil.weights.hub import resolve

        folder = resolve(
            str(pretrained_model_name_or_path),
            need="config",
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        return cls.from_json_file(folder / "config.json")

    @property
    def num_labels(self) -> int:
        """How many labels id2label names."""
        return len(self.id2label)

    @property
    def label2id(self) -> dict[str, int]:
        """id2label the other way round; of two labels of one name, the last."""
        return {label: number for number, label in self.id2label.items()}

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict, with `model_type`, `label2id` and what else the file said, ready for json.dump."""
        values = {
            f.name: getattr(self, f.name) for f in fields(self)
        }  # not asdict: it would copy `extra` to its depths
        values["id2label"] = dict(self.id2label)
        if not self.pruned_heads:  # transformers 5 does not know it
            del values["pruned_heads"]
        return {**values.pop("extra"), "model_type": "distilbert", **values, "label2id": self.label2id}


def unnamed_labels(count: Any) -> dict[int, str]:
    """Names for labels that have none. Raises CheckpointError for what is no sensible number of labels.

    >>> unnamed_labels(2)
    {0: 'LABEL_0', 1: 'LABEL_1'}
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= MAX_LABELS:
        raise CheckpointError(f"config: num_labels should be a number from 1 to {MAX_LABELS}, not {excerpt(count)}")
    return {i: f"LABEL_{i}" for i in range(count)}


def check_type(name: str, value: Any, annotation: Any) -> None:
    """Raise CheckpointError unless `value` is what the annotation says; an int may stand for a float."""
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
    kind, _, optional = str(annotation).partition(" | ")
    wanted = kinds.get(kind, (dict,))
    if optional and value is None:
        return
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise CheckpointError(f"config: {name} should be {annotation}, not {excerpt(value)}")


def labels_of(value: Any) -> dict[int, str]:
    """id2label with integer keys: JSON has only strings for them."""
    try:
        labels = {int(k): str(v) for k, v in value.items()}
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise CheckpointError(f"config: id2label should map numbers to names, not {excerpt(value)}") from None
    if not 0 < len(labels) <= MAX_LABELS:
        raise CheckpointError(f"config: id2label has {len(labels)} labels, not 1 to {MAX_LABELS}")
    return labels


def pruned_of(value: Any) -> dict[int, list[int]]:
    """pruned_heads with integer keys."""
    try:
        return {int(k): sorted({int(h) for h in heads}) for k, heads in value.items()}
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise CheckpointError(f"config: pruned_heads should map layers to heads, not {excerpt(value)}") from None

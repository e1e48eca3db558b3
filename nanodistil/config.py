"""config.json as a dataclass, with the checkpoint's own field names and every value checked, also one set later.

`Config` is the shape that the model, the layouts of its weights and training read, whatever the family; its fields bear
the names that DistilBERT gave them. A family is a subclass: what its files call the fields (`own_names`), what its
arrays are called (`names`), its defaults, and what it has besides. DistilBERT's stands below, others in family/.

Only fields are read. Anything else in the file is never acted on, but kept in `extra` and written back by `to_dict`, so
that a round trip loses nothing; a name given in code that is nearly a field's is refused as a slip. Bounds are generous
against any real model and tight against a lying file: nothing is allocated from a number that has not been checked
here. A model has a copy of its own (`of_model`), in which whatever the weights' shapes say is fixed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar

from nanodistil.config_values import check_type, labels_of, pruned_of, unnamed_labels
from nanodistil.loading_arguments import OF_MODELS, OF_SAVING, Source, located, nothing_but
from nanodistil.signatures import spelled_out
from nanodistil.weights import names
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.renamed import Names
from nanodistil.weights.small_files import FOR_CONFIG, read_json

ACTIVATIONS = (  # transformers' names
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh",
    "gelu_pytorch_tanh", "laplace", "leaky_relu", "linear", "mish", "prelu", "quick_gelu", "relu", "relu2", "relu6",
    "sigmoid", "silu", "swish", "tanh", "xielu",
)  # fmt: skip
ALIASES = {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"}  # of any family
UNSET: dict[str, Any] = {  # what code asks of any model's config, and what it says unless a file says otherwise
    "architectures": None,
    "finetuning_task": None,
    "is_encoder_decoder": False,
    "is_decoder": False,
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
    "bos_token_id": None,
    "eos_token_id": None,
    "sep_token_id": None,
}
ANEW = "load or make another model with that in its config"
REMEDIES = {
    "vocab_size": "use resize_token_embeddings",
    "max_position_embeddings": "use resize_position_embeddings",
    "pruned_heads": "use prune_heads",
}
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
    "initializer_range": (0.0, 10.0),
    "layer_norm_eps": (1e-30, 1.0),
}
MAX_PARAMETERS = 2_000_000_000  # 8 GB of float32; the largest DistilBERT, multilingual, has 135 million


SHAPES = (  # what a model's weights were laid out for
    "vocab_size", "max_position_embeddings", "n_layers", "n_heads", "dim", "hidden_dim", "activation",
    "sinusoidal_pos_embds", "type_vocab_size", "layer_norm_eps", "tie_word_embeddings", "pruned_heads",
)  # fmt: skip


@dataclass(init=False, repr=False)
class Config:
    """The hyper-parameters of any family; not for use by itself.

    Raises CheckpointError for a value of the wrong type or outside its range, InputError for a misspelt field.
    """

    model_type: ClassVar[str]
    names: ClassVar[Names]  # of its arrays in files
    own_names: ClassVar[Mapping[str, str]] = MappingProxyType({})  # field -> what the family's files call it, if not so
    call_order: ClassVar[tuple[str, ...]] = ()  # what a model's call takes first, if not in DistilBERT's order
    shapes: ClassVar[tuple[str, ...]] = SHAPES  # fields that a model cannot change
    ordered: ClassVar[tuple[str, ...]] = ()  # fields in the order in which they may be given without a name

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu"
    initializer_range: float = 0.02
    pad_token_id: int = 0
    tie_word_embeddings: bool = True
    output_hidden_states: bool = False
    output_attentions: bool = False
    return_dict: bool = True  # whether a model's calls return an output, or a plain tuple
    id2label: dict[int, str] = field(default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"})
    problem_type: str | None = None  # None: told from num_labels and the labels' dtype, see losses.py
    pruned_heads: dict[int, list[int]] = field(default_factory=dict)  # layer -> heads that are gone, numbered as before
    extra: dict[str, Any] = field(default_factory=dict)  # what else the file said

    # What a family may say otherwise, as a field or as a property

    @property
    def sinusoidal_pos_embds(self) -> bool:
        """Whether positions are computed, and do not learn."""
        return False

    @property
    def layer_norm_eps(self) -> float:
        """What is added to a variance."""
        return 1e-12

    @property
    def pre_norm(self) -> bool:
        """Whether a block normalises what is given to its halves, as GPT-2's do, instead of what they add up to."""
        return False

    @property
    def padding_idx(self) -> int | None:
        """The token whose word vector is zero at first and does not learn from being read; None: there is none."""
        return self.pad_token_id

    @property
    def embedding_dropout(self) -> float:
        """On the sum of embeddings."""
        return self.dropout

    @property
    def residual_start(self) -> float:
        """By what the first weights of maps into the residual stream are smaller than others."""
        return 1.0

    @property
    def causal(self) -> bool:
        """Whether a token sees those before it only."""
        return False

    def sharpness(self, layer: int) -> float:
        """What a layer's scores are multiplied by besides 1 / sqrt(Dh)."""
        return 1.0

    @property
    def token_types(self) -> int:
        """How many kinds of tokens have a vector added to them; 0 in a family without."""
        return 0

    @property
    def max_tokens(self) -> int:
        """The tokens of the longest text."""
        return self.max_position_embeddings

    def positions(self, ids: Any, shape: tuple[int, int]) -> Any:
        """Where tokens stand if a call does not say: (T,) or (B, T). ids: (B, T), or None if it brings embeddings."""
        import numpy as np

        return np.arange(shape[1])

    @property
    def attention_out_dropout(self) -> float:
        """Behind the last map of attention, where DistilBERT has none."""
        return 0.0

    @property
    def qa_dropout(self) -> float:
        """Before the head of question answering."""
        return 0.0

    @property
    def seq_classif_dropout(self) -> float:
        """Before the classifier of a text."""
        return self.dropout

    @property
    def token_classif_dropout(self) -> float:
        """Before the classifier of tokens."""
        return self.dropout

    @classmethod
    def aliases(cls) -> dict[str, str]:
        """Other names of fields -> fields."""
        return ALIASES | {own: field for field, own in cls.own_names.items()}

    def __init__(self, *ordered: Any, **values: Any) -> None:
        known = [f.name for f in fields(self)]
        values |= zip(self.ordered, ordered, strict=False)
        more = {k: v for k, v in values.items() if k not in known and k not in self._other_names()}
        for name in more:
            self._refuse_slip(name)
        found = self._named({k: v for k, v in values.items() if k not in more})
        found["extra"] = {**found.get("extra", {}), **more}
        for f in fields(self):
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            object.__setattr__(self, f.name, found.get(f.name, default))
        self._check()

    def __getattr__(self, name: str) -> Any:
        """A field by another of its names, or what else the file said."""
        if name in (aliases := type(self).aliases()):
            return getattr(self, aliases[name])
        known = {**UNSET, **self.__dict__.get("extra", {})}
        if name not in known:
            raise AttributeError(f"a {type(self).__name__} has no {excerpt(name)}")
        return known[name]

    def __setattr__(self, name: str, value: Any) -> None:
        """Change a field, checked as if the config were made anew. Raises InputError for what a model cannot change."""
        name = self.aliases().get(name, name)
        now = {f.name: getattr(self, f.name) for f in fields(self)}
        if name in ("num_labels", "label2id"):
            if name == "num_labels" and value == self.num_labels:
                return
            now.pop("id2label")
        changed = type(self)(**{**now, name: value})
        if self.__dict__.get("_of_model"):
            for shape in self.shapes:
                if getattr(changed, shape, None) != getattr(self, shape, None):
                    called = self.own_names.get(shape, shape)
                    raise InputError(
                        f"config.{called} is the shape of this model's weights; {REMEDIES.get(shape, ANEW)}"
                    )
            if changed.num_labels != self.num_labels:
                raise InputError(f"this model's head has {self.num_labels} labels, not {changed.num_labels}; {ANEW}")
        self.__dict__.update({f.name: getattr(changed, f.name) for f in fields(self)})

    def of_model(self) -> Self:
        """A copy for a model that has its weights, in which nothing can be set that contradicts them."""
        own = copy.copy(self)
        own.__dict__["_of_model"] = True
        return own

    def __repr__(self) -> str:
        said = ", ".join(f"{self.own_names.get(f.name, f.name)}={getattr(self, f.name)!r}" for f in fields(self))
        return f"{type(self).__name__}({said})"

    def _check(self) -> None:
        """Raises CheckpointError for what cannot be, by the names of the family's files."""
        called = {f.name: self.own_names.get(f.name, f.name) for f in fields(self)}
        for f in fields(self):
            value = getattr(self, f.name)
            check_type(called[f.name], value, f.type)
            low, high = (0.0, 1.0) if f.name.endswith("dropout") else _RANGES.get(f.name, (None, None))
            if low is not None and high is not None and value is not None and not low <= value <= high:
                raise CheckpointError(f"config: {called[f.name]} is {excerpt(value)}, outside {low:g} to {high:g}")
        if self.dim % self.n_heads:
            raise CheckpointError(
                f"config: {called['dim']} {self.dim} cannot be divided among {called['n_heads']} {self.n_heads}"
            )
        if self.activation not in ACTIVATIONS:
            raise CheckpointError(
                f"config: {called['activation']} {excerpt(self.activation)} is not one of {', '.join(ACTIVATIONS)}"
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
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise CheckpointError(f"config: pad_token_id {self.pad_token_id} is outside vocab_size {self.vocab_size}")
        tables = (self.vocab_size + self.max_position_embeddings) * self.dim
        layers = self.n_layers * (4 * self.dim * self.dim + 2 * self.dim * self.hidden_dim)
        if tables + layers > MAX_PARAMETERS:
            raise CheckpointError(f"config: about {tables + layers:,} parameters, more than {MAX_PARAMETERS:,}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """A config from the parsed JSON of a config.json; unknown keys are kept and ignored.

        >>> DistilBertConfig.from_dict({"model_type": "distilbert", "hidden_size": 48, "n_heads": 4}).dim
        48
        """
        kind = values.get("model_type") or cls.model_type  # files of 2018 and 2019 have none
        if kind != cls.model_type:
            raise CheckpointError(
                f"this is a {excerpt(str(kind)[:40])} model, and a {excerpt(cls.model_type)} is wanted; the classes of "
                "its own family load it, or the Auto classes"
            )
        known = {cls.own_names.get(f.name, f.name) for f in fields(cls)} - {"extra"} | set(cls._other_names())
        said = ("label2id",) if values.get("id2label") is None else ("label2id", "num_labels")  # by id2label
        values = {k: v for k, v in values.items() if k not in said}
        found = {k: v for k, v in values.items() if k in known}
        return cls(**found, extra={k: v for k, v in values.items() if k not in found and k != "model_type"})

    @classmethod
    def from_json_file(cls, path: str | Path) -> Self:
        """A config from a config.json. Raises CheckpointError where the file is missing, too large or not such JSON."""
        return cls.from_dict(read_json(Path(path), FOR_CONFIG))

    @classmethod
    @spelled_out(Source, more=True, local_files_only=False)
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **overrides: Any) -> Self:
        """The config of a folder or hub id, with some of its fields changed, by the names a config is made with.

        Raises ModelNotFoundError or CheckpointError, and InputError for an override that is no field or cannot be.

        >>> config = DistilBertConfig.from_pretrained("nanodistil-mini", num_labels=5)
        >>> config.dim, config.num_labels
        (384, 5)
        """
        _, folder = located(pretrained_model_name_or_path, overrides, OF_MODELS, "config")
        return overridden(cls.from_json_file(folder / "config.json"), overrides)

    def save_pretrained(self, save_directory: str | Path, **others: Any) -> None:
        """Write config.json to a folder. others: transformers' arguments that change nothing (loading_arguments.py).

        Raises InputError where it cannot be written.
        """
        nothing_but(others, OF_SAVING, "save_pretrained")
        self.to_json_file(Path(save_directory) / "config.json")

    def to_json_file(self, json_file_path: str | Path) -> None:
        """Write the config to a file. Raises InputError where it cannot be written."""
        from nanodistil.weights.saving import written  # NumPy comes with it

        text = self.to_json_string()
        written(Path(json_file_path), lambda fresh: fresh.write_text(text, encoding="utf-8"))

    def to_json_string(self) -> str:
        """What a config.json holds."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def update(self, config_dict: dict[str, Any]) -> None:
        """Change several fields, as if each were set."""
        for name, value in config_dict.items():
            setattr(self, name, value)

    @property
    def use_return_dict(self) -> bool:
        """Another name for return_dict."""
        return self.return_dict

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
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # asdict would copy `extra` too
        values["id2label"] = dict(self.id2label)
        if not self.pruned_heads:  # transformers 5 does not know it
            del values["pruned_heads"]
        if self.return_dict:
            del values["return_dict"]
        values = {self.own_names.get(name, name): value for name, value in values.items()}
        return {**values.pop("extra"), "model_type": self.model_type, **values, "label2id": self.label2id}

    @classmethod
    def _named(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The fields for values under any of their names. Raises CheckpointError for what cannot be.

        >>> DistilBertConfig._named({"hidden_size": 48, "num_labels": 1})
        {'dim': 48, 'id2label': {0: 'LABEL_0'}}
        """
        aliases = cls.aliases()
        found = {aliases[k]: v for k, v in values.items() if k in aliases}
        found |= {k: v for k, v in values.items() if k not in cls._other_names()}
        if found.get("pad_token_id", 0) is None:  # null: as if it were not there
            del found["pad_token_id"]
        labels, count, by_label = found.pop("id2label", None), values.get("num_labels"), values.get("label2id")
        if labels is None and by_label is not None:
            try:
                labels = {number: label for label, number in by_label.items()}
            except (AttributeError, TypeError):
                raise CheckpointError(
                    f"config: label2id should map names to numbers, not {excerpt(by_label)}"
                ) from None
        if labels is None and count is not None:
            labels = unnamed_labels(count)
        if labels is not None:
            found["id2label"] = labels_of(labels)
            if count is not None and count != len(found["id2label"]):
                raise CheckpointError(
                    f"config: num_labels is {excerpt(count)} and id2label names {len(found['id2label'])}; leave out one"
                )
        if "pruned_heads" in found:
            found["pruned_heads"] = pruned_of(found["pruned_heads"], found.get("n_layers", cls.n_layers))
        return found

    @classmethod
    def _other_names(cls) -> tuple[str, ...]:
        return (*cls.aliases(), "num_labels", "label2id")

    @classmethod
    def _refuse_slip(cls, name: str) -> None:
        """Raise InputError for a name that is nearly that of a field: nobody will have meant to keep that."""
        known = [*(cls.own_names.get(f.name, f.name) for f in fields(cls)), *cls._other_names()]
        near = get_close_matches(name, known, 1, 0.85)
        if near:
            raise InputError(f"{excerpt(name)} is no field of a {cls.__name__}; {excerpt(near[0])} is")


@dataclass(init=False, repr=False)
class DistilBertConfig(Config):
    """The hyper-parameters of a DistilBERT; defaults are those of transformers' DistilBertConfig.

    Also by other names: hidden_size, num_attention_heads, num_hidden_layers; num_labels or label2id for id2label. What
    is no field of a DistilBERT is kept, and can be read as an attribute.
    Raises CheckpointError for a value of the wrong type or outside its range, InputError for a misspelt field.

    >>> DistilBertConfig().dim
    768
    >>> config = DistilBertConfig(hidden_size=48, n_heads=4, num_labels=3, finetuning_task="mnli")
    >>> config.dim, config.id2label, config.finetuning_task
    (48, {0: 'LABEL_0', 1: 'LABEL_1', 2: 'LABEL_2'}, 'mnli')
    >>> DistilBertConfig(dim=100)
    Traceback (most recent call last):
    nanodistil.weights.errors.CheckpointError: config: dim 100 cannot be divided among n_heads 12
    """

    model_type: ClassVar[str] = "distilbert"
    names: ClassVar[Names] = names
    ordered: ClassVar[tuple[str, ...]] = (
        "vocab_size", "max_position_embeddings", "sinusoidal_pos_embds", "n_layers", "n_heads", "dim", "hidden_dim",
        "dropout", "attention_dropout", "activation", "initializer_range", "qa_dropout", "seq_classif_dropout",
        "pad_token_id",
    )  # fmt: skip

    hidden_dim: int = 3072  # 4 * 768, not 4 * dim: a config with another dim and no hidden_dim still means 3072
    sinusoidal_pos_embds: bool = False
    qa_dropout: float = 0.1
    seq_classif_dropout: float = 0.2


Of = TypeVar("Of", bound=Config)


def overridden(config: Of, overrides: dict[str, Any]) -> Of:
    """The config with some fields changed, by the names a config is made with.

    Raises InputError for what is no field, or a value that cannot be.
    """
    if not overrides:
        return config
    known = {*(f.name for f in fields(config)), *config._other_names()} - {"extra"}
    for name in overrides:
        if name not in known and name not in config.extra:
            config._refuse_slip(name)
            raise InputError(
                f"{excerpt(name)} is no argument of from_pretrained and no field of a {type(config).__name__}"
            )
    now = {f.name: getattr(config, f.name) for f in fields(config)}
    aliases = config.aliases()
    given = {aliases.get(name, name): value for name, value in overrides.items()}
    if given.get("id2label") is not None:
        given.pop("label2id", None)  # the same the other way round
    if given.get("id2label") is None and (given.get("num_labels"), given.get("label2id")) != (None, None):
        if given.get("label2id") is not None or given["num_labels"] != config.num_labels:
            del now["id2label"]
        else:
            del given["num_labels"]
    try:
        return type(config)(**{**now, **{k: v for k, v in given.items() if k != "extra"}})
    except (CheckpointError, AttributeError, TypeError) as error:
        raise InputError(f"from_pretrained: {error}") from None

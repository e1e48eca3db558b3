"""Auto classes: a folder's or hub id's config.json says of what family a model is, and so which class loads it.

    AutoTokenizer, AutoConfig                        the words, the shape
    AutoModel                                        the encoder alone
    AutoModelForMaskedLM (and ...ForPreTraining)     with a head: MaskedLM, SequenceClassification, TokenClassification,
                                                     QuestionAnswering, MultipleChoice

There are two families, "distilbert" and "bert" (nanodistil.family, as teachers: no choice among several, and what a
file lacks is not drawn at random). Any other is refused in a line that names it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nanodistil.loading_arguments import OF_MODELS, OF_TOKENIZERS, taken
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.small_files import FOR_CONFIG, read_json

if TYPE_CHECKING:
    from nanodistil.tokenization.facade import Tokenizer

FAMILIES = {  # model_type -> the module of its config, of its models, and what its classes' names begin with
    "distilbert": ("nanodistil.config", "nanodistil.family.distilbert", "DistilBert"),
    "bert": ("nanodistil.family.bert_config", "nanodistil.family.bert", "Bert"),
}
SOURCE = ("revision", "cache_dir", "local_files_only", "token")  # arguments that say which model


def family_of(config: dict[str, Any], name: object) -> str:
    """The key of FAMILIES that a parsed config.json is of. Raises CheckpointError for another family.

    >>> family_of({"model_type": "bert"}, "x"), family_of({"n_heads": 12}, "x"), family_of({"type_vocab_size": 2}, "x")
    ('bert', 'distilbert', 'bert')
    """
    old = "bert" if "type_vocab_size" in config else "distilbert"  # files of 2018 and 2019 do not say
    kind = config.get("model_type") or old
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise CheckpointError(f"{name}: is a {excerpt(kind)} model; nanodistil has {' and '.join(FAMILIES)}")
    return kind


def described(name: str | Path, arguments: dict[str, Any], known: Any = OF_MODELS, need: str = "config") -> Path:
    """The folder with the files of `need`. arguments: those of from_pretrained, which are left as they are."""
    from nanodistil.weights.hub import resolve

    asked = taken(dict(arguments), known, arguments.get("dtype"))
    source = {key: arguments[key] for key in SOURCE if arguments.get(key) is not None}
    if asked.token is not None:
        source.setdefault("token", asked.token)
    return resolve(asked.within(name), need=need, **source)


class _Auto:
    """What all of them share; not for use by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise InputError(f"{type(self).__name__} is made by {type(self).__name__}.from_pretrained(folder or hub id)")


class AutoConfig(_Auto):
    """The config of a model, of its family's class.

    >>> AutoConfig.from_pretrained("nanodistil-mini").dim
    384
    """

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **arguments: Any) -> Any:
        """A DistilBertConfig or a BertConfig; arguments as DistilBertConfig.from_pretrained takes them.

        Raises ModelNotFoundError, CheckpointError (also for another family), InputError.
        """
        name = pretrained_model_name_or_path
        folder = described(name, arguments)
        family = family_of(read_json(folder / "config.json", FOR_CONFIG), name)
        if family == "distilbert":
            from nanodistil.config import DistilBertConfig

            return DistilBertConfig.from_pretrained(name, **arguments)
        from nanodistil.family.bert_config import BertConfig

        rest = {key: value for key, value in arguments.items() if key not in SOURCE}
        taken(rest, OF_MODELS)
        if rest:
            raise InputError(f"{excerpt(next(iter(rest)))} is no argument of a BERT's config")
        return BertConfig.from_json_file(folder / "config.json")


class AutoTokenizer(_Auto):
    """The tokenizer of a model: a DistilBertTokenizer for a BERT too, a GPT2Tokenizer or a RobertaTokenizer.

    >>> AutoTokenizer.from_pretrained("nanodistil-mini").tokenize("Hello world")
    ['hello', 'world']
    """

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **arguments: Any) -> Tokenizer:
        """Of the class that the files are of; arguments as its from_pretrained takes them.

        Raises ModelNotFoundError, CheckpointError (also for another family), InputError.
        """
        from nanodistil.tokenization import DistilBertTokenizer
        from nanodistil.tokenization.choosing import class_of

        folder = described(pretrained_model_name_or_path, arguments, OF_TOKENIZERS, need="tokenizer")
        chosen = class_of(folder)
        if chosen is DistilBertTokenizer and (folder / "config.json").is_file():
            family_of(read_json(folder / "config.json", FOR_CONFIG), pretrained_model_name_or_path)
        return chosen.from_pretrained(pretrained_model_name_or_path, **arguments)


class _AutoModel(_Auto):
    """A model of either family."""

    ending: ClassVar[str]  # of the class's name, after that of the family

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **arguments: Any) -> Any:
        """The model, of its family's class; arguments as that class's from_pretrained takes them.

        Raises ModelNotFoundError, CheckpointError (also for another family), InputError, DeviceError.
        """
        name = pretrained_model_name_or_path
        family = family_of(read_json(described(name, arguments) / "config.json", FOR_CONFIG), name)
        return cls._class_of(family).from_pretrained(name, **arguments)

    @classmethod
    def from_config(cls, config: Any, **arguments: Any) -> Any:
        """The model a config describes, with random weights. Raises InputError for what is no config."""
        for family, (module, _, prefix) in FAMILIES.items():
            if isinstance(config, getattr(import_module(module), f"{prefix}Config")):
                return cls._class_of(family)(config, **arguments)
        raise InputError(f"a DistilBertConfig or a BertConfig is needed, not {type(config).__name__}")

    @classmethod
    def _class_of(cls, family: str) -> Any:
        """The class of that family. Raises InputError where it has none."""
        _, module, prefix = FAMILIES[family]
        found = getattr(import_module(module), prefix + cls.ending, None)
        if found is None:
            raise InputError(f"{cls.__name__}: there is no {prefix}{cls.ending} here, only DistilBert{cls.ending}")
        return found


class AutoModel(_AutoModel):
    """The encoder alone.

    >>> type(AutoModel.from_pretrained("nanodistil-mini", backend="numpy")).__name__
    'DistilBertModel'
    """

    ending = "Model"


class AutoModelForMaskedLM(_AutoModel):
    """With the head it was trained with."""

    ending = "ForMaskedLM"


class AutoModelForPreTraining(_AutoModel):
    """Another name for AutoModelForMaskedLM: what a BERT learned besides, of two sentences, is not kept here."""

    ending = "ForMaskedLM"


class AutoModelForSequenceClassification(_AutoModel):
    """With a classifier of texts."""

    ending = "ForSequenceClassification"


class AutoModelForTokenClassification(_AutoModel):
    """With a classifier of tokens."""

    ending = "ForTokenClassification"


class AutoModelForQuestionAnswering(_AutoModel):
    """With a head that finds answers."""

    ending = "ForQuestionAnswering"


class AutoModelForMultipleChoice(_AutoModel):
    """With a head that chooses among continuations."""

    ending = "ForMultipleChoice"

"""Auto classes: a folder's or hub id's config.json says of what family a model is, and so which class loads it.

    AutoTokenizer, AutoConfig                        the words, the shape
    AutoModel                                        the encoder alone
    AutoModelForMaskedLM (and ...ForPreTraining)     with a head: MaskedLM, SequenceClassification, TokenClassification,
                                                     QuestionAnswering, MultipleChoice, CausalLM

The families are those of nanodistil.family; any other is refused in a line that names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nanodistil.family import FAMILIES, class_of, family_of
from nanodistil.loader import load_pretrained
from nanodistil.loading_arguments import OF_MODELS, OF_TOKENIZERS, located
from nanodistil.weights.errors import InputError
from nanodistil.weights.small_files import FOR_CONFIG, read_json

if TYPE_CHECKING:
    from nanodistil.tokenization.facade import Tokenizer


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
        """The config; arguments as DistilBertConfig.from_pretrained takes them.

        Raises ModelNotFoundError, CheckpointError (also for another family), InputError.
        """
        name = pretrained_model_name_or_path
        values = read_json(located(name, dict(arguments), OF_MODELS, "config")[1] / "config.json", FOR_CONFIG)
        return class_of(family_of(values, name), "Config").from_pretrained(name, **arguments)


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

        _, folder = located(pretrained_model_name_or_path, dict(arguments), OF_TOKENIZERS, "tokenizer")
        chosen = class_of(folder)
        if chosen is DistilBertTokenizer and (folder / "config.json").is_file():
            family_of(read_json(folder / "config.json", FOR_CONFIG), pretrained_model_name_or_path)
        return chosen.from_pretrained(pretrained_model_name_or_path, **arguments)


class _AutoModel(_Auto):
    """A model of any family."""

    ending: ClassVar[str]  # of the class's name, after that of the family: as of its own, unless it says another

    def __init_subclass__(cls) -> None:
        if "ending" not in vars(cls):
            cls.ending = cls.__name__.removeprefix("AutoModel") or "Model"

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **arguments: Any) -> Any:
        """The model, of its family's class; arguments as DistilBERT's from_pretrained takes them.

        Raises ModelNotFoundError, CheckpointError (also for another family), InputError, DeviceError.
        """
        name = pretrained_model_name_or_path
        return load_pretrained(lambda config: class_of(family_of(config, name), cls.ending), name, **arguments)

    @classmethod
    def from_config(cls, config: Any, **arguments: Any) -> Any:
        """The model a config describes, with random weights. Raises InputError for what is no config."""
        family = getattr(type(config), "model_type", None)
        if family not in FAMILIES or not isinstance(config, class_of(family, "Config")):
            raise InputError(f"the config of a model of {', '.join(FAMILIES)} is needed, not {type(config).__name__}")
        return class_of(family, cls.ending)(config, **arguments)


class AutoModel(_AutoModel):
    """The encoder alone.

    >>> type(AutoModel.from_pretrained("nanodistil-mini", backend="numpy")).__name__
    'DistilBertModel'
    """


class AutoModelForMaskedLM(_AutoModel):
    """With the head it was trained with."""


class AutoModelForPreTraining(_AutoModel):
    """Another name for AutoModelForMaskedLM: what a BERT learned besides, of two sentences, is not kept here."""

    ending = "ForMaskedLM"


class AutoModelForSequenceClassification(_AutoModel):
    """With a classifier of texts."""


class AutoModelForTokenClassification(_AutoModel):
    """With a classifier of tokens."""


class AutoModelForQuestionAnswering(_AutoModel):
    """With a head that finds answers."""


class AutoModelForMultipleChoice(_AutoModel):
    """With a head that chooses among continuations."""


class AutoModelForCausalLM(_AutoModel):
    """With the head of a model that reads from left to right, and writes on."""

    ending = "LMHeadModel"

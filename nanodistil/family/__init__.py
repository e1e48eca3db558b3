"""The families: DistilBERT and its relatives, each a file that says how it differs, and a line in the table below.

A family's file has its config, a subclass of nanodistil.config.Config that says what files call its fields and arrays
and how its texts are numbered, and its classes: each a class of heads/ with that config. All of them run through the
same model.py, layouts, kernels, pipelines and training.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeGuard

from nanodistil.weights.errors import CheckpointError, InputError, excerpt

if TYPE_CHECKING:
    from nanodistil.pretrained import Pretrained

FAMILIES = {  # model_type -> module, and what its classes' names begin with
    "distilbert": ("nanodistil.family.distilbert", "DistilBert"),
    "bert": ("nanodistil.family.bert", "Bert"),
    "roberta": ("nanodistil.family.roberta", "Roberta"),
    "gpt2": ("nanodistil.family.gpt2", "GPT2"),
}


def family_of(config: dict[str, Any], name: object) -> str:
    """The key of FAMILIES that a parsed config.json is of. Raises CheckpointError for another family.

    >>> family_of({"model_type": "bert"}, "x"), family_of({"n_heads": 12}, "x"), family_of({"type_vocab_size": 2}, "x")
    ('bert', 'distilbert', 'bert')
    """
    kind = config.get("model_type") or untold(config, name)
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise CheckpointError(f"{name}: is a {excerpt(kind)} model; nanodistil has {', '.join(FAMILIES)}")
    return kind


def untold(config: dict[str, Any], name: object) -> str:
    """The family of a file of 2018 or 2019, which does not say it: that of the class it names, or that of its shape.

    A RoBERTa has one token type, a BERT two; beside that, 1e-5 for an epsilon, two positions that no token has, or a
    name with "roberta" in it, which is all that transformers goes by. Raises CheckpointError if name and shape differ.

    >>> untold({"architectures": ["RobertaForMaskedLM"]}, "x"), untold({"type_vocab_size": 1}, "./roberta-base")
    ('roberta', 'roberta')
    >>> untold({"n_embd": 768, "layer_norm_epsilon": 1e-5}, "x")
    'gpt2'
    """
    classes = config.get("architectures")
    for one in classes if isinstance(classes, list) else []:
        for family, (_, beginning) in FAMILIES.items():
            if isinstance(one, str) and one.startswith((f"{beginning}For", f"{beginning}Model", f"{beginning}LMHead")):
                return family
    if "type_vocab_size" not in config:
        return "gpt2" if config.keys() >= {"n_embd", "layer_norm_epsilon"} else "distilbert"
    named, single = "roberta" in str(name).lower(), config["type_vocab_size"] == 1
    if named and not single:
        raise CheckpointError(
            f"{name}: its name says roberta and its config.json has the shape of a bert: put a model_type into that"
        )
    shaped = config.get("layer_norm_eps") == 1e-5 or config.get("max_position_embeddings") == 514
    return "roberta" if single and (named or shaped) else "bert"


def classes_of(family: str) -> list[Any]:
    """All model classes of a family.

    >>> [made.__name__ for made in classes_of("bert")][:2]
    ['BertModel', 'BertForMaskedLM']
    """
    from nanodistil.heads import CLASSES

    module, beginning = FAMILIES[family]
    made = import_module(module)
    return [getattr(made, beginning + ending) for ending in CLASSES if hasattr(made, beginning + ending)]


def is_for(model: Any, ending: str) -> TypeGuard[Pretrained]:
    """Whether a model is of the class of its family with this ending, a key of heads.CLASSES."""
    from nanodistil.heads import CLASSES

    if isinstance(model, CLASSES[ending]):
        return True
    family = getattr(getattr(model, "config", None), "model_type", None)
    if family not in FAMILIES:
        return False
    module, beginning = FAMILIES[family]
    made = getattr(import_module(module), beginning + ending, None)
    return made is not None and isinstance(model, made)


def class_of(family: str, ending: str) -> Any:
    """A family's class, by what its name ends with: "Config", or a key of heads.CLASSES.

    Raises InputError if it has none.

    >>> class_of("bert", "ForMaskedLM").__name__
    'BertForMaskedLM'
    """
    module, beginning = FAMILIES[family]
    found = getattr(import_module(module), beginning + ending, None)
    if found is None:
        made = [name + ending for file, name in FAMILIES.values() if hasattr(import_module(file), name + ending)]
        raise InputError(f"there is no {beginning}{ending} here, only {' and '.join(made) or 'others'}")
    return found

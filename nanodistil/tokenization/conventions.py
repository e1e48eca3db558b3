"""What goes without saying in a tokenizer's files: it depends on the class of transformers that they are written for.

The class is named by tokenizer_config.json, else by config.json, else it is the one of config.json's model_type. That
is AutoTokenizer's order. Three sorts are read here; their words, and the way to cut them, are the same:

  DistilBertTokenizer       [UNK], [SEP], [PAD], [CLS] and [MASK] have their roles, texts are read in lower case unless
                            tokenizer_config.json says otherwise (whatever tokenizer.json says), and a model is given
                            input_ids and attention_mask
  BertTokenizer, ...        the same, and token_type_ids
  PreTrainedTokenizerFast   nothing: what tokenizer.json says, and no roles but those a file names; token_type_ids

Where nothing names a class, as in a folder with no config.json, the roles and inputs are DistilBERT's and all else is
what tokenizer.json says. Any other class is refused by name: it would put other tokens around a text, or cut it
otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.files import CONFIG
from nanodistil.weights.small_files import FOR_CONFIG, read_json

TWO = ("input_ids", "attention_mask")
THREE = ("input_ids", "token_type_ids", "attention_mask")
OWN = "DistilBertTokenizer"
PLAIN = "PreTrainedTokenizerFast"
COPIES = {  # class -> the model_type whose class it is; transformers has BertTokenizer's source again in each
    "BertTokenizer": "bert",
    "ConvBertTokenizer": "convbert",
    "ElectraTokenizer": "electra",
    "LayoutLMTokenizer": "layoutlm",
    "LxmertTokenizer": "lxmert",
    "MobileBertTokenizer": "mobilebert",
    "SqueezeBertTokenizer": "squeezebert",
}
GENERIC = ("PreTrainedTokenizer", "TokenizersBackend")  # the latter is transformers 5's name for it


class Conventions(NamedTuple):
    """name: the class, as save_pretrained writes it. inputs: model_input_names. The others: what is so by default."""

    name: str
    inputs: tuple[str, ...]
    roles: bool = True  # [CLS] and the like have their roles without being named
    lowers: bool = True  # texts are read in lower case unless the config says otherwise; False: as tokenizer.json says


DISTILBERT = Conventions(OWN, TWO)
NAMELESS = Conventions(OWN, TWO, lowers=False)
GENERAL = Conventions(PLAIN, THREE, roles=False, lowers=False)


def conventions_of(folder: Path, settings: dict[str, Any]) -> Conventions:
    """Those of a folder, whose tokenizer_config.json says `settings`. Raises CheckpointError for another class."""
    place, name, config = "tokenizer_config.json", settings.get("tokenizer_class"), folder / CONFIG
    if name is None:
        if not config.is_file():
            return NAMELESS
        said = read_json(config, FOR_CONFIG)
        place, name = CONFIG, said.get("tokenizer_class")
        if name is None:
            kind = said.get("model_type")
            name = next((copy for copy, of in COPIES.items() if kind == of), None)
            return DISTILBERT if name is None else Conventions(name, THREE)
    bare = name.removesuffix("Fast") if isinstance(name, str) else None
    if bare == OWN:
        return DISTILBERT
    if bare in COPIES:
        return Conventions(bare, THREE)
    if bare in GENERIC:
        return GENERAL
    raise CheckpointError(
        f"{folder / place}: tokenizer_class is {excerpt(name)}, which is not read here; those are "
        f"{OWN}, BertTokenizer and its copies, and {PLAIN}"
    )

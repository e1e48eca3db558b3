"""What goes without saying in a tokenizer's files: it depends on the class of transformers that they are written for.

The class is named by tokenizer_config.json, else by config.json, else it is the one of config.json's model_type. That
is AutoTokenizer's order. A kind of tokenizer says which classes it stands for (bert_kind.py); any other class is
refused by name: it would put other tokens around a text, or cut it otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nanodistil.tokenization.template import Template
from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.files import CONFIG
from nanodistil.weights.small_files import FOR_CONFIG, read_json

TWO = ("input_ids", "attention_mask")
THREE = ("input_ids", "token_type_ids", "attention_mask")
GENERIC = ("PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend")  # no kind's own; files say all
ALONE = Template.of("A", "A B")


class Conventions(NamedTuple):
    """name: the class, as save_pretrained writes it. inputs: model_input_names. The others: what is so by default."""

    name: str
    inputs: tuple[str, ...]
    roles: bool = True  # the kind's roles are given without being named, and its template goes around ready ids
    lowers: bool = True  # texts are read in lower case unless the config says otherwise; False: as tokenizer.json says


@dataclass(frozen=True)
class Classes:
    """The classes that a kind of tokenizer stands for, without the ending "Fast"."""

    own: Conventions  # the class of a config.json that names neither a class nor a known model_type
    others: Mapping[str, Conventions] = field(default_factory=dict)  # name -> what is so for it
    of_models: Mapping[str, str] = field(default_factory=dict)  # model_type -> the name of its class
    nameless: Conventions | None = None  # of a folder without config.json; None: as own
    said: str = ""  # all of them, for a message

    def named(self, name: Any) -> Conventions | None:
        """Those of a class, None if it is of another kind."""
        bare = name.removesuffix("Fast") if isinstance(name, str) else None
        return self.own if bare == self.own.name else self.others.get(bare or "")

    def of_folder(self, folder: Path, settings: dict[str, Any]) -> Conventions:
        """Those of a folder, whose tokenizer_config.json says `settings`. Raises CheckpointError for another class."""
        source, name, config = "tokenizer_config.json", settings.get("tokenizer_class"), folder / CONFIG
        if name is None:
            if not config.is_file():
                return self.nameless or self.own
            said = read_json(config, FOR_CONFIG)
            source, name = CONFIG, said.get("tokenizer_class")
            if name is None:
                kind = said.get("model_type")
                known = self.of_models.get(kind) if isinstance(kind, str) else None
                return self.own if known is None else self.others[known]
        found = self.named(name)
        if found is None:
            raise CheckpointError(
                f"{folder / source}: tokenizer_class is {excerpt(name)}, which is not read here; those are "
                f"{self.said or self.own.name}"
            )
        return found

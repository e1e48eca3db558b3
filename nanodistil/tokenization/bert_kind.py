"""BERT's kind of tokenizer: WordPiece, [CLS] and [SEP], and the classes of transformers that have both.

Three sorts of classes are read; their words, and the way to cut them, are the same:

  DistilBertTokenizer       [UNK], [SEP], [PAD], [CLS] and [MASK] have their roles, texts are read in lower case unless
                            tokenizer_config.json says otherwise (whatever tokenizer.json says), and a model is given
                            input_ids and attention_mask
  BertTokenizer, ...        the same, and token_type_ids
  PreTrainedTokenizerFast   nothing: what tokenizer.json says, and no roles but those a file names; token_type_ids

If nothing names a class, as in a folder without config.json, the roles and inputs are DistilBERT's and all else is what
tokenizer.json says.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanodistil.tokenization.added_tokens import AddedTokens
from nanodistil.tokenization.conventions import THREE, TWO, Classes, Conventions
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.kind import Kind, able
from nanodistil.tokenization.vocabulary import TEMPLATE, description_of, vocabulary_texts
from nanodistil.tokenization.wordpiece import WordPiece
from nanodistil.tokenization.wordpiece_sections import read_sections, write_sections

if TYPE_CHECKING:
    from nanodistil.tokenization.scanner import Scanner

COPIES = {  # model_type -> its class; transformers has BertTokenizer's source again in each
    "bert": "BertTokenizer",
    "convbert": "ConvBertTokenizer",
    "electra": "ElectraTokenizer",
    "layoutlm": "LayoutLMTokenizer",
    "lxmert": "LxmertTokenizer",
    "mobilebert": "MobileBertTokenizer",
    "squeezebert": "SqueezeBertTokenizer",
}
OWN = Conventions("DistilBertTokenizer", TWO)
GENERAL = Conventions("PreTrainedTokenizerFast", THREE, roles=False, lowers=False)
GENERIC = ("PreTrainedTokenizer", "TokenizersBackend")  # its other names; the second is transformers 5's


def settle(
    folder: Path, said: dict[str, Any], conventions: Conventions, description: Description | None
) -> dict[str, Any]:
    """The normalizer's switches, if the class leaves them to tokenizer.json; a warning if it does not."""
    found = description.pieces.normalizer if description and isinstance(description.pieces, WordPiece) else None
    if found is None:
        return {}
    if not conventions.lowers:
        return {
            "do_lower_case": found.lowers,
            "strip_accents": found.strips,
            "tokenize_chinese_chars": found.sets_apart,
        }
    if not found.lowers and "do_lower_case" not in said:
        warnings.warn(
            f"{folder / 'tokenizer.json'}: does not lower the case, but {conventions.name} does, where no "
            "tokenizer_config.json says do_lower_case; as in transformers, the class counts",
            stacklevel=4,
        )
    return {}


def compiled(pieces: Any, added: AddedTokens) -> Scanner | None:
    """The compiled scan for these tokens, or None if there is none."""
    from nanodistil.backend import wordpiece_scan
    from nanodistil.tokenization.scanner import Scanner

    scan = wordpiece_scan()
    return None if scan is None else able(lambda: Scanner(pieces, added, scan))


BERT = Kind(
    model="DistilBERT",
    classes=Classes(
        OWN,
        {name: Conventions(name, THREE) for name in COPIES.values()} | dict.fromkeys(GENERIC, GENERAL),
        COPIES,
        OWN._replace(lowers=False),
        "DistilBertTokenizer, BertTokenizer and its copies, and PreTrainedTokenizerFast",
    ),
    framing=TEMPLATE,
    roles={
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    needed=("unk_token", "sep_token", "cls_token"),
    vocabulary_file="vocab.txt",
    from_vocabulary=description_of,
    vocabulary_texts=vocabulary_texts,
    read_sections=read_sections,
    write_sections=write_sections,
    processing="BertProcessing",
    settings={
        "do_lower_case": (bool,),
        "strip_accents": (bool, type(None)),
        "tokenize_chinese_chars": (bool,),
    },
    settle=settle,
    compiled=compiled,
)

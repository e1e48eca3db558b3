"""GPT-2's and RoBERTa's kinds of tokenizers: the same byte-level BPE, and around it

  GPT-2     nothing, or with add_bos_token <|endoftext|> A. A pair is A B, of types 0 and 1; there is no pad token
  RoBERTa   <s> A </s>, and <s> A </s></s> B </s>, all of type 0. <mask> takes the white space before it

Offsets are another difference: GPT-2's count the space before a word to the word, RoBERTa's leave it out. The class
PreTrainedTokenizerFast is read too, as what its tokenizer.json says and no roles but those a file names.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nanodistil.tokenization.added_tokens import AddedToken, AddedTokens
from nanodistil.tokenization.bpe_files import description_of, vocabulary_texts
from nanodistil.tokenization.bpe_sections import read_sections, write_sections
from nanodistil.tokenization.conventions import GENERIC, TWO, Classes, Conventions
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.kind import Kind, able
from nanodistil.tokenization.template import Template
from nanodistil.tokenization.trimming import finish

END = "<|endoftext|>"
PLAIN = Template.of("A", "A B:1")
WITH_BOS = Template.of("bos_token A", "bos_token A B:1")
FRAMED = Template.of("cls_token A sep_token", "cls_token A sep_token sep_token B sep_token")
GENERAL = Conventions("PreTrainedTokenizerFast", ("input_ids", "token_type_ids", "attention_mask"), roles=False)
GENERICS = dict.fromkeys(GENERIC, GENERAL)


def settle(
    folder: Path, said: dict[str, Any], conventions: Conventions, description: Description | None
) -> dict[str, Any]:
    """The general class adds a space if it is told so, and leaves offsets to tokenizer.json."""
    if conventions.roles:
        return {}
    return {"add_prefix_space": said.get("add_prefix_space", False), "trim_offsets": None}


def compiled(pieces: Any, added: AddedTokens) -> Any:
    """The compiled scan for these tokens, or None if there is none."""
    from nanodistil.backend import bpe_scan
    from nanodistil.tokenization.byte_scanner import ByteScanner

    scan = bpe_scan()
    return None if scan is None else able(lambda: ByteScanner(pieces, added, scan))


GPT2 = Kind(
    model="GPT-2",
    classes=Classes(
        Conventions("GPT2Tokenizer", TWO), GENERICS, said="GPT2Tokenizer, RobertaTokenizer and PreTrainedTokenizerFast"
    ),
    framing=PLAIN,
    roles={"unk_token": END, "bos_token": END, "eos_token": END, "pad_token": None},
    needed=(),
    vocabulary_file="vocab.json",
    from_vocabulary=partial(description_of, framing=PLAIN),
    vocabulary_texts=vocabulary_texts,
    read_sections=read_sections,
    write_sections=write_sections,
    processing="ByteLevel",
    also=(WITH_BOS,),
    settings={"add_prefix_space": (bool,), "add_bos_token": (bool,), "errors": (str,)},
    settle=settle,
    compiled=compiled,
    finish=finish,
)

ROBERTA = replace(
    GPT2,
    model="RoBERTa",
    classes=Classes(
        Conventions("RobertaTokenizer", TWO),
        GENERICS,
        said="RobertaTokenizer, GPT2Tokenizer and PreTrainedTokenizerFast",
    ),
    framing=FRAMED,
    roles={
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": AddedToken("<mask>", lstrip=True, normalized=False),
    },
    needed=("cls_token", "sep_token"),
    from_vocabulary=partial(description_of, framing=FRAMED),
    processing="RobertaProcessing",
    also=(),
    settings={"add_prefix_space": (bool,), "trim_offsets": (bool,), "errors": (str,)},
)

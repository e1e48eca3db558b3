"""Which class a folder's tokenizer is of: GPT-2's, RoBERTa's, or else DistilBERT's, which stands for all WordPiece.

In transformers' order: tokenizer_config.json names a class, or config.json does, or its model_type has one. If nothing
is said, or the class says nothing (PreTrainedTokenizerFast), the files are looked at: a tokenizer.json with BPE in it,
or a vocab.json without one, is RoBERTa's if it puts <s> and </s> around a text, else GPT-2's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nanodistil.tokenization.byte_kinds import GENERIC, GPT2, ROBERTA
from nanodistil.tokenization.byte_tokenizers import GPT2Tokenizer, RobertaTokenizer
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.tokenization.tokenizer import DistilBertTokenizer
from nanodistil.weights.files import CONFIG
from nanodistil.weights.small_files import FOR_CONFIG, FOR_TOKENIZER, FOR_TOKENS, read_json

OF_MODELS: dict[Any, type[Tokenizer]] = {"gpt2": GPT2Tokenizer, "roberta": RobertaTokenizer}
ROBERTAS = {"<s>", "</s>", "<mask>"}


def class_of(folder: Path) -> type[Tokenizer]:
    """The class to load the folder's tokenizer with, which may yet refuse it. Raises CheckpointError."""
    config = _said(folder / "tokenizer_config.json", FOR_TOKENS)
    model = _said(folder / CONFIG, FOR_CONFIG)
    name = config.get("tokenizer_class") or model.get("tokenizer_class")
    bare = name.removesuffix("Fast") if isinstance(name, str) else None
    for cls, kind in ((GPT2Tokenizer, GPT2), (RobertaTokenizer, ROBERTA)):
        if bare == kind.classes.own.name:
            return cls
    if name is None:
        of_model = model.get("model_type")
        if isinstance(of_model, str) and of_model in OF_MODELS:
            return OF_MODELS[of_model]
    elif name not in GENERIC:
        return DistilBertTokenizer
    return _by_files(folder)


def _said(path: Path, limits: Any) -> dict[str, Any]:
    return dict(read_json(path, limits)) if path.is_file() else {}


def _by_files(folder: Path) -> type[Tokenizer]:
    if (folder / "tokenizer.json").is_file():
        whole = read_json(folder / "tokenizer.json", FOR_TOKENIZER)
        model, end = whole.get("model"), whole.get("post_processor")
        if not isinstance(model, dict) or not (model.get("type") == "BPE" or "merges" in model):
            return DistilBertTokenizer
        if isinstance(end, dict) and end.get("type") == ROBERTA.processing:
            return RobertaTokenizer
        if isinstance(end, dict) and end.get("type") == GPT2.processing:
            return GPT2Tokenizer
        vocabulary = model.get("vocab")
    elif (folder / "vocab.json").is_file() and not (folder / "vocab.txt").is_file():
        vocabulary = read_json(folder / "vocab.json", FOR_TOKENIZER)
    else:
        return DistilBertTokenizer
    return RobertaTokenizer if isinstance(vocabulary, dict) and vocabulary.keys() >= ROBERTAS else GPT2Tokenizer

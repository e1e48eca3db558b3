"""Which class a folder's tokenizer is of: GPT-2's, RoBERTa's, or else DistilBERT's, which stands for all WordPiece.

In transformers' order: tokenizer_config.json names a class, or config.json does, or its model_type has one. If nothing
is said, or the class says nothing (PreTrainedTokenizerFast), the files are looked at: a tokenizer.json with BPE in it,
or a vocab.json without one, is RoBERTa's if it puts <s> and </s> around a text, else GPT-2's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nanodistil import tokenization
from nanodistil.tokenization.conventions import GENERIC
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.files import CONFIG
from nanodistil.weights.small_files import FOR_CONFIG, FOR_TOKENIZER, FOR_TOKENS, read_json

WORDPIECE, GPT2, ROBERTA = "DistilBertTokenizer", "GPT2Tokenizer", "RobertaTokenizer"
OF_MODELS: dict[Any, str] = {"gpt2": GPT2, "roberta": ROBERTA}
ROBERTAS = {"<s>", "</s>", "<mask>"}


def class_of(folder: Path) -> type[Tokenizer]:
    """The class to load the folder's tokenizer with, which may yet refuse it. Raises CheckpointError."""
    cls: type[Tokenizer] = getattr(tokenization, _name_of(folder))
    return cls


def _name_of(folder: Path) -> str:
    config = _said(folder / "tokenizer_config.json", FOR_TOKENS)
    model = _said(folder / CONFIG, FOR_CONFIG)
    name = config.get("tokenizer_class") or model.get("tokenizer_class")
    if isinstance(name, str) and (bare := name.removesuffix("Fast")) in (GPT2, ROBERTA):
        return bare
    if name is None:
        of_model = model.get("model_type")
        if isinstance(of_model, str) and of_model in OF_MODELS:
            return OF_MODELS[of_model]
    elif name not in GENERIC:
        return WORDPIECE
    return _by_files(folder)


def _said(path: Path, limits: Any) -> dict[str, Any]:
    return dict(read_json(path, limits)) if path.is_file() else {}


def _by_files(folder: Path) -> str:
    if (folder / "tokenizer.json").is_file():
        whole = read_json(folder / "tokenizer.json", FOR_TOKENIZER)
        model, end = whole.get("model"), whole.get("post_processor")
        if not isinstance(model, dict) or not (model.get("type") == "BPE" or "merges" in model):
            return WORDPIECE
        from nanodistil.tokenization import byte_kinds

        for name, kind in ((ROBERTA, byte_kinds.ROBERTA), (GPT2, byte_kinds.GPT2)):
            if isinstance(end, dict) and end.get("type") == kind.processing:
                return name
        vocabulary = model.get("vocab")
    elif (folder / "vocab.json").is_file() and not (folder / "vocab.txt").is_file():
        vocabulary = read_json(folder / "vocab.json", FOR_TOKENIZER)
    else:
        return WORDPIECE
    return ROBERTA if isinstance(vocabulary, dict) and vocabulary.keys() >= ROBERTAS else GPT2

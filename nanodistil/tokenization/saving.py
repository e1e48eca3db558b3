"""Writing a tokenizer's folder, as transformers writes it, for transformers (4 and 5) and for us to load.

  vocab.txt                 the vocabulary, a token a line
  tokenizer.json            all of it: vocabulary, added tokens, normalizer, template, decoder
  tokenizer_config.json     the class's settings, the roles of special tokens, the added tokens once more
  special_tokens_map.json   the roles with their flags
  added_tokens.json         the tokens beyond vocab.txt, where there are any

All are written under temporary names before the first is renamed (weights/saving.py). Two things are not as
transformers has them: tokenizer.json forgets the padding and truncation of the last call, which are nobody's setting,
and the config says on which side to pad and to cut also where that was set after loading.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanodistil.loading_arguments import OF_SAVING, nothing_but
from nanodistil.tokenization.added_tokens import FLAGS, AddedToken
from nanodistil.tokenization.conventions import OWN, PLAIN, TWO
from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.tokenization.tokenizer import DistilBertTokenizer


def save_pretrained(
    tokenizer: DistilBertTokenizer,
    save_directory: str | Path,
    legacy_format: bool | None = None,
    filename_prefix: str | None = None,
    **others: Any,
) -> tuple[str, ...]:
    """Write vocab.txt, tokenizer.json and the settings to a folder, for us and for transformers to load.

    legacy_format: True for vocab.txt alone, False for tokenizer.json alone, None for both. filename_prefix: goes
    before every name, with a "-". Returns the paths written. Raises InputError where one cannot be written, for a
    vocabulary whose ids have holes, which nobody could load as they are, and for a token that holds a line end.
    """
    nothing_but(others, OF_SAVING, "save_pretrained")
    lines = None if legacy_format is False else _vocabulary_lines(tokenizer)
    beyond = {t: i for t, i in tokenizer.added_tokens_encoder.items() if i >= tokenizer.vocab_size}
    texts = {  # in transformers' order
        "tokenizer_config.json": _json(_sorted(_config(tokenizer))),
        "special_tokens_map.json": _json(_sorted(_plain(tokenizer.special_tokens_map_extended))),
    }
    if lines is not None:
        texts["vocab.txt"] = lines
        if beyond:
            texts["added_tokens.json"] = _json(_sorted(beyond))
    if legacy_format is not True:
        texts["tokenizer.json"] = _json(_tokenizer_json(tokenizer))
    return _write(save_directory, filename_prefix, texts)


def save_vocabulary(
    tokenizer: DistilBertTokenizer, save_directory: str | Path, filename_prefix: str | None = None
) -> tuple[str]:
    """Write vocab.txt alone; returns its path. Raises InputError as save_pretrained does."""
    (path,) = _write(save_directory, filename_prefix, {"vocab.txt": _vocabulary_lines(tokenizer)})
    return (path,)


def _vocabulary_lines(tokenizer: DistilBertTokenizer) -> str:
    """Line n is token n. Raises InputError where that cannot be said in lines."""
    vocabulary = tokenizer.encoder.backend.vocabulary
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
        raise InputError("the vocabulary names a token twice, which leaves a hole among its ids; mend it and try again")
    if any("\n" in token or "\r" in token for token in tokens):
        raise InputError("a token of the vocabulary holds a line end, which vocab.txt cannot; pass legacy_format=False")
    return "".join(f"{token}\n" for token in tokens)


def _write(folder: str | Path, prefix: str | None, texts: dict[str, str]) -> tuple[str, ...]:
    """Name -> text, as files of a folder, all of them or none; returns their paths."""
    from nanodistil.weights.saving import written_together  # NumPy comes with it

    folder = Path(folder)
    if folder.is_file():
        raise InputError(f"{folder}: is a file, where a folder is to be written; choose another name")
    contents: dict[Path, bytes] = {}
    for name, text in texts.items():
        path = folder / (f"{prefix}-{name}" if prefix else name)
        try:
            contents[path] = text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{path}: a token holds a lone surrogate, which no file can; mend the vocabulary"
            ) from None
    written_together({path: partial(_fill, raw=raw) for path, raw in contents.items()})
    return tuple(map(str, contents))


def _fill(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _sorted(entries: dict[str, Any]) -> dict[str, Any]:
    return {key: _sorted(value) if isinstance(value, dict) else value for key, value in sorted(entries.items())}


def _plain(value: Any, **extra: Any) -> Any:
    """Tokens as JSON: a string, or an object with the flags, but not `special`, which a role says already."""
    if isinstance(value, AddedToken):
        flags = {flag: getattr(value, flag) for flag in FLAGS if flag != "special"}
        return {"content": value.content, **flags, **extra}
    if isinstance(value, dict):
        return {key: _plain(item, **extra) for key, item in value.items()}
    return [_plain(item, **extra) for item in value] if isinstance(value, list) else value


def _config(tokenizer: DistilBertTokenizer) -> dict[str, Any]:
    added = {
        str(number): {**_plain(token), "special": token.special}
        for number, token in tokenizer.added_tokens_decoder.items()
    }
    config: dict[str, Any] = {
        "added_tokens_decoder": added,
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "do_lower_case": tokenizer.do_lower_case,
        "extra_special_tokens": {},
        "model_max_length": tokenizer.model_max_length,
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.tokenize_chinese_chars,
        "tokenizer_class": tokenizer.tokenizer_class,
        **tokenizer.special_tokens_map,
    }
    for role in ("unk_token", "sep_token", "cls_token"):
        if role not in config and tokenizer.tokenizer_class != PLAIN:
            raise InputError(f"the tokenizer has no {role}, which DistilBERT needs; set tokenizer.{role}")
    config = {"pad_token": None, "mask_token": None, **config}  # else the defaults would come back
    unless = {
        "padding_side": "right",
        "truncation_side": "right",
        "split_special_tokens": False,
        "model_input_names": list(TWO) if tokenizer.tokenizer_class == OWN else None,
    }
    config |= {key: getattr(tokenizer, key) for key, default in unless.items() if getattr(tokenizer, key) != default}
    return config


def _tokenizer_json(tokenizer: DistilBertTokenizer) -> dict[str, Any]:
    backend = tokenizer.encoder.backend
    (cls, cls_id), (sep, sep_id) = backend.cls, backend.sep

    def special(token: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    single = [special(cls, 0), {"Sequence": {"id": "A", "type_id": 0}}, special(sep, 0)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, **_plain(token), "special": token.special}
            for number, token in tokenizer.added_tokens_decoder.items()
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": backend.clean_text,
            "handle_chinese_chars": tokenizer.tokenize_chinese_chars,
            "strip_accents": tokenizer.strip_accents,
            "lowercase": tokenizer.do_lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}, special(sep, 1)],
            "special_tokens": {
                token: {"id": token, "ids": [number], "tokens": [token]}
                for token, number in ((cls, cls_id), (sep, sep_id))
            },
        },
        "decoder": {"type": "WordPiece", "prefix": backend.decoder_prefix, "cleanup": backend.decoder_cleans},
        "model": {
            "type": "WordPiece",
            "unk_token": backend.unknown,
            "continuing_subword_prefix": backend.prefix,
            "max_input_chars_per_word": backend.longest_word,
            "vocab": dict(sorted(backend.vocabulary.items(), key=lambda entry: entry[1])),
        },
    }

"""Writing a tokenizer's folder, as transformers writes it, for transformers (4 and 5) and for us to load.

  vocab.txt                 the vocabulary, a token a line
  tokenizer.json            all of it: vocabulary, added tokens, normalizer, template, decoder
  tokenizer_config.json     the class's settings, the roles of special tokens, the added tokens once more
  special_tokens_map.json   the roles with their flags
  added_tokens.json         the tokens beyond vocab.txt, if there are any

All are written under temporary names before the first is renamed (weights/saving.py). Two things are not as
transformers has them: tokenizer.json forgets the padding and truncation of the last call, which are nobody's setting,
and the config says on which side to pad and to cut also if that was set after loading.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from nanodistil.loading_arguments import OF_SAVING, nothing_but
from nanodistil.tokenization.added_tokens import FLAGS, AddedToken
from nanodistil.tokenization.state import State
from nanodistil.tokenization.tokenizer_json import write_template
from nanodistil.weights.errors import InputError


def save_pretrained(
    state: State,
    save_directory: str | Path,
    legacy_format: bool | None = None,
    filename_prefix: str | None = None,
    **others: Any,
) -> tuple[str, ...]:
    """Write vocab.txt, tokenizer.json and the settings to a folder, for us and for transformers to load.

    legacy_format: True for vocab.txt alone, False for tokenizer.json alone, None for both. filename_prefix: goes
    before every name, with a "-". Returns the paths written. Raises InputError if one cannot be written, for a
    vocabulary whose ids have holes, which nobody could load as they are, and for a token that holds a line end.
    """
    nothing_but(others, OF_SAVING, "save_pretrained")
    vocabulary = None if legacy_format is False else state.kind.vocabulary_texts(state)
    beyond = {t: i for t, i in state.added_tokens_encoder.items() if i >= state.vocab_size}
    texts = {  # in transformers' order
        "tokenizer_config.json": _json(_sorted(_config(state))),
        "special_tokens_map.json": _json(_sorted(_plain(state.special_tokens_map_extended))),
    }
    if vocabulary is not None:
        texts |= vocabulary
        if beyond:
            texts["added_tokens.json"] = _json(_sorted(beyond))
    if legacy_format is not True:
        texts["tokenizer.json"] = _json(_tokenizer_json(state))
    return _write(save_directory, filename_prefix, texts)


def save_vocabulary(state: State, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str, ...]:
    """Write vocab.txt alone; returns its path. Raises InputError as save_pretrained does."""
    return _write(save_directory, filename_prefix, state.kind.vocabulary_texts(state))


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


def _config(state: State) -> dict[str, Any]:
    added = {
        str(number): {**_plain(token), "special": token.special} for number, token in state.added_tokens_decoder.items()
    }
    kind, conventions = state.kind, state.conventions
    config: dict[str, Any] = {
        "added_tokens_decoder": added,
        "clean_up_tokenization_spaces": state.clean_up_tokenization_spaces,
        "extra_special_tokens": {},
        "model_max_length": state.model_max_length,
        "tokenizer_class": state.tokenizer_class,
        **{name: getattr(state, name) for name in kind.settings},
        **state.special_tokens_map,
    }
    for role in kind.needed:
        if role not in config and conventions.roles:
            raise InputError(f"the tokenizer has no {role}, which {kind.model} needs; set tokenizer.{role}")
    config = {**{role: None for role in kind.roles if role not in kind.needed}, **config}  # or the defaults come back
    own = conventions.name == kind.classes.own.name
    unless = {
        "padding_side": "right",
        "truncation_side": "right",
        "split_special_tokens": False,
        "model_input_names": list(conventions.inputs) if own else None,
    }
    config |= {key: getattr(state, key) for key, default in unless.items() if getattr(state, key) != default}
    return config


def _tokenizer_json(state: State) -> dict[str, Any]:
    sections = state.kind.write_sections(state)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, **_plain(token), "special": token.special}
            for number, token in state.added_tokens_decoder.items()
        ],
        "normalizer": sections["normalizer"],
        "pre_tokenizer": sections["pre_tokenizer"],
        "post_processor": sections.get("post_processor") or write_template(state.encoder.template),
        "decoder": sections["decoder"],
        "model": sections["model"],
    }

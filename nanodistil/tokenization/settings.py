"""tokenizer_config.json, special_tokens_map.json and added_tokens.json: what they say beside the vocabulary.

Only the keys below are read, each with its type; the rest is ignored, never acted on. The precedence is that of
transformers: an argument of the call, then special_tokens_map.json, then tokenizer_config.json, then the conventions of
the class that the files are written for (conventions.py). If the config has an added_tokens_decoder it is the newer
kind of file, and the two legacy files are not looked at.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.kind import Kind
from nanodistil.tokenization.special_tokens import SPECIAL
from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.small_files import FOR_TOKENS, read_json

_KINDS: dict[str, tuple[type, ...]] = {
    "clean_up_tokenization_spaces": (bool,),
    "model_max_length": (int, float, type(None)),
    "max_len": (int, float),
    "padding_side": (str,),
    "truncation_side": (str,),
    "model_input_names": (list,),
    "split_special_tokens": (bool,),
}
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "model_max_length": lambda value: value is None or 0 <= value < float("inf"),
    "max_len": lambda value: 0 <= value < float("inf"),
    "padding_side": ("left", "right").__contains__,
    "truncation_side": ("left", "right").__contains__,
    "model_input_names": lambda value: bool(value) and all(isinstance(name, str) and name in _INPUTS for name in value),
}
_UNSUPPORTED: dict[str, Any] = {  # key -> the value with which it says nothing
    "pad_token_type_id": 0,
    "do_basic_tokenize": True,
    "extra_special_tokens": {},
}


def _anything(_: Any) -> bool:
    return True


def read_settings(
    folder: Path, overrides: dict[str, Any], kind: Kind, description: Description | None = None
) -> tuple[dict[str, Any], str]:
    """Keyword arguments for a tokenizer of a kind from the small files of a folder, and the class they are written for.

    overrides: arguments that win. description: what tokenizer.json says, if there is one. If a special token is named
    again there, it has those flags. Raises CheckpointError naming the file and the key.
    """
    path = folder / "tokenizer_config.json"
    config = read_json(path, FOR_TOKENS) if path.is_file() else {}
    conventions = kind.classes.of_folder(folder, config)
    said = {**config, **overrides}
    if not conventions.roles:
        if description is None:
            raise CheckpointError(
                f"{path}: tokenizer_class is {conventions.name}, which needs a tokenizer.json; get it too"
            )
        config = {key: value for key, value in config.items() if key not in kind.settings}
    out: dict[str, Any] = {"model_input_names": list(conventions.inputs)}
    out |= kind.settle(folder, said, conventions, description)
    if not conventions.roles:
        out |= dict.fromkeys(SPECIAL) | ({"pad_token": description.padding_token} if description else {})
    needed = kind.needed if conventions.roles else ()
    for key, kinds in {**kind.settings, **_KINDS}.items():
        if key in config:
            value = config[key]
            fits = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
            if not fits or not _CHECKS.get(key, _anything)(value):
                raise CheckpointError(f"{path}: {key} cannot be {excerpt(value)}; correct or remove it")
            out[key] = value
    out.setdefault("model_max_length", out.pop("max_len", None))
    if isinstance(config.get("extra_special_tokens"), list):  # transformers 5's name for them
        config.setdefault("additional_special_tokens", config.pop("extra_special_tokens"))
    for key, harmless in _UNSUPPORTED.items():
        if config.get(key, harmless) not in (harmless, None):
            raise CheckpointError(f"{path}: {key} is {excerpt(config[key])}, which is not supported; remove it")
    _read_special(config, out, path, kind, needed)

    lending: dict[int, AddedToken] = {}  # the added tokens whose flags a special token of the same name takes on
    if "added_tokens_decoder" in config:
        entries = config["added_tokens_decoder"]
        if not isinstance(entries, dict):
            raise CheckpointError(f"{path}: added_tokens_decoder is not an object; correct or remove it")
        for number, value in entries.items():
            if not (number.isascii() and number.isdecimal() and len(number) < 8):
                raise CheckpointError(
                    f"{path}: added_tokens_decoder has the id {excerpt(number)}; correct or remove it"
                )
            lending[int(number)] = AddedToken.from_json(value, f"{path}: added_tokens_decoder")
        decoder = lending
    else:
        lending = dict(description.added) if description else {}
        legacy = _read_legacy(folder, out, overrides, kind, needed)
        decoder = {**legacy, **lending}
        kept = {token.content for token in decoder.values()}
        for token in [token for token in legacy.values() if token.content not in kept][:1]:
            warnings.warn(
                f"{folder / 'added_tokens.json'}: {excerpt(token.content)} has the id of another token in "
                "tokenizer.json, and is left out",
                stacklevel=3,
            )
    out = {**out, **overrides, "added_tokens_decoder": decoder}
    flags = {token.content: token for token in lending.values()}
    out.update((key, flags.get(str(out[key]), out[key])) for key in SPECIAL if out.get(key) is not None)
    return out, conventions.name


def _read_special(
    source: dict[str, Any],
    out: dict[str, Any],
    path: Path,
    kind: Kind,
    needed: tuple[str, ...],
    special: bool | None = None,
) -> None:
    """Special tokens named in `source`, as str or AddedToken (whose `special` flag is `special`, unless None)."""

    def token(key: str, value: Any) -> str | AddedToken:
        if value == "":
            raise CheckpointError(f"{path}: {key} is empty; correct or remove it")
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and special is not None:
            value = {**value, "special": special}
        return AddedToken.from_json(value, f"{path}: {key}")

    for key in SPECIAL:
        if key in source:
            if source[key] is None and key in needed:
                raise CheckpointError(f"{path}: {key} is null, but {kind.model} needs one; correct or remove it")
            out[key] = None if source[key] is None else token(key, source[key])
    more = source.get("additional_special_tokens")
    if more is not None:
        if not isinstance(more, list):
            raise CheckpointError(f"{path}: additional_special_tokens is not a list; correct or remove it")
        known = out.setdefault("additional_special_tokens", [])
        known += [t for t in (token("additional_special_tokens", value) for value in more) if t not in known]


def _read_legacy(
    folder: Path, out: dict[str, Any], overrides: dict[str, Any], kind: Kind, needed: tuple[str, ...]
) -> dict[int, AddedToken]:
    decoder: dict[int, AddedToken] = {}
    path = folder / "special_tokens_map.json"
    if path.is_file():
        named = {key: value for key, value in read_json(path, FOR_TOKENS).items() if not overrides.get(key)}
        _read_special(named, out, path, kind, needed, special=True)
    path = folder / "added_tokens.json"
    if path.is_file():
        named = {**out, **overrides}
        special = {str(named[key]) for key in SPECIAL if named.get(key) is not None}
        special |= set(map(str, named.get("additional_special_tokens", ())))
        for content, number in read_json(path, FOR_TOKENS).items():
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise CheckpointError(f"{path}: {excerpt(content)} has the id {excerpt(number)}; correct or remove it")
            decoder[number] = AddedToken(content, normalized=content not in special, special=content in special)
    return decoder

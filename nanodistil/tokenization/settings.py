"""tokenizer_config.json, special_tokens_map.json and added_tokens.json: what they say beside the vocabulary.

Only the keys below are read, each with its type; the rest is ignored, never acted on. The precedence is transformers':
an argument of the call, then special_tokens_map.json, then tokenizer_config.json, then the class's defaults. So
`do_lower_case` is True unless a file says otherwise, whatever the normalizer in tokenizer.json says. Where the config has
an added_tokens_decoder it is the newer kind of file, and the two legacy files are not looked at.
"""

from pathlib import Path
from typing import Any

from nanodistil.tokenization.added_tokens import AddedToken
from nanodistil.tokenization.files import read_json
from nanodistil.weights.errors import CheckpointError

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

_KINDS: dict[str, tuple[type, ...]] = {
    "do_lower_case": (bool,),
    "strip_accents": (bool, type(None)),
    "tokenize_chinese_chars": (bool,),
    "clean_up_tokenization_spaces": (bool,),
    "model_max_length": (int, float, type(None)),
    "max_len": (int, float),
    "padding_side": (str,),
    "truncation_side": (str,),
    "model_input_names": (list,),
}


def read_settings(folder: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for DistilBertTokenizer from the small files of a folder; `overrides` win.

    Raises CheckpointError naming the file and the key.
    """
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    out: dict[str, Any] = {}
    for key, kinds in _KINDS.items():
        if key in config:
            value = config[key]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise CheckpointError(f"{path}: {key} is {str(value)[:40]!r}, which cannot be used; correct or remove it")
            out[key] = value
    out.setdefault("model_max_length", out.pop("max_len", None))
    for key, harmless in (("split_special_tokens", False), ("pad_token_type_id", 0), ("extra_special_tokens", {})):
        if config.get(key, harmless) not in (harmless, None):
            raise CheckpointError(f"{path}: {key} is {str(config[key])[:40]!r}, which is not supported; remove it")
    _read_special(config, out, path)

    decoder: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in config:
        entries = config["added_tokens_decoder"]
        if not isinstance(entries, dict):
            raise CheckpointError(f"{path}: added_tokens_decoder is not an object; correct or remove it")
        for number, value in entries.items():
            if not (number.isascii() and number.isdecimal() and len(number) < 8):
                raise CheckpointError(f"{path}: added_tokens_decoder has the id {number[:40]!r}; correct or remove it")
            decoder[int(number)] = AddedToken.from_json(value, f"{path}: added_tokens_decoder")
    else:
        _read_legacy(folder, out, overrides, decoder)
    out["added_tokens_decoder"] = decoder
    return {**out, **overrides}


def _read_special(source: dict[str, Any], out: dict[str, Any], path: Path, special: bool | None = None) -> None:
    """Special tokens named in `source`, as str or AddedToken (whose `special` flag is `special`, unless None)."""

    def token(key: str, value: Any) -> str | AddedToken:
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and special is not None:
            value = {**value, "special": special}
        return AddedToken.from_json(value, f"{path}: {key}")

    for key in SPECIAL:
        if key in source:
            if source[key] is None and key in ("unk_token", "sep_token", "cls_token"):
                raise CheckpointError(f"{path}: {key} is null, but DistilBERT cannot do without it; correct or remove it")
            out[key] = None if source[key] is None else token(key, source[key])
    more = source.get("additional_special_tokens")
    if more is not None:
        if not isinstance(more, list):
            raise CheckpointError(f"{path}: additional_special_tokens is not a list; correct or remove it")
        known = out.setdefault("additional_special_tokens", [])
        known += [t for t in (token("additional_special_tokens", value) for value in more) if t not in known]


def _read_legacy(folder: Path, out: dict[str, Any], overrides: dict[str, Any], decoder: dict[int, AddedToken]) -> None:
    path = folder / "special_tokens_map.json"
    if path.is_file():
        content = {key: value for key, value in read_json(path).items() if not overrides.get(key)}
        _read_special(content, out, path, special=True)
    path = folder / "added_tokens.json"
    if path.is_file():
        names = {key: value for key, value in {**out, **overrides}.items() if key in SPECIAL and value is not None}
        special = {*map(str, names.values()), *map(str, out.get("additional_special_tokens", ()))}
        for content, number in read_json(path).items():
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise CheckpointError(f"{path}: {content[:40]!r} has the id {str(number)[:40]!r}; correct or remove it")
            decoder[number] = AddedToken(content, special=content in special)

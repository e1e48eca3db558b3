"""What a folder of sentence-transformers says of itself, read with suspicion.

    modules.json                         [{"path": "", "type": "...Transformer"}, {"path": "1_Pooling", "type": ...}]
    sentence_bert_config.json            beside the model: max_seq_length, do_lower_case, transformer_task
    config_sentence_transformers.json    prompts, default_prompt_name, similarity_fn_name, model_type

A module's type is the dotted name of a class, of which nothing but the last word is believed, and that only of a class
of sentence-transformers: code that a folder brings along is refused. A path is a plain name within the folder. A folder
without modules.json is a plain model, behind which each class has a usual step.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.files import contained
from nanodistil.weights.sentence_modules import MODULES, OF_MODEL, SETTINGS
from nanodistil.weights.small_files import FOR_SETTINGS, parsed, read_json, read_text

MODELS = ("Transformer", "MLMTransformer")  # modules that are the model itself
CLASSES = {
    "SentenceTransformer": "SentenceEncoder",
    "CrossEncoder": "CrossEncoder",
    "SparseEncoder": "SparseEncoder",
}  # model_type -> what loads it here
MOST = 20  # modules
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,100}")
_OURS = re.compile(r"sentence_transformers\.[A-Za-z0-9_.]{1,200}")


class Module(NamedTuple):
    """A step behind the model."""

    kind: str  # the last word of its type
    folder: Path  # of its config and weights


class Folder(NamedTuple):
    """What a folder says of itself, checked."""

    home: Path  # of the model and its tokenizer
    steps: list[Module] | None  # behind the model; None if nothing is said of any
    of_model: dict[str, Any]  # sentence_bert_config.json
    settings: dict[str, Any]  # config_sentence_transformers.json


def described(folder: Path, wanted: str) -> Folder:
    """What the folder says. wanted: the model_type it should be of, a key of CLASSES.

    Raises CheckpointError for files that cannot be read, modules of unknown kinds, and what another class loads.
    """
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    kind = settings.get("model_type", wanted)
    if kind != wanted:
        other = f"nanodistil.{CLASSES[kind]} loads it" if kind in CLASSES else "it is not read here"
        raise CheckpointError(f"{folder}: is a {excerpt(kind)} of sentence-transformers, no {wanted}; {other}")
    if not (folder / MODULES).is_file():
        return Folder(folder, None, {}, settings)
    modules = _modules(folder)
    if not modules or modules[0].kind not in MODELS:
        raise CheckpointError(f"{folder / MODULES}: must begin with a Transformer, the model itself")
    home = modules[0].folder
    file = next((home / name for name in OF_MODEL if (home / name).is_file()), None)
    return Folder(home, modules[1:], read_json(file) if file else {}, settings)


def kind_in(folder: Path) -> str:
    """Which of CLASSES loads the folder, by what it says of itself or by its modules; else a SentenceTransformer.

    Raises CheckpointError for files that cannot be read.
    """
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    if "model_type" in settings:
        return str(settings["model_type"])
    modules = _modules(folder) if (folder / MODULES).is_file() else []
    return "SparseEncoder" if any(one.kind == "SpladePooling" for one in modules) else "SentenceTransformer"


def _modules(folder: Path) -> list[Module]:
    path = folder / MODULES
    try:
        rows = parsed(read_text(path, FOR_SETTINGS), FOR_SETTINGS)
    except ValueError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: cannot be read as JSON ({str(error)[:120]}); get the file again") from None
    if not isinstance(rows, list) or len(rows) > MOST:
        raise CheckpointError(f"{path}: must hold a list of at most {MOST} modules")
    return [_module(folder, path, row) for row in rows]


def _module(folder: Path, path: Path, row: Any) -> Module:
    kind, name = (row.get("type"), row.get("path")) if isinstance(row, dict) else (None, None)
    if not isinstance(kind, str) or not isinstance(name, str):
        raise CheckpointError(f"{path}: a module needs a type and a path, both strings, not {excerpt(row)}")
    if not _OURS.fullmatch(kind):
        raise CheckpointError(
            f"{path}: {excerpt(kind)} is no module of sentence-transformers; code of others is never run here"
        )
    if name and (not _PATH.fullmatch(name) or ".." in name):
        raise CheckpointError(f"{path}: {excerpt(name)} is no plain name of a folder in this one")
    return Module(kind.rpartition(".")[2], contained(folder, name) if name else folder)


def given(values: dict[str, Any], name: str, kind: type | tuple[type, ...], where: Path) -> Any:
    """A value of a config, None if there is none. Raises CheckpointError for one of another type.

    >>> given({"bias": True}, "bias", bool, Path("config.json"))
    True
    """
    value = values.get(name)
    if value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        return value
    raise CheckpointError(f"{where}: {name} cannot be {excerpt(value)}")

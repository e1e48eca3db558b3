"""The model in a folder of sentence-transformers, and its tokenizer, loaded by the Auto classes.

What the three classes share: where the folder is, how many tokens of a text are read, in lower case or not. A text that
is longer is cut, which is what sentence-transformers does, and why such folders say how long a text may be.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from nanodistil.auto import AutoTokenizer
from nanodistil.family import class_of, family_of
from nanodistil.loader import load_pretrained
from nanodistil.loading_arguments import Source
from nanodistil.pretrained import Pretrained
from nanodistil.sentences.folder import Folder, described, given, kind_in
from nanodistil.sentences.lowering import lowering
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.hub import resolve
from nanodistil.weights.sentence_modules import MODULES

LONGEST = 1 << 30  # tokens; a larger limit is none


class Body(NamedTuple):
    """A model with its tokenizer."""

    model: Any
    tokenizer: Tokenizer
    lower: Callable[[str], str] | None  # what is done to a text first


def source_in(arguments: dict[str, Any]) -> Source:
    """Take those out of a call's arguments that say which model is meant; cache_folder is cache_dir."""
    if "cache_folder" in arguments:
        arguments["cache_dir"] = arguments.pop("cache_folder")
    return cast(Source, {name: arguments.pop(name) for name in Source.__annotations__ if name in arguments})


def has_modules(name: str | Path, **source: Any) -> bool:
    """Whether a folder or hub id is of sentence-transformers and says what stands behind its model.

    Raises what weights.hub.resolve raises for a name that is none.

    >>> has_modules("nanodistil-mini")
    False
    """
    return (_home(name, **source) / MODULES).is_file()


def kind_of(name: str | Path, **source: Any) -> str:
    """Which of folder.CLASSES loads a folder or hub id, by what it says of itself; a SentenceTransformer by default.

    Raises as has_modules, and CheckpointError for files that cannot be read.

    >>> kind_of("nanodistil-mini")
    'SentenceTransformer'
    """
    return kind_in(_home(name, **source))


def _home(name: str | Path, **source: Any) -> Path:
    local = Path(name).expanduser()
    return local if local.is_dir() else resolve(name, need="all", adapters=True, **source)


def found(name: str | Path, source: Source, wanted: str) -> tuple[Path, Folder]:
    """The folder of that name, and what it says of itself. wanted: see folder.described.

    Raises ModelNotFoundError, MissingExtraError, CheckpointError, InputError.
    """
    local = isinstance(name, str | Path) and Path(name).expanduser().is_dir()
    folder = Path(name).expanduser() if local else resolve(name, need="all", adapters=True, **source)
    return folder, described(folder, wanted)


def loaded(folder: Folder, head: str, task: str, arguments: dict[str, Any]) -> Body:
    """The model with a head (the end of its class's name), and its tokenizer.

    task: the transformer_task that the folder may say. arguments: of from_pretrained. Raises as from_pretrained.
    """
    home, said = folder.home, folder.of_model
    told = said.get("transformer_task", task)
    if told != task:
        raise CheckpointError(f"{home}: its model is for {excerpt(told)}, and {task} is wanted")
    if said.get("query_expansion") is not None:
        raise CheckpointError(f"{home}: expands queries, as models of many vectors a text do; it is not done here")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is of sentence-transformers.*")  # and here it is done
        if head == "Model":
            warnings.filterwarnings("ignore", ".*no use for.*")  # the head of another task
        model: Pretrained = load_pretrained(lambda config: class_of(family_of(config, home), head), home, **arguments)
    if model.initialised:
        raise CheckpointError(f"{home}: lacks {', '.join(model.initialised)}, which it would have if trained for this")
    tokenizer = AutoTokenizer.from_pretrained(home)
    longest = given(said, "max_seq_length", int, home)
    if longest is not None and not longest > 0:
        raise CheckpointError(f"{home}: max_seq_length must be at least 1, not {longest}")
    longest = longest or int(min(tokenizer.model_max_length, LONGEST))
    tokenizer.model_max_length = min(longest, model.config.max_tokens)
    lowers = given(said, "do_lower_case", bool, home) and not getattr(tokenizer, "do_lower_case", False)
    return Body(model, tokenizer, lowering(tokenizer.all_special_tokens) if lowers else None)

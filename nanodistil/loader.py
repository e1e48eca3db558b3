"""What is behind every from_pretrained: a name becomes a folder, its config a class, its files the class's weights.

A class loads itself; an Auto class, or a pipeline, loads the one that config.json speaks of. Either says so with one
function from a parsed config.json to a class, and everything else is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from nanodistil import backend as backends
from nanodistil.config import Config, overridden
from nanodistil.loading_arguments import OF_MODELS, Source, source_of, taken
from nanodistil.weights.files import CONFIG
from nanodistil.weights.small_files import FOR_CONFIG, read_json


class Loading(Source, total=False):
    """The arguments of every model's from_pretrained, which says what they mean."""

    backend: str | None
    dtype: DTypeLike | None
    threads: int | None
    config: Config | None
    ignore_mismatched_sizes: bool


def load_pretrained(
    class_for: Callable[[dict[str, Any]], Any],
    name: str | Path,
    *,
    backend: str | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    config: Config | None = None,
    ignore_mismatched_sizes: bool = False,
    **overrides: Any,
) -> Any:
    """A model of the class that `class_for` finds for a config; arguments and errors of Pretrained.from_pretrained."""
    from nanodistil.weights.hub import resolve, resolve_model
    from nanodistil.weights.loading import load, sizes

    asked = taken(overrides, OF_MODELS, dtype)
    source = source_of(overrides, asked)
    backend, wanted = backends.choose(backend, asked.dtype)  # before any download
    asked.check_device(backend)
    where = asked.within(name)
    if config is None:  # a word about another family comes before its weights are fetched
        values = read_json(resolve(where, need="config", **source) / CONFIG, FOR_CONFIG)
    else:
        values = config.to_dict() if isinstance(config, Config) else {}
    cls = class_for(values)
    if config is not None:
        cls.check_config(config)
    home = resolve_model(where, **source)
    asked.check_folder(home.folder, CONFIG)
    if config is None:
        config = cls.config_class.from_dict(values)
        assert config is not None
        if home.base:  # whose config does not know of a head, or words, that came with the adapter
            told = sizes(home.folder, config.names)
            overrides = {**{field: n for field, n in told.items() if getattr(config, field) != n}, **overrides}
    config = overridden(config, overrides)
    loaded = load(
        home.folder,
        config,
        cls.head,
        "float64" if wanted == "float64" else "float32",
        ignore_mismatched_sizes=ignore_mismatched_sizes,
        table=config.names,
        base=home.base,
    )
    model = cls(config, loaded.tensors, backend=backend, dtype=wanted, threads=threads)
    model.initialised, model.dropped = loaded.initialised, loaded.dropped
    model.name_or_path = str(name)
    model.beside(home.config.parent)
    return model

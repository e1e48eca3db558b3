"""A model as others read it: config.json, model.safetensors under transformers' names, and the tokenizer's files.

What is loaded may be anything nanodistil loads: the embedded model, whose int8 no other program knows, a training
checkpoint, weights of TensorFlow or Flax, or a LoRA, which is then part of the weights. The head is the one whose
arrays are all there: of two, the one config.json speaks of; of an adapter's folder, the adapter's own. Numbers are
rounded to float16 or bfloat16 once, to the nearest, ties to even; a weight beyond float16 is an error, not infinity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.config import Config
from nanodistil.family import class_of, classes_of, family_of
from nanodistil.pretrained import Pretrained
from nanodistil.weights.adapter import Adapter
from nanodistil.weights.errors import InputError, ModelNotFoundError, excerpt
from nanodistil.weights.hub import Home, resolve_model
from nanodistil.weights.loading import sources
from nanodistil.weights.names import is_head
from nanodistil.weights.small_files import FOR_CONFIG, read_json

DTYPES = ("float32", "float16", "bfloat16", "float64")


def export(source: str | Path, folder: str | Path, dtype: str = "float32", **where: Any) -> tuple[Pretrained, bool]:
    """Write the model `source` to a new folder. dtype: of its numbers. where: revision and so on, as from_pretrained.

    Returns the model, and whether it has a tokenizer, which is then there too. Raises InputError for a dtype that is
    none of DTYPES, a folder that cannot be written or is the model's own, numbers that float16 cannot hold; and what
    from_pretrained raises.
    """
    from nanodistil.auto import AutoTokenizer

    if dtype not in DTYPES:
        raise InputError(f"dtype is one of {', '.join(DTYPES)}, not {excerpt(dtype)}")
    folder = Path(folder)
    home = resolve_model(source, **where)
    if folder.exists() and folder.resolve() in (home.folder.resolve(), home.base and home.base.resolve()):
        raise InputError(f"{folder}: is the model's own folder; name a new one")
    made = class_in(home)
    model = made.from_pretrained(source, backend="numpy", dtype="float64" if dtype == "float64" else None, **where)
    arrays = {name: rounded(name, array, dtype) for name, array in model.state_dict().items()}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **where)
    except ModelNotFoundError:
        tokenizer = None
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    model.write(folder, arrays, dtype)
    return model, tokenizer is not None


def class_in(home: Home) -> type[Pretrained]:
    """The class whose arrays a model has: all of its head's, or none for the encoder alone."""
    values = read_json(home.config, FOR_CONFIG)
    family = family_of(values, home.folder)
    config: Config = class_of(family, "Config").from_dict(values)
    found = sources(home.base or home.folder, config.names)
    shapes = {name: file.entries[stored].shape for name, (file, stored) in found.items()}
    labels = config.num_labels
    if home.base:
        adapter = Adapter(home.folder, config.names)
        own = {name: adapter.file.entries[stored].shape for name, stored in adapter.whole.items()}
        if any(is_head(name) for name in own):
            shapes, labels = own, adapter.sizes().get("num_labels", labels)

    def complete(made: type[Pretrained]) -> bool:
        rows = 1 if made.head.arrays.get("classifier.bias") == "1" else labels
        has = made.head.optional or set(made.head.arrays) <= set(shapes)
        return has and shapes.get("classifier.weight", (rows,))[:1] in ((rows,), ())

    fitting: list[type[Pretrained]] = [made for made in classes_of(family) if made.head.bare or complete(made)]
    named = config.extra.get("architectures")
    named = named[0] if isinstance(named, list) and named else None
    for made in fitting:
        if made.__name__ == named and not (home.base and made.head.bare):  # of which the base may be one
            return made
    return max(fitting, key=lambda made: (not made.head.bare, len(made.head.arrays)))


def rounded(name: str, array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The array in dtype; bfloat16 as its bits in uint16.

    >>> rounded("w", np.array([1.0, 1.00390625, 1.01171875], np.float32), "bfloat16").tolist()  # ties go to even
    [16256, 16256, 16258]
    """
    if dtype == "bfloat16":
        bits = np.asarray(array, np.float32).view(np.uint32)
        return ((bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    with np.errstate(over="ignore"):
        cast = np.asarray(array).astype(dtype)
    if not np.isfinite(cast).all():
        raise InputError(f"{name} has numbers that {dtype} cannot hold; export in bfloat16 or float32")
    return cast

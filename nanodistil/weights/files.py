"""Which files make a model, and what a folder lacks.

A model folder holds config.json, a vocabulary (vocab.txt, tokenizer.json, or vocab.json with merges.txt) and weights
in one of six forms. They are tried in transformers' order, the safest format first, and the first that is there is the
one that counts. Two of the forms are an index, which says in which of several shards a tensor lies.

The index comes from outside and is believed in nothing: a shard is a plain file name beside the index. A name with a
slash, `..`, a drive or a UNC prefix is refused on every system, not only where it would work; and a link may leave the
folder only as the Hugging Face cache's own links do, from snapshots/<commit>/ into the blobs/ of the same model. That
is checked on the resolved path, since checks on the spelling alone have been walked around in other projects more than
once.
"""

import re
from pathlib import Path
from zlib import crc32

from .errors import CheckpointError, excerpt
from .small_files import read_json

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TORCH = "pytorch_model.bin"
TORCH_INDEX = "pytorch_model.bin.index.json"
KERAS = "tf_model.h5"
FLAX = "flax_model.msgpack"
WEIGHT_FILES = (WEIGHTS, INDEX, TORCH, TORCH_INDEX, KERAS, FLAX)  # in order of preference
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
VOCABULARIES = ("vocab.txt", "tokenizer.json", "vocab.json")
TOKENIZER_EXTRAS = ("merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
NEEDS = ("config", "tokenizer", "model", "all")

_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,200}")


def missing(folder: Path, need: str) -> list[str]:
    """What `folder` lacks for a need ("config", "tokenizer", "model" = config and weights, "all"), as file names.

    A dangling link counts as missing. A folder with an adapter alone lacks no config and no tokenizer: they are its
    base's (adapter.py). Raises CheckpointError if an index is broken.
    """
    if is_adapter(folder):
        return [] if need in ("config", "tokenizer") or adapter_weights(folder) else [ADAPTER_FILES[0]]
    lacks = []
    if need != "tokenizer" and not (folder / CONFIG).is_file():
        lacks.append(CONFIG)
    if need in ("tokenizer", "all") and not any((folder / name).is_file() for name in VOCABULARIES):
        lacks.append(" or ".join(VOCABULARIES))
    if need in ("model", "all"):
        weights = weights_file(folder)
        if weights is None:
            lacks.append(WEIGHTS)
        elif is_index(weights.name):
            lacks += [shard for shard in shards(weights) if not (folder / shard).is_file()]
    return lacks


def weights_file(folder: Path) -> Path | None:
    """The file of weights that counts, or the index of several; None if a folder has none."""
    return next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and no weights it could be added to."""
    return (folder / ADAPTER_CONFIG).is_file() and weights_file(folder) is None


def adapter_weights(folder: Path) -> Path | None:
    """The file of an adapter's weights; None if a folder has none."""
    return next((folder / name for name in ADAPTER_FILES if (folder / name).is_file()), None)


def is_index(name: str) -> bool:
    """Whether a file of weights is only the index of its shards."""
    return name.endswith(".index.json")


def weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> shard's file name, from an index. Raises CheckpointError on any oddity."""
    suffix = Path(index.name.removesuffix(".index.json")).suffix  # .safetensors or .bin
    tensors = read_json(index, unique=True).get("weight_map")
    if not isinstance(tensors, dict) or not tensors:
        raise CheckpointError(f"{index}: has no weight_map")
    for shard in tensors.values():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard) or ".." in shard or not shard.endswith(suffix):
            raise CheckpointError(f"{index}: {excerpt(shard)} is not the plain name of a {suffix} file")
    return tensors


def shards(index: Path) -> list[str]:
    """The shards an index names, each once."""
    return list(dict.fromkeys(weight_map(index).values()))


def checksum(folder: Path) -> int:
    """CRC-32 of config.json and the weights, all their bytes: tells whether a folder still holds what it held."""
    weights, value = weights_file(folder), 0
    names = [CONFIG, *([weights.name] if weights else [])]
    for name in names + (shards(weights) if weights and is_index(weights.name) else []):
        with (folder / name).open("rb") as file:
            while piece := file.read(1 << 20):
                value = crc32(piece, value)
    return value


def contained(folder: Path, name: str) -> Path:
    """folder / name with links followed, within `folder` or the cache's blobs. Raises CheckpointError outside.

    For names that a file gives, as an index does its shards. What users link into a folder themselves is their affair.
    """
    home, file = folder.resolve(), (folder / name).resolve()
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    if not any(file.is_relative_to(place) for place in allowed):
        raise CheckpointError(f"{folder / name}: is a link to {file}, outside of the model's folder")
    return file

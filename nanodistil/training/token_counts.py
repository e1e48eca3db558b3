"""How often each token occurs in a data set: what masking needs to choose rare words more often (masking.py).

The counts are those of the data as it was binarized, special tokens and sequences that training will drop included, as
upstream's scripts/token_counts.py counts them. They are kept as a JSON list or a .npy file, count of token i at place
i, where upstream has a pickle.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nanodistil.backend import Ints
from nanodistil.training.shards import read_index, read_shard
from nanodistil.weights.errors import CheckpointError, InputError
from nanodistil.weights.saving import written
from nanodistil.weights.small_files import FOR_TOKENS, parsed, read_text

PIECE = 1 << 20  # ids counted at once: np.bincount makes int64 of them
LARGEST = 1 << 24  # words; multilingual models have 250 thousand
ENDINGS = (".json", ".npy")


def token_counts(folder: str | Path, vocab_size: int | None = None) -> Ints:
    """The counts (V,) of a data set. vocab_size: of the model to be trained, if it has rows to spare.

    Raises InputError for a vocab_size the data set does not fit, and as read_index and read_shard do.

    >>> import tempfile
    >>> from nanodistil.tokenization import DistilBertTokenizer
    >>> from nanodistil.training.binarize import binarize
    >>> folder = Path(tempfile.mkdtemp()) / "data"
    >>> index = binarize(["a b", "a a"], folder, DistilBertTokenizer.from_pretrained("nanodistil-mini"))
    >>> counts = token_counts(folder)
    >>> counts.shape, counts[[101, 102, 1037, 1038, 103]]
    ((30522,), array([2, 2, 3, 1, 0]))
    """
    folder = Path(folder)
    index = read_index(folder)
    V = index.vocab_size if vocab_size is None else vocab_size
    if index.vocab_size > V:
        raise InputError(f"vocab_size={V} is less than the {index.vocab_size} of the data set")
    if LARGEST < V:
        raise InputError(f"vocab_size={V} is more than any model has")
    counts = np.zeros(V, np.int64)  # (V,)
    for number in range(len(index.shards)):
        ids, _ = read_shard(folder, index, number)
        for start in range(0, len(ids), PIECE):
            counts += np.bincount(ids[start : start + PIECE], minlength=V)
    return counts


def write_token_counts(path: Path, counts: Ints) -> None:
    """Write counts as a JSON list or as .npy, by the name. Raises InputError for other names, or if it cannot."""

    def write(fresh: Path) -> None:
        with fresh.open("wb") as file:
            if path.suffix.lower() == ".npy":
                np.save(file, counts)
            else:
                file.write(json.dumps(counts.tolist()).encode())

    check_ending(path)
    written(path, write)


def read_token_counts(path: str | Path) -> Ints:
    """The counts (V,) that a file holds. Raises CheckpointError if it holds none, InputError for other names."""
    path = Path(path)
    check_ending(path)
    try:
        if path.suffix.lower() == ".npy":
            counts = np.load(path, allow_pickle=False)
        else:
            counts = np.array(parsed(read_text(path, FOR_TOKENS), FOR_TOKENS))
    except CheckpointError:
        raise
    except Exception as error:  # OSError, ValueError, and whatever a mutated file brings about in a parser
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0][:120]
        raise CheckpointError(f"{path}: cannot be read ({reason})") from None
    if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise CheckpointError(f"{path}: is no list of counts; make it with nanodistil token-counts")
    return np.asarray(counts, np.int64)


def check_ending(path: Path) -> None:
    """Raises InputError for a name that says neither."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: token counts are kept in {' or '.join(ENDINGS)} files")

"""Token ids on disk: a folder of plain NumPy files, and the index that makes them one data set.

    FOLDER/ids-00000.npy       (n,) uint16, or int32 for 65,536 tokens and more: the sequences, one after the other
    FOLDER/starts-00000.npy    (S + 1,) int64: where each begins, then n
    FOLDER/ids-00001.npy       ...
    FOLDER/index.json          what the ids mean, and how many there are

Upstream keeps a pickled list of arrays: all of it in memory at once, and code to whoever opens it. A flat array and
its offsets need no Python object a sequence, can be mapped into memory, and are read by np.load and nothing else.

A folder is a data set once index.json is there, which is written last; while it grows there is unfinished.json in its
place, the same up to the last whole shard. Every file is written under another name, forced to the disk and renamed.
So whatever ends a run leaves a data set, or the beginning of one that says so (see binarize.py).

Files are read with suspicion: sizes, offsets and every id are checked before anything indexes with them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.saving import written
from nanodistil.weights.small_files import FOR_CONFIG, read_json

INDEX, UNFINISHED = "index.json", "unfinished.json"
FORMAT = "nanodistil sequences 1"


@dataclass
class Index:
    """What a folder holds: whose ids they are, how many sequences and tokens each shard has, and what they came from.

    tokenizer: the tokenizer's name, for people; `vocabulary` is what tells two apart (binarize.py, `fingerprint`).
    special_ids: those of every token with a role. checksum: CRC-32 of the lines so far, each with a line feed.
    """

    tokenizer: str
    vocabulary: str
    vocab_size: int  # the largest id, plus one
    cls_id: int
    sep_id: int
    unk_id: int | None
    mask_id: int | None
    special_ids: list[int]
    lines: int = 0
    empty: int = 0  # lines without a token, left out
    checksum: int = 0
    shards: list[list[int]] = field(default_factory=list)  # [sequences, tokens] of each

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest that holds every id, of the two upstream has.

        >>> Index("", "", 65535, 101, 102, 100, 103, []).dtype, Index("", "", 119547, 101, 102, 100, 103, []).dtype
        (dtype('uint16'), dtype('int32'))
        """
        return np.dtype(np.uint16 if self.vocab_size < 1 << 16 else np.int32)

    @property
    def sequences(self) -> int:
        return sum(sequences for sequences, _ in self.shards)

    @property
    def tokens(self) -> int:
        return sum(tokens for _, tokens in self.shards)


def write_index(folder: Path, index: Index, name: str = INDEX) -> None:
    """Write it as `name`. Raises InputError if that cannot be done."""
    content = json.dumps({"format": FORMAT, "dtype": str(index.dtype), **asdict(index)}, indent=1)
    written(folder / name, lambda path: path.write_text(content, encoding="utf-8"))


def read_index(folder: Path, name: str = INDEX) -> Index:
    """The index of a folder. Raises InputError if there is no data set, CheckpointError if the file is broken."""
    path = folder / name
    if not path.is_file():
        if (folder / UNFINISHED).is_file():
            raise InputError(f"{folder} is the beginning of a data set; finish it with nanodistil binarize --resume")
        raise InputError(f"{folder} is no data set: there is no {name} in it; make one with nanodistil binarize")
    content = read_json(path, FOR_CONFIG)
    if content.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path}: its format is not {FORMAT!r}; make the data set again")
    content.pop("dtype", None)
    wanted = {one.name: one.type for one in fields(Index)}
    if content.keys() != wanted.keys():
        odd = ", ".join(sorted(content.keys() ^ wanted.keys()))
        raise CheckpointError(f"{path}: lacks or has too much: {odd}; make the data set again")
    for key, value in content.items():
        if not _fits(value, str(wanted[key])):
            raise CheckpointError(f"{path}: {key} cannot be {excerpt(value)}; make the data set again")
    index = Index(**content)
    own = [index.cls_id, index.sep_id, index.unk_id or 0, index.mask_id or 0, *index.special_ids]
    if max(own) >= index.vocab_size:
        raise CheckpointError(f"{path}: a special token is outside the vocabulary; make the data set again")
    return index


def _fits(value: Any, kind: str) -> bool:
    """Whether a value is of a kind that Index has; numbers are whole and not negative."""
    if kind == "str":
        return isinstance(value, str)
    if kind == "list[int]":
        return isinstance(value, list) and all(_fits(item, "int") for item in value)
    if kind == "list[list[int]]":
        return isinstance(value, list) and all(_fits(item, "list[int]") and len(item) == 2 for item in value)
    return (kind == "int | None" and value is None) or (type(value) is int and 0 <= value < 1 << 62)


def write_shard(folder: Path, number: int, ids: NDArray[Any], lengths: NDArray[np.int64]) -> None:
    """Write sequences, (n,) ids one after the other and (S,) lengths. Raises InputError if that cannot be done."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)  # (S + 1,)
    _save(folder / f"ids-{number:05}.npy", ids)
    _save(folder / f"starts-{number:05}.npy", starts)


def _save(path: Path, array: NDArray[Any]) -> None:
    def write(fresh: Path) -> None:
        with fresh.open("wb") as file:  # given a name, np.save would add .npy to it
            np.save(file, array)

    written(path, write)


def read_shard(folder: Path, index: Index, number: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The ids (n,) of a shard, mapped into memory, and where its sequences start (S + 1,).

    Raises CheckpointError if a file is missing or broken, does not fit the index, or has an id that is not of the
    vocabulary.
    """
    sequences, tokens = index.shards[number]
    path = folder / f"ids-{number:05}.npy"
    ids = _load(path, index.dtype, tokens)
    starts = _load(folder / f"starts-{number:05}.npy", np.dtype(np.int64), sequences + 1)
    if starts[0] != 0 or starts[-1] != tokens or (np.diff(starts) < 1).any():
        raise CheckpointError(f"{folder / f'starts-{number:05}.npy'}: its offsets cannot be; make the data set again")
    if tokens and (ids.min() < 0 or ids.max() >= index.vocab_size):
        raise CheckpointError(f"{path}: has ids outside the vocabulary of {index.vocab_size}; make the data set again")
    return ids, starts


def _load(path: Path, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
    try:
        if length == 0:
            raise ValueError("a shard without a token")
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))  # slicing an np.memmap is 10 times slower
    except Exception as error:  # OSError, ValueError, and whatever a mutated header brings about in NumPy's parser
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0][:120]
        raise CheckpointError(f"{path}: cannot be read ({reason}); make the data set again") from None
    if array.dtype != dtype or array.shape != (length,):
        raise CheckpointError(
            f"{path}: is {array.dtype} of shape {array.shape}, where the index says {dtype} of shape {(length,)}; "
            "make the data set again"
        )
    return array

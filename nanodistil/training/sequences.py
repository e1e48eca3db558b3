"""A binarized data set as what training takes: sequences of at most so many tokens, one by one or as packed batches.

The rules are upstream's (lm_seqs_dataset.py), in its order:

  split    a sequence of more than `max_length` tokens becomes pieces of max_length - 2, each with [CLS] before it
           unless it begins so, and [SEP] behind it unless it ends so (the first piece has its [CLS]: max_length - 1)
  short    pieces and sequences of 11 tokens or fewer are dropped
  unknown  those of which half the tokens or more are [UNK] are dropped

How many it were is counted, since nothing should be lost in silence. Upstream makes new Python arrays of all of it;
here the shards stay where they are, mapped into memory, and what is made at the start is an index: for each sequence
that remains where it begins, how long it is, and which of the two tokens have to be added, 17 bytes together. (The one
pass over all ids that this takes also checks them.)

What it does not do: shuffle (sampler.py), mask (masking.py), pad (nothing does), or put several texts into a sequence.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Ints
from nanodistil.config import Config
from nanodistil.model import Packed
from nanodistil.training.shards import read_index, read_shard
from nanodistil.weights.errors import CheckpointError, InputError, excerpt

SHORT = 11  # tokens that are too few
UNKNOWN = 0.5  # share of [UNK] that is too much
ADD_CLS, ADD_SEP = 1, 2  # bits


class Sequences:
    """The sequences of a data set, numbered from 0: len(), item by item as (T,) int64, or several as a Packed.

    lengths: (N,) int32, tokens of each. split, short, unknown: how many were cut, or dropped. index: see shards.py.

    Raises InputError if there is no data set, for a max_length below 12 (of which nothing would be kept) and if
    nothing is; CheckpointError for files that are broken.

    >>> import tempfile
    >>> from nanodistil.tokenization import DistilBertTokenizer
    >>> from nanodistil.training.binarize import binarize
    >>> folder = Path(tempfile.mkdtemp()) / "data"
    >>> index = binarize(["a " * 30, "b"], folder, DistilBertTokenizer.from_pretrained("nanodistil-mini"))
    >>> sequences = Sequences(folder, max_length=16)
    >>> sequences.lengths, sequences.split, sequences.short, sequences[1][[0, 1, -1]]
    (array([15, 16], dtype=int32), 1, 2, array([ 101, 1037,  102]))
    """

    def __init__(self, folder: str | Path, max_length: int = 512) -> None:
        folder = Path(folder)
        if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length <= SHORT:
            raise InputError(f"max_length must be a whole number above {SHORT}, not {excerpt(max_length)}")
        self.index, self.max_length = read_index(folder), max_length
        self.split = self.short = self.unknown = 0
        self._shards: list[NDArray[Any]] = []
        kept = [self._index_shard(folder, number) for number in range(len(self.index.shards))]
        if not any(len(sizes) for _, sizes, _ in kept):
            raise InputError(f"{folder}: no sequence is left ({self.short} too short, {self.unknown} mostly [UNK])")
        self._first = np.cumsum([0] + [len(sizes) for _, sizes, _ in kept])  # (shards + 1,) item each shard begins with
        self._begin = np.concatenate([begin for begin, _, _ in kept])  # (N,) within the shard
        self._size = np.concatenate([size for _, size, _ in kept])  # (N,) without what is added
        self._add = np.concatenate([add for _, _, add in kept])  # (N,)
        self.lengths = self._size + _added(self._add)  # (N,)

    def _index_shard(self, folder: Path, number: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]:
        """What remains of a shard: where each begins, how many tokens it has there, and which are added to it."""
        ids, starts = read_shard(folder, self.index, number)
        cls, sep, longest = self.index.cls_id, self.index.sep_id, self.max_length
        begin, length = np.asarray(starts[:-1]), np.diff(starts)  # (S,)
        if (ids[begin] != cls).any() or (ids[starts[1:] - 1] != sep).any():
            raise CheckpointError(f"{folder}: a sequence of shard {number} lacks [CLS] or [SEP]; make it again")
        step = longest - 2
        pieces = np.where(length > longest, -(-length // step), 1)  # (S,)
        self.split += int((pieces > 1).sum())
        which = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)  # (P,) 0, 1, ... in a sequence
        end = np.repeat(starts[1:], pieces)  # (P,) of the sequence
        many = np.repeat(pieces, pieces) > 1  # (P,)
        begin = np.repeat(begin, pieces) + which * step  # (P,)
        end = np.where(many, np.minimum(begin + step, end), end)  # (P,)
        add = (ids[begin] != cls) * np.uint8(ADD_CLS) + (ids[end - 1] != sep) * np.uint8(ADD_SEP)  # (P,)
        length = end - begin + _added(add)
        long_enough = length > SHORT
        unk = -1 if self.index.unk_id is None else self.index.unk_id
        unknown = np.flatnonzero(ids == unk)  # ascending places
        there = np.searchsorted(unknown, end) - np.searchsorted(unknown, begin)  # (P,)
        there += (unk == cls) * (add & ADD_CLS) + (unk == sep) * (add >> 1)  # a GPT-2 has one token for all three
        share = there / length
        keep = long_enough & (share < UNKNOWN)
        self.short += int((~long_enough).sum())
        self.unknown += int((long_enough & ~keep).sum())
        self._shards.append(ids)
        return begin[keep], (end - begin)[keep].astype(np.int32), add[keep]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, item: SupportsIndex) -> Ints:
        """One sequence (T,). Raises IndexError for a number that is not from 0 to len() - 1."""
        i = operator.index(item)
        if not 0 <= i < len(self):
            raise IndexError(f"there is no sequence {i} among {len(self)}")
        shard = int(np.searchsorted(self._first, i, side="right")) - 1
        begin, size, add = int(self._begin[i]), int(self._size[i]), int(self._add[i])
        sequence = np.empty(self.lengths[i], np.int64)  # (T,)
        sequence[0], sequence[-1] = self.index.cls_id, self.index.sep_id
        at = int(add & ADD_CLS > 0)
        sequence[at : at + size] = self._shards[shard][begin : begin + size]
        return sequence

    def batch(self, items: Sequence[int] | Ints) -> Packed:
        """Several sequences as the model takes them: one after the other, without padding, (N,) tokens in all."""
        return packed([self[int(i)] for i in items])

    def __str__(self) -> str:
        """What there is and what was lost, in a line."""
        return (
            f"{len(self):,} sequences, {int(self.lengths.sum(dtype=np.int64)):,} tokens; {self.split:,} longer than "
            f"{self.max_length} were split, {self.short:,} of at most {SHORT} tokens and {self.unknown:,} of at least "
            f"half [UNK] were dropped"
        )


def with_positions(batch: Packed, config: Config) -> Packed:
    """The batch with the positions that a model of this config gives its ids."""
    each = np.split(batch.ids, batch.starts[1:-1])
    positions = [np.reshape(config.positions(ids[None], (1, len(ids))), -1) for ids in each]  # (T,)
    return batch._replace(positions=np.concatenate(positions))


def packed(sequences: Sequence[Ints]) -> Packed:
    """Sequences (T,) as a batch without padding.

    >>> packed([np.array([7, 8, 9]), np.array([5, 6])])
    Packed(ids=array([7, 8, 9, 5, 6]), positions=array([0, 1, 2, 0, 1]), starts=array([0, 3, 5]), keep=None)
    """
    return Packed(
        ids=np.concatenate(sequences),  # (N,)
        positions=np.concatenate([np.arange(len(one)) for one in sequences]),  # (N,)
        starts=np.cumsum([0] + [len(one) for one in sequences]),  # (B + 1,)
        keep=None,
    )


def _added(add: NDArray[np.uint8]) -> NDArray[np.int32]:
    """How many tokens the bits stand for."""
    return (add & 1).astype(np.int32) + (add >> 1)

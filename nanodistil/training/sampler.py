"""Which sequences make up which batch of an epoch: a function of (seed, epoch), with nothing to save.

The whole order of an epoch is worked out at its beginning, as one array of sequence numbers; batch k is its k-th
stretch of `batch_size`. So a run that goes on in the middle of an epoch makes the same array and starts at batch k.
Upstream's sampler is a generator, whose place is lost when the process ends.

With `group_by_size` a batch holds sequences of about the same length, as upstream's grouped_batch_sampler.py makes
them: lengths fall into bins of 4 (up to 2, 3-6, 7-10, ...); sequences come by in random order, each waits in its bin,
and a bin with `batch_size` of them is a batch. What is left in the bins at the end is put together in order of length.
There are ceil(N / batch_size) batches, all full but the last. Upstream groups to save padding. A packed batch has none,
so nothing is saved here, and batches of short texts weigh as much in training as batches of long ones, token for token
more; it is the default because it is upstream's, whose learning rates and results were found with it.

The flag is mended. Grouping is the default here, as upstream, where `--group_by_size` is declared `store_false`: giving
the flag turns grouping OFF. Here the verbs have `--no-group-by-size`, which does what it says.

What it does not do: batches by a number of tokens; upstream counts sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Ints
from nanodistil.weights.errors import InputError, excerpt

FIRST_BIN, STEP = 3, 4  # upstream's bins begin at 3 and are 4 wide


def epoch_order(
    lengths: NDArray[Any],
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    group_by_size: bool = True,
    max_length: int = 512,
) -> Ints:
    """The numbers 0 to N - 1 in the order of an epoch; batch k is order[k * batch_size : (k + 1) * batch_size].

    lengths: (N,), tokens of each sequence. max_length: of a sequence; longer ones share the last bin. The permutation
    is drawn from np.random.default_rng((seed, epoch)).

    Raises InputError for no sequences, and for numbers that cannot be.

    >>> lengths = np.array([12, 30, 12, 30])
    >>> order = epoch_order(lengths, 2, seed=56, epoch=0)
    >>> sorted(lengths[order].reshape(2, 2).tolist())
    [[12, 12], [30, 30]]
    """
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or not len(lengths) or lengths.dtype.kind not in "iu":
        raise InputError(f"lengths must be whole numbers, one a sequence, not {lengths.dtype} of {lengths.shape}")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise InputError(f"batch_size must be a whole number of at least 1, not {excerpt(batch_size)}")
    for name, number in (("seed", seed), ("epoch", epoch)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
            raise InputError(f"{name} must be a whole number from 0, not {excerpt(number)}")
    order = np.random.default_rng((int(seed), int(epoch))).permutation(len(lengths))  # (N,)
    if not group_by_size:
        return order
    bins = np.arange(FIRST_BIN, max_length, STEP)
    group = np.searchsorted(bins, lengths[order], side="right")  # (N,) in the order they come by
    by_group = np.argsort(group, kind="stable")  # (N,) places in `order`: bin by bin, in a bin as they come by
    sizes = np.bincount(group)  # (G,)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # (N,) how many came before, in its bin
    fills = place < np.repeat(sizes - sizes % batch_size, sizes)  # (N,) whether it is in a batch of its bin
    batches = by_group[fills].reshape(-1, batch_size)  # (full ones, batch_size)
    batches = batches[np.argsort(batches[:, -1])]  # a batch is there when its last one comes by
    return np.asarray(order[np.concatenate([batches.ravel(), by_group[~fills]])], np.int64)


class Batches(Sequence[Ints]):
    """The batches of an epoch: stretches of its order, each made when it is asked for."""

    def __init__(self, order: Ints, size: int) -> None:
        self.order, self.size = order, size

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self.order[number * self.size : (number + 1) * self.size]


def epochs(
    lengths: NDArray[Any], batch_size: int, seed: int, *, group_by_size: bool, max_length: int
) -> Callable[[int], Batches]:
    """The batches of an epoch, by its number: as the loop asks for them. Arguments and errors are epoch_order's."""

    def epoch(number: int) -> Batches:
        order = epoch_order(lengths, batch_size, seed, number, group_by_size=group_by_size, max_length=max_length)
        return Batches(order, batch_size)

    return epoch

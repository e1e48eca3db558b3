"""Dropout without a generator's state: number i of an array is kept or not as a function of (key, i).

Definition: mixed, kept, pair_key and dropout in numpy_backward.py.

A generator hands out its numbers one after the other, so whoever wants the i-th must have drawn those before it, and
the backward pass, which needs the mask of the forward pass again, must have kept it: for the attention of one sentence
of 512 tokens, 12 MB a layer. A counter-based one (Salmon et al. 2011) computes any of its numbers at once. Ours is
splitmix64's: the i-th multiple of an odd constant, stirred (`mixed` and `kept` in numpy_backward.py are the definition,
and the masks here are the same to the last bit). So a mask is made where it is needed, in any part, by any thread, and
again in the backward pass; and a run that is resumed needs nothing but its key.

Two multiplications of 64 bits a number, 8 at a time if a vector has 512 bits. All of it is unsigned: one signed
number in between, and Numba would continue in floating point.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..runtime.jit import helper, kernel

u64 = np.uint64
ONE, HIGH = u64(1), u64(32)
GOLDEN = u64(0x9E3779B97F4A7C15)
M1, M2 = u64(0xBF58476D1CE4E5B9), u64(0x94D049BB133111EB)
S1, S2, S3 = u64(30), u64(27), u64(31)
ZERO = np.float32(0.0)


class Dropping(NamedTuple):
    """What a kernel that drops must know."""

    key: Any  # (1,) uint64
    limit: int  # `threshold`; 0: nothing is dropped
    share: Any  # float32 1 - rate, what is kept


def dropping(rate: float, key: int) -> Dropping:
    """The same for a rate and a key."""
    return Dropping(np.array([key], u64), threshold(rate), np.float32(1 - rate))


def threshold(rate: float) -> int:
    """The 32 upper bits of a stirred number from which on it means "keep": `rate` of 2^32. 0: nothing is dropped."""
    return round(rate * 2**32)


@helper()
def stirred(x: Any) -> Any:
    """`mixed` of numpy_backward, one number of 64 bits."""
    x = (x ^ (x >> S1)) * M1
    x = (x ^ (x >> S2)) * M2
    return x ^ (x >> S3)


@helper()
def key_of_head(key: Any, item: int) -> Any:
    """`pair_key`: the key of the attention probabilities of work item sentence * heads + head."""
    return stirred(key + (u64(item) + ONE) * GOLDEN)


@helper()
def is_kept(key: Any, number: int, limit: Any) -> bool:
    """`kept` for one number of the array. limit: the threshold, unsigned."""
    return stirred(key + (u64(number) + ONE) * GOLDEN) >> HIGH >= limit


@helper()
def drop(x: Any, at: int, count: int, key: Any, first: int, limit: Any, share: Any) -> None:
    """x[at : at + count], numbers first .. first + count of their array: x / share if kept, else 0. x flat float32.

    share: 1 - rate, the share that is kept.
    """
    for j in range(count):
        i = u64(at) + u64(j)
        x[i] = x[i] / share if is_kept(key, first + j, limit) else ZERO


@kernel()
def drop_rows(start: int, stop: int, x: Any, dropping: Dropping, out: Any) -> None:
    """out[start:stop] = dropout of x[start:stop]: (N, D) float32 -> (N, D)."""
    D = x.shape[1]
    flat = out.reshape(-1)
    for i in range(start, stop):
        for d in range(D):
            out[i, d] = x[i, d]
        drop(flat, i * D, D, dropping.key[0], i * D, u64(dropping.limit), dropping.share)

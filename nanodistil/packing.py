"""Padded rectangle <-> packed rows: where padding is left behind at the door.

A user brings a (B, T) rectangle of ids and a mask of the same shape, as transformers has it. The model wants the N real
tokens as rows of one matrix and the places where sentences begin (`Packed` in model.py). Since every op but attention
works row by row, a sentence's numbers cannot depend on its neighbours or on how far they were padded.

    ids   7 8 9 .      mask  1 1 1 0       packed ids        7 8 9 | 5 6
          5 6 . .            1 1 0 0       positions         0 1 2 | 0 1        starts  0 3 5

The mask may be False anywhere, also at position 0: positions are counted before anything is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nanodistil.arrays import numbers
from nanodistil.backend import Array, Ints, Mask
from nanodistil.config import Config
from nanodistil.model import Look, Packed
from nanodistil.weights.errors import InputError


def rectangle(values: ArrayLike, name: str) -> NDArray[Any]:
    """Nested lists or an array -> a 2-D numeric array. Raises InputError for ragged rows, other ranks or no numbers."""
    array = numbers(values, name)
    if array.ndim != 2:
        raise InputError(f"{name} must be (batch, tokens), two-dimensional, not of shape {array.shape}")
    return array


def real_tokens(attention_mask: ArrayLike) -> Mask:
    """A (B, T) mask of zeros and ones, in any type of number, as True for real tokens. Raises InputError for others.

    A mask to be added to scores has 0 for real tokens and -inf, or the lowest number, for hidden ones: read as this
    one is, it would say the opposite.

    >>> real_tokens([[1.0, 0.0]])
    array([[ True, False]])
    """
    mask = rectangle(attention_mask, "attention_mask")
    real: Mask = mask == 1
    odd = mask[~(real | (mask == 0))]
    if odd.size:
        raise InputError(
            f"attention_mask has a {odd[0]}: 1 says that a token is real, 0 that it is padding, and nothing else is "
            "taken (of a mask that is added to scores, pass mask == 0)"
        )
    return real


@dataclass(frozen=True)
class Packing:
    """A checked batch, packed, and the way back.

    computed: (B, T) True at the positions that are rows of the packed matrix; rows follow in reading order.
    """

    batch: Packed
    computed: Mask

    @classmethod
    def of(
        cls,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None,
        config: Config,
        keep_masked: bool = False,
        position_ids: ArrayLike | None = None,
        vocabulary: int | None = None,
        first: bool = False,
        token_type_ids: ArrayLike | None = None,
    ) -> Packing:
        """Check and pack (B, T) ids with their (B, T) mask, 1 = real token and 0 = padding (None: all are real).

        keep_masked: compute the masked positions too; they are still not attended to, except that a row with nothing
        but masked positions attends to all of them alike (as in transformers). Without it such a row is an error.
        position_ids: (B, T) or (1, T), where the tokens stand (None: as the config says; 0, 1, 2, ...). vocabulary: how
        many ids there are, if they are not the config's words but rows of embeddings that were given. first: compute
        the first token of every sentence, hidden by the mask or not. token_type_ids: (B, T), of a family that has them.

        Raises InputError for ids outside the vocabulary, more tokens than positions, shapes that do not fit, or a mask
        of other numbers.

        >>> from nanodistil import DistilBertConfig
        >>> config = DistilBertConfig(vocab_size=10)
        >>> Packing.of([[7, 8, 9, 0], [5, 6, 0, 0]], [[1, 1, 1, 0], [1, 1, 0, 0]], config).batch
        Packed(ids=array([7, 8, 9, 5, 6]), positions=array([0, 1, 2, 0, 1]), starts=array([0, 3, 5]), keep=None)
        """
        ids = rectangle(input_ids, "input_ids")
        B, T = ids.shape
        if T == 0 and B > 0:
            raise InputError("input_ids has rows without tokens")
        if ids.dtype.kind not in "iu":
            raise InputError(f"input_ids must be integers, not {ids.dtype}")
        if attention_mask is None:
            real = np.ones((B, T), np.bool_)
        else:
            real = real_tokens(attention_mask)  # (B, T)
            if real.shape != (B, T):
                raise InputError(f"attention_mask is of shape {real.shape}, input_ids of shape {(B, T)}")
        if not keep_masked and not real.any(axis=1).all():
            row = int(np.argmin(real.any(axis=1)))
            raise InputError(f"row {row} of attention_mask hides every token; drop the row or pass keep_masked=True")
        computed = np.ones_like(real) if keep_masked else real.copy()
        if first:
            computed[:, :1] = True
        whole = computed.all()

        def rows(values: NDArray[Any]) -> NDArray[Any]:  # (B, T) -> (N,), a copy
            return values.flatten() if whole else values[computed]

        packed_ids, keep = rows(ids), rows(real)  # (N,), (N,)
        V = config.vocab_size if vocabulary is None else vocabulary
        if packed_ids.size and (packed_ids.min() < 0 or packed_ids.max() >= V):
            worst = int(packed_ids.min() if packed_ids.min() < 0 else packed_ids.max())
            raise InputError(f"token id {worst} is outside the vocabulary of {V}")
        return cls(
            Packed(
                ids=packed_ids.astype(np.int64, copy=False),
                positions=rows(
                    places_of(ids if vocabulary is None else None, (B, T), position_ids, token_type_ids, config)
                ),
                starts=np.concatenate([[0], computed.sum(axis=1).cumsum()]).astype(np.int64),
                keep=None if keep.all() else keep,
            ),
            computed,
        )

    def unpack(self, rows: Array) -> Array:
        """(N, ...) -> (B, T, ...), zeros where nothing was computed."""
        out = np.zeros((*self.computed.shape, *rows.shape[1:]), rows.dtype)
        out[self.computed] = rows
        return out

    def unpack_pairs(self, squares: list[Array], heads: int, before: int = 0) -> Array:
        """B x (H, T', P + T') over each sentence's own tokens -> (B, H, T, P + T), zeros where nothing was computed.

        heads: H where there is no sentence to tell it. before: P, tokens of a past that all see.
        """
        B, T = self.computed.shape
        H = squares[0].shape[0] if squares else heads
        out = np.zeros((B, H, T, before + T), squares[0].dtype if squares else np.float32)
        for b, square in enumerate(squares):
            at = np.nonzero(self.computed[b])[0]
            out[b][:, at[:, None], np.concatenate([np.arange(before), before + at])] = square
        return out

    def rows(self, positions: ArrayLike) -> Ints:
        """(M, 2) sentence and token numbers -> (M,) rows of the packed matrix.

        Raises InputError for numbers outside the batch or at a position that was masked away.
        """
        places = numbers(positions, "positions")
        if places.size == 0:
            return np.zeros(0, np.int64)
        if places.ndim != 2 or places.shape[1] != 2 or places.dtype.kind not in "iu":
            raise InputError(f"positions must be (M, 2) integers, sentence and token, not of shape {places.shape}")
        B, T = self.computed.shape
        if (places < 0).any() or (places >= (B, T)).any():
            raise InputError(f"positions must lie within the batch of {B} x {T}")
        b, t = places[:, 0], places[:, 1]
        if not self.computed[b, t].all():
            raise InputError("positions include a masked token; pass keep_masked=True to compute it")
        order = self.computed.ravel().cumsum() - 1  # (B * T,) row of each computed position
        return np.asarray(order[b * T + t], np.int64)

    def look(self, rows: Ints) -> tuple[Look, Ints]:
        """The rows of interest, each once and ascending, and where among them each of `rows` (M,) is."""
        ascending, places = np.unique(rows, return_inverse=True)
        return Look(ascending, np.searchsorted(ascending, self.batch.starts)), places


def sent(batch: Packed, send: Callable[[Any], Any]) -> Packed:
    """The batch with its arrays where the backend computes; `starts` stays here, where the work is divided."""
    keep = None if batch.keep is None else send(batch.keep)
    return batch._replace(ids=send(batch.ids), positions=send(batch.positions), keep=keep)


def places_of(
    ids: Ints | None, shape: tuple[int, int], position_ids: ArrayLike | None, types: ArrayLike | None, config: Config
) -> Ints:
    """The row of `position_embeddings` that belongs to each token: (B, T), its position, or P type + position.

    ids: None if the call brings embeddings. Raises InputError for what does not fit the ids or the model.
    """
    (B, T), P, Y = shape, config.max_position_embeddings, config.token_types
    if position_ids is None:
        if config.max_tokens < T:
            raise InputError(
                f"{T} tokens are more than the model's {config.max_tokens} positions; "
                "shorten the text or tokenize with truncation=True"
            )
        places = np.broadcast_to(np.asarray(config.positions(ids, shape), np.int64), shape)
    else:
        given = rectangle(position_ids, "position_ids")
        if given.shape not in ((B, T), (1, T)) or given.dtype.kind not in "iu":
            raise InputError(f"position_ids must be integers of shape {shape} or {(1, T)}, not {given.shape}")
        if given.size and not (given.min() >= 0 and given.max() < P):
            raise InputError(f"position_ids must lie from 0 to {P - 1}, the model's positions")
        places = np.broadcast_to(given.astype(np.int64), shape)
    if types is None:
        return places
    if not Y:
        raise InputError(f"a {config.model_type} has no token types: leave out token_type_ids")
    given = rectangle(types, "token_type_ids")
    if given.shape != shape or given.dtype.kind not in "iu":
        raise InputError(f"token_type_ids must be integers of shape {shape}, not {given.dtype} {given.shape}")
    if given.size and not (given.min() >= 0 and given.max() < Y):
        raise InputError(f"token_type_ids must lie from 0 to {Y - 1}, the model's token types")
    return places + P * given.astype(np.int64)


def first_tokens(sentences: int) -> Ints:
    """(B, 2): sentence and token numbers of the first token of each sentence."""
    return np.stack([np.arange(sentences), np.zeros(sentences, np.int64)], axis=1)

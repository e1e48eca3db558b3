"""Masked language modelling: which tokens a batch hides, and behind what (Devlin et al. 2019, section 3.1).

The rule is upstream's (distiller.py, prepare_batch_mlm), exactly in distribution:

  1. ceil(mlm_mask_prop * N) of the N tokens of a batch are chosen, without replacement, each with a probability
     proportional to max(count, 1) ** -mlm_smoothing, the count being the token's in the corpus. So rare words are
     chosen more often. Special tokens are not chosen.
  2. Each chosen one becomes [MASK] with probability word_mask, stays with word_keep, and becomes a random word with
     word_rand.

The number is that of the batch: a sequence may have no chosen token, or very many. A random word is uniform over the
whole vocabulary: it may be a special token, or the very token that it replaces.

To draw without replacement in proportion to weights w, give token i the key e_i / w_i, e_i exponential, and take the M
smallest keys: the one-by-one draw, in one step (Efraimidis and Spirakis 2006). torch.multinomial(replacement=False),
which upstream calls, does the same.

With whole words (BERT's later rule) a word's pieces are hidden together: words are drawn in the same way, each by its
first piece, as long as their pieces are not more than that number.

What differs: a batch without enough tokens that may be chosen (upstream raises an error there) has them all chosen, and
that may be none; nothing is rounded to multiples of 8. The choice is a function of a key, made of seed, step and
micro-batch, so that a run can be resumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.arrays import numbers
from nanodistil.backend import Array, Ints, Mask
from nanodistil.losses import IGNORED
from nanodistil.weights.errors import InputError, excerpt

STRONGEST = 10  # smoothing; (10^11)^-10 is still far from where floating point ends
SAID = {
    "mlm_mask_prop": "is a share of the tokens: above 0 and at most 1",
    "mlm_smoothing": f"must be a number from 0 to {STRONGEST}",
    **dict.fromkeys(("word_mask", "word_keep", "word_rand"), "must be a probability, from 0 to 1"),
}
USE = 1  # goes before the key: dropout has the same key, with the number of a site behind it


class Masked(NamedTuple):
    """A packed batch after masking: N tokens, M of them chosen."""

    ids: Ints  # (N,) what the model sees
    labels: Ints  # (N,) what was there at the chosen rows, -100 elsewhere
    rows: Ints  # (M,) the chosen rows, ascending


@dataclass(frozen=True)
class MaskingShares:
    """The numbers of the rule, with upstream's names and defaults."""

    mlm_mask_prop: float = 0.15
    word_mask: float = 0.8
    word_keep: float = 0.1
    word_rand: float = 0.1
    mlm_smoothing: float = 0.7

    def check(self) -> None:
        """Raises InputError for what cannot be."""
        for name, value in asdict(self).items():
            top = STRONGEST if name == "mlm_smoothing" else 1
            if not _is_number(value) or not 0 <= value <= top or (name == "mlm_mask_prop" and not value):
                raise InputError(f"{name} {SAID[name]}, not {excerpt(value)}")
        shares = {name: getattr(self, name) for name in ("word_mask", "word_keep", "word_rand")}
        if not math.isclose(sum(shares.values()), 1, rel_tol=0, abs_tol=1e-9):
            raise InputError(f"{', '.join(shares)} must add up to 1, not to {sum(shares.values()):g}")


class Masking:
    """The rule with its numbers; called with a batch and a key it gives a Masked.

    counts: (V,), how often each token occurs in the corpus (token_counts.py). special_ids: never chosen. mask_id:
    [MASK]. words: the ids that random words are drawn from, if not all V rows are words. continuing: the ids that go on
    with the word before them, if words are chosen whole. shares: the numbers, by the names of MaskingShares.

    Raises InputError for counts, ids or probabilities that cannot be.

    >>> counts, everything = [9, 9, 9, 1, 1], {"mlm_mask_prop": 1, "word_mask": 1, "word_keep": 0, "word_rand": 0}
    >>> masking = Masking(counts, special_ids=[0, 1], mask_id=1, **everything)
    >>> masking(np.array([0, 2, 3, 0]), key=56)
    Masked(ids=array([0, 1, 1, 0]), labels=array([-100,    2,    3, -100]), rows=array([1, 2]))
    """

    def __init__(
        self,
        counts: ArrayLike,
        *,
        special_ids: Iterable[int],
        mask_id: int,
        words: Ints | None = None,
        continuing: Ints | None = None,
        **shares: float,
    ) -> None:
        counted = numbers(counts, "the token counts")
        if counted.ndim != 1 or not counted.size or counted.dtype.kind not in "iu" or (counted < 0).any():
            raise InputError("the token counts must be a list of whole numbers from 0, one a token of the vocabulary")
        self.vocab_size = V = len(counted)
        for number in (mask_id, *(special := list(special_ids))):
            if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 0 <= number < V:
                raise InputError(f"the special token {excerpt(number)} is outside the {V} tokens that were counted")
        chosen = MaskingShares(**shares)
        chosen.check()
        self.words = words
        self.mask_id, self.mlm_mask_prop = int(mask_id), float(chosen.mlm_mask_prop)
        self.word_keep, self.word_rand = float(chosen.word_keep), float(chosen.word_rand)
        self.weights = np.maximum(counted, 1).astype(np.float64) ** -chosen.mlm_smoothing  # (V,)
        self.weights[special] = 0
        self.continuing = None if continuing is None else np.isin(np.arange(V), continuing)  # (V,)

    def __call__(self, ids: Ints, key: int) -> Masked:
        """Mask a packed batch, (N,) ids. key: 64 bits, of the seed, the step and the micro-batch (loop.py, key_of).

        Raises InputError for ids outside the vocabulary, and for another key.
        """
        if isinstance(key, bool) or not isinstance(key, int | np.integer) or not 0 <= key < 1 << 64:
            raise InputError(f"key must be a whole number of at most 64 bits, not {excerpt(key)}")
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise InputError(f"ids must be a packed batch of whole numbers, (N,), not {ids.dtype} of {ids.shape}")
        if ids.size and not (ids.min() >= 0 and ids.max() < self.vocab_size):
            raise InputError(f"token ids must lie from 0 to {self.vocab_size - 1}, the tokens that were counted")
        rng = np.random.default_rng((USE, int(key)))
        weights = self.weights[ids]  # (N,)
        eligible = np.flatnonzero(weights)  # (E,)
        M = min(math.ceil(self.mlm_mask_prop * len(ids)), len(eligible))
        if self.continuing is None:
            keys = rng.standard_exponential(len(eligible)) / weights[eligible]  # (E,)
            rows = np.sort(eligible[np.argpartition(keys, M - 1)[:M]]) if M else eligible[:0]  # (M,)
        else:
            rows = _whole_words(~self.continuing[ids], weights, M, rng)
            M = len(rows)
        lot = rng.random(M)
        random_words = rng.integers(self.vocab_size if self.words is None else len(self.words), size=M)
        if self.words is not None:
            random_words = self.words[random_words]
        kept = ids[rows].astype(np.int64)  # (M,)
        masked, labels = ids.astype(np.int64), np.full(len(ids), IGNORED, np.int64)  # (N,)
        labels[rows] = kept
        real = np.where(lot < self.word_rand + self.word_keep, kept, self.mask_id)  # (M,)
        masked[rows] = np.where(lot < self.word_rand, random_words, real)
        return Masked(masked, labels, rows)


def _whole_words(begins: Mask, weights: Array, most: int, rng: np.random.Generator) -> Ints:
    """The rows of words that are drawn, at most so many, but one word: (N,), (N,) -> (M,) ascending.

    begins: True where a token is the first of its word, if it is none that is never chosen (weight 0) or stands behind
    one.

    >>> begins, weights = np.array([True, True, False, True, False]), np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    >>> [_whole_words(begins, weights, most, np.random.default_rng(0)).tolist() for most in (2, 9)]
    [[1, 2], [1, 2, 4]]
    """
    special = weights == 0
    begins = begins | special | np.concatenate([[True], special[:-1]])[: len(begins)]
    word, firsts = np.cumsum(begins) - 1, np.flatnonzero(begins)  # (N,), (W,)
    sizes, eligible = np.bincount(word, minlength=len(firsts)), np.flatnonzero(~special[firsts])
    keys = rng.standard_exponential(len(eligible)) / weights[firsts[eligible]]
    order = eligible[np.argsort(keys)]
    many = max(1, int(np.searchsorted(np.cumsum(sizes[order]), most, side="right"))) if most else 0
    return np.flatnonzero(np.isin(word, order[:many]))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)

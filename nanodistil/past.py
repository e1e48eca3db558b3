"""What a causal model has computed of a text already: its keys and values, so that a token more costs one row.

A token of a causal model sees those before it, never those behind. So whatever comes later, its keys and values stay as
they are: they are kept, and the next call is given the new tokens alone (past_key_values, in transformers' words).

`KeyValues` is what a call returns and takes. `WithPast` is the backend as the call's forward pass meets it: its
attention puts the past before the keys and values it is given, and remembers them in turn. model.py knows nothing of
it.

This is the definition, of any backend, for calls as transformers has them: a rectangle of sentences, padding and all.
Generation has its own store, in the order the kernels read, where nothing is copied (generation/).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nanodistil.backend import Array, Mask, Ops, Sentences
from nanodistil.packing import Packing
from nanodistil.weights.errors import InputError


class KeyValues:
    """Keys and values of every layer: L pairs of (B, H, T, Dh), zeros at tokens that were never computed.

    As transformers' caches: `cache[layer]` is a pair, len() the number of layers.

    >>> cache = KeyValues([(np.zeros((1, 2, 5, 4)), np.zeros((1, 2, 5, 4)))])
    >>> len(cache), cache.get_seq_length(), cache[0][0].shape
    (1, 5, (1, 2, 5, 4))
    """

    def __init__(self, layers: Sequence[tuple[Array, Array]]) -> None:
        self.layers = [(keys, values) for keys, values in layers]

    @classmethod
    def of(cls, given: Any, batch: int, heads: Sequence[int], width: int, floats: Any) -> KeyValues:
        """What a call was given, checked. heads: how many each layer has, (L,); width: Dh, of each.

        Raises InputError for what does not fit the model.
        """
        if hasattr(given, "to_legacy_cache"):
            given = given.to_legacy_cache()
        wanted = f"past_key_values must be what a call returned: {len(heads)} pairs (batch, heads, tokens, {width})"
        try:
            pairs = [(np.asarray(keys), np.asarray(values)) for keys, values in given]
        except (TypeError, ValueError):
            raise InputError(f"{wanted}, not {type(given).__name__}") from None
        for pair, H in zip(pairs, heads, strict=False):
            for array in pair:
                if (
                    array.ndim != 4
                    or (*array.shape[:2], array.shape[3]) != (batch, H, width)
                    or array.dtype.kind != "f"
                ):
                    raise InputError(f"{wanted}; {batch} sentences and {H} heads here, not {array.shape}")
        if len(pairs) != len(heads) or len({array.shape[2] for pair in pairs for array in pair}) != 1:
            raise InputError(f"{wanted}, all of one length")
        return cls([(keys.astype(floats, copy=False), values.astype(floats, copy=False)) for keys, values in pairs])

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """T: how many tokens there are."""
        return int(self.layers[layer_idx][0].shape[2]) if self.layers else 0

    def to_legacy_cache(self) -> tuple[tuple[Array, Array], ...]:
        """A tuple of pairs."""
        return tuple(self.layers)

    def __getitem__(self, layer: int) -> tuple[Array, Array]:
        return self.layers[layer]

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


class WithPast:
    """A backend's ops for one call: keys and values have the past before them, and are remembered."""

    def __init__(self, ops: Ops, past: KeyValues | None, seen: Mask | None, packing: Packing) -> None:
        """past: of this call's sentences. seen: (B, T of the past) False at tokens of it that are masked."""
        self.ops, self.past, self.packing = ops, past, packing
        self.before = past.get_seq_length() if past else 0
        self.seen = None if seen is None or seen.all() else seen
        self.keys: list[Array] = []  # of each layer: (N, A), this call's
        self.values: list[Array] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)

    def attention(self, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        k, v, who = self._extended(k, 0), self._extended(v, 1), self._all(who)
        return self.ops.attention(q, k, v, who)

    def attention_scores(self, q: Array, k: Array, who: Sentences) -> list[Array]:
        return self.ops.attention_scores(q, self._extended(k, 0), self._all(who))

    def attention_context(self, probs: Sequence[Array], v: Array, starts: Any) -> Array:
        return self.ops.attention_context(probs, self._extended(v, 1), self._starts(starts))

    def _extended(self, x: Array, which: int) -> Array:
        """This call's rows (N, A) -> those of the past and them, sentence by sentence. which: 0 for keys, 1 values."""
        kept = (self.keys, self.values)[which]
        layer = len(kept)
        kept.append(self.ops.fetch(x))
        if not self.past or not self.before:
            return x
        old = self.past[layer][which].transpose(0, 2, 1, 3)  # (B, T, H, Dh)
        old = old.reshape(*old.shape[:2], x.shape[1])  # (B, T, A)
        starts = self.packing.batch.starts
        new = kept[-1]
        rows = [part for b, rows in enumerate(old) for part in (rows, new[starts[b] : starts[b + 1]])]
        both: Array = self.ops.send(np.concatenate([new[:0], *rows]).astype(new.dtype, copy=False))
        return both

    def _starts(self, starts: Any) -> Any:
        return starts + self.before * np.arange(len(starts))

    def _all(self, who: Sentences) -> Sentences:
        """Whom the queries see when the past stands before them."""
        if not self.before:
            return who
        keep = who.keep
        if keep is not None or self.seen is not None:
            B, starts = len(who.starts) - 1, who.starts
            new = np.ones(starts[-1], np.bool_) if keep is None else self.ops.fetch(keep)
            seen = np.ones((B, self.before), np.bool_) if self.seen is None else self.seen
            parts = [part for b in range(B) for part in (seen[b], new[starts[b] : starts[b + 1]])]
            keep = self.ops.send(np.concatenate([new[:0], *parts]))
        reach = None if who.reach is None else who.reach + self.before
        return who._replace(starts=self._starts(who.starts), keep=keep, reach=reach)

    def remembered(self, width: int) -> KeyValues:
        """The past and this call's, as a call returns them. width: Dh."""
        layers = []
        for layer, both in enumerate(zip(self.keys, self.values, strict=True)):
            pair = []
            for which, rows in enumerate(both):
                grid = self.packing.unpack(rows)  # (B, T, A)
                B, T, A = grid.shape
                new = grid.reshape(B, T, A // width, width).transpose(0, 2, 1, 3)  # (B, H, T, Dh)
                pair.append(np.concatenate([self.past[layer][which], new], axis=2) if self.past else new)
            layers.append((pair[0], pair[1]))
        return KeyValues(layers)

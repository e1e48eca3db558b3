"""A model that reads from left to right: what its calls take besides those of any model.

A call may be given what an earlier one has computed of the same texts (past.py), and returns that for the next.
Token types are words of the same table here, added to the words (Radford et al. 2018 marked roles so).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.backend import Array
from nanodistil.packing import Packing, real_tokens, rectangle
from nanodistil.past import KeyValues, WithPast
from nanodistil.pretrained import Arrays, Encoded, Options, Pretrained
from nanodistil.taps import Tap
from nanodistil.weights.errors import InputError
from nanodistil.weights.names import attention_width


class CausalOptions(Options, total=False):
    """The keyword arguments that every causal model's call takes: those of any model, and these.

    past_key_values: what an earlier call on the same texts returned; attention_mask is then of all tokens, those of the
    past too. use_cache: whether to return past_key_values; None (default) means as the config says.
    """

    past_key_values: Any
    use_cache: bool | None


class Causal(Pretrained):
    """A model that reads from left to right; not for use by itself."""

    remembers: ClassVar[bool] = False  # whether its calls return past_key_values

    def _encode(
        self, input_ids: Arrays, attention_mask: Arrays, head_mask: Arrays, inputs_embeds: Arrays,
        looked_at: Arrays, *, past_key_values: Any = None, use_cache: bool | None = None, cache_position: Arrays = None,
        encoder_hidden_states: None = None, encoder_attention_mask: None = None, token_type_ids: Arrays = None,
        position_ids: Arrays = None, output_attentions: bool | None = None, output_hidden_states: bool | None = None,
        return_dict: bool | None = None, keep_masked: bool = False,
        tap: Tap | Callable[[str, Any], Any] | None = None,
    ) -> Encoded:  # fmt: skip
        """Pack and run the decoder. looked_at: as that of any model."""
        if encoder_hidden_states is not None or encoder_attention_mask is not None:
            raise InputError("encoder_hidden_states are for a decoder with cross-attention, which is not computed here")
        config = self.config
        if token_type_ids is not None:
            inputs_embeds = self._typed(input_ids, inputs_embeds, token_type_ids)
            input_ids = None
        ids, weights = self._words(input_ids, inputs_embeds)
        ids = rectangle(ids, "input_ids")
        (B, T), width = ids.shape, config.dim // config.n_heads
        past = None
        if past_key_values is not None and len(past_key_values):
            heads = [attention_width(config, i) // width for i in range(config.n_layers)]
            past = KeyValues.of(past_key_values, B, heads, width, weights.word_embeddings.dtype)
        before = past.get_seq_length() if past else 0
        seen = None
        if before and attention_mask is not None:
            real = real_tokens(attention_mask)
            if real.shape != (B, before + T):
                raise InputError(
                    f"attention_mask is of shape {real.shape}; with a past of {before} tokens it must be "
                    f"{(B, before + T)}"
                )
            seen, attention_mask = real[:, :before], real[:, before:]
        if cache_position is not None and not np.array_equal(cache_position, np.arange(before, before + T)):
            raise InputError(f"cache_position must be {before} to {before + T - 1}, right behind the past")
        if before and position_ids is None:
            if before + T > config.max_tokens:
                raise InputError(
                    f"{before} tokens of the past and {T} are more than the model's {config.max_tokens} positions"
                )
            position_ids = np.arange(before, before + T)[None]
        vocabulary = None if inputs_embeds is None else ids.size
        packing = Packing.of(ids, attention_mask, config, keep_masked, position_ids, vocabulary)
        hidden, probs = self._asked_for(output_hidden_states, output_attentions)
        recorder = self._recorder(hidden + probs, head_mask, tap)
        keeping = self.remembers and bool(config.use_cache if use_cache is None else use_cache)
        ops: Any = WithPast(self.ops, past, seen, packing) if keeping or before else self.ops
        places = None if looked_at is None else packing.rows(looked_at)
        watched = tap is not None or bool(hidden or probs)
        x, places = self._encoded(packing, places, weights, recorder, watched, False, ops)
        recorded: dict[str, Any] = dict(self._recorded(packing, recorder, hidden, probs, before))
        if self.remembers:
            recorded["past_key_values"] = ops.remembered(width) if keeping else None
        return Encoded(packing, x if places is None else x[self.ops.send(places)], recorder, recorded)

    def _typed(self, input_ids: Any, inputs_embeds: Any, token_type_ids: ArrayLike) -> Array:
        """(B, T, D): words and those that say the type of each."""
        types = rectangle(token_type_ids, "token_type_ids")
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("input_ids is needed, the (batch, tokens) array a tokenizer gives, or else inputs_embeds")
        if inputs_embeds is None:
            found = self._vectors(rectangle(input_ids, "input_ids"), "input_ids")
        else:
            found = self._embeds(inputs_embeds)
        if types.shape != found.shape[:2]:
            raise InputError(f"token_type_ids is of shape {types.shape}, the tokens of shape {found.shape[:2]}")
        return found + self._vectors(types, "token_type_ids")

    def _vectors(self, ids: Any, name: str) -> Array:
        """(B, T) ids -> (B, T, D). Raises InputError for ids that are none."""
        V = self.config.vocab_size
        if ids.dtype.kind not in "iu" or (ids.size and not (ids.min() >= 0 and ids.max() < V)):
            raise InputError(f"{name} must be whole numbers from 0 to {V - 1}, ids of the vocabulary")
        found: Array = self.ops.fetch(self.weights.word_embeddings)[ids]
        return found

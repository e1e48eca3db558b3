"""A classifier of texts on the last token, the only one that has seen all of a text if a model reads left to right.

    x (B, D) -> score (B, C), no bias

The last token is the last that is not padding, as the ids tell, whatever the mask says, as in transformers. Without a
padding token in the config the mask has to tell, where transformers takes one text at a time.
"""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from nanodistil.arrays import numbers
from nanodistil.backend import Ints
from nanodistil.causal import Causal, CausalOptions
from nanodistil.config import Config
from nanodistil.head import Batch, Learner
from nanodistil.heads.calling import finished
from nanodistil.heads.learning import only, packed
from nanodistil.heads.one_map import one_map
from nanodistil.heads.sequence_classification import learned, loss_of
from nanodistil.outputs import ScoredOutputWithPast
from nanodistil.packing import real_tokens, rectangle
from nanodistil.pretrained import Arrays
from nanodistil.signatures import spelled_out
from nanodistil.weights.errors import InputError


def last_tokens(config: Config, input_ids: Any, shape: tuple[int, int], attention_mask: Any = None) -> Ints:
    """Sentence and token number of each text's last token that is not padding: (B, T) -> (B, 2).

    input_ids: None if the call brings embeddings, which do not say. Raises InputError for several texts without a
    padding token or a mask.

    >>> from nanodistil import GPT2Config
    >>> last_tokens(GPT2Config(pad_token_id=0), [[7, 8, 0], [0, 0, 9]], (2, 3)).tolist()
    [[0, 1], [1, 2]]
    """
    (B, T), pad = shape, config.pad_token_id
    last = np.full(B, T - 1)
    if pad is None and B > 1:
        if attention_mask is None or real_tokens(attention_mask).shape != shape:
            raise InputError(
                "several texts at once need a padding token, to tell where each ends: set model.config.pad_token_id, "
                "pass attention_mask, or one text at a time"
            )
        last = (np.arange(T) * real_tokens(attention_mask)).argmax(axis=1)  # (B,)
    elif pad is not None and input_ids is not None:
        last = (np.arange(T) * (rectangle(input_ids, "input_ids") != pad)).argmax(axis=1)  # (B,)
    return np.stack([np.arange(B), last], axis=1)


def objective(learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """As that of a classifier on the first token (sequence_classification.py): labels (B,) or (B, C) -> the loss."""
    only(batch, "labels")
    ids = rectangle(batch["input_ids"], "input_ids")
    shape, mask = (ids.shape[0], ids.shape[1]), batch.get("attention_mask")
    tokens = last_tokens(learner.config, ids, shape, mask)
    packing = packed(learner, batch, keep_masked=hidden(tokens, mask))
    return learned(learner, packing, tokens, batch["labels"], key, scale)


def hidden(tokens: Ints, attention_mask: Any) -> bool:
    """Whether the mask hides one of these tokens, (B, 2), which is then looked at all the same."""
    if attention_mask is None:
        return False
    real = real_tokens(attention_mask)  # (B, T)
    inside = len(real) == len(tokens) and (not tokens.size or tokens[:, 1].max() < real.shape[1])
    return bool(inside and not real[tokens[:, 0], tokens[:, 1]].all())


LAST_TOKEN = one_map("last_token", "score", "C", None, objective, bias=False)


class ForLastToken(Causal, head=LAST_TOKEN):
    """The decoder and a classifier on a text's last token."""

    remembers = True

    @spelled_out(CausalOptions, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, labels: Arrays = None, **options: Unpack[CausalOptions],
    ) -> ScoredOutputWithPast:  # fmt: skip
        """(B, T) ids and mask (1 = real token) -> logits (B, C). labels: (B,), or (B, C) for several at once."""
        given = input_ids if inputs_embeds is None else inputs_embeds
        tokens = None if given is None else last_tokens(self.config, input_ids, shape_of(given), attention_mask)
        if tokens is not None and options.get("past_key_values") is None and hidden(tokens, attention_mask):
            options = {**options, "keep_masked": True}
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, tokens, **options)
        logits = self.ops.fetch(self._scores(e))  # (B, C)
        loss = None if labels is None else loss_of(self.config, logits, labels)
        output = ScoredOutputWithPast(loss=loss, logits=logits, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)


def shape_of(given: Any) -> tuple[int, int]:
    """(B, T) of ids, or of embeddings."""
    array = numbers(given, "input_ids")
    if array.ndim < 2:
        raise InputError(f"input_ids must be (batch, tokens), two-dimensional, not of shape {array.shape}")
    return array.shape[0], array.shape[1]

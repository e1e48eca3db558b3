"""What a BERT has on its first token, and counts to its body: the same map as a classifier's, with tanh behind it."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from nanodistil.backend import Array, Ops
from nanodistil.head import Head
from nanodistil.heads.base import Encoder
from nanodistil.heads.calling import finished
from nanodistil.outputs import BaseModelOutputWithPooling
from nanodistil.packing import real_tokens
from nanodistil.pretrained import Arrays, Options
from nanodistil.signatures import spelled_out
from nanodistil.taps import NoTap, Tap
from nanodistil.weights.layout import Weights


def forward(x: Array, w: Weights, ops: Ops, tap: Tap) -> Array:
    """The sentence in one vector: (B, D) first tokens -> (B, D)."""
    return tap("pooler", ops.linear_activation(x, w.head.pre_classifier, "tanh"))


POOLER = Head(
    "pooler",
    arrays={"pre_classifier.weight": "D D", "pre_classifier.bias": "D"},
    bare=True,
    optional=True,
    activation="tanh",
    forward=forward,
)


class PooledEncoder(Encoder, head=POOLER):
    """The encoder and its pooler, if the checkpoint has one: a body as sentence-transformers keeps it has none."""

    @spelled_out(Options, keep_masked=False)
    def __call__(  # type: ignore[override]
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, **options: Unpack[Options],
    ) -> BaseModelOutputWithPooling:  # fmt: skip
        """(B, T) ids and mask (1 = real token) -> hidden states (B, T, D), and (B, D) of first tokens.

        Hidden states are zero at masked positions, unless the mask hides a first token: that is pooled all the same, as
        in transformers, so then all positions are computed.
        """
        plain: Options = {**options, "return_dict": True}
        if attention_mask is not None and not real_tokens(attention_mask)[:, :1].all():
            plain["keep_masked"] = True
        out = super().__call__(input_ids, attention_mask, head_mask, inputs_embeds, **plain)
        pooled = None
        if vars(self.weights.head):
            first = np.ascontiguousarray(out.last_hidden_state[:, 0])  # (B, D)
            pooled = self.ops.fetch(self.head.forward(self.ops.send(first), self.weights, self.ops, NoTap()))  # (B, D)
        output = BaseModelOutputWithPooling(out.last_hidden_state, pooled, out.hidden_states, out.attentions)
        return finished(output, options, self.config, input_ids, inputs_embeds)

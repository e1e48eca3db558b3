"""No head: the encoder alone."""

from __future__ import annotations

from typing import Unpack

from nanodistil.heads.calling import finished
from nanodistil.outputs import BaseModelOutput
from nanodistil.pretrained import Arrays, Options, Pretrained
from nanodistil.signatures import spelled_out


class Encoder(Pretrained):
    """The encoder alone.

    >>> from nanodistil import DistilBertModel
    >>> encoder = DistilBertModel.from_pretrained("nanodistil-mini", backend="numpy")
    >>> encoder([[101, 7592, 102]]).last_hidden_state.shape
    (1, 3, 384)
    """

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, **options: Unpack[Options],
    ) -> BaseModelOutput:  # fmt: skip
        """(B, T) ids and mask (1 = real token) -> hidden states (B, T, D), zero at masked positions.

        head_mask: (H,) or (L, H), by which each head's attention is multiplied.
        inputs_embeds: (B, T, D), instead of ids.
        """
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, None, **options)
        output = BaseModelOutput(e.packing.unpack(self.ops.fetch(e.x)), **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)

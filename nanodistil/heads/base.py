"""No head: the encoder alone."""

from __future__ import annotations

from typing import Unpack

from numpy.typing import ArrayLike

from nanodistil.heads.calling import finished
from nanodistil.outputs import BaseModelOutput
from nanodistil.pretrained import Options, Pretrained
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
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> BaseModelOutput:
        """(B, T) ids and mask (1 = real token) -> hidden states (B, T, D), zero at masked positions.

        head_mask: (H,) or (L, H), by which each head's attention is multiplied.
        inputs_embeds: (B, T, D), instead of ids.
        """
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, None, **options)
        output = BaseModelOutput(e.packing.unpack(self.ops.fetch(e.x)), **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)

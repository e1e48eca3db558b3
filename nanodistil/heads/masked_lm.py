"""The head a DistilBERT is trained with: which word belongs here?

    x (M, D) -> vocab_transform -> activation -> vocab_layer_norm -> vocab_projector (M, V)

`vocab_projector` is the word embeddings again (tied), with a bias of its own.
"""

from __future__ import annotations

from typing import Unpack

from numpy.typing import ArrayLike

from nanodistil import losses
from nanodistil.backend import Array, BackwardOps, Ints, Ops
from nanodistil.head import Batch, Head, HeadRun, Learner
from nanodistil.heads.calling import finished, flat, with_masked
from nanodistil.heads.learning import at_labels
from nanodistil.outputs import ScoredOutput
from nanodistil.pretrained import Arrays, Options, Pretrained
from nanodistil.signatures import spelled_out
from nanodistil.taps import Tap, showing
from nanodistil.weights.errors import InputError
from nanodistil.weights.layout import Weights


class MaskedLMOutput(ScoredOutput):
    """Of a masked LM: logits (B, T, V), or (M, V) if positions were asked for."""


def forward(x: Array, w: Weights, ops: Ops, tap: Tap) -> Array:
    """A score for every word of the vocabulary at each of M rows: (M, D) -> (M, V).

    `vocab_projector` is the word embeddings again (tied): a word scores high where the hidden state points its way.
    """
    transforming = showing(ops, tap, "vocab_transform")
    h = transforming.linear_activation(x, w.head.vocab_transform, w.activation)  # (M, D)
    h = tap("vocab_layer_norm", ops.layer_norm(h, *w.head.vocab_layer_norm))  # (M, D)
    return tap("vocab_projector", ops.linear(h, w.head.vocab_projector))  # (M, V)


def backward(dlogits: Array, run: HeadRun, w: Weights, d: Weights, ops: Ops, bops: BackwardOps) -> Array:
    """(M, V) -> (M, D)."""
    z, h = run.seen["vocab_transform"], run.seen["vocab_layer_norm"]  # (M, D)
    bops.linear_backward_weight(dlogits, h, *d.head.vocab_projector)
    dh = bops.linear_backward_input(dlogits, w.head.vocab_projector)  # (M, D)
    norm = w.head.vocab_layer_norm
    dh = bops.layer_norm_backward(dh, ops.activation(z, w.activation), norm.weight, *d.head.vocab_layer_norm)  # (M, D)
    dz = bops.activation_backward(dh, z, w.activation)  # (M, D)
    bops.linear_backward_weight(dz, run.x, *d.head.vocab_transform)
    return bops.linear_backward_input(dz, w.head.vocab_transform)  # (M, D)


def objective(learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Mean cross-entropy at the positions whose label is not -100: labels (B, T) -> the loss.

    Adds scale times its gradients to those of the learner. key: of the dropout; None for none. Raises InputError for
    arguments that do not fit the model. So do the objectives of all heads.

    >>> from nanodistil import DistilBertConfig, DistilBertForMaskedLM
    >>> from nanodistil.training.trainee import Trainee
    >>> tiny = DistilBertConfig(vocab_size=9, max_position_embeddings=4, n_layers=1, n_heads=2, dim=4, hidden_dim=8)
    >>> learner = Trainee(DistilBertForMaskedLM(tiny, backend="numpy"))
    >>> round(objective(learner, {"input_ids": [[1, 5, 2]], "labels": [[-100, 7, -100]]}), 1)
    2.2
    >>> learner.gradients["vocab_projector.bias"].round(1)
    array([ 0.1,  0.1,  0.1,  0.1,  0.1,  0.1,  0.1, -0.9,  0.1], dtype=float32)
    """
    return at_labels(learner, batch, learner.config.vocab_size, learner.bops.HEAD_ROWS, key, scale)


MASKED_LM = Head(
    "masked_lm",
    arrays={
        "vocab_transform.weight": "D D",
        "vocab_transform.bias": "D",
        "vocab_layer_norm.weight": "D",
        "vocab_layer_norm.bias": "D",
        "vocab_projector.bias": "V",
    },
    tied={"vocab_projector.weight": "V D"},
    activated=True,
    forward=forward,
    backward=backward,
    kept=("vocab_transform", "vocab_layer_norm"),
    objective=objective,
)


class ForMaskedLM(Pretrained, head=MASKED_LM):
    """The encoder and the head it was trained with: which word belongs here?

    >>> from nanodistil import DistilBertForMaskedLM
    >>> masked_lm = DistilBertForMaskedLM.from_pretrained("nanodistil-mini", backend="numpy")
    >>> masked_lm([[101, 7592, 103, 102]], positions=[(0, 2)]).logits.shape
    (1, 30522)
    """

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, labels: Arrays = None, *, positions: Arrays = None, **options: Unpack[Options],
    ) -> MaskedLMOutput:  # fmt: skip
        """(B, T) ids and mask (1 = real token) -> logits (B, T, V), zero at masked positions.

        labels: (B, T) ids to compare with, -100 where there is none. positions: (M, 2) sentence and token numbers; then
        the vocabulary is projected there only, logits (M, V): the numbers of the full projection, on the numba backend
        to the last bit.
        """
        if labels is not None and positions is not None:
            raise InputError("labels are for all positions: leave out positions")
        options = with_masked(options, labels)
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, positions, **options)
        logits = self.ops.fetch(self._scores(e))  # (N or M, V)
        loss = None
        if labels is not None:
            loss = losses.cross_entropy(logits, flat(labels, e.packing.computed.shape))
        if positions is None:
            logits = e.packing.unpack(logits)
        output = MaskedLMOutput(loss=loss, logits=logits, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)

    @spelled_out(Options, keep_masked=False)
    def logits_at(
        self, input_ids: ArrayLike, attention_mask: ArrayLike | None, positions: ArrayLike, **options: Unpack[Options]
    ) -> Array:
        """The logits at M positions, left where the backend computes, for its ops: (B, T), (B, T), (M, 2) -> (M, V)."""
        return self._logits(input_ids, attention_mask, positions, options)

    @spelled_out(Options, keep_masked=False)
    def probabilities(
        self, input_ids: ArrayLike, attention_mask: ArrayLike | None, positions: ArrayLike, **options: Unpack[Options]
    ) -> Array:
        """softmax of the logits at M positions: (B, T), (B, T), (M, 2) -> (M, V). NaN if the weights are damaged."""
        logits = self._logits(input_ids, attention_mask, positions, options)
        probs: Array = self.ops.fetch(self.ops.vocabulary_softmax(logits))  # (M, V)
        return probs

    @spelled_out(Options, keep_masked=False)
    def most_probable(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None,
        positions: ArrayLike,
        k: int,
        **options: Unpack[Options],
    ) -> tuple[Array, Ints]:
        """The k best words at M positions, best first: probabilities (M, k) and ids (M, k). k: 0 .. V.

        They are ranked where they were computed: of a GPU's logits, 122 KB a position, no more is fetched unless k is
        large. Where the weights are damaged probabilities are NaN, and ids mean nothing.

        >>> from nanodistil import DistilBertForMaskedLM
        >>> masked_lm = DistilBertForMaskedLM.from_pretrained("nanodistil-mini", backend="numpy")
        >>> probs, words = masked_lm.most_probable([[101, 7592, 103, 102]], None, [(0, 2)], 3)
        >>> probs.shape, words.shape
        ((1, 3), (1, 3))
        """
        if not 0 <= k <= self.config.vocab_size:
            raise InputError(f"k must be from 0 to {self.config.vocab_size}, not {k}")
        found = self.ops.most_probable(self._logits(input_ids, attention_mask, positions, options), k)
        probs, words = map(self.ops.fetch, found)
        return probs, words

    def _logits(
        self, input_ids: ArrayLike, attention_mask: ArrayLike | None, positions: ArrayLike, options: Options
    ) -> Array:
        """(M, V), where the backend computes."""
        e = self._encode(input_ids, attention_mask, None, None, positions, **options)
        return self._scores(e)

"""The classes users know: the encoder alone, and with each of the heads a DistilBERT is given.

    DistilBertModel                       ids -> hidden states
    DistilBertForMaskedLM                 ids -> a score for every word of the vocabulary
    DistilBertForSequenceClassification   ids -> a score for every class
    DistilBertForTokenClassification      ids -> a score for every class, at every token
    DistilBertForQuestionAnswering        ids -> where the answer starts and ends
    DistilBertForMultipleChoice           several ids -> which of them fits

Calls take transformers' arguments in transformers' order, and the keyword arguments of pretrained.Options. Where labels
are given there is a loss (losses.py), and positions that the mask hides are computed, since transformers counts them.
Arguments that do not fit the model raise InputError.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, TypeVar, Unpack, cast

import numpy as np
from numpy.typing import ArrayLike

from nanodistil import losses, model
from nanodistil.arrays import numbers
from nanodistil.backend import Array, Ints
from nanodistil.config import DistilBertConfig
from nanodistil.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    Output,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from nanodistil.pretrained import Options, Pretrained
from nanodistil.signatures import spelled_out
from nanodistil.torch_tensors import as_tensors, is_tensor
from nanodistil.weights.errors import InputError

T = TypeVar("T", bound=Output)


def finished(output: T, options: Options, config: DistilBertConfig, *given: Any) -> T:
    """The output, or the plain tuple of what is present where return_dict=False, here or in the config, asks for it.

    given: the ids or embeddings of the call. To PyTorch's tensors the answer is PyTorch's tensors.
    """
    if any(map(is_tensor, given)):
        output = replace(output, **{name: as_tensors(value) for name, value in output.items()})  # type: ignore[type-var]
    asked = options.get("return_dict")
    return output if (config.return_dict if asked is None else asked) else cast(T, output.to_tuple())


def _with_masked(options: Options, labels: Any) -> Options:
    """The options, with masked positions computed where a loss will count them."""
    return options if labels is None else {**options, "keep_masked": True}


def _flat(labels: ArrayLike, shape: tuple[int, ...]) -> Any:
    """(B, T) labels as (B T,). Raises InputError for another shape."""
    truth = numbers(labels, "labels")
    if truth.shape != shape:
        raise InputError(f"labels are of shape {truth.shape}, the tokens of shape {shape}")
    return truth.reshape(-1)


class DistilBertModel(Pretrained):
    """The encoder alone.

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


class DistilBertForMaskedLM(Pretrained):
    """The encoder and the head it was trained with: which word belongs here?

    >>> masked_lm = DistilBertForMaskedLM.from_pretrained("nanodistil-mini", backend="numpy")
    >>> masked_lm([[101, 7592, 103, 102]], positions=[(0, 2)]).logits.shape
    (1, 30522)
    """

    head: ClassVar[str] = "masked_lm"

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        *,
        positions: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> MaskedLMOutput:
        """(B, T) ids and mask (1 = real token) -> logits (B, T, V), zero at masked positions.

        labels: (B, T) ids to compare with, -100 where there is none. positions: (M, 2) sentence and token numbers; then
        the vocabulary is projected there only, logits (M, V): the numbers of the full projection, on the numba backend
        to the last bit.
        """
        if labels is not None and positions is not None:
            raise InputError("labels are for all positions: leave out positions")
        options = _with_masked(options, labels)
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, positions, **options)
        logits = self.ops.fetch(model.masked_lm(e.x, self.weights, self.ops, e.recorder))  # (N or M, V)
        loss = None
        if labels is not None:
            loss = losses.cross_entropy(logits, _flat(labels, e.packing.computed.shape))
        if positions is None:
            logits = e.packing.unpack(logits)
        output = MaskedLMOutput(loss=loss, logits=logits, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)

    @spelled_out(Options, keep_masked=False)
    def probabilities(
        self, input_ids: ArrayLike, attention_mask: ArrayLike | None, positions: ArrayLike, **options: Unpack[Options]
    ) -> Array:
        """softmax of the logits at M positions: (B, T), (B, T), (M, 2) -> (M, V). NaN where the weights are damaged."""
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
        return model.masked_lm(e.x, self.weights, self.ops, e.recorder)


class DistilBertForSequenceClassification(Pretrained):
    """The encoder and, on its first token, a classifier: sentiment, topic, whether one sentence follows from another.

    config.num_labels classes. config.problem_type says which loss belongs to it, "regression",
    "single_label_classification" or "multi_label_classification"; None is decided at the first call with labels, as in
    transformers, and kept in the config.
    """

    head: ClassVar[str] = "sequence_classification"
    activation: ClassVar[str] = "relu"  # before the classifier

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> SequenceClassifierOutput:
        """(B, T) ids and mask (1 = real token) -> logits (B, C). labels: (B,), or (B, C) for several at once."""
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, "first", **options)
        logits = self.ops.fetch(
            model.sequence_classification(e.x, self.weights, self.ops, e.recorder, self.activation)
        )  # (B, C)
        loss = None
        if labels is not None:
            kind = self.config.problem_type or losses.problem_type_of(self.config.num_labels, labels)
            loss = losses.sequence_loss(kind, logits, labels)
            if self.config.problem_type is None:
                self.config.problem_type = kind
        output = SequenceClassifierOutput(loss=loss, logits=logits, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)


class DistilBertForTokenClassification(Pretrained):
    """The encoder and a classifier on every token: names of people and places, parts of speech."""

    head: ClassVar[str] = "token_classification"

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> TokenClassifierOutput:
        """(B, T) ids and mask -> logits (B, T, C), zero at masked positions. labels: (B, T), or -100."""
        options = _with_masked(options, labels)
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, None, **options)
        logits = self.ops.fetch(model.token_classification(e.x, self.weights, self.ops, e.recorder))  # (N, C)
        loss = None if labels is None else losses.cross_entropy(logits, _flat(labels, e.packing.computed.shape))
        output = TokenClassifierOutput(loss=loss, logits=e.packing.unpack(logits), **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)


class DistilBertForQuestionAnswering(Pretrained):
    """The encoder and two scores on every token: does the answer start here, does it end here?"""

    head: ClassVar[str] = "question_answering"

    def _set(self, config: DistilBertConfig, tensors: dict[str, Array]) -> None:
        if config.num_labels != 2:
            raise InputError(f"question answering has two labels, not {config.num_labels}: pass num_labels=2")
        super()._set(config, tensors)

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        start_positions: ArrayLike | None = None,
        end_positions: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> QuestionAnsweringModelOutput:
        """(B, T) ids and mask -> start and end logits (B, T) each, zero at masked positions.

        start_positions, end_positions: (B,) tokens between which the answer stands; both are needed for a loss.
        """
        counted = None if start_positions is None or end_positions is None else (start_positions, end_positions)
        options = _with_masked(options, counted)
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, None, **options)
        logits = self.ops.fetch(model.question_answering(e.x, self.weights, self.ops, e.recorder))  # (N, 2)
        logits = e.packing.unpack(logits)  # (B, T, 2)
        start, end = logits[..., 0], logits[..., 1]  # (B, T)
        loss = None if counted is None else losses.span_loss(start, end, *counted)
        output = QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)


class DistilBertForMultipleChoice(Pretrained):
    """The encoder and one score for each candidate: which continuation fits?"""

    head: ClassVar[str] = "multiple_choice"

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> MultipleChoiceModelOutput:
        """(B, choices, T) ids and mask -> logits (B, choices). labels: (B,), the number of the right choice."""
        ids, mask, embeds = _joined(input_ids), _joined(attention_mask), _joined(inputs_embeds)  # (B choices, T) each
        e = self._encode(ids, mask, head_mask, embeds, "first", **options)
        scores = self.ops.fetch(
            model.sequence_classification(e.x, self.weights, self.ops, e.recorder)
        )  # (B choices, 1)
        given: Any = inputs_embeds if input_ids is None else input_ids
        logits = scores.reshape(np.shape(given)[:2])  # (B, choices)
        loss = None if labels is None else losses.cross_entropy(logits, labels)
        output = MultipleChoiceModelOutput(loss=loss, logits=logits, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)


def _joined(values: ArrayLike | None) -> Array | None:
    """(B, choices, ...) -> (B choices, ...): every choice a sentence of its own."""
    if values is None:
        return None
    array = numbers(values, "a multiple-choice argument")
    if array.ndim < 3 or 0 in array.shape[1:]:
        raise InputError(f"multiple choice takes (batch, choices, tokens) arrays, not of shape {array.shape}")
    return array.reshape(-1, *array.shape[2:])

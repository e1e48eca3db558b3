"""BERT (Devlin et al. 2018), which taught DistilBERT: a DistilBERT with more layers and a longer table of positions.

A BERT's layer is DistilBERT's block under other names (weights/bert_names.py undoes that), and the heads are the same.
What is left is one term in the sum of embeddings:

    BERT         words[id] + token_types[type] + positions[p]
    DistilBERT   words[id]                     + positions[p]

A token's type, 0 in the first text of a pair and 1 in the second, depends on where it stands as its position does. So
the two tables are added up once, at load, for every pair of type and position,

    places[P type + p] = token_types[type] + positions[p]          (Y P, D): 1024 rows for an official BERT

and a BERT *is* a DistilBERT with Y P positions, of which a token of type 1 takes the second half. So it runs on every
backend and in every dtype that DistilBERT does, through the same model.py. The attribute `distilbert` of each class
below is that model: what only knows DistilBERTs (the distillation) takes it as it is, and sees token type 0 everywhere.
The price is P D numbers more, and a sum that is rounded in another order.

    BertModel                       ids -> hidden states, and the pooled first token
    BertForMaskedLM                 ids -> a score for every word of the vocabulary
    BertForSequenceClassification   ids -> a score for every class
    BertForTokenClassification      ids -> a score for every class, at every token
    BertForQuestionAnswering        ids -> where the answer starts and ends

What it does not do: train, save, or draw a missing head at random. A BERT comes here to teach, and what it has not
learned is an error.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nanodistil import backend as backends
from nanodistil.backend import Array, Ints
from nanodistil.config import DistilBertConfig
from nanodistil.family.bert_config import BertConfig
from nanodistil.family.distilbert import (
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
)
from nanodistil.head import BASE, Head
from nanodistil.heads.calling import finished
from nanodistil.heads.masked_lm import MASKED_LM, MaskedLMOutput
from nanodistil.heads.pooler import POOLER
from nanodistil.heads.question_answering import QUESTION_ANSWERING, QuestionAnsweringModelOutput
from nanodistil.heads.sequence_classification import SequenceClassifierOutput, of_activation
from nanodistil.heads.token_classification import TOKEN_CLASSIFICATION, TokenClassifierOutput
from nanodistil.loading_arguments import OF_MODELS, taken
from nanodistil.module import Module
from nanodistil.outputs import BaseModelOutputWithPooling
from nanodistil.packing import positions_of, real_tokens, rectangle
from nanodistil.pretrained import Options, Pretrained
from nanodistil.signatures import spelled_out
from nanodistil.taps import NoTap
from nanodistil.weights import bert_names
from nanodistil.weights.errors import InputError, excerpt
from nanodistil.weights.initial import POSITIONS, fresh

Tensors = dict[str, Array]
CLASSIFICATION = of_activation("tanh")  # where DistilBERT has ReLU


def as_distilbert(config: BertConfig, tensors: Tensors) -> tuple[DistilBertConfig, Tensors]:
    """The DistilBERT that computes what this BERT does, at places P type + position: its config and tensors.

    tensors: under the names of weights/bert_names.py, and so are those returned, but for the token types.
    """
    token_types, positions = tensors[bert_names.TOKEN_TYPES], tensors[POSITIONS]  # (Y, D), (P, D)
    places = (token_types[:, None] + positions).reshape(-1, positions.shape[1])  # (Y P, D)
    others = {name: array for name, array in tensors.items() if name != bert_names.TOKEN_TYPES}
    return replace(config.as_distilbert(), max_position_embeddings=len(places)), {**others, POSITIONS: places}


class Bert(Module):
    """What every class below shares; not for use by itself.

    config: BertConfig. distilbert: the DistilBERT that computes it. dropped: what from_pretrained had no use for.
    """

    head: ClassVar[Head]
    counterpart: ClassVar[type[Pretrained]]  # the class of `distilbert`
    distilbert: Pretrained

    def __init__(
        self,
        config: BertConfig,
        tensors: Tensors | None = None,
        *,
        backend: str | None = None,
        dtype: DTypeLike | None = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        """A model with random weights; or with tensors under the names of weights/bert_names.py, not checked here."""
        backend, dtype = backends.choose(backend, dtype)
        if tensors is None:
            floats = "float64" if dtype == "float64" else "float32"
            tensors = fresh(bert_names.expected(config, self.head), config, floats, seed)
        self.config, self.backend, self.dtype = config, backend, dtype
        self.dropped: list[str] = []
        self.distilbert = self.counterpart(
            *as_distilbert(config, tensors), backend=backend, dtype=dtype, threads=threads
        )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        backend: str | None = None,
        dtype: DTypeLike | None = None,
        threads: int | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **upstream: Any,
    ) -> Self:
        """Load a folder or a hub id; arguments and formats are those of DistilBERT's from_pretrained.

        Raises ModelNotFoundError where there is no such model, CheckpointError where its files are broken, do not fit,
        or lack anything of the model but BertModel's pooler; InputError for arguments that cannot be.
        """
        from nanodistil.weights.hub import resolve_model
        from nanodistil.weights.loading import load, sources

        asked = taken(upstream, OF_MODELS, dtype)
        if upstream:
            raise InputError(f"{excerpt(next(iter(upstream)))} is no argument of a BERT's from_pretrained")
        name, wanted = backends.choose(backend, asked.dtype)  # before any download
        asked.check_device(name)
        home = resolve_model(
            asked.within(pretrained_model_name_or_path),
            revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=asked.token if token is None else token,
        )
        asked.check_folder(home.folder, "config.json")
        config = BertConfig.from_json_file(home.config)
        head = cls.head
        if head is POOLER and bert_names.POOLER not in sources(home.base or home.folder, bert_names):
            head = BASE
        floats = "float64" if wanted == "float64" else "float32"
        loaded = load(home.folder, config, head, floats, table=bert_names, draw=False, base=home.base)
        model = cls(config, loaded.tensors, backend=name, dtype=wanted, threads=threads)
        model.dropped = loaded.dropped
        return model

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        pooled = self.head is not POOLER or hasattr(self.distilbert.weights.head, "pre_classifier")
        return bert_names.expected(self.config, self.head if pooled else BASE)

    def _placed(
        self, input_ids: ArrayLike | None, inputs_embeds: ArrayLike | None, types: ArrayLike | None, options: Options
    ) -> Options:
        """The options, with position_ids (B, T) that are places: P type + position.

        Raises InputError for token types or positions that do not fit the ids or the model.
        """
        if input_ids is not None:
            shape = rectangle(input_ids, "input_ids").shape
        else:
            shape = np.shape(inputs_embeds)[:2] if inputs_embeds is not None else ()
        if len(shape) != 2:
            return options  # something is wrong, and `distilbert` says what
        P, Y = self.config.max_position_embeddings, self.config.type_vocab_size
        places: Ints = positions_of(options.get("position_ids"), shape, P)  # (B, T)
        if types is not None:
            given = rectangle(types, "token_type_ids")
            if given.shape != shape or given.dtype.kind not in "iu":
                raise InputError(f"token_type_ids must be integers of shape {shape}, not {given.dtype} {given.shape}")
            if given.size and not (given.min() >= 0 and given.max() < Y):
                raise InputError(f"token_type_ids must lie from 0 to {Y - 1}, the model's token types")
            places = places + P * given.astype(np.int64)
        return {**options, "position_ids": places}


class BertModel(Bert):
    """The encoder, and its pooler where the checkpoint has one.

    >>> config = BertConfig(hidden_size=24, num_attention_heads=2, num_hidden_layers=1, intermediate_size=48)
    >>> bert = BertModel(config, backend="numpy")
    >>> out = bert([[101, 7592, 102, 2088, 102]], token_type_ids=[[0, 0, 0, 1, 1]])
    >>> out.last_hidden_state.shape, out.pooler_output.shape
    ((1, 5, 24), (1, 24))
    """

    head = POOLER
    counterpart = DistilBertModel
    distilbert: DistilBertModel

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        *,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> BaseModelOutputWithPooling:
        """(B, T) ids, mask (1 = real token) and types -> hidden states (B, T, D), and (B, D) of first tokens.

        Hidden states are zero at masked positions, unless the mask hides a first token: that is pooled all the same, as
        in transformers, so then all positions are computed.
        """
        placed = self._placed(input_ids, inputs_embeds, token_type_ids, {**options, "return_dict": True})
        if attention_mask is not None and not real_tokens(attention_mask)[:, :1].all():
            placed["keep_masked"] = True
        out = self.distilbert(input_ids, attention_mask, head_mask, inputs_embeds, **placed)
        ops, w = self.distilbert.ops, self.distilbert.weights
        pooled = None
        if hasattr(w.head, "pre_classifier"):
            first = np.ascontiguousarray(out.last_hidden_state[:, 0])  # (B, D)
            pooled = ops.fetch(self.head.forward(ops.send(first), w, ops, NoTap()))  # (B, D)
        output = BaseModelOutputWithPooling(out.last_hidden_state, pooled, out.hidden_states, out.attentions)
        return finished(output, options, self.distilbert.config, input_ids, inputs_embeds)


class BertForMaskedLM(Bert):
    """The encoder and the head it was trained with: which word belongs here?"""

    head = MASKED_LM
    counterpart = DistilBertForMaskedLM
    distilbert: DistilBertForMaskedLM

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        *,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        positions: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> MaskedLMOutput:
        """(B, T) ids, mask and types -> logits (B, T, V). labels, positions: as DistilBertForMaskedLM takes them."""
        placed = self._placed(input_ids, inputs_embeds, token_type_ids, options)
        return self.distilbert(
            input_ids, attention_mask, head_mask, inputs_embeds, labels, positions=positions, **placed
        )


class _Pooled(DistilBertForSequenceClassification):
    """With tanh before the classifier, where DistilBERT has ReLU."""

    head = CLASSIFICATION


class BertForSequenceClassification(Bert):
    """The encoder, its pooler and a classifier on that."""

    head = CLASSIFICATION
    counterpart = _Pooled
    distilbert: _Pooled

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        *,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> SequenceClassifierOutput:
        """(B, T) ids, mask and types -> logits (B, C). labels: (B,), or (B, C) for several at once."""
        placed = self._placed(input_ids, inputs_embeds, token_type_ids, options)
        return self.distilbert(input_ids, attention_mask, head_mask, inputs_embeds, labels, **placed)


class BertForTokenClassification(Bert):
    """The encoder and a classifier on every token."""

    head = TOKEN_CLASSIFICATION
    counterpart = DistilBertForTokenClassification
    distilbert: DistilBertForTokenClassification

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        *,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> TokenClassifierOutput:
        """(B, T) ids, mask and types -> logits (B, T, C), zero at masked positions. labels: (B, T), or -100."""
        placed = self._placed(input_ids, inputs_embeds, token_type_ids, options)
        return self.distilbert(input_ids, attention_mask, head_mask, inputs_embeds, labels, **placed)


class BertForQuestionAnswering(Bert):
    """The encoder and two scores on every token: does the answer start here, does it end here?"""

    head = QUESTION_ANSWERING
    counterpart = DistilBertForQuestionAnswering
    distilbert: DistilBertForQuestionAnswering

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        *,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        start_positions: ArrayLike | None = None,
        end_positions: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> QuestionAnsweringModelOutput:
        """(B, T) ids, mask and types -> start and end logits (B, T) each, zero at masked positions."""
        placed = self._placed(input_ids, inputs_embeds, token_type_ids, options)
        return self.distilbert(
            input_ids, attention_mask, head_mask, inputs_embeds, start_positions, end_positions, **placed
        )

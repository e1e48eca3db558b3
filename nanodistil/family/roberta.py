"""RoBERTa (Liu et al. 2019), of which DistilRoBERTa is every other layer: a BERT with other words and other habits.

Its classes are those of bert.py, from RobertaModel to RobertaForMultipleChoice.

Positions begin behind the number of the padding token, and padding has that number itself; so of 514 rows of the table
a text can have 512. They follow from the ids, not from attention_mask, as in transformers. A classifier of texts has
maps of its own, `classifier.dense` and `classifier.out_proj`, and not the pooler, which several choices are scored by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from nanodistil.config import SHAPES
from nanodistil.family.bert import CLASSIFICATION, BertConfig
from nanodistil.family.bert import NAMES as OF_BERT
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.heads.multiple_choice import ForMultipleChoice, of_classifier
from nanodistil.heads.pooler import PooledEncoder
from nanodistil.heads.question_answering import ForQuestionAnswering
from nanodistil.heads.sequence_classification import ForSequenceClassification, two_maps
from nanodistil.heads.token_classification import ForTokenClassification
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.renamed import EMBEDDINGS, Names

NAMES = replace(
    OF_BERT,
    PREFIX="roberta.",
    others={
        **EMBEDDINGS,
        "pooler.dense": "pre_classifier",
        "lm_head.dense": "vocab_transform",
        "lm_head.layer_norm": "vocab_layer_norm",
        "lm_head.decoder": "vocab_projector",
        "lm_head.bias": "vocab_projector.bias",
        "classifier.dense": "classifier_dense",
        "classifier.out_proj": "classifier_out_proj",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    COPIES={"lm_head.decoder.bias": "lm_head.bias"},
    no_weights=("embeddings.position_ids", "embeddings.token_type_ids"),
)


@dataclass(init=False, repr=False)
class RobertaConfig(BertConfig):
    """The hyper-parameters of a RoBERTa; names and defaults are those of transformers' RobertaConfig.

    >>> config = RobertaConfig(max_position_embeddings=514)
    >>> config.max_tokens, config.positions(np.array([[0, 9, 2, 1]]), (1, 4)).tolist()
    (512, [[2, 3, 4, 1]])
    """

    model_type: ClassVar[str] = "roberta"
    names: ClassVar[Names] = NAMES
    shapes: ClassVar[tuple[str, ...]] = (*SHAPES, "pad_token_id")  # positions begin behind it

    vocab_size: int = 50265
    pad_token_id: int = 1
    bos_token_id: int | None = 0
    eos_token_id: int | None = 2

    def _check(self) -> None:
        super()._check()
        if self.max_tokens < 1:
            raise CheckpointError(
                f"config: max_position_embeddings {self.max_position_embeddings} leaves no place for a token: "
                f"the first is {self.pad_token_id + 1}, behind pad_token_id"
            )

    @property
    def max_tokens(self) -> int:
        return self.max_position_embeddings - self.pad_token_id - 1

    def positions(self, ids: Any, shape: tuple[int, int]) -> Any:
        if ids is None:
            return self.pad_token_id + 1 + np.arange(shape[1])  # (T,)
        real = ids != self.pad_token_id  # (B, T)
        return self.pad_token_id + real * real.cumsum(axis=1)  # (B, T)


OF_TEXTS = replace(
    two_maps("classifier_dense", "classifier_out_proj", "tanh"),
    dropout=(
        ("hidden", lambda config: config.seq_classif_dropout),
        ("classifier_dense.activation", lambda config: config.seq_classif_dropout),
    ),
)
OF_CHOICES = replace(  # classifier_dropout says nothing of it
    of_classifier(CLASSIFICATION), dropout=(("pre_classifier.activation", lambda config: config.dropout),)
)


class RobertaModel(PooledEncoder, config_class=RobertaConfig):
    """The encoder, and its pooler where the checkpoint has one."""


class RobertaForMaskedLM(ForMaskedLM, config_class=RobertaConfig): ...


class RobertaForSequenceClassification(ForSequenceClassification, config_class=RobertaConfig, head=OF_TEXTS): ...


class RobertaForTokenClassification(ForTokenClassification, config_class=RobertaConfig): ...


class RobertaForQuestionAnswering(ForQuestionAnswering, config_class=RobertaConfig): ...


class RobertaForMultipleChoice(ForMultipleChoice, config_class=RobertaConfig, head=OF_CHOICES):
    call_order = ("input_ids", "token_type_ids", "attention_mask", "labels", "position_ids")

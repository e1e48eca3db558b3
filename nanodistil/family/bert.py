"""BERT (Devlin et al. 2018), which taught DistilBERT: a DistilBERT with more layers and a vector for types of tokens.

A BERT's layer is DistilBERT's block under other names, and the heads are the same but for tanh instead of ReLU before
a classifier. What is left is one term in the sum of embeddings:

    BERT         words[id] + token_types[type] + positions[p]
    DistilBERT   words[id]                     + positions[p]

A token's type is 0 in the first text of a pair and 1 in the second; weights/layout.py makes it part of the position.

    BertModel                       ids -> hidden states, and the pooled first token
    BertForMaskedLM                 ids -> a score for every word of the vocabulary
    BertForSequenceClassification   ids -> a score for every class
    BertForTokenClassification      ids -> a score for every class, at every token
    BertForQuestionAnswering        ids -> where the answer starts and ends
    BertForMultipleChoice           several ids -> which of them fits

Two fields of a config say that a file is a BERT in name only, and are refused where they do: relative positions and
decoders are other architectures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nanodistil.config import Config
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.heads.multiple_choice import ForMultipleChoice, of_classifier
from nanodistil.heads.pooler import PooledEncoder
from nanodistil.heads.question_answering import ForQuestionAnswering
from nanodistil.heads.sequence_classification import ForSequenceClassification, two_maps
from nanodistil.heads.token_classification import ForTokenClassification
from nanodistil.weights.errors import CheckpointError, excerpt
from nanodistil.weights.renamed import EMBEDDINGS, Names, Renamed

NAMES = Renamed(
    PREFIX="bert.",
    layers="encoder.layer.",
    layer={
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "intermediate.intermediate_act_fn": "ffn.activation",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    },
    others={
        **EMBEDDINGS,
        "pooler.dense": "pre_classifier",
        "cls.predictions.transform.dense": "vocab_transform",
        "cls.predictions.transform.transform_act_fn": "activation",
        "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
        "cls.predictions.decoder": "vocab_projector",
        "cls.predictions.bias": "vocab_projector.bias",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    COPIES={"cls.predictions.decoder.bias": "cls.predictions.bias"},
    no_weights=(
        "embeddings.position_ids",
        "embeddings.token_type_ids",
        "cls.seq_relationship.weight",  # guessed whether the second text follows the first; nobody uses it
        "cls.seq_relationship.bias",
    ),
    many_heads=True,  # an official BERT has a pooler and a masked-LM head, whatever one wants of it
)
MAX_PLACES = 65_536  # positions times token types


@dataclass(init=False, repr=False)
class BertConfig(Config):
    """The hyper-parameters of a BERT; names and defaults are those of transformers' BertConfig.

    Raises CheckpointError for a value of the wrong type or outside its range, or one that is not computed here.

    >>> config = BertConfig(num_hidden_layers=3, hidden_size=48, num_attention_heads=4)
    >>> config.num_hidden_layers, config.n_layers  # the family's name, and that of any family
    (3, 3)
    >>> BertConfig(hidden_size=100)
    Traceback (most recent call last):
    nanodistil.weights.errors.CheckpointError: config: hidden_size 100 cannot be divided among num_attention_heads 12
    """

    model_type: ClassVar[str] = "bert"
    names: ClassVar[Names] = NAMES
    call_order: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    own_names: ClassVar[Mapping[str, str]] = {
        "dim": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "hidden_dim": "intermediate_size",
        "activation": "hidden_act",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    }
    ordered: ClassVar[tuple[str, ...]] = (
        "vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "activation", "dropout", "attention_dropout",
        "max_position_embeddings", "type_vocab_size", "initializer_range", "layer_norm_eps", "pad_token_id",
        "position_embedding_type",
    )  # fmt: skip

    n_layers: int = 12
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    position_embedding_type: str = "absolute"
    is_decoder: bool = False
    classifier_dropout: float | None = None  # None: as hidden_dropout_prob

    def _check(self) -> None:
        super()._check()
        if self.position_embedding_type != "absolute":
            kind = self.position_embedding_type[:40]
            raise CheckpointError(f"config: position_embedding_type is {excerpt(kind)}; only 'absolute' is computed")
        if self.is_decoder:
            raise CheckpointError("config: is_decoder is true; only encoders are computed")
        if not 1 <= self.type_vocab_size <= MAX_PLACES // self.max_position_embeddings:
            raise CheckpointError(
                f"config: {self.type_vocab_size} token types (type_vocab_size) times {self.max_position_embeddings} "
                f"positions lie outside 1 to {MAX_PLACES}"
            )

    @property
    def token_types(self) -> int:
        return self.type_vocab_size

    @property
    def attention_out_dropout(self) -> float:
        return self.dropout

    @property
    def seq_classif_dropout(self) -> float:
        return self.dropout if self.classifier_dropout is None else self.classifier_dropout

    @property
    def token_classif_dropout(self) -> float:
        return self.seq_classif_dropout


CLASSIFICATION = two_maps(activation="tanh")  # where DistilBERT has ReLU


class BertModel(PooledEncoder, config_class=BertConfig):
    """The encoder, and its pooler where the checkpoint has one.

    >>> config = BertConfig(hidden_size=24, num_attention_heads=2, num_hidden_layers=1, intermediate_size=48)
    >>> bert = BertModel(config, backend="numpy")
    >>> out = bert([[101, 7592, 102, 2088, 102]], token_type_ids=[[0, 0, 0, 1, 1]])
    >>> out.last_hidden_state.shape, out.pooler_output.shape
    ((1, 5, 24), (1, 24))
    """


class BertForMaskedLM(ForMaskedLM, config_class=BertConfig): ...


class BertForSequenceClassification(ForSequenceClassification, config_class=BertConfig, head=CLASSIFICATION): ...


class BertForTokenClassification(ForTokenClassification, config_class=BertConfig): ...


class BertForQuestionAnswering(ForQuestionAnswering, config_class=BertConfig): ...


class BertForMultipleChoice(ForMultipleChoice, config_class=BertConfig, head=of_classifier(CLASSIFICATION)): ...

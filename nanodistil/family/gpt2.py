"""GPT-2 (Radford et al. 2019), of which DistilGPT2 is every other layer: it reads from left to right, and writes on.

Its block is DistilBERT's with three changes, each a property of the config that model.py asks for: a token sees those
before it only (`causal`); a block normalises what is given to its halves, and not what they add up to (`pre_norm`), so
one more LayerNorm stands at the end; GELU is its approximation by tanh.

    GPT2Model                       ids -> hidden states
    GPT2LMHeadModel                 ids -> a score for every word that may come next; generate() (generation/)
    GPT2ForSequenceClassification   ids -> a score for every class, from the last token
    GPT2ForTokenClassification      ids -> a score for every class, at every token
    GPT2ForQuestionAnswering        ids -> where the answer starts and ends

Files store its maps turned and q, k and v as one (weights/side_by_side.py). There is no padding token unless the user
sets one. Not computed: cross-attention, for models that look at another's hidden states as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

from nanodistil.causal import Causal, CausalOptions
from nanodistil.config import SHAPES, Config
from nanodistil.heads.calling import finished
from nanodistil.heads.causal_lm import ForCausalLM
from nanodistil.heads.last_token import ForLastToken
from nanodistil.heads.question_answering import ForQuestionAnswering
from nanodistil.heads.token_classification import ForTokenClassification
from nanodistil.outputs import BaseModelOutputWithPast
from nanodistil.pretrained import Arrays
from nanodistil.signatures import spelled_out
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.renamed import Names, Renamed

NAMES = Renamed(
    PREFIX="transformer.",
    layers="h.",
    layer={
        "ln_1": "sa_layer_norm",
        "attn.c_attn.q": "attention.q_lin",
        "attn.c_attn.k": "attention.k_lin",
        "attn.c_attn.v": "attention.v_lin",
        "attn.c_proj": "attention.out_lin",
        "ln_2": "output_layer_norm",
        "mlp.c_fc": "ffn.lin1",
        "mlp.act": "ffn.activation",
        "mlp.c_proj": "ffn.lin2",
    },
    others={
        "wte": "embeddings.word_embeddings",
        "wpe": "embeddings.position_embeddings",
        "ln_f": "transformer.last_layer_norm",
        "lm_head": "lm_head",
        "score": "score",
        "classifier": "classifier",
        "qa_outputs": "qa_outputs",
    },
    no_weights=("attn.bias", "attn.masked_bias"),  # old files: who sees whom, which is known
    body=("wte.", "wpe.", "h.", "ln_f."),
    turned={
        "attn.c_attn": ("attn.c_attn.q", "attn.c_attn.k", "attn.c_attn.v"),
        "attn.c_proj": ("attn.c_proj",),
        "mlp.c_fc": ("mlp.c_fc",),
        "mlp.c_proj": ("mlp.c_proj",),
    },
)
FIRST = ("input_ids", "past_key_values")  # of every call, and what follows
LAST = ("attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds")
WITH_CACHE = (*FIRST, "cache_position", *LAST, "encoder_hidden_states", "encoder_attention_mask")


@dataclass(init=False, repr=False)
class GPT2Config(Config):
    """The hyper-parameters of a GPT-2; names and defaults are those of transformers' GPT2Config.

    Raises CheckpointError for a value of the wrong type or outside its range, or one that is not computed here.

    >>> config = GPT2Config(n_layer=6, n_embd=48, n_head=4)
    >>> config.n_layer, config.n_layers, config.hidden_dim  # the family's name, that of any family, and 4 n_embd
    (6, 6, 192)
    """

    model_type: ClassVar[str] = "gpt2"
    names: ClassVar[Names] = NAMES
    call_order: ClassVar[tuple[str, ...]] = (*FIRST, *LAST)
    shapes: ClassVar[tuple[str, ...]] = (*SHAPES, "scale_attn_weights", "scale_attn_by_inverse_layer_idx")
    own_names: ClassVar[Mapping[str, str]] = {
        "max_position_embeddings": "n_positions",
        "dim": "n_embd",
        "n_layers": "n_layer",
        "n_heads": "n_head",
        "hidden_dim": "n_inner",
        "activation": "activation_function",
        "dropout": "resid_pdrop",
        "embedding_dropout": "embd_pdrop",
        "attention_dropout": "attn_pdrop",
        "layer_norm_eps": "layer_norm_epsilon",
    }
    ordered: ClassVar[tuple[str, ...]] = (
        "vocab_size", "max_position_embeddings", "dim", "n_layers", "n_heads", "hidden_dim", "activation", "dropout",
        "embedding_dropout", "attention_dropout", "layer_norm_eps", "initializer_range", "summary_type",
        "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout",
        "scale_attn_weights", "use_cache", "bos_token_id", "eos_token_id", "scale_attn_by_inverse_layer_idx",
        "reorder_and_upcast_attn",
    )  # fmt: skip

    vocab_size: int = 50257
    max_position_embeddings: int = 1024
    n_layers: int = 12
    hidden_dim: int = 0  # 4 * dim, if nothing is said
    activation: str = "gelu_new"
    embedding_dropout: float = 0.1
    layer_norm_eps: float = 1e-5
    pad_token_id: int | None = None  # type: ignore[assignment]
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    use_cache: bool = True
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    reorder_and_upcast_attn: bool = False  # against overflow in float16, which attention is never computed in here
    add_cross_attention: bool = False
    classifier_dropout: float | None = None  # of a classifier of tokens; None: 0.1
    hidden_dropout: float | None = None  # the same, if that is not given
    summary_type: str = "cls_index"  # these five: of a head with two tasks, which is not computed here
    summary_use_proj: bool = True
    summary_activation: str | None = None
    summary_proj_to_labels: bool = True
    summary_first_dropout: float = 0.1

    @classmethod
    def _named(cls, values: dict[str, Any]) -> dict[str, Any]:
        found = super()._named(values)
        if not found.get("hidden_dim"):
            width = found.get("dim", cls.dim)
            found["hidden_dim"] = 4 * width if isinstance(width, int) else 0
        return found

    def _check(self) -> None:
        super()._check()
        if self.add_cross_attention:
            raise CheckpointError("config: add_cross_attention is true; only decoders by themselves are computed")

    @property
    def causal(self) -> bool:
        return True

    @property
    def pre_norm(self) -> bool:
        return True

    @property
    def padding_idx(self) -> int | None:
        return None

    def sharpness(self, layer: int) -> float:
        sharp = 1.0 if self.scale_attn_weights else (self.dim / self.n_heads) ** 0.5
        return sharp / (layer + 1) if self.scale_attn_by_inverse_layer_idx else sharp

    @property
    def residual_start(self) -> float:
        return float((2 * self.n_layers) ** -0.5)

    @property
    def attention_out_dropout(self) -> float:
        return self.dropout

    @property
    def token_classif_dropout(self) -> float:
        given = self.hidden_dropout if self.classifier_dropout is None else self.classifier_dropout
        return 0.1 if given is None else given


class GPT2Model(Causal, config_class=GPT2Config):
    """The decoder alone.

    >>> config = GPT2Config(vocab_size=50, n_positions=16, n_embd=12, n_layer=1, n_head=2)
    >>> GPT2Model(config, backend="numpy")([[5, 6, 7]]).last_hidden_state.shape
    (1, 3, 12)
    """

    call_order = WITH_CACHE
    remembers = True

    @spelled_out(CausalOptions, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, **options: Unpack[CausalOptions],
    ) -> BaseModelOutputWithPast:  # fmt: skip
        """(B, T) ids and mask (1 = real token) -> hidden states (B, T, D), zero at masked positions."""
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, None, **options)
        output = BaseModelOutputWithPast(e.packing.unpack(self.ops.fetch(e.x)), **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)


class GPT2LMHeadModel(ForCausalLM, config_class=GPT2Config):
    call_order = WITH_CACHE


class GPT2ForSequenceClassification(ForLastToken, config_class=GPT2Config): ...


class GPT2ForTokenClassification(ForTokenClassification, Causal, config_class=GPT2Config): ...


class GPT2ForQuestionAnswering(ForQuestionAnswering, Causal, config_class=GPT2Config):
    call_order = ("input_ids", *LAST)

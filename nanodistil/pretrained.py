"""What every model class shares: a checkpoint becomes a callable model, and back, with everything checked on the way.

A model is a config, weights laid out for one backend, and a call that packs the batch, runs model.py and unpacks. How
it is called is said by its head (heads/), and what it is called by its family (family/). Arguments and results are
those of transformers, as NumPy arrays; `keep_masked`, `positions` and `tap` are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, TypedDict, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nanodistil import backend as backends
from nanodistil import model, state, structure
from nanodistil.arrays import numbers
from nanodistil.backend import Array, Ints
from nanodistil.config import Config, DistilBertConfig
from nanodistil.head import BASE, Head
from nanodistil.loader import Loading, load_pretrained
from nanodistil.loading_arguments import OF_SAVING, nothing_but
from nanodistil.module import Readable
from nanodistil.packing import Packing, first_tokens, sent
from nanodistil.parameters import Embedding, Parameter
from nanodistil.signatures import call_with, spelled_out
from nanodistil.taps import HeadMask, Recorder, Tap, as_tap
from nanodistil.weights.errors import InputError
from nanodistil.weights.initial import fresh
from nanodistil.weights.layout import Weights, lay_out, read_back
from nanodistil.weights.names import expected
from nanodistil.weights.side_by_side import put_together

Arrays: TypeAlias = ArrayLike | None  # an argument of a call that may be left out


class Options(TypedDict, total=False):
    """The keyword arguments that every model's call takes.

    output_attentions, output_hidden_states: return these too; None (default) means as the config says.
    return_dict: False for a plain tuple. position_ids: (B, T) or (1, T), where each token stands.
    keep_masked: compute masked positions too, as transformers does; without it results are zero there.
    tap: see taps.py.
    """

    output_attentions: bool | None
    output_hidden_states: bool | None
    return_dict: bool | None
    position_ids: ArrayLike | None
    keep_masked: bool
    tap: Tap | Callable[[str, Any], Any] | None


class Encoded(NamedTuple):
    """A batch after the encoder."""

    packing: Packing
    x: Array  # (N, D) hidden states, or (M, D) where positions were asked for, where the backend computes
    recorder: Recorder
    recorded: dict[str, Any]  # hidden_states and attentions, unpacked, if they were asked for


class Pretrained(Readable):
    """A model without a head; not for use by itself. Its family is that of its config's class."""

    head: ClassVar[Head] = BASE
    config_class: ClassVar[type[Config]] = DistilBertConfig
    call_order: ClassVar[tuple[str, ...]] = ()  # if it is another than its family's

    def __init_subclass__(cls, config_class: type[Config] | None = None, head: Head | None = None) -> None:
        """A family's class says in its first line which config is its, and which head, if it is another."""
        cls.config_class, cls.head = config_class or cls.config_class, head or cls.head
        cls.base_model_prefix = cls.config_class.names.PREFIX.removesuffix(".")
        if config_class:  # a family's own class, and not somebody's subclass of it
            call_with(cls, cls.call_order or cls.config_class.call_order)

    def __init__(
        self,
        config: Config,
        tensors: dict[str, Array] | None = None,
        *,
        backend: str | None = None,
        dtype: DTypeLike | None = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        """A model with random weights; or with tensors under the names of weights/names.py, which are not checked."""
        self.check_config(config)
        self.backend, self.dtype = backends.choose(backend, dtype)
        self.ops = backends.load(self.backend, threads, self.dtype)
        self.initialised: list[str] = []  # what from_pretrained drew at random, under transformers' names
        self.dropped: list[str] = []  # what it found and had no use for
        if tensors is None:
            floats = "float64" if self.dtype == "float64" else "float32"
            tensors = fresh(expected(config, self.head), config, floats, seed)
        self._set(config, tensors)

    def _set(self, config: Config, tensors: dict[str, Array]) -> None:
        self.config = config.of_model()
        self.graphs = backends.graphs(self.backend)  # of these weights
        self.masters: dict[str, Array] | None = None  # what `weights` was laid out from, where a trainee keeps it
        ops = self.ops
        self.weights = lay_out(tensors, config, self.head, ops.prepare_linear, ops.prepare_head, ops.send)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle, as multiprocessing needs: all but what the backend made, which is loaded anew."""
        return {name: value for name, value in self.__dict__.items() if name not in ("ops", "graphs")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.ops = backends.load(self.backend, dtype=self.dtype)
        self.graphs = backends.graphs(self.backend)

    @classmethod
    def check_config(cls, config: Config) -> None:
        """Raises InputError for what is no config of this family. A RoBERTa's is not a BERT's, though its class is."""
        wanted = cls.config_class
        if not isinstance(config, wanted) or config.model_type != wanted.model_type:
            raise InputError(f"config must be a {wanted.__name__}, not {type(config).__name__}")

    # ---- from files and to files

    @classmethod
    @spelled_out(Loading, more=True, local_files_only=False, ignore_mismatched_sizes=False)
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **arguments: Any) -> Self:
        """Load a folder, a hub id (from the Hugging Face cache, else downloaded), or "nanodistil-mini".

        backend: "numba" (default where installed) or "numpy". dtype: "float32" (default); "float64" (numpy only); for
        the linear maps alone, to save memory and time at some accuracy, "bfloat16" or "int8" (numba only).
        threads: how many the numba backend may use. revision, cache_dir, local_files_only, token: see weights/hub.py.
        config: instead of the one in the files. Other arguments are fields of the config, or num_labels; and
        transformers' others (torch_dtype, device_map="cpu", subfolder, ...), taken for what is so here and refused for
        what is not, see loading_arguments.py.
        What the checkpoint lacks of the head is drawn at random, with a warning, and named in `initialised`; so is,
        with ignore_mismatched_sizes, what it has in another shape. What is of no use here is in `dropped`.
        Raises ModelNotFoundError where there is no such model, CheckpointError where its files are broken or do not
        fit, InputError for arguments that cannot be, DeviceError for a device_map that is not where it computes.
        """
        return cast(Self, load_pretrained(lambda config: cls, pretrained_model_name_or_path, **arguments))

    def tensors(self) -> dict[str, Array]:
        """All weights under the names of weights/names.py, bit for bit as they were loaded.

        Raises InputError where the dtype is one that rounded them.
        """
        if self.masters is not None:
            return {name: self.ops.fetch(array) for name, array in self.masters.items()}
        if self.dtype not in backends.EXACT:
            raise InputError(
                f"the weights were rounded to {self.dtype}; load the model in float32 to save or change it"
            )
        return read_back(self.weights, self.ops.restore_linear, self.ops.fetch, self._shapes())

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        lacks = self.head.optional and not vars(self.weights.head)
        return expected(self.config, BASE if lacks else self.head)

    def get_input_embeddings(self) -> Embedding:
        """The table of words: `.weight` (V, D), and called with ids (...) it gives (..., D) for inputs_embeds.

        In every dtype: what is rounded are the linear maps.
        """
        return Embedding(Parameter.of(self.ops.fetch(self.weights.word_embeddings)))

    def state_dict(self) -> dict[str, Array]:
        """All weights under transformers' names. Raises InputError where the dtype is one that rounded them."""
        return self._as_filed(self.tensors())

    def _filed(self, name: str) -> str:
        return self.config.names.filed(name, self.head)

    def _as_filed(self, tensors: dict[str, Array]) -> dict[str, Array]:
        """Arrays under canonical names as a file of the family has them."""
        table = self.config.names
        return put_together({self._filed(name): array for name, array in tensors.items()}, table)

    def load_state_dict(self, state_dict: Any, strict: bool = True) -> state.IncompatibleKeys:
        """Take over weights from memory, arrays or tensors under transformers' names, as state_dict has them.

        strict: False keeps the model's own for those that are missing and passes over those it does not know; which
        they are is returned. Raises InputError for what does not fit, and then nothing has changed.

        >>> model, other = (Pretrained(DistilBertConfig(n_layers=1), backend="numpy", seed=seed) for seed in (1, 2))
        >>> model.load_state_dict(other.state_dict())
        IncompatibleKeys(missing_keys=[], unexpected_keys=[])
        """
        floats = "float64" if self.dtype == "float64" else "float32"
        tensors, keys = state.merged(self.tensors(), self.head, self.config.names, state_dict, strict, floats)
        self._set(self.config, tensors)
        return keys

    def save_pretrained(self, save_directory: str | Path, **others: Any) -> None:
        """Write config.json and model.safetensors, for from_pretrained here and in transformers.

        others: transformers' arguments, taken for what is so here and refused for what is not (loading_arguments.py).
        Raises InputError where the weights were rounded on loading, or the folder cannot be written.
        """
        nothing_but(others, OF_SAVING, "save_pretrained")
        self.write(Path(save_directory), self.state_dict(), self.weights.word_embeddings.dtype.name)

    def beside(self, folder: Path) -> None:
        """Take what else it needs of the folder it is loaded from: nothing, but for models that write."""

    def write(self, folder: Path, arrays: dict[str, Array], dtype: str) -> None:
        """Write the folder of this model with arrays under transformers' names, of a dtype that may not be its own."""
        from nanodistil.weights.saving import save

        save(folder, self.config_as_filed(dtype), arrays)

    def config_as_filed(self, dtype: str) -> str:
        """The text of its config.json beside weights of this dtype."""
        known = {name: value for name, value in self.config.extra.items() if name != "torch_dtype"}  # dtype's old name
        extra = {**known, "architectures": [type(self).__name__], "dtype": dtype}
        return replace(self.config, extra=extra).to_json_string()

    # ---- changing the shape

    def prune_heads(self, heads_to_prune: dict[int, list[int]]) -> None:
        """Remove attention heads, layer -> their numbers, and remember it in config.pruned_heads.

        Raises InputError for layers or heads that do not exist, or where a layer would be left without a head.
        """
        self._set(*structure.prune_heads(self.config, self.tensors(), heads_to_prune))

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
        seed: int = 0,
    ) -> Embedding:
        """Grow or shrink the vocabulary: word embeddings, which are returned, and the masked-LM head with them.

        new_num_tokens: None keeps their number, but for pad_to_multiple_of. mean_resizing: new rows are drawn closely
        around the mean of the old ones (Hewitt 2021); else from the config's initializer_range. seed: of these draws.
        Raises InputError for a size that cannot be.
        """
        rng = np.random.default_rng(seed)
        wanted = self.config.vocab_size if new_num_tokens is None else new_num_tokens
        size = structure.rounded_up(wanted, pad_to_multiple_of)
        self._set(*structure.resize_tokens(self.config, self.tensors(), size, mean_resizing, rng))
        return self.get_input_embeddings()

    def resize_position_embeddings(self, new_num_position_embeddings: int, seed: int = 0) -> None:
        """Grow or shrink the number of positions. New rows are drawn from a standard normal, as in transformers, or
        continue the sinusoids where the config says so. Raises InputError for a size that cannot be.
        """
        rng = np.random.default_rng(seed)
        self._set(*structure.resize_positions(self.config, self.tensors(), new_num_position_embeddings, rng))

    # ---- running

    def _encode(
        self, input_ids: Arrays, attention_mask: Arrays, head_mask: Arrays, inputs_embeds: Arrays,
        looked_at: Arrays | Literal["first"], *, output_attentions: bool | None = None,
        output_hidden_states: bool | None = None, return_dict: bool | None = None, position_ids: Arrays = None,
        token_type_ids: Arrays = None, keep_masked: bool = False, tap: Tap | Callable[[str, Any], Any] | None = None,
    ) -> Encoded:  # fmt: skip
        """Pack and run the encoder.

        looked_at: (M, 2) sentence and token numbers, or "first", the first token of every sentence, masked or not;
        then the hidden states are (M, D), and where nobody looks at the rest, it is not computed. None: (N, D).
        """
        ids, weights = self._words(input_ids, inputs_embeds)
        vocabulary = None if inputs_embeds is None else ids.size
        first = isinstance(looked_at, str)
        packing = Packing.of(
            ids, attention_mask, self.config, keep_masked, position_ids, vocabulary, first, token_type_ids
        )
        if first:
            looked_at = first_tokens(len(packing.computed))
        places = None if looked_at is None else packing.rows(looked_at)
        hidden, probs = self._asked_for(output_hidden_states, output_attentions)
        recorder = self._recorder(hidden + probs, head_mask, tap)
        watched = tap is not None or bool(hidden or probs)
        plain = inputs_embeds is None and head_mask is None and not watched
        x, places = self._encoded(packing, places, weights, recorder, watched, plain)
        recorded = self._recorded(packing, recorder, hidden, probs)
        return Encoded(packing, x if places is None else x[self.ops.send(places)], recorder, recorded)

    def _recorder(self, names: list[str], head_mask: Arrays, tap: Any) -> Recorder:
        """What keeps intermediates of these names, behind the caller's tap and the mask of heads."""
        inner = as_tap(tap, self.ops)
        if head_mask is not None:
            inner = HeadMask(self.ops.send(self._head_mask(head_mask)), inner)
        return Recorder(names, inner)

    def _words(self, input_ids: ArrayLike | None, inputs_embeds: ArrayLike | None) -> tuple[Any, Weights]:
        """The ids, and the weights with the table they are looked up in."""
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("input_ids is needed, the (batch, tokens) array a tokenizer gives, or else inputs_embeds")
        if inputs_embeds is None:
            return input_ids, self.weights
        words = self._embeds(inputs_embeds)  # (B, T, D): each token is a word of its own, and they are the table
        ids = np.arange(words.shape[0] * words.shape[1]).reshape(words.shape[:2])
        return ids, self.weights._replace(word_embeddings=self.ops.send(words.reshape(ids.size, words.shape[2])))

    def _asked_for(self, hidden_states: bool | None, attentions: bool | None) -> tuple[list[str], list[str]]:
        """The names under which model.py shows hidden states and attentions, of those that are to be returned."""
        L = self.config.n_layers
        hidden: list[str] = []
        probs: list[str] = []
        if self.config.output_hidden_states if hidden_states is None else hidden_states:
            hidden = ["embeddings.LayerNorm", *(f"layer.{i}.output_layer_norm" for i in range(L))]
            if self.config.pre_norm:  # the last is not what the last block gives
                hidden = ["embeddings.sum", *(f"layer.{i}.fed" for i in range(L - 1)), "last_layer_norm"]
        if self.config.output_attentions if attentions is None else attentions:
            probs = [f"layer.{i}.attention.probs" for i in range(L)]
        return hidden, probs

    def _encoded(
        self, packing: Packing, places: Ints | None, weights: Weights, recorder: Recorder, watched: bool, plain: bool,
        ops: backends.Ops | None = None,
    ) -> tuple[Array, Ints | None]:  # fmt: skip
        """The encoder's (N, D), or its (M, D) at the places that were asked for; and where these are in it.

        watched: whether all rows are to be seen. plain: whether a recording may answer. ops: if not the model's own.
        """
        send = self.ops.send

        def encode(batch: model.Packed, ops: backends.Ops, look: model.Look | None = None) -> Array:
            return model.encoder(batch, weights, self.config, ops, recorder, look)

        x = self.graphs(encode, self.ops, packing.batch) if self.graphs and plain else None
        if x is not None:
            return x, places
        look = None
        if places is not None and not watched:
            look, places = packing.look(places)
            look = look._replace(rows=send(look.rows))
        return encode(sent(packing.batch, send), ops or self.ops, look), places

    def _recorded(
        self, packing: Packing, recorder: Recorder, hidden: list[str], probs: list[str], before: int = 0
    ) -> dict[str, tuple[Array, ...] | None]:
        """What was asked for, as the call returns it. before: tokens of the past, which are attended to as well."""
        seen, fetch, H = recorder.seen, self.ops.fetch, self.config.n_heads
        return {
            "hidden_states": tuple(packing.unpack(fetch(seen[name])) for name in hidden) or None,
            "attentions": tuple(packing.unpack_pairs([fetch(p) for p in seen[name]], H, before) for name in probs)
            or None,
        }

    def _scores(self, encoded: Encoded) -> Array:
        """What the head makes of hidden states, where the backend computes."""
        return self.head.forward(encoded.x, self.weights, self.ops, encoded.recorder)

    def _embeds(self, inputs_embeds: ArrayLike) -> Array:
        """Checked (B, T, D) embeddings in the dtype of the model."""
        embeds = numbers(inputs_embeds, "inputs_embeds")
        if embeds.ndim != 3 or embeds.shape[2] != self.config.dim:
            raise InputError(f"inputs_embeds must be numbers (batch, tokens, {self.config.dim}), not {embeds.shape}")
        return np.ascontiguousarray(embeds, self.weights.word_embeddings.dtype)

    def _head_mask(self, head_mask: ArrayLike) -> Array:
        """A checked (H,) or (L, H) head mask as (L, H), in the dtype of the model."""
        L, H = self.config.n_layers, self.config.n_heads
        mask = numbers(head_mask, "head_mask")
        if mask.shape not in ((H,), (L, H)):
            raise InputError(f"head_mask must be numbers of shape {(H,)} or {(L, H)}, not {mask.shape}")
        if not np.isfinite(mask).all():
            raise InputError("head_mask is what attention is multiplied by: it must be finite, 1 for a head that stays")
        if self.config.pruned_heads:
            raise InputError("head_mask is for models with all their heads; this one has pruned_heads")
        return np.broadcast_to(mask.astype(self.weights.word_embeddings.dtype), (L, H))

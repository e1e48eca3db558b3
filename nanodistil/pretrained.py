"""The classes users know: from a checkpoint to a callable model, with everything checked on the way in.

    DistilBertModel         ids -> hidden states
    DistilBertForMaskedLM   ids -> a score for every word of the vocabulary

Each is a config, weights laid out for one backend, and a call that packs the batch, runs model.py and unpacks.
Arguments and results are those of transformers, as NumPy arrays; three arguments are ours: `keep_masked`, `positions`
and `tap`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from numpy.typing import ArrayLike, DTypeLike

from nanodistil import backend as backends
from nanodistil import model
from nanodistil.backend import Array
from nanodistil.config import DistilBertConfig
from nanodistil.outputs import BaseModelOutput, MaskedLMOutput
from nanodistil.packing import Packing
from nanodistil.taps import Recorder, as_tap
from nanodistil.weights.errors import InputError
from nanodistil.weights.layout import lay_out


class _Pretrained:
    """What every model class shares: loading, and running the encoder."""

    head: ClassVar[str] = "base"  # its row in weights/names.py

    def __init__(
        self,
        config: DistilBertConfig,
        tensors: dict[str, Array],
        *,
        backend: str | None = None,
        dtype: DTypeLike | None = None,
        threads: int | None = None,
    ) -> None:
        """config and its tensors under the names of weights/names.py; from_pretrained is the usual way in."""
        self.backend, self.dtype = backends.choose(backend, dtype)
        self.ops = backends.load(self.backend, threads, self.dtype)
        self.config = config
        self.weights = lay_out(tensors, config.n_layers, self.ops.prepare_linear, self.ops.prepare_head)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle, as multiprocessing needs: all but the backend, which is a module and loaded anew."""
        return {name: value for name, value in self.__dict__.items() if name != "ops"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.ops = backends.load(self.backend, dtype=self.dtype)

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
        token: str | None = None,
    ) -> Self:
        """Load a folder, a hub id (from the Hugging Face cache, else downloaded), or "nanodistil-mini".

        backend: "numba" (default where installed) or "numpy". dtype: "float32" (default); "float64" (numpy only); for
        the linear maps alone, to save memory and time at some accuracy, "bfloat16" or "int8" (numba only).
        threads: how many the numba backend may use.
        Raises ModelNotFoundError where there is no such model, CheckpointError where its files are broken or do not
        fit, InputError for arguments that cannot be.
        """
        from nanodistil.weights.hub import resolve
        from nanodistil.weights.loading import load

        name, wanted = backends.choose(backend, dtype)  # before any download
        folder = resolve(
            str(pretrained_model_name_or_path),
            need="model",
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        config = DistilBertConfig.from_json_file(folder / "config.json")
        tensors = load(folder, config, cls.head, "float64" if wanted == "float64" else "float32").tensors
        return cls(config, tensors, backend=name, dtype=wanted, threads=threads)

    def _encode(
        self,
        input_ids: ArrayLike | None,
        attention_mask: ArrayLike | None,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
        keep_masked: bool,
        tap: model.Tap | Callable[[str, Any], Any] | None,
        positions: ArrayLike | None = None,
    ) -> tuple[Packing, Array, Recorder]:
        """Pack and run the encoder: the packing, the last hidden states, and what the outputs need recorded.

        The hidden states are (N, D), or (M, D) at `positions`. Where nobody looks at the rest, it is not computed.
        """
        if input_ids is None:
            raise InputError("input_ids is needed: the (batch, tokens) array a tokenizer gives")
        packing = Packing.of(input_ids, attention_mask, self.config, keep_masked)
        names: list[str] = []
        L = self.config.n_layers
        if self.config.output_hidden_states if output_hidden_states is None else output_hidden_states:
            names += ["embeddings.LayerNorm", *(f"layer.{i}.output_layer_norm" for i in range(L))]
        if self.config.output_attentions if output_attentions is None else output_attentions:
            names += [f"layer.{i}.attention.probs" for i in range(L)]
        recorder = Recorder(names, as_tap(tap))
        look, places = None, None
        if positions is not None:
            places = packing.rows(positions)
            if tap is None and not names:
                look, places = packing.look(places)
        x = model.encoder(packing.batch, self.weights, self.config, self.ops, recorder, look)
        return packing, x if places is None else x[places], recorder

    def _recorded(self, packing: Packing, recorder: Recorder) -> dict[str, tuple[Array, ...] | None]:
        """hidden_states and attentions, unpacked, as far as they were asked for."""
        seen = recorder.seen
        hidden = [packing.unpack(v) for name, v in seen.items() if not name.endswith("probs")]
        probs = [packing.unpack_pairs(v, self.config.n_heads) for name, v in seen.items() if name.endswith("probs")]
        return {"hidden_states": tuple(hidden) or None, "attentions": tuple(probs) or None}


class DistilBertModel(_Pretrained):
    """The encoder alone.

    >>> encoder = DistilBertModel.from_pretrained("nanodistil-mini", backend="numpy")
    >>> encoder([[101, 7592, 102]]).last_hidden_state.shape
    (1, 3, 384)
    """

    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        keep_masked: bool = False,
        tap: model.Tap | Callable[[str, Any], Any] | None = None,
    ) -> BaseModelOutput:
        """(B, T) ids and mask (non-zero = real token) -> hidden states (B, T, D), zero at masked positions.

        keep_masked: compute masked positions too, as transformers does. tap: see taps.py.
        Raises InputError for ids, masks or shapes that do not fit the model.
        """
        packing, x, recorder = self._encode(
            input_ids, attention_mask, output_attentions, output_hidden_states, keep_masked, tap
        )
        return BaseModelOutput(packing.unpack(x), **self._recorded(packing, recorder))


class DistilBertForMaskedLM(_Pretrained):
    """The encoder and the head it was trained with: which word belongs here?

    >>> masked_lm = DistilBertForMaskedLM.from_pretrained("nanodistil-mini", backend="numpy")
    >>> masked_lm([[101, 7592, 103, 102]], positions=[(0, 2)]).logits.shape
    (1, 30522)
    """

    head: ClassVar[str] = "masked_lm"

    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        positions: ArrayLike | None = None,
        keep_masked: bool = False,
        tap: model.Tap | Callable[[str, Any], Any] | None = None,
    ) -> MaskedLMOutput:
        """(B, T) ids and mask (non-zero = real token) -> logits (B, T, V), zero at masked positions.

        positions: (M, 2) sentence and token numbers; then the vocabulary is projected there only, logits (M, V): the
        numbers of the full projection, on the numba backend to the last bit. keep_masked, tap, errors: as
        DistilBertModel.
        """
        packing, x, recorder = self._encode(
            input_ids, attention_mask, output_attentions, output_hidden_states, keep_masked, tap, positions
        )
        logits = model.masked_lm(x, self.weights, self.config, self.ops, recorder)  # (N or M, V)
        return MaskedLMOutput(
            packing.unpack(logits) if positions is None else logits, **self._recorded(packing, recorder)
        )

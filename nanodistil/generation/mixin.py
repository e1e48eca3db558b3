"""What a causal model class has of this folder; nothing of it is imported before it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from nanodistil.backend import Array
from nanodistil.weights.files import GENERATION_CONFIG

if TYPE_CHECKING:
    from nanodistil.generation.config import GenerationConfig
    from nanodistil.generation.decoding import Decoding, Writer
    from nanodistil.generation.processing import Process
    from nanodistil.generation.stopping import Stop
    from nanodistil.generation.streaming import BaseStreamer


class GenerationMixin:
    """generate() for a model that says how it decodes."""

    config: Any
    _generation_config: GenerationConfig | None = None

    def decoding(self, use_cache: bool = True) -> Decoding:
        """Sequences of this model, with what it computed of them, or computing everything anew."""
        raise NotImplementedError

    @property
    def generation_config(self) -> GenerationConfig:
        """What its generation_config.json says; without one, what its config.json says of generation."""
        from nanodistil.generation.config import GenerationConfig

        if self._generation_config is None:
            self._generation_config = GenerationConfig.from_model_config(self.config)
        return self._generation_config

    @generation_config.setter
    def generation_config(self, config: GenerationConfig) -> None:
        self._generation_config = config

    def take_generation_config(self, folder: Path) -> None:
        """That of a folder, if it has one. Raises CheckpointError for a file that is broken."""
        if (folder / GENERATION_CONFIG).is_file():
            from nanodistil.generation.config import GenerationConfig

            self._generation_config = GenerationConfig.from_json_file(folder / GENERATION_CONFIG)

    def can_generate(self) -> bool:
        """It can."""
        return True

    def generate(
        self,
        inputs: ArrayLike | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Sequence[Process] | None = None,
        stopping_criteria: Sequence[Stop] | None = None,
        prefix_allowed_tokens_fn: Callable[[int, Any], Any] | None = None,
        synced_gpus: bool | None = None,
        assistant_model: Writer | None = None,
        streamer: BaseStreamer | None = None,
        negative_prompt_ids: ArrayLike | None = None,
        negative_prompt_attention_mask: ArrayLike | None = None,
        use_model_defaults: bool | None = None,
        custom_generate: None = None,
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Texts that begin with the prompts: ids (B, T), padded -> (B * num_return_sequences, T + new), padded.

        inputs: the prompts, also as input_ids=...; without any, one bos token. attention_mask: (B, T), 1 = real token.
        seed: of sampling; with it a prompt has the same answers in any batch. kwargs: fields of a GenerationConfig,
        which come before those of generation_config and of the model's own; `tokenizer`, for stop_strings.
        With return_dict_in_generate=True an output (generation/outputs.py) instead of the ids.
        Raises InputError for arguments that cannot be, TooLongError for more tokens than the model has positions.

        >>> from nanodistil import GPT2Config, GPT2LMHeadModel
        >>> tiny = GPT2Config(vocab_size=50, n_positions=16, n_embd=12, n_layer=1, n_head=2)
        >>> GPT2LMHeadModel(tiny, backend="numpy").generate([[5, 6, 7]], max_new_tokens=3, pad_token_id=0).shape
        (1, 6)
        """
        from nanodistil.generation.generating import Asked, generate

        kwargs |= {"synced_gpus": synced_gpus, "custom_generate": custom_generate}
        asked = Asked(
            logits_processor, stopping_criteria, prefix_allowed_tokens_fn, assistant_model, streamer,
            negative_prompt_ids, negative_prompt_attention_mask, use_model_defaults, seed,
        )  # fmt: skip
        return generate(self, inputs, generation_config, asked, kwargs)

    def compute_transition_scores(
        self,
        sequences: ArrayLike,
        scores: Sequence[Array],
        beam_indices: ArrayLike | None = None,
        normalize_logits: bool = False,
    ) -> Array:
        """The score of each generated token: (S, T), n x (rows, V), (S, n) -> (S, n); 0 behind a beam's end.

        With normalize_logits=True the logarithm of its probability, of scores that are no such logarithms yet.
        """
        from nanodistil.generation.generating import transition_scores

        return transition_scores(sequences, scores, beam_indices, normalize_logits)

"""generate(): prompts in, texts out, by transformers' names and defaults.

    config (generation_config.json < a GenerationConfig < arguments) -> prompts -> processors, criteria
        -> one_by_one (greedy, sampling) | guessed_ahead (the same, with guesses) | beam_search -> sequences

Everything is checked before a model computes. What is ours: `seed`; sequences at their end leave the batch; padding is
dropped, on either side; a prompt's answers do not depend on the others in its batch, nor on guesses.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.backend import Array, Ints
from nanodistil.generation.beams import Search, beam_search
from nanodistil.generation.config import GenerationConfig
from nanodistil.generation.decoding import Decoding
from nanodistil.generation.drawing import streams
from nanodistil.generation.guessing import Assistant, Guesser, PromptLookup, guessed_ahead
from nanodistil.generation.ordering import asked_for, merged
from nanodistil.generation.outputs import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput
from nanodistil.generation.plain import Keeping, Plan, one_by_one
from nanodistil.generation.processing import LogitsProcessor, LogitsProcessorList, Process, token_ids
from nanodistil.generation.prompts import Prompts
from nanodistil.generation.rescaling import UnbatchedClassifierFreeGuidanceLogitsProcessor, log_softmax
from nanodistil.generation.stopping import (
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    Stop,
    StoppingCriteriaList,
    StopStringCriteria,
)
from nanodistil.generation.streaming import BaseStreamer
from nanodistil.weights.errors import InputError, TooLongError, excerpt, meant

LEFT_OUT = {  # arguments of transformers' generate() or model that may say nothing here, and what to do otherwise
    "synced_gpus": "leave it out",
    "custom_generate": "no code from strangers is run: leave it out",
    "trust_remote_code": "no code from strangers is run: leave it out",
    "assistant_tokenizer": "give an assistant_model with the same vocabulary",
    "past_key_values": "generate() has a cache of its own: give the whole prompt",
    "inputs_embeds": "give input_ids",
    "position_ids": "positions follow from attention_mask: leave it out",
    "token_type_ids": "leave it out",
    "head_mask": "leave it out",
    "cache_position": "leave it out",
    "logits_to_keep": "leave it out",
}


class GenerationMixin:
    """generate() for a model that says how it decodes.

    Has to have: `config` (vocab_size, max_position_embeddings), `generation_config`, and `decoding`.
    """

    config: Any
    generation_config: GenerationConfig

    def decoding(self, use_cache: bool = True) -> Decoding:
        """Sequences of this model, with what it computed of them, or computing everything anew."""
        raise NotImplementedError

    def generate(
        self,
        inputs: ArrayLike | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Sequence[Process] | None = None,
        stopping_criteria: Sequence[Stop] | None = None,
        prefix_allowed_tokens_fn: Callable[[int, Any], Any] | None = None,
        synced_gpus: bool | None = None,
        assistant_model: GenerationMixin | None = None,
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
        With return_dict_in_generate=True an output (outputs.py) instead of the ids.
        Raises InputError for arguments that cannot be, TooLongError for more tokens than the model has positions.
        """
        kwargs |= {"synced_gpus": synced_gpus, "custom_generate": custom_generate}
        config, others = self.settled(generation_config, use_model_defaults, kwargs)
        prompts, tokenizer = self._prompts(inputs, config, others)
        self._limit(config, prompts, kwargs)
        ends = None if config.eos_token_id is None else token_ids(config.eos_token_id, "eos_token_id")
        pad = config.pad_token_id if config.pad_token_id is not None else None if ends is None else int(ends[0])
        texts = prompts.texts()
        guidance = None
        if config.guidance_scale is not None and config.guidance_scale != 1:
            guidance = UnbatchedClassifierFreeGuidanceLogitsProcessor(
                config.guidance_scale, self.decoding(), negative_prompt_ids, negative_prompt_attention_mask
            )
        processors = asked_for(
            config, prompts.ids, ends, [*(logits_processor or ())], guidance, prefix_allowed_tokens_fn
        )
        criteria = self._criteria(config, ends, [*(stopping_criteria or ())], tokenizer)
        kept = bool(config.return_dict_in_generate)
        keeping = Keeping([] if kept and config.output_scores else None, [] if kept and config.output_logits else None)
        answers = config.num_return_sequences if config.num_beams == 1 else 1
        draws = streams(seed, texts, answers) if config.do_sample else None
        if config.num_beams > 1:
            if streamer is not None:
                raise InputError("`streamer` cannot be used with beam search: set num_beams to 1")
            if assistant_model is not None or config.prompt_lookup_num_tokens is not None:
                raise InputError("guesses (assistant_model, prompt_lookup_num_tokens) are not for beams: leave one out")
            early = config.early_stopping
            candidates = max(2, 1 + (0 if ends is None else len(ends))) * config.num_beams
            search = Search(
                processors, criteria, config.num_beams, candidates,
                config.max_length or 0, 1.0 if config.length_penalty is None else config.length_penalty, early,
                (pad or int(ends[0])) if ends is not None else -1, draws, keeping,
            )  # fmt: skip
            return self._of_beams(prompts, search, config)
        has_end = any(hasattr(one, "eos_token_id") for one in criteria)
        if has_end and pad is None:
            raise InputError("pad_token_id or eos_token_id is needed: a text at its end waits for the others")
        plan = Plan(processors, criteria, pad if has_end else None, draws, streamer, keeping)
        decoding = self.decoding(config.use_cache)
        guesser = self._guesser(config, prompts, ends, plan, assistant_model)
        if guesser is None:
            sequences = one_by_one(decoding, prompts, answers, plan)
        else:
            sequences = guessed_ahead(decoding, prompts, guesser, config.max_length or 0, plan)
        if not kept:
            return sequences
        return GenerateDecoderOnlyOutput(sequences, *(tuple(one) if one is not None else None for one in keeping))

    def settled(
        self, config: GenerationConfig | None, use_model_defaults: bool | None, kwargs: dict[str, Any]
    ) -> tuple[GenerationConfig, dict[str, Any]]:
        """The config of a call, and the arguments that are none of its fields.

        An argument comes before a config that was given, and that before the model's own: with use_model_defaults=None
        in all its fields if the model's is of transformers 4.50 or later, else in its tokens alone.
        """
        own = self.generation_config
        if config is None:
            settled = copy.deepcopy(own)
        else:
            recent = _version(own.transformers_version) >= (4, 50)
            if use_model_defaults or (use_model_defaults is None and recent):
                settled = config.with_defaults_of(own)
            else:
                settled = copy.deepcopy(config)
                for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
                    if getattr(settled, name) is None:
                        setattr(settled, name, getattr(own, name))
        others = settled.update(**kwargs)
        settled.refuse_unsupported()
        return settled, others

    def _prompts(
        self, inputs: ArrayLike | None, config: GenerationConfig, others: dict[str, Any]
    ) -> tuple[Prompts, Any]:
        """The prompts, and the tokenizer if one was given. Raises InputError for unknown arguments."""
        given, mask = others.pop("input_ids", None), others.pop("attention_mask", None)
        tokenizer = others.pop("tokenizer", None)
        for name, value in others.items():
            if name not in LEFT_OUT:
                known = [*config.__dict__, *LEFT_OUT, "input_ids", "attention_mask", "tokenizer", "seed"]
                raise InputError(f"{excerpt(name)} is no argument of generate(){meant(name, known)}")
            if value is not None and value is not False:
                raise InputError(f"generate() does not take {name} here; {LEFT_OUT[name]}")
        if given is not None and inputs is not None:
            raise InputError("give the prompts once: as inputs, or as input_ids")
        ids = given if inputs is None else inputs
        if ids is None:
            if config.bos_token_id is None:
                raise InputError("`bos_token_id` has to be defined when no `input_ids` are provided.")
            ids, mask = [[config.bos_token_id]], None
        plain = np.asarray(ids)
        if mask is None and plain.ndim == 2 and config.pad_token_id is not None:
            ends = () if config.eos_token_id is None else np.atleast_1d(config.eos_token_id)
            if config.pad_token_id not in ends and (plain == config.pad_token_id).any():
                mask = plain != config.pad_token_id
        return Prompts.of(ids, mask, vocabulary=self.config.vocab_size), tokenizer

    def _limit(self, config: GenerationConfig, prompts: Prompts, kwargs: dict[str, Any]) -> None:
        """Set the lengths, in tokens with the prompt's padding. Raises InputError for those that cannot be."""
        length, room = prompts.ids.shape[1], self.config.max_position_embeddings
        longest = int(prompts.mask.sum(axis=1).max())
        if longest > room:
            raise TooLongError(f"a prompt has {longest} tokens, and the model {room} positions; shorten it")
        default = kwargs.get("max_length") is None and config.max_length is not None
        if config.max_new_tokens is not None:
            if not default and config.max_length is not None:
                warnings.warn(
                    f"`max_new_tokens` ({config.max_new_tokens}) counts, and `max_length` ({config.max_length}) not",
                    stacklevel=3,
                )
            config.max_length = config.max_new_tokens + length
        elif default and config.max_length == 20:
            config.max_length = min(20 + length, room)
        if config.max_length is None:
            raise InputError("how long? set max_new_tokens")
        if config.min_new_tokens is not None:
            config.min_length = config.min_new_tokens + length
        if length >= config.max_length:
            raise InputError(
                f"Input length of input_ids is {length}, but `max_length` is set to {config.max_length}: set "
                "max_new_tokens instead"
            )
        if (config.min_length or 0) > config.max_length:
            warnings.warn(
                f"the minimum length ({config.min_length}) is larger than the maximum ({config.max_length}), where "
                "generation stops", stacklevel=3,
            )  # fmt: skip
        needed = longest + config.max_length - length - 1  # the last token is not read
        if needed > room:
            raise TooLongError(
                f"a prompt of {longest} tokens and {config.max_length - length} new ones are more than the model's "
                f"{room} positions; set max_new_tokens to {room - longest + 1} or less"
            )

    def _criteria(
        self, config: GenerationConfig, ends: Ints | None, own: list[Stop], tokenizer: Any
    ) -> StoppingCriteriaList:
        found: list[Stop] = [MaxLengthCriteria(config.max_length or 0, self.config.max_position_embeddings)]
        if config.max_time is not None:
            found.append(MaxTimeCriteria(config.max_time))
        if config.stop_strings is not None:
            if tokenizer is None:
                raise InputError("`stop_strings` are looked for in text: give generate() the model's tokenizer=...")
            found.append(StopStringCriteria(tokenizer, config.stop_strings))
        if ends is not None:
            found.append(EosTokenCriteria(ends))
        return StoppingCriteriaList(merged(found, own))

    def _guesser(
        self, config: GenerationConfig, prompts: Prompts, ends: Ints | None, plan: Plan, model: GenerationMixin | None
    ) -> Guesser | None:
        """What guesses, if anything was asked to. Raises InputError for what cannot guess here."""
        if model is None and config.prompt_lookup_num_tokens is None:
            return None
        if len(prompts.ids) > 1 or config.num_return_sequences > 1:
            raise InputError("guesses (assistant_model, prompt_lookup_num_tokens) are for one prompt and one answer")
        if model is None:
            return PromptLookup(config.prompt_lookup_num_tokens or 0, config.max_matching_ngram_size, ends)
        if model.config.vocab_size != self.config.vocab_size:
            raise InputError(
                f"assistant_model has {model.config.vocab_size} tokens, and this model {self.config.vocab_size}: they "
                "must share a vocabulary"
            )
        said = model.generation_config
        stateless = [
            one for one in plan.processors
            if isinstance(one, LogitsProcessor) and type(one).__module__.startswith("nanodistil.generation.")
            and not isinstance(one, UnbatchedClassifierFreeGuidanceLogitsProcessor)
        ]  # fmt: skip
        return Assistant(
            model.decoding(), prompts.texts()[0], plan, LogitsProcessorList(stateless), ends,
            model.config.max_position_embeddings, said.num_assistant_tokens, said.num_assistant_tokens_schedule,
            said.assistant_confidence_threshold or 0.0,
        )  # fmt: skip

    def _of_beams(self, prompts: Prompts, search: Search, config: GenerationConfig) -> Any:
        found, count = beam_search(self.decoding(config.use_cache), prompts, search), config.num_return_sequences
        indices = found.indices[:, :count].reshape(-1, found.indices.shape[2])
        new = int((indices >= 0).sum(axis=1).max())
        sequences = found.sequences[:, :count, : prompts.ids.shape[1] + new].reshape(len(indices), -1)
        if not config.return_dict_in_generate:
            return sequences
        scores, logits = (tuple(one) if one is not None else None for one in search.keeping)
        best = found.scores[:, :count].reshape(-1) if config.output_scores else None
        return GenerateBeamDecoderOnlyOutput(sequences, best, scores, logits, indices[:, :new])

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
        ids, stacked = np.asarray(sequences), np.stack(scores)  # (n, rows, V)
        if normalize_logits:
            for step in stacked:
                log_softmax(step)
        if beam_indices is None:
            rows = np.repeat(np.arange(stacked.shape[1])[:, None], len(stacked), axis=1)
        else:
            rows = np.asarray(beam_indices)
        rows = rows[:, : int((rows >= 0).sum(axis=1).max())]
        tokens = ids[:, ids.shape[1] - rows.shape[1] :]
        found = stacked[np.arange(rows.shape[1]), np.maximum(rows, 0), np.minimum(tokens, stacked.shape[2] - 1)]
        found[rows < 0] = 0
        return np.asarray(found)


def _version(text: str) -> tuple[int, ...]:
    """The numbers a version begins with.

    >>> _version("4.57.6.dev0")
    (4, 57, 6)
    """
    numbers = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)

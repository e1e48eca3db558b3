"""generate(): prompts in, texts out, by transformers' names and defaults.

    settling.py: config, prompts, lengths -> ordering.py: processors -> one_by_one (greedy, sampling)
        | guessed_ahead (the same, with guesses) | beam_search -> sequences, or an output of outputs.py

Everything is checked before a model computes. What is ours: `seed`; sequences at their end leave the batch; padding is
dropped, on either side; a prompt's answers do not depend on the others in its batch, nor on guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.backend import Array, Ints
from nanodistil.generation.beams import Search, beam_search
from nanodistil.generation.config import GenerationConfig
from nanodistil.generation.decoding import Decoding, Writer
from nanodistil.generation.drawing import streams
from nanodistil.generation.guessing import Assistant, Guesser, PromptLookup, guessed_ahead
from nanodistil.generation.ordering import asked_for
from nanodistil.generation.outputs import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput
from nanodistil.generation.plain import Keeping, Plan, one_by_one
from nanodistil.generation.processing import LogitsProcessor, LogitsProcessorList, Process, token_ids
from nanodistil.generation.prompts import Prompts
from nanodistil.generation.rescaling import UnbatchedClassifierFreeGuidanceLogitsProcessor, log_softmax
from nanodistil.generation.settling import criteria_of, limit, prompts_of, settled
from nanodistil.generation.stopping import Stop
from nanodistil.generation.streaming import BaseStreamer
from nanodistil.weights.errors import InputError


class Asked(NamedTuple):
    """Arguments of a call that are no fields of a config."""

    logits_processor: Sequence[Process] | None = None
    stopping_criteria: Sequence[Stop] | None = None
    prefix_allowed_tokens_fn: Callable[[int, Any], Any] | None = None
    assistant_model: Writer | None = None
    streamer: BaseStreamer | None = None
    negative_prompt_ids: ArrayLike | None = None
    negative_prompt_attention_mask: ArrayLike | None = None
    use_model_defaults: bool | None = None
    seed: int | None = None


class Ready(NamedTuple):
    """A call that is checked and can begin."""

    config: GenerationConfig
    prompts: Prompts
    ends: Ints | None
    way: Plan | Search


def generate(
    model: Writer, inputs: ArrayLike | None, config: GenerationConfig | None, asked: Asked, kwargs: dict[str, Any]
) -> Any:
    """See GenerationMixin.generate, whose arguments these are."""
    return begun(model, ready(model, inputs, config, asked, kwargs), asked.assistant_model)


def ready(
    model: Writer, inputs: ArrayLike | None, config: GenerationConfig | None, asked: Asked, kwargs: dict[str, Any]
) -> Ready:
    """A call, checked. Raises InputError."""
    config, others = settled(model, config, asked.use_model_defaults, kwargs)
    prompts, tokenizer = prompts_of(model, inputs, config, others)
    limit(model, config, prompts, kwargs)
    ends = None if config.eos_token_id is None else token_ids(config.eos_token_id, "eos_token_id")
    pad = config.pad_token_id if config.pad_token_id is not None else None if ends is None else int(ends[0])
    guidance = None
    if config.guidance_scale is not None and config.guidance_scale != 1:
        guidance = UnbatchedClassifierFreeGuidanceLogitsProcessor(
            config.guidance_scale, model.decoding(), asked.negative_prompt_ids, asked.negative_prompt_attention_mask
        )
    processors = asked_for(
        config, prompts.ids, ends, [*(asked.logits_processor or ())], guidance, asked.prefix_allowed_tokens_fn
    )
    criteria = criteria_of(model, config, ends, [*(asked.stopping_criteria or ())], tokenizer)
    kept = bool(config.return_dict_in_generate)
    keeping = Keeping([] if kept and config.output_scores else None, [] if kept and config.output_logits else None)
    draws = streams(asked.seed, prompts.texts(), answers_of(config)) if config.do_sample else None
    if config.num_beams == 1:
        has_end = any(hasattr(one, "eos_token_id") for one in criteria)
        if has_end and pad is None:
            raise InputError("pad_token_id or eos_token_id is needed: a text at its end waits for the others")
        plan = Plan(processors, criteria, pad if has_end else None, draws, asked.streamer, keeping)
        return Ready(config, prompts, ends, plan)
    if asked.streamer is not None:
        raise InputError("`streamer` cannot be used with beam search: set num_beams to 1")
    if asked.assistant_model is not None or config.prompt_lookup_num_tokens is not None:
        raise InputError("guesses (assistant_model, prompt_lookup_num_tokens) are not for beams: leave one out")
    search = Search(
        processors,
        criteria,
        config.num_beams,
        max(2, 1 + (0 if ends is None else len(ends))) * config.num_beams,
        config.max_length or 0,
        1.0 if config.length_penalty is None else config.length_penalty,
        config.early_stopping,
        (pad or int(ends[0])) if ends is not None else -1,
        draws,
        keeping,
    )
    return Ready(config, prompts, ends, search)


def answers_of(config: GenerationConfig) -> int:
    """To each prompt, if there are no beams to choose from."""
    return config.num_return_sequences if config.num_beams == 1 else 1


def begun(model: Writer, call: Ready, helper: Writer | None = None) -> Any:
    """Sequences, or an output; helper: what guesses."""
    config, prompts, ends, way = call
    decoding = model.decoding(config.use_cache)
    if isinstance(way, Search):
        return _of_beams(decoding, prompts, way, config)
    guesser = _guesser(model, config, prompts, ends, way, helper)
    if guesser is None:
        sequences = one_by_one(decoding, prompts, answers_of(config), way)
    else:
        sequences = guessed_ahead(decoding, prompts, guesser, config.max_length or 0, way)
    if not config.return_dict_in_generate:
        return sequences
    return GenerateDecoderOnlyOutput(sequences, *(tuple(one) if one is not None else None for one in way.keeping))


def _guesser(
    model: Writer, config: GenerationConfig, prompts: Prompts, ends: Ints | None, plan: Plan, helper: Writer | None
) -> Guesser | None:
    """What guesses, if anything was asked to. Raises InputError for what cannot guess here."""
    if helper is None and config.prompt_lookup_num_tokens is None:
        return None
    if len(prompts.ids) > 1 or config.num_return_sequences > 1:
        raise InputError("guesses (assistant_model, prompt_lookup_num_tokens) are for one prompt and one answer")
    if helper is None:
        return PromptLookup(config.prompt_lookup_num_tokens or 0, config.max_matching_ngram_size, ends)
    if helper.config.vocab_size != model.config.vocab_size:
        raise InputError(
            f"assistant_model has {helper.config.vocab_size} tokens, and this model {model.config.vocab_size}: they "
            "must share a vocabulary"
        )
    said = helper.generation_config
    stateless = [
        one for one in plan.processors
        if isinstance(one, LogitsProcessor) and type(one).__module__.startswith("nanodistil.generation.")
        and not isinstance(one, UnbatchedClassifierFreeGuidanceLogitsProcessor)
    ]  # fmt: skip
    return Assistant(
        helper.decoding(), prompts.texts()[0], plan, LogitsProcessorList(stateless), ends,
        model.config.max_position_embeddings, said.num_assistant_tokens, said.num_assistant_tokens_schedule,
        said.assistant_confidence_threshold or 0.0,
    )  # fmt: skip


def _of_beams(decoding: Decoding, prompts: Prompts, search: Search, config: GenerationConfig) -> Any:
    found, count = beam_search(decoding, prompts, search), config.num_return_sequences
    indices = found.indices[:, :count].reshape(-1, found.indices.shape[2])
    new = int((indices >= 0).sum(axis=1).max())
    sequences = found.sequences[:, :count, : prompts.ids.shape[1] + new].reshape(len(indices), -1)
    if not config.return_dict_in_generate:
        return sequences
    scores, logits = (tuple(one) if one is not None else None for one in search.keeping)
    best = found.scores[:, :count].reshape(-1) if config.output_scores else None
    return GenerateBeamDecoderOnlyOutput(sequences, best, scores, logits, indices[:, :new])


def transition_scores(sequences: Any, scores: Sequence[Array], beam_indices: Any, normalize_logits: bool) -> Array:
    """What GenerationMixin.compute_transition_scores says."""
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

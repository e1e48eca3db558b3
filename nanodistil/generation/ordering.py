"""Which processors a config asks for, in transformers' order; a user's own come behind all but those of sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nanodistil.backend import Ints
from nanodistil.generation.biases import (
    NoBadWordsLogitsProcessor,
    PrefixConstrainedLogitsProcessor,
    SequenceBiasLogitsProcessor,
)
from nanodistil.generation.config import GenerationConfig
from nanodistil.generation.lengths import (
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)
from nanodistil.generation.narrowing import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)
from nanodistil.generation.processing import LogitsProcessor, LogitsProcessorList, Process
from nanodistil.generation.repeating import (
    EncoderNoRepeatNGramLogitsProcessor,
    EncoderRepetitionPenaltyLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)
from nanodistil.generation.rescaling import InfNanRemoveLogitsProcessor, LogitNormalization
from nanodistil.weights.errors import InputError


def asked_for(
    config: GenerationConfig,
    prompts: Ints,
    ends: Ints | None,
    own: list[Process],
    guidance: LogitsProcessor | None = None,
    prefix_allowed_tokens_fn: Callable[[int, Any], Any] | None = None,
) -> LogitsProcessorList:
    """The processors for a config with max_length set. prompts: (B, T), padded; ends: ids of eos; own: the user's.

    Raises InputError for values that a processor does not take.

    >>> import numpy as np
    >>> config = GenerationConfig(do_sample=True, repetition_penalty=1.2, temperature=0.7)
    >>> [type(one).__name__ for one in asked_for(config, np.array([[1]]), None, [])]
    ['RepetitionPenaltyLogitsProcessor', 'TemperatureLogitsWarper', 'TopKLogitsWarper']
    """
    length = prompts.shape[1]
    found: list[Process] = []

    def add(made: Callable[..., LogitsProcessor], value: Any, *others: Any, silent: Any = None) -> None:
        if value is not None and value != silent:
            found.append(made(value, *others))

    if guidance is not None:
        found.append(guidance)
    add(SequenceBiasLogitsProcessor, config.sequence_bias)
    add(EncoderRepetitionPenaltyLogitsProcessor, config.encoder_repetition_penalty, prompts, silent=1.0)
    add(RepetitionPenaltyLogitsProcessor, config.repetition_penalty, silent=1.0)
    add(NoRepeatNGramLogitsProcessor, config.no_repeat_ngram_size, silent=0)
    add(EncoderNoRepeatNGramLogitsProcessor, config.encoder_no_repeat_ngram_size, prompts, silent=0)
    add(NoBadWordsLogitsProcessor, config.bad_words_ids, ends)
    if ends is not None and (config.min_length or 0) > 0:
        add(MinLengthLogitsProcessor, config.min_length, ends)
    if ends is not None and (config.min_new_tokens or 0) > 0:
        found.append(MinNewTokensLengthLogitsProcessor(length, config.min_new_tokens or 0, ends))
    add(PrefixConstrainedLogitsProcessor, prefix_allowed_tokens_fn, config.num_beams)
    add(ForcedBOSTokenLogitsProcessor, config.forced_bos_token_id)
    if config.forced_eos_token_id is not None:
        found.append(ForcedEOSTokenLogitsProcessor(config.max_length or 0, config.forced_eos_token_id))
    if config.remove_invalid_values:
        found.append(InfNanRemoveLogitsProcessor())
    if config.exponential_decay_length_penalty is not None:
        if ends is None:
            raise InputError("`exponential_decay_length_penalty` needs an eos_token_id, whose score it changes")
        found.append(ExponentialDecayLengthPenalty(config.exponential_decay_length_penalty, ends, length))
    add(SuppressTokensLogitsProcessor, config.suppress_tokens)
    begin = length + 1 if length == 1 and config.forced_bos_token_id is not None else length
    add(SuppressTokensAtBeginLogitsProcessor, config.begin_suppress_tokens, begin)
    found = merged(found, own)
    if config.do_sample:
        found += of_sampling(config, ends)
    if config.renormalize_logits:
        found.append(LogitNormalization())
    return LogitsProcessorList(found)


def of_sampling(config: GenerationConfig, ends: Ints | None) -> list[Process]:
    """Those that leave unlikely tokens out. Beams keep one token more than there are ends, to go on with."""
    least = 1 if config.num_beams == 1 else 2 if ends is None else len(ends) + 1
    found: list[Process] = []
    if config.temperature is not None and config.temperature != 1.0:
        found.append(TemperatureLogitsWarper(config.temperature))
    if config.top_k is not None and config.top_k != 0:
        found.append(TopKLogitsWarper(config.top_k, min_tokens_to_keep=least))
    if config.top_p is not None and config.top_p < 1.0:
        found.append(TopPLogitsWarper(config.top_p, min_tokens_to_keep=least))
    if config.min_p is not None:
        found.append(MinPLogitsWarper(config.min_p, min_tokens_to_keep=least))
    if config.typical_p is not None and config.typical_p < 1.0:
        found.append(TypicalLogitsWarper(config.typical_p, min_tokens_to_keep=least))
    if config.epsilon_cutoff is not None and 0.0 < config.epsilon_cutoff < 1.0:
        found.append(EpsilonLogitsWarper(config.epsilon_cutoff, min_tokens_to_keep=least))
    if config.eta_cutoff is not None and 0.0 < config.eta_cutoff < 1.0:
        found.append(EtaLogitsWarper(config.eta_cutoff, min_tokens_to_keep=least))
    return found


def merged(found: list[Any], own: list[Any]) -> list[Any]:
    """A user's own behind those that were made, and instead of one of the same type.

    >>> merged([1, "made"], ["own", 2.0])
    [1, 'own', 2.0]
    """
    first = {type(one): one for one in reversed(own)}
    kept = [first.get(type(one), one) for one in found]
    return kept + [one for one in own if not any(one is other for other in kept)]

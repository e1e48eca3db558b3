"""What one call of generate() is told: its config, prompts, lengths and criteria, each checked.

generation_config.json comes before a default, a GenerationConfig before that, and a call's own argument before both.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.backend import Ints
from nanodistil.generation.config import GenerationConfig
from nanodistil.generation.decoding import Writer
from nanodistil.generation.ordering import merged
from nanodistil.generation.prompts import Prompts
from nanodistil.generation.stopping import (
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    Stop,
    StoppingCriteriaList,
    StopStringCriteria,
)
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


def settled(
    model: Writer, config: GenerationConfig | None, use_model_defaults: bool | None, kwargs: dict[str, Any]
) -> tuple[GenerationConfig, dict[str, Any]]:
    """The config of a call, and the arguments that are none of its fields.

    An argument comes before a config that was given, and that before the model's own: with use_model_defaults=None
    in all its fields if the model's is of transformers 4.50 or later, else in its tokens alone.
    """
    own = model.generation_config
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


def prompts_of(
    model: Writer, inputs: ArrayLike | None, config: GenerationConfig, others: dict[str, Any]
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
    return Prompts.of(ids, mask, vocabulary=model.config.vocab_size), tokenizer


def limit(model: Writer, config: GenerationConfig, prompts: Prompts, kwargs: dict[str, Any]) -> None:
    """Set the lengths, in tokens with the prompt's padding. Raises InputError for those that cannot be."""
    length, room = prompts.ids.shape[1], model.config.max_position_embeddings
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


def criteria_of(
    model: Writer, config: GenerationConfig, ends: Ints | None, own: list[Stop], tokenizer: Any
) -> StoppingCriteriaList:
    found: list[Stop] = [MaxLengthCriteria(config.max_length or 0, model.config.max_position_embeddings)]
    if config.max_time is not None:
        found.append(MaxTimeCriteria(config.max_time))
    if config.stop_strings is not None:
        if tokenizer is None:
            raise InputError("`stop_strings` are looked for in text: give generate() the model's tokenizer=...")
        found.append(StopStringCriteria(tokenizer, config.stop_strings))
    if ends is not None:
        found.append(EosTokenCriteria(ends))
    return StoppingCriteriaList(merged(found, own))


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

"""text-generation: how does this text go on?

    text -> ids -> generate() -> ids -> the text, with or without the prompt

Arguments and results follow transformers' pipeline (4.57): a text is continued by up to 256 tokens, drawn at a
temperature of 0.7, unless the model's generation_config.json, the config's task_specific_params or the call say
otherwise. Prompts of a list are continued together and leave one by one (generation/joining.py), and each as it would
be alone; so with a `seed`, equal prompts are continued alike. Chats are not: the family has no models for them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from inspect import Parameter, Signature
from typing import Any, NamedTuple, cast

import numpy as np

from nanodistil.backend import Ints
from nanodistil.generation.config import GenerationConfig
from nanodistil.generation.generating import Asked, Ready, answers_of, begun, ready
from nanodistil.generation.joining import all_together
from nanodistil.generation.plain import Plan
from nanodistil.generation.stopping import StopStringCriteria
from nanodistil.heads.causal_lm import ForCausalLM
from nanodistil.pipelines.base import Pipeline, Prepared
from nanodistil.pipelines.batching import Row
from nanodistil.pipelines.inputs import a_text, check_pace
from nanodistil.pipelines.pairing import longest_row
from nanodistil.pipelines.tokens import checked_options
from nanodistil.weights.errors import InputError, excerpt, meant

TASK = "text-generation"
USUAL = 256  # new tokens, or as many as there is room for
ENCODING = ("add_special_tokens", "truncation", "padding")  # of the tokenizer
RETURNED = ("return_full_text", "return_text", "return_tensors")


class Settings(NamedTuple):
    """A call's arguments, checked."""

    prefix: str
    hole: bool  # cut a prompt, so that there is room behind it
    options: dict[str, Any]  # the tokenizer's
    returned: str  # "full", "new", or "ids"
    skip_special_tokens: bool
    clean: bool
    asked: Asked
    values: dict[str, Any]  # fields of the config, and what else generate() takes


class Wanted(NamedTuple):
    """Of a row. Every row has its own, so that rows of many callers may be computed together."""

    call: Ready
    asked: Asked


class TextGenerationPipeline(Pipeline[ForCausalLM, Settings]):
    """Writes texts on. Made by nanodistil.pipeline("text-generation", ...)."""

    def made(self) -> None:
        own = self.model.generation_config
        usual = GenerationConfig(max_new_tokens=USUAL, do_sample=True, temperature=0.7)
        config = usual.with_defaults_of(own)
        if config.max_new_tokens == usual.max_new_tokens and config.max_length not in (None, 20):
            config.max_new_tokens = None
        said = (getattr(self.model.config, "task_specific_params", None) or {}).get(TASK) or {}
        if not isinstance(said, dict):
            raise InputError(f"config: task_specific_params of {TASK} is {excerpt(said)}, not a dict")
        said = dict(said)
        self.prefix = said.pop("prefix", None) or getattr(self.model.config, "prefix", None) or ""
        with warnings.catch_warnings():  # of the temperature, which is not theirs
            warnings.simplefilter("ignore")
            config.update(**said)
        if config.pad_token_id is None:
            config.pad_token_id = self.tokenizer.pad_token_id
        self.generation_config = config

    def __call__(self, text_inputs: str | Iterable[str], **options: Any) -> Any:
        """How each text goes on: [{"generated_text": ...}], one for each of num_return_sequences.

        text_inputs: a text, which may be empty; a list, or what is as good as one, which gives a list of the above; or
        an iterator, which is streamed. options: return_full_text: False without the prompt. return_tensors: True for
        {"generated_token_ids": ...} instead. skip_special_tokens, clean_up_tokenization_spaces: of decoding, both True.
        prefix: put before each prompt. handle_long_generation: "hole" cuts a prompt on its left, if there is no room
        for new tokens. stop_sequence: a text at whose tokens to end. seed: of draws, and then every prompt has the same
        answer whatever else is asked. tokenizer_encode_kwargs, add_special_tokens, truncation, padding: of the
        tokenizer. generation_config and its fields, logits_processor, stopping_criteria, streamer (for one text),
        assistant_model: see generate(). batch_size, num_workers: taken, and change nothing.
        Raises InputError for arguments that cannot be, TooLongError for more tokens than the model has positions.
        """
        check_pace(options.pop("batch_size", None), options.pop("num_workers", None))
        for name in options:
            if name not in TAKEN:
                raise InputError(f"{excerpt(name)} is no argument of a {type(self).__name__}{meant(name, TAKEN)}")
        return self.answer(text_inputs, self.settings(**options))

    def settings(self, **options: Any) -> Settings:
        def taken(name: str, default: Any = None) -> Any:
            value = options.pop(name, None)
            return default if value is None else value

        encoding: dict[str, Any] = {name: taken(name) for name in ENCODING}
        encoding = {name: value for name, value in encoding.items() if value is not None}
        encoding |= checked_options(options.pop("tokenizer_encode_kwargs", None))
        if options.get("max_length") is not None and encoding.get("truncation"):
            encoding.setdefault("max_length", options["max_length"])
        returned = self._returned(*(options.pop(name, None) for name in RETURNED))
        long = options.pop("handle_long_generation", None)
        if long not in (None, "hole"):
            raise InputError(f"handle_long_generation={excerpt(long)}: expected None or 'hole'")
        stop = options.pop("stop_sequence", None)
        if stop is not None:
            options["eos_token_id"] = self.tokenizer.encode(a_text(stop, "stop_sequence"), add_special_tokens=False)
        asked = Asked(**{name: options.pop(name) for name in Asked._fields if name in options})
        if options.get("return_dict_in_generate"):
            raise InputError("a pipeline returns texts; for scores call generate() of its model")
        if options.get("stop_strings") is not None:  # made once, not for each text
            stops = StopStringCriteria(self.tokenizer, options.pop("stop_strings"))
            asked = asked._replace(stopping_criteria=[*(asked.stopping_criteria or ()), stops])
        prefix = taken("prefix", self.prefix)
        skip, clean = taken("skip_special_tokens", True), taken("clean_up_tokenization_spaces", True)
        return Settings(prefix, long == "hole", encoding, returned, skip, clean, asked, options)

    @staticmethod
    def _returned(full: bool | None, text: bool | None, ids: bool | None) -> str:
        if sum(one is not None for one in (full, text, ids)) > 1:
            raise InputError("return_full_text, return_text and return_tensors: give one of them")
        return "ids" if ids else "new" if full is False else "full"

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        prompt = a_text(one, name, "; chats are not continued")
        try:
            options = {"return_attention_mask": True, "verbose": False, **settings.options}
            row = self.tokenizer(settings.prefix + prompt, **options)
            ids = np.asarray(row["input_ids"], np.int64)[np.asarray(row["attention_mask"], bool)]
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        values = {"tokenizer": self.tokenizer, **settings.values}
        config = values.pop("generation_config", None) or self.generation_config
        if settings.hole:
            ids = self._hole(ids, config, values)
        if not values.get("do_sample", config.do_sample):
            values.setdefault("temperature", None)  # that of sampling by default
        if config.max_new_tokens == USUAL and values.get("max_new_tokens") is None:  # which nobody asked for
            values["max_new_tokens"] = min(USUAL, max(1, self.model.config.max_tokens - max(1, len(ids)) + 1))
        shift = len(self.tokenizer(settings.prefix, verbose=False)["input_ids"]) if settings.prefix else 0
        if shift and values.get("max_new_tokens", config.max_new_tokens) is None:
            values["max_length"] = (values.get("max_length") or config.max_length or 0) + shift
        if shift and values.get("min_new_tokens", config.min_new_tokens) is None and "min_length" in values:
            values["min_length"] += shift
        try:
            call = ready(self.model, ids[None] if len(ids) else None, config, settings.asked, values)
        except InputError as error:
            raise type(error)(f"{name}: {error}") from None
        return Prepared([Row(call.prompts.ids[0], wanted=Wanted(call, settings.asked))], (prompt, ids))

    def _hole(self, ids: Ints, config: GenerationConfig, values: dict[str, Any]) -> Ints:
        """The end of a prompt, with room for what is to come."""
        new = values.get("max_new_tokens", config.max_new_tokens)
        if new is None:
            new = (values.get("max_length") or config.max_length or 0) - len(ids)
            if new < 0:
                raise InputError("We cannot infer how many new tokens are expected: set max_new_tokens")
        room = longest_row(self.model, self.tokenizer) - new
        if room <= 0:
            raise InputError(f"`hole` leaves no room for a prompt: {new} new tokens are as many as the model takes")
        return ids[-room:]

    def together(self, rows: list[Row]) -> Iterator[list[Ints]]:
        """The answers to each row; in one model, but for beams, guesses and streams, which are for one prompt."""
        found: dict[int, list[Ints]] = {}
        plain: list[int] = []
        for i, row in enumerate(rows):
            call, asked = cast(Wanted, row.wanted)
            guesses = asked.assistant_model is not None or call.config.prompt_lookup_num_tokens is not None
            if isinstance(call.way, Plan) and asked.streamer is None and not guesses and call.config.use_cache:
                plain.append(i)
            elif asked.streamer is not None and len(rows) > 1:
                raise InputError("a streamer is for one text: give one at a time")
            else:
                found[i] = list(begun(self.model, call, asked.assistant_model))
        calls = [cast(Wanted, rows[i].wanted).call for i in plain]
        asks = [(call.prompts, answers_of(call.config), cast(Plan, call.way)) for call in calls]
        found |= zip(plain, all_together(self.model.decoding(), asks), strict=True)
        yield from (found[i] for i in range(len(rows)))

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Iterator[list[Ints]]:
        """See Pipeline."""
        ids, real = inputs["input_ids"], inputs["attention_mask"]
        return self.together([Row(row[mask != 0], one) for row, mask, one in zip(ids, real, wanted, strict=True)])

    def finish(self, prepared: Prepared, results: list[Any], settings: Settings) -> Any:
        prompt, given = prepared.rest
        if settings.returned == "ids":
            return [{"generated_token_ids": ids.tolist()} for ids in results[0]]
        decoding = {"skip_special_tokens": settings.skip_special_tokens, "clean_up_tokenization_spaces": settings.clean}
        length = len(self.tokenizer.decode(given.tolist(), **decoding)) if len(given) else 0
        texts = [self.tokenizer.decode(ids.tolist(), **decoding)[length:] for ids in results[0]]
        return [{"generated_text": (prompt if settings.returned == "full" else "") + text} for text in texts]


OWN = (
    *ENCODING, *RETURNED, "clean_up_tokenization_spaces", "skip_special_tokens", "prefix", "handle_long_generation",
    "stop_sequence", "tokenizer_encode_kwargs", "generation_config",
)  # fmt: skip
TAKEN = (*OWN, *Asked._fields, *GenerationConfig.names())


def _spelled_out(function: Any, first: list[str], last: dict[str, Any]) -> None:
    """Write down which arguments it takes, for help() and for pipeline(), which refuses others by name."""
    places = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in first]
    named = {**dict.fromkeys(TAKEN), **last}
    function.__signature__ = Signature(
        [*places, *(Parameter(n, Parameter.KEYWORD_ONLY, default=d) for n, d in named.items())]
    )


_spelled_out(TextGenerationPipeline.settings, ["self"], {})
_spelled_out(TextGenerationPipeline.__call__, ["self", "text_inputs"], {"batch_size": None, "num_workers": None})

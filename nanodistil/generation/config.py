"""GenerationConfig: what generate() is told, with transformers' fields and defaults, and generation_config.json.

A file is read with suspicion, each value's type checked; what is no field is kept and written back. Validation says in
one line what transformers says in several. What is a field there and cannot be done here is refused by generate() in
one line (`refuse_unsupported`), and never ignored: mostly what transformers itself has moved out of the library.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.files import GENERATION_CONFIG
from nanodistil.weights.small_files import FOR_SETTINGS, read_json

FOLLOWS = "4.57.6"  # the transformers whose generate() this is
METADATA = ("_from_model_config", "_commit_hash", "_original_object_hash", "transformers_version")
ARGUMENTS = (  # of generate(), which a config does not hold
    "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "synced_gpus", "assistant_model", "streamer",
    "negative_prompt_ids", "negative_prompt_attention_mask", "use_model_defaults", "seed",
)  # fmt: skip
OUTPUTS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
SAMPLING: dict[str, Any] = {  # fields of sampling alone, and what they say if they say nothing
    "temperature": 1.0, "top_p": 1.0, "min_p": None, "typical_p": 1.0, "top_k": 50, "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}  # fmt: skip
BEAMS: dict[str, Any] = {"early_stopping": False, "length_penalty": 1.0}
MOVED = "transformers moved it out of the library: leave it out"
UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {  # field -> what it may say here, and what to do otherwise
    "constraints": ((None,), MOVED),
    "force_words_ids": ((None,), MOVED),
    "num_beam_groups": ((None, 1), MOVED),
    "diversity_penalty": ((None, 0.0), MOVED),
    "dola_layers": ((None,), MOVED),
    "low_memory": ((None, False), MOVED),
    "watermarking_config": ((None,), "its green lists come from torch's generator: leave it out"),
    "token_healing": ((None, False), "leave it out"),
    "assistant_early_exit": ((None,), "give an assistant_model"),
    "cache_implementation": ((None, "dynamic"), "there is one cache here, as long as its sequences: leave it out"),
    "cache_config": ((None,), "there is one cache here: leave it out"),
    "return_legacy_cache": ((None, False), "the cache is not returned: leave it out"),
    "prefill_chunk_size": ((None,), "leave it out"),
    "compile_config": ((None,), "nothing is compiled for a call: leave it out"),
    "output_attentions": ((None, False), "call the model with the sequences that come back, for attentions"),
    "output_hidden_states": ((None, False), "call the model with the sequences that come back, for hidden states"),
}


@dataclass(init=False, eq=False, repr=False)
class GenerationConfig:
    """Settings of generate(); the fields and defaults of transformers' GenerationConfig, and further names are kept.

    Raises InputError (CheckpointError from a file) for a value of the wrong type, or that cannot be. What has no effect
    as things are, a temperature without sampling for instance, is warned of.

    >>> GenerationConfig(max_new_tokens=5, top_k=10, do_sample=True)
    GenerationConfig(do_sample=True, max_new_tokens=5, top_k=10)
    >>> GenerationConfig(max_new_tokens=0)
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: `max_new_tokens` must be greater than 0, but is 0.
    """

    extra_output_flags: ClassVar[tuple[str, ...]] = OUTPUTS

    # How long

    max_length: int | None = 20
    max_new_tokens: int | None = None
    min_length: int | None = 0
    min_new_tokens: int | None = None
    early_stopping: bool | str = False
    max_time: float | None = None
    stop_strings: str | list[str] | None = None

    # In which way

    do_sample: bool = False
    num_beams: int = 1
    use_cache: bool = True
    cache_implementation: str | None = None
    cache_config: dict[str, Any] | None = None
    return_legacy_cache: bool | None = None
    prefill_chunk_size: int | None = None

    # What becomes of scores

    temperature: float | None = 1.0
    top_k: int | None = 50
    top_p: float | None = 1.0
    min_p: float | None = None
    typical_p: float | None = 1.0
    epsilon_cutoff: float | None = 0.0
    eta_cutoff: float | None = 0.0
    repetition_penalty: float | None = 1.0
    encoder_repetition_penalty: float | None = 1.0
    length_penalty: float | None = 1.0
    no_repeat_ngram_size: int | None = 0
    bad_words_ids: list[list[int]] | None = None
    renormalize_logits: bool | None = False
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None
    remove_invalid_values: bool | None = False
    exponential_decay_length_penalty: Any = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    sequence_bias: Any = None
    token_healing: bool | None = False
    guidance_scale: float | None = None
    watermarking_config: Any = None

    # What comes back

    num_return_sequences: int = 1
    output_attentions: bool | None = False
    output_hidden_states: bool | None = False
    output_scores: bool | None = False
    output_logits: bool | None = None
    return_dict_in_generate: bool | None = False

    # Tokens with a meaning

    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    encoder_no_repeat_ngram_size: int | None = 0
    decoder_start_token_id: int | list[int] | None = None

    # Guessing ahead

    is_assistant: bool = False
    num_assistant_tokens: int = 20
    num_assistant_tokens_schedule: str = "constant"
    assistant_confidence_threshold: float | None = 0.4
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None
    assistant_early_exit: int | None = None
    assistant_lookbehind: int = 10
    target_lookbehind: int = 10

    # Of torch alone, and what transformers has moved out

    compile_config: Any = None
    disable_compile: bool | None = False
    low_memory: bool | None = None
    penalty_alpha: float | None = None
    dola_layers: Any = None
    diversity_penalty: float | None = 0.0
    num_beam_groups: int | None = 1
    constraints: Any = None
    force_words_ids: Any = None

    transformers_version: str = FOLLOWS

    def __init__(self, **values: Any) -> None:
        for field in fields(self):
            setattr(self, field.name, copy.deepcopy(values.pop(field.name, field.default)))
        for name, value in values.items():
            setattr(self, name, value)
        self.validate()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Of all fields."""
        return tuple(field.name for field in fields(cls))

    # ---- checks

    def validate(self, strict: bool = False) -> None:
        """Raises InputError for what cannot be; warns of what has no effect, or with strict=True refuses that too."""
        for field in fields(self):
            check_kind(field.name, getattr(self, field.name), str(field.type))
        if not (isinstance(self.early_stopping, bool) or self.early_stopping == "never"):
            raise InputError(f"`early_stopping` must be a boolean or 'never', but is {excerpt(self.early_stopping)}.")
        for name, least in (("num_beams", 1), ("num_return_sequences", 1), ("num_assistant_tokens", 1)):
            if getattr(self, name) < least:
                raise InputError(f"`{name}` must be {least} or more, but is {getattr(self, name)}.")
        for name in ("max_new_tokens", "prompt_lookup_num_tokens", "max_matching_ngram_size"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise InputError(f"`{name}` must be greater than 0, but is {value}.")
        if self.num_assistant_tokens_schedule not in ("constant", "heuristic", "heuristic_transient"):
            raise InputError(
                "`num_assistant_tokens_schedule` must be 'constant', 'heuristic' or 'heuristic_transient', but is "
                f"{excerpt(self.num_assistant_tokens_schedule)}."
            )
        if self.num_return_sequences > 1 and self.num_beams == 1 and not self.do_sample:
            raise InputError(
                "Greedy methods without beam search do not support `num_return_sequences` different than 1 "
                f"(got {self.num_return_sequences}): set do_sample=True or num_beams."
            )
        if self.num_return_sequences > self.num_beams > 1:
            raise InputError(
                f"`num_return_sequences` ({self.num_return_sequences}) has to be smaller or equal to `num_beams` "
                f"({self.num_beams})."
            )
        for name in ARGUMENTS:
            if hasattr(self, name):
                raise InputError(
                    f"Argument `{name}` is not a valid argument of `GenerationConfig`. It should be passed to "
                    "`generate()` (or a pipeline) directly."
                )
        idle = self.without_effect()
        if idle and strict:
            raise InputError(f"GenerationConfig is invalid: {'; '.join(idle)}")
        if idle:
            warnings.warn("; ".join(idle), stacklevel=3)

    def without_effect(self) -> list[str]:
        """What is set and changes nothing, as sentences.

        >>> GenerationConfig().without_effect()
        []
        """
        said = []
        if self.pad_token_id is not None and self.pad_token_id < 0:
            said.append(f"`pad_token_id` should be positive but got {self.pad_token_id}")
        for wanted, kind, names in ((self.do_sample, "do_sample=True", SAMPLING), (self.num_beams > 1, "beams", BEAMS)):
            for name, silent in {} if wanted else names.items():
                value = getattr(self, name)
                if value is not None and value != silent:
                    said.append(f"`{name}` is {excerpt(value)}, which only counts with {kind}")
        for name in OUTPUTS if not self.return_dict_in_generate else ():
            if getattr(self, name):
                said.append(f"`{name}` only counts with return_dict_in_generate=True")
        return said

    def refuse_unsupported(self) -> None:
        """Raises InputError for fields that say what cannot be done here."""
        for name, (allowed, remedy) in UNSUPPORTED.items():
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f"generate() does not do {name}={excerpt(value)} here; {remedy}")
        if self.penalty_alpha and not self.do_sample and self.num_beams == 1 and (self.top_k or 0) > 1:
            raise InputError(f"generate() does not do penalty_alpha={self.penalty_alpha} here; {MOVED}")

    # ---- changes

    def update(self, **values: Any) -> dict[str, Any]:
        """Set those that are attributes; gives the others back. Raises InputError, and then nothing has changed.

        >>> config = GenerationConfig()
        >>> config.update(top_k=10, do_sample=True, input_ids=[[1]]), config.top_k
        ({'input_ids': [[1]]}, 10)
        """
        known = {name: value for name, value in values.items() if hasattr(self, name)}
        changed = copy.copy(self)
        changed.__dict__.update(known)
        changed.validate()
        self.__dict__.update(known)
        return {name: value for name, value in values.items() if name not in known}

    def with_defaults_of(self, model: GenerationConfig) -> GenerationConfig:
        """A copy that says what a model's config says, if it says nothing itself.

        >>> GenerationConfig(max_new_tokens=3).with_defaults_of(GenerationConfig(max_new_tokens=9, eos_token_id=7))
        GenerationConfig(eos_token_id=7, max_new_tokens=3)
        """
        merged, silent = copy.deepcopy(self), GenerationConfig().__dict__
        for name, value in model.__dict__.items():
            if name not in METADATA and getattr(self, name, None) == silent.get(name) != value:
                merged.__dict__[name] = copy.deepcopy(value)
        if merged.temperature == 0.0:
            merged.do_sample = False
        return merged

    # ---- files

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], return_unused_kwargs: bool = False, **values: Any) -> Any:
        """A config of a dict, some of it overridden; with return_unused_kwargs (config, what is no field of it)."""
        config = cls(**{**config_dict, **values})
        unused = config.update(**values)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_model_config(cls, model_config: Any) -> Self:
        """What a config.json says of generation, as files of before 2023 do; outputs it asks for come as a dict.

        >>> from nanodistil import DistilBertConfig
        >>> GenerationConfig.from_model_config(DistilBertConfig(max_length=50, do_sample=True))
        GenerationConfig(do_sample=True, max_length=50, pad_token_id=0)
        """
        known = {field.name for field in fields(cls)} - {"transformers_version"}
        said = {name: value for name, value in model_config.to_dict().items() if name in known and value is not None}
        if any(said.get(name) for name in OUTPUTS):
            said["return_dict_in_generate"] = True
        return cls(**said)

    @classmethod
    def from_json_file(cls, path: str | Path, **values: Any) -> Any:
        """A config of a generation_config.json. Raises CheckpointError for a file that is broken, or says what
        cannot be.
        """
        said = read_json(Path(path), FOR_SETTINGS)
        try:
            return cls.from_dict(said, **values)
        except (InputError, TypeError) as error:  # TypeError: a name that Python does not take
            raise CheckpointError(f"{path}: {error}") from None

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name: str | Path, config_file_name: str | None = None, **values: Any
    ) -> Any:
        """The config of a folder or hub id; values: fields that override it, and transformers' arguments of loading.

        Raises ModelNotFoundError, CheckpointError, InputError.
        """
        from nanodistil.loading_arguments import OF_MODELS, taken
        from nanodistil.weights.hub import resolve

        where = {name: values.pop(name) for name in ("revision", "cache_dir", "local_files_only") if name in values}
        asked = taken(values, OF_MODELS)
        folder = resolve(asked.within(pretrained_model_name), need="config", token=asked.token, **where)
        return cls.from_json_file(folder / (config_file_name or GENERATION_CONFIG), **values)

    def save_pretrained(
        self, save_directory: str | Path, config_file_name: str | None = None, push_to_hub: bool = False
    ) -> None:
        """Write generation_config.json: what is not as by default. Raises InputError for what has no effect, too."""
        from nanodistil.weights.saving import written

        if push_to_hub:
            raise InputError("push_to_hub: write the folder, and upload it with huggingface_hub")
        self.validate(strict=True)
        text = self.to_json_string()
        path = Path(save_directory) / (config_file_name or GENERATION_CONFIG)
        written(path, lambda fresh: fresh.write_text(text, encoding="utf-8"))

    def to_dict(self) -> dict[str, Any]:
        """All fields, and what else was set."""
        hidden = {"_commit_hash", "_original_object_hash", "compile_config"}
        said = {name: copy.deepcopy(value) for name, value in self.__dict__.items() if name not in hidden}
        return {**said, "transformers_version": FOLLOWS}

    def to_diff_dict(self) -> dict[str, Any]:
        """What is not as by default, and the version."""
        silent = GenerationConfig().to_dict()
        said = self.to_dict().items()
        return {k: v for k, v in said if k not in silent or k == "transformers_version" or v != silent[k]}

    def to_json_string(self, use_diff: bool = True, ignore_metadata: bool = False) -> str:
        """What a generation_config.json holds."""
        said = self.to_diff_dict() if use_diff else self.to_dict()
        said = {name: value for name, value in said.items() if not (ignore_metadata and name in METADATA)}
        try:
            return json.dumps(_keyed(said), indent=2, sort_keys=True) + "\n"
        except (TypeError, ValueError) as error:
            raise InputError(f"a GenerationConfig cannot be written as JSON: {error}") from None

    def __eq__(self, other: object) -> bool:
        said = [{k: v for k, v in each.__dict__.items() if k not in METADATA} for each in (self, other)]
        return isinstance(other, GenerationConfig) and said[0] == said[1]

    def __hash__(self) -> int:
        return hash(self.to_json_string(ignore_metadata=True))

    def __repr__(self) -> str:
        said = sorted((k, v) for k, v in self.to_diff_dict().items() if k not in METADATA)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in said)})"


def _keyed(value: Any) -> Any:
    """With strings for keys, as JSON wants them and transformers writes them."""
    if isinstance(value, dict):
        return {str(key): _keyed(one) for key, one in value.items()}
    return [_keyed(one) for one in value] if isinstance(value, list) else value


KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def check_kind(name: str, value: Any, annotation: str) -> None:
    """Raises InputError unless a value is of one of the types that stand in the annotation of a field.

    >>> check_kind("eos_token_id", [1, 2], "int | list[int] | None")
    >>> check_kind("top_k", "50", "int | None")
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: `top_k` should be int | None, not '50'
    """
    told = annotation.split(" | ")
    if "Any" in told or (value is None and "None" in told):
        return
    for kind in told:
        plain, _, inner = kind.partition("[")
        if plain in KINDS and isinstance(value, KINDS[plain]) and (plain == "bool") == isinstance(value, bool):
            return
        if plain == "dict" and isinstance(value, dict):
            return
        if plain == "list" and isinstance(value, (list, tuple)):
            for one in value:
                check_kind(name, one, inner[:-1])
            return
    raise InputError(f"`{name}` should be {annotation}, not {excerpt(value)}")

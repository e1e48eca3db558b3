"""What every from_pretrained takes: which model is meant, and transformers' arguments that are not ours.

Most of the latter choose among ways to the same model (how attention is computed, where memory goes meanwhile), or ask
for what is so anyway (no code from strangers, on the cpu). Those values are taken and change nothing. A value that asks
for something else is refused by name, since a model that is not the one asked for would look like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypedDict, cast

from nanodistil.devices import check_device, dtype_name
from nanodistil.weights.errors import InputError, ModelNotFoundError, excerpt
from nanodistil.weights.files import weights_file
from nanodistil.weights.small_files import FOR_TOKENS, read_json

ANY = None  # every value changes nothing
NOTHING = (None, False)
Known: TypeAlias = dict[str, tuple[tuple[Any, ...] | None, str]]  # argument -> what it may be, and what to do otherwise
EVERYWHERE: Known = {
    "force_download": (NOTHING, "nanodistil download fetches a model anew"),
    "resume_download": (ANY, ""),
    "proxies": (NOTHING, "set HTTPS_PROXY in the environment"),
    "mirror": (NOTHING, "set HF_ENDPOINT in the environment"),
}
OF_MODELS = EVERYWHERE | {
    "low_cpu_mem_usage": (ANY, ""),
    "attn_implementation": ((None, "eager", "sdpa"), "attention has one implementation here: leave it out"),
    "from_tf": (NOTHING, "what a file is, is told from it: leave it out"),
    "from_flax": (NOTHING, "what a file is, is told from it: leave it out"),
    "weights_only": ((None, True), "nothing in a file is ever executed: leave it out"),
    "variant": (NOTHING, "give the folder of that variant"),
    "quantization_config": (NOTHING, 'dtype="int8" and dtype="bfloat16" keep weights in fewer bits'),
    "load_in_8bit": (NOTHING, 'dtype="int8" keeps the linear maps in eight bits'),
    "load_in_4bit": (NOTHING, 'dtype="int8" keeps the linear maps in eight bits'),
    "output_loading_info": (NOTHING, "see the model's `initialised` and `dropped`"),
    "tp_plan": ((None, "auto"), "a model is not divided among devices: leave it out"),
}
OF_TOKENIZERS = EVERYWHERE | {
    "config": (ANY, ""),
    "tokenizer_type": ((None, "distilbert", "bert"), "leave it out"),
}
COUNTED = (  # those that count
    "torch_dtype", "device_map", "subfolder", "use_auth_token", "use_safetensors", "trust_remote_code",
)  # fmt: skip

OF_SAVING: Known = {  # of save_pretrained
    "safe_serialization": ((None, True), "weights are written as safetensors, never as something to be executed"),
    "max_shard_size": (ANY, ""),  # one file, whatever its size: who reads shards reads it too
    "push_to_hub": (NOTHING, "write the folder, and upload it with huggingface_hub"),
    "is_main_process": ((None, True), "call it in the main process alone"),
    "state_dict": (NOTHING, "load_state_dict first"),
    "save_function": (NOTHING, "leave it out"),
    "variant": (NOTHING, "give the variant a folder of its own"),
    "token": (ANY, ""),
    "save_peft_format": (ANY, ""),
}


class Source(TypedDict, total=False):
    """Which model is meant, and from where it may come: see weights.hub.resolve."""

    revision: str | None
    cache_dir: str | Path | None
    local_files_only: bool
    token: str | bool | None


def nothing_but(others: dict[str, Any], known: Known, method: str) -> None:
    """Raises InputError for arguments of a method that are not known, or ask for what is not done.

    >>> nothing_but({"safe_serialization": True}, OF_SAVING, "save_pretrained")
    >>> nothing_but({"safe_serialisation": True}, OF_SAVING, "save_pretrained")
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: 'safe_serialisation' is no argument of save_pretrained; ...
    """
    others = dict(others)
    take(others, known)
    for name in others:
        raise InputError(f"{excerpt(name)} is no argument of {method}; of transformers' it takes {', '.join(known)}")


class Wanted(NamedTuple):
    """What is left of them that counts."""

    dtype: Any  # as backend.choose takes it
    device: Any  # device_map
    subfolder: str
    token: str | bool | None
    use_safetensors: bool | None
    trust_remote_code: bool

    def check_device(self, backend: str) -> None:
        """Raises DeviceError if device_map is not where the backend computes."""
        check_device("auto" if self.device in ("balanced", "sequential", "balanced_low_0") else self.device, backend)

    def within(self, name: str | Path) -> str:
        """The name of the model, in its subfolder. Raises InputError for a hub id with one."""
        if not self.subfolder:
            return str(name)
        if not Path(name).expanduser().is_dir():
            raise InputError(
                f"subfolder={excerpt(self.subfolder)} is for folders: download {name} and give the folder in it"
            )
        return str(Path(name).expanduser() / self.subfolder)

    def check_folder(self, folder: Path, described: str) -> None:
        """Raises InputError for code that would have to run, ModelNotFoundError for weights of another kind.

        described: the file that would name the code.
        """
        file = folder / described
        if self.trust_remote_code and file.is_file() and "auto_map" in read_json(file, FOR_TOKENS):
            raise InputError(f"{folder}: brings code of its own, which is never run here: leave out trust_remote_code")
        weights = weights_file(folder) if self.use_safetensors is not None else None
        if weights is not None and (".safetensors" in weights.name) != self.use_safetensors:
            says = f"use_safetensors={self.use_safetensors}, and {folder} is read from {weights.name}"
            raise ModelNotFoundError(f"{says}: leave it out, or take that file away")


def take(arguments: dict[str, Any], known: Known) -> None:
    """Take those out that say what is so anyway. Raises InputError for a value that says something else."""
    for name in [name for name in arguments if name in known]:
        value = arguments.pop(name)
        allowed, otherwise = known[name]
        if allowed is not ANY and not any(value is one or (isinstance(one, str) and value == one) for one in allowed):
            raise InputError(f"{name}={excerpt(value)}: {otherwise}")


def taken(arguments: dict[str, Any], known: Known, dtype: Any = None) -> Wanted:
    """Take these arguments out of a call's others. dtype: the argument of that name.

    Raises InputError for a value that cannot be had.

    >>> rest = {"torch_dtype": "auto", "low_cpu_mem_usage": True, "num_labels": 3}
    >>> taken(rest, OF_MODELS).dtype, rest
    (None, {'num_labels': 3})
    >>> taken({"attn_implementation": "flash_attention_2"}, OF_MODELS)
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: attn_implementation='flash_attention_2': attention has one implementation ...
    """
    take(arguments, known)
    old = arguments.pop("torch_dtype", None)
    if dtype is not None and old is not None and dtype_name(dtype) != dtype_name(old):
        raise InputError(
            f"dtype={excerpt(str(dtype))} and torch_dtype={excerpt(str(old))}: they are two names of one thing"
        )
    token = arguments.pop("use_auth_token", None)
    safetensors, trust = arguments.pop("use_safetensors", None), arguments.pop("trust_remote_code", None)
    for name, value in (("use_safetensors", safetensors), ("trust_remote_code", trust)):
        if value not in (None, True, False):
            raise InputError(f"{name}={excerpt(value)}: must be True or False")
    return Wanted(
        dtype_name(old if dtype is None else dtype),
        arguments.pop("device_map", None),
        str(arguments.pop("subfolder", None) or ""),
        token,
        safetensors,
        bool(trust),
    )


def source_of(arguments: dict[str, Any], asked: Wanted) -> Source:
    """Take those that say which model is meant out of a call's arguments."""
    source: Any = {name: arguments.pop(name) for name in Source.__annotations__ if name in arguments}
    if source.get("token") is None:
        source["token"] = asked.token  # by its old name
    return cast(Source, source)


def located(name: str | Path, arguments: dict[str, Any], known: Known, need: str) -> tuple[Wanted, Path]:
    """The folder with the files of `need`, once all that speaks of it is taken out of a call's arguments.

    Raises InputError for an argument that cannot be, and what weights.hub.resolve raises.
    """
    from nanodistil.weights.hub import resolve

    asked = taken(arguments, known, arguments.get("dtype"))
    return asked, resolve(asked.within(name), need=need, **source_of(arguments, asked))

"""A folder that holds only a LoRA, as PEFT's save_pretrained writes it: added to the weights it was trained on.

    adapter_config.json          what kind it is, alpha, and the name of the base model
    adapter_model.safetensors    base_model.model.distilbert.transformer.layer.0.attention.q_lin.lora_A.weight (r, I)
                                 ...q_lin.lora_B.weight (O, r); base_model.model.classifier.weight, a head saved whole

W + s B A, with s = alpha / r, or alpha / sqrt(r) for rsLoRA; r is read off A, alpha may differ by a pattern of names. A
table of embeddings is turned: W + s (B A)^T. DoRA then gives every row of it the length that `lora_magnitude_vector`
says. All of it is computed in float64 and rounded once. `fan_in_fan_out` says that the base's file has maps turned, as
GPT-2's are: A and B are not, so nothing follows from it. Of q, k and v side by side (side_by_side.py) each has its rows
of B, and all the same A.

Other kinds of adapters (IA3, prefixes, ...) run beside the weights and cannot be added to them, or would take a reader
each; they are refused by name, and so is a LoRA that was trained from changed base weights, or has parts unknown here:
an adapter that is added by halves would answer, and wrongly.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import regex
from numpy.typing import DTypeLike, NDArray

from .errors import CheckpointError, excerpt
from .files import ADAPTER_CONFIG, adapter_weights
from .mapped import FLOATS
from .names import Head
from .renamed import Names
from .safetensors_reader import SafetensorsFile
from .side_by_side import Part
from .small_files import read_json
from .wrappers import SEGMENTS

if TYPE_CHECKING:
    from .torch_file import TorchFile

PARTS = {"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"}
UNCHANGED = (True, False, None, "gaussian", "eva", "orthogonal")  # init_lora_weights that leave the base as it was
STRANGE = (
    "layer_replication", "target_parameters", "trainable_token_indices", "alora_invocation_tokens", "arrow_config",
    "use_qalora", "use_bdlora",
)  # fmt: skip
MOST_PATTERNS = 1000
LONGEST_PATTERN = 300
SMALL = 2**18  # multiplications that OpenBLAS does on one thread; its others spin on where two of ours read weights


class Base(NamedTuple):
    """The model an adapter was trained on, as the adapter names it."""

    name: str
    revision: str | None


def base_of(folder: Path) -> Base:
    """Whose adapter it is. Raises CheckpointError if that is not said."""
    config = _config(folder)
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(name, str) or not name:
        raise CheckpointError(f"{folder / ADAPTER_CONFIG}: names no base_model_name_or_path")
    return Base(name, revision if isinstance(revision, str) and revision else None)


class Adapter:
    """An open adapter: `whole`, canonical name -> name in `file` of what replaces an array; and `applied` for the rest.

    Raises CheckpointError if it is no LoRA, or one that cannot be added.
    """

    def __init__(self, folder: Path, table: Names) -> None:
        self.folder, self.table = folder, table
        self.config = _config(folder)
        kind = self.config.get("peft_type")
        if kind != "LORA":
            raise CheckpointError(f"{folder}: is an adapter of kind {excerpt(kind)}; of adapters only LoRA is read")
        for name in STRANGE:
            if self.config.get(name):
                raise CheckpointError(f"{folder}: is a LoRA with {name}, which is not read; merge it with PEFT")
        start = self.config.get("init_lora_weights", True)
        if not any(start is known or (isinstance(start, str) and start == known) for known in UNCHANGED):
            raise CheckpointError(
                f"{folder}: was trained from changed base weights (init_lora_weights {excerpt(start)}); "
                f"merge it with PEFT"
            )
        self.file = _opened(folder)
        self.whole: dict[str, str] = {}
        self.parts: dict[str, dict[str, str]] = {}  # canonical name of a weight -> part -> name in the file
        self.modules: dict[str, str] = {}  # canonical name of a weight -> the module's name, for patterns
        self.shares: dict[str, Part] = {}  # canonical name of a weight -> which rows of B are its own
        for name, entry in self.file.entries.items():
            if entry.dtype not in FLOATS:
                raise CheckpointError(f"{self.file.path}: {excerpt(name)} is {entry.dtype}, weights are floats")
            self._place(name)

    def _place(self, name: str) -> None:
        segments = [part for part in name.split(".") if part not in SEGMENTS and part != "base_layer"]
        if segments[:2] == ["base_model", "model"]:
            segments = segments[2:]
        at = next((i for i, part in enumerate(segments) if part in PARTS), None)
        last = segments[-1] if segments[-1] in ("weight", "bias") else "weight"
        if at is not None:  # behind it perhaps the adapter's name, "default"
            module = ".".join(segments[:at])
            kind = segments[at] if last == "weight" else f"{segments[at]}.bias"
            whole = f"{module}.weight"
            for share in self.table.parts(whole) or (Part(whole, 0, 1),):
                weight = self._canonical(share.name, name)
                self.parts.setdefault(weight, {})[kind] = name
                self.modules[weight], self.shares[weight] = module, share
            return
        if "original_module" in segments:  # with bias="all": what modules_to_save took the place of
            return
        again = "modules_to_save" in segments
        if again:
            at = segments.index("modules_to_save")
            segments = segments[:at] + segments[-1:]
        if any(part.startswith("lora_") or part == "token_adapter" for part in segments):
            raise CheckpointError(f"{self.folder}: has {excerpt(name)}, which is not read; merge it with PEFT")
        if last == "weight" and self.table.parts(".".join(segments)):
            raise CheckpointError(f"{self.folder}: has {excerpt(name)} whole, a turned map; merge it with PEFT")
        plain = self._canonical(".".join(segments), name)
        if not (again and plain in self.whole):  # with bias="all" it is there under both names
            self.whole[plain] = name

    def _canonical(self, name: str, stored: str) -> str:
        plain = self.table.canonical(name)
        if plain is None:
            raise CheckpointError(f"{self.folder}: has {excerpt(stored)}, which is no weight")
        return plain

    def sizes(self) -> dict[str, int]:
        """What arrays that are saved whole say of the config: num_labels, vocab_size."""
        fields = {"classifier.weight": "num_labels", "score.weight": "num_labels"}
        fields |= {"embeddings.word_embeddings.weight": "vocab_size"}
        found = {}
        for name in fields.keys() & self.whole.keys():
            shape = self.file.entries[self.whole[name]].shape
            if len(shape) == 2 and shape[0]:
                found[fields[name]] = shape[0]
        return found

    def check(self, wanted: dict[str, tuple[int, ...]], head: Head) -> None:
        """Raises CheckpointError if it has parts for what the model lacks, or of another shape; headers only."""
        if "embeddings.word_embeddings.weight" in self.parts and set(head.tied) - set(wanted):
            raise CheckpointError(
                f"{self.folder}: adds to the words that come in, and not to the same words in the model's head, which "
                "are one array here; merge it with PEFT"
            )
        for name, parts in self.parts.items():
            if name not in wanted:
                if self.table.set_aside(name, head):
                    continue
                raise CheckpointError(f"{self.folder}: adds to {excerpt(name)}, which this model has not")
            shapes = {part: self._shape(name, part, stored) for part, stored in parts.items()}
            table = "lora_embedding_A" in parts
            a, b = (shapes.get(f"lora_embedding_{x}" if table else f"lora_{x}", ()) for x in "AB")
            out = wanted[name][::-1] if table else wanted[name]
            fits = len(a) == len(b) == len(out) == 2 and a[0] == b[1] > 0 and (b[0], a[1]) == out
            more = set(parts) - {"lora_embedding_A", "lora_embedding_B"} if table else set(parts) - {"lora_A", "lora_B"}
            lengths = {"lora_magnitude_vector": out[:1], "lora_B.bias": out[:1]} if not table else {}
            if not fits or any(lengths.get(part) != shapes[part] for part in more):
                raise CheckpointError(
                    f"{self.folder}: its parts for {excerpt(name)}, {excerpt(shapes, 200)}, do not fit {wanted[name]}"
                )

    def _shape(self, name: str, part: str, stored: str) -> tuple[int, ...]:
        """The shape of a part, or of this weight's share in it."""
        shape, of = self.file.entries[stored].shape, self.shares[name].of
        if of == 1 or part == "lora_A" or not shape or shape[0] % of:
            return shape
        return (shape[0] // of, *shape[1:])

    def applied(self, name: str, array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
        """An array of the base, with what the adapter adds to it; the array itself if that is nothing."""
        if name.endswith(".bias"):
            weight = f"{name.removesuffix('.bias')}.weight"
            if "lora_B.bias" not in self.parts.get(weight, {}):
                return array
            return (array + self._scale(weight) * self._part(weight, "lora_B.bias")).astype(dtype)
        if name not in self.parts:
            return array
        parts = self.parts[name]
        if "lora_embedding_A" in parts:
            down, up = self._part(name, "lora_embedding_B").T, self._part(name, "lora_embedding_A").T
        else:
            down, up = self._part(name, "lora_A"), self._part(name, "lora_B")  # (r, I), (O, r)
        scale, sum_ = self._scale(name), np.empty(array.shape, dtype)
        length = self._part(name, "lora_magnitude_vector") if "lora_magnitude_vector" in parts else None
        many = max(1, SMALL // max(1, down.size))
        for first in range(0, len(array), many):  # in float64 all of a table of words would be 94 MB and more
            rows = slice(first, first + many)
            new = array[rows] + scale * (up[rows] @ down)
            if length is not None:  # DoRA
                new *= (length[rows] / np.linalg.norm(new, axis=1))[:, None]
            sum_[rows] = new
        return sum_

    def _part(self, name: str, part: str) -> NDArray[Any]:
        """A part for a weight: if that is one of several maps side by side, its own rows."""
        array, share = self.file.array(self.parts[name][part], np.float64), self.shares[name]
        if share.of == 1 or part == "lora_A":
            return array
        n = len(array) // share.of
        return array[share.number * n : (share.number + 1) * n]

    def _scale(self, name: str) -> float:
        stored = self.parts[name].get("lora_A") or self.parts[name]["lora_embedding_A"]
        r = self.file.entries[stored].shape[0]
        alpha = self.config.get("lora_alpha", 8)
        patterns = self.config.get("alpha_pattern") or {}
        if not isinstance(patterns, dict) or len(patterns) > MOST_PATTERNS:
            raise CheckpointError(f"{self.folder / ADAPTER_CONFIG}: its alpha_pattern is none")
        for pattern, value in patterns.items():
            if self._matches(pattern, self.modules[name]):
                alpha = value
                break
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) < 1e6:
            raise CheckpointError(f"{self.folder / ADAPTER_CONFIG}: alpha is {excerpt(alpha)}, no sensible number")
        return alpha / (r**0.5 if self.config.get("use_rslora") else r)

    def _matches(self, pattern: str, module: str) -> bool:
        """Whether a pattern means a module, as PEFT looks; it comes from a stranger, so it has a second to say."""
        try:
            if len(pattern) > LONGEST_PATTERN:
                raise regex.error("too long")
            return bool(regex.match(rf"(.*\.)?({pattern})$", module, timeout=1))
        except (regex.error, TimeoutError, RecursionError) as error:
            raise CheckpointError(
                f"{self.folder / ADAPTER_CONFIG}: alpha_pattern {excerpt(pattern)}: {error or 'takes too long'}"
            ) from None


def _config(folder: Path) -> dict[str, Any]:
    return read_json(folder / ADAPTER_CONFIG)


def _opened(folder: Path) -> "SafetensorsFile | TorchFile":
    path = adapter_weights(folder)
    if path is None:
        raise CheckpointError(f"{folder}: has an adapter's config, and no adapter_model.safetensors")
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    from .torch_file import TorchFile

    return TorchFile(path)

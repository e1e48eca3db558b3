"""The steps behind a model: each takes what there is of a text and gives it with something changed.

    Reading(tokens (T, D), sentence None)  -> Pooling -> Reading(tokens, sentence (E,)) -> Dense -> Normalize -> ...

A step is a small object, callable, with `width`, what it makes of vectors of some width, and `config`, what is written
to its folder. Dense and Normalize work on a text's vector, or on those of its tokens if their config says so. What a
step cannot be asked for is found out when it is read, and not at the first text. All is float64 and one text at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from nanodistil.backend import Array
from nanodistil.sentences.activations import ACTIVATIONS, dotted, named
from nanodistil.sentences.folder import Module, given
from nanodistil.sentences.pooling import OLD, WAYS, pooled
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.files import TORCH, WEIGHTS
from nanodistil.weights.loading import finite
from nanodistil.weights.safetensors_reader import SafetensorsFile
from nanodistil.weights.small_files import read_json
from nanodistil.weights.torch_file import TorchFile

CONFIG = "config.json"
SENTENCE, TOKENS = "sentence_embedding", "token_embeddings"
WIDEST = 1 << 20  # numbers of a vector
TINY = 1e-12  # a vector shorter than this is divided by it, as torch's normalize does


class Reading(NamedTuple):
    """What there is of a text so far, in float64."""

    tokens: Array  # (T, D)
    sentence: Array | None  # (E,)
    prompt: int = 0  # how many of its tokens are the prompt's


class Widths(NamedTuple):
    """How wide the vectors are: of tokens, of a text."""

    tokens: int
    sentence: int | None


class Step(Protocol):
    """Something behind the model."""

    @property
    def kind(self) -> str: ...
    def __call__(self, x: Reading) -> Reading: ...
    def widths(self, before: Widths) -> Widths: ...
    def config(self, before: Widths) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Pooling:
    """The vectors of a text's tokens become one, or several side by side."""

    ways: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    kind: str = "Pooling"

    def __post_init__(self) -> None:
        for way in self.ways:
            if way not in WAYS:
                raise InputError(f"{excerpt(way)} is no way to pool: {', '.join(WAYS)}")
        if not self.ways:
            raise InputError(f"a Pooling needs a way to pool: {', '.join(WAYS)}")

    def __call__(self, x: Reading) -> Reading:
        return x._replace(sentence=pooled(x.tokens, self.ways, 0 if self.include_prompt else x.prompt))

    def widths(self, before: Widths) -> Widths:
        return before._replace(sentence=len(self.ways) * before.tokens)

    def config(self, before: Widths) -> dict[str, Any]:
        """In the old form, which every version reads, unless only the new one can say it."""
        if self.ways != tuple(way for way in OLD.values() if way in self.ways):
            new = {"embedding_dimension": before.tokens, "pooling_mode": list(self.ways)}
            return {**new, "include_prompt": self.include_prompt}
        old = {switch: way in self.ways for switch, way in OLD.items()}
        return {"word_embedding_dimension": before.tokens, **old, "include_prompt": self.include_prompt}


@dataclass(frozen=True)
class Normalize:
    """Vectors of length 1."""

    of: str = SENTENCE
    kind: str = "Normalize"

    def __call__(self, x: Reading) -> Reading:
        if self.of == TOKENS:
            return x._replace(tokens=of_length_one(x.tokens))
        assert x.sentence is not None
        return x._replace(sentence=of_length_one(x.sentence))

    def widths(self, before: Widths) -> Widths:
        return before

    def config(self, before: Widths) -> dict[str, Any]:
        return {"module_input_name": self.of, "module_output_name": self.of}


@dataclass(frozen=True, eq=False)
class Dense:
    """activation(W x + b), and x itself added if it is residual."""

    weight: Array  # (O, I)
    bias: Array | None  # (O,)
    activation: str = "Tanh"  # of ACTIVATIONS
    of: str = SENTENCE
    residual: bool = False
    through: Array | None = None  # (O, I), what a residual passes if O is not I
    kind: str = "Dense"
    wide: tuple[Array, ...] = field(init=False)

    def __post_init__(self) -> None:
        wide = [self.weight, np.zeros(1) if self.bias is None else self.bias]
        wide += [] if self.through is None else [self.through]
        object.__setattr__(self, "wide", tuple(one.astype(np.float64) for one in wide))

    def __call__(self, x: Reading) -> Reading:
        if self.of == TOKENS:
            return x._replace(tokens=self._of(x.tokens))
        assert x.sentence is not None
        return x._replace(sentence=self._of(x.sentence[None])[0])

    def _of(self, x: Array) -> Array:
        """(n, I) -> (n, O)."""
        weight, bias, *through = self.wide
        y = ACTIVATIONS[self.activation](x @ weight.T + bias)
        return y + (x @ through[0].T if through else x) if self.residual else y

    def widths(self, before: Widths) -> Widths:
        O = len(self.weight)
        return before._replace(tokens=O) if self.of == TOKENS else before._replace(sentence=O)

    def config(self, before: Widths) -> dict[str, Any]:
        O, I = self.weight.shape
        said: dict[str, Any] = {"in_features": I, "out_features": O, "bias": self.bias is not None}
        said["activation_function"] = dotted(self.activation)
        if self.of == TOKENS:
            said |= {"module_input_name": self.of, "module_output_name": self.of}
        return said | ({"use_residual": True} if self.residual else {})

    def arrays(self) -> dict[str, Array]:
        """What its file of weights holds."""
        named = {"linear.weight": self.weight, "linear.bias": self.bias, "residual.weight": self.through}
        return {name: array for name, array in named.items() if array is not None}


def of_length_one(x: Array) -> Array:
    """x / |x| along the last axis; what has no length stays 0.

    >>> of_length_one(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), TINY))


def through(x: Array, steps: list[Step], prompt: int = 0) -> Reading:
    """What the steps make of a text's tokens: (T, D) float64. prompt: how many of them are the prompt's."""
    reading = Reading(x, None, prompt)
    for step in steps:
        reading = step(reading)
    return reading


def read_steps(modules: list[Module], width: int) -> list[Step]:
    """The steps behind a model whose tokens' vectors have some width. Raises CheckpointError for what cannot be."""
    steps: list[Step] = []
    now = Widths(width, None)
    for module in modules:
        if module.kind == "Dropout":  # nothing, when a model answers
            continue
        if module.kind not in READERS:
            raise CheckpointError(
                f"{module.folder}: a module {excerpt(module.kind)} is not done here; {', '.join(READERS)} are"
            )
        step = READERS[module.kind](module.folder)
        if getattr(step, "of", None) == SENTENCE and now.sentence is None:
            raise CheckpointError(f"{module.folder}: a {step.kind} of the text's vector needs a Pooling before it")
        if isinstance(step, Dense):
            told, there = step.weight.shape[1], now.tokens if step.of == TOKENS else now.sentence
            if told != there:
                raise CheckpointError(f"{module.folder}: takes vectors of {told} numbers, and is given {there}")
        now = step.widths(now)
        steps.append(step)
    if now.sentence is None:
        raise CheckpointError("modules.json has no Pooling: its tokens' vectors never become one of the text")
    return steps


def read_pooling(folder: Path) -> Pooling:
    """A Pooling from its folder, in either form of config. Raises CheckpointError."""
    path = folder / CONFIG
    config = read_json(path)
    mode: Any = config.get("pooling_mode")
    if mode is None:
        mode = [way for switch, way in OLD.items() if given(config, switch, bool, path)] or ["mean"]
    ways = tuple([mode] if isinstance(mode, str) else mode if isinstance(mode, list) else [None])
    if not ways or len(ways) > len(WAYS) or any(not isinstance(way, str) or way not in WAYS for way in ways):
        raise CheckpointError(f"{path}: pooling_mode {excerpt(mode)} is none of {', '.join(WAYS)}, nor a list of them")
    return Pooling(ways, given(config, "include_prompt", bool, path) is not False)


def read_normalize(folder: Path) -> Normalize:
    """A Normalize; older ones have no config. Raises CheckpointError."""
    path = folder / CONFIG
    return Normalize(target_of(read_json(path), path) if path.is_file() else SENTENCE)


def read_dense(folder: Path) -> Dense:
    """A Dense from its folder. Raises CheckpointError for weights that are not as its config says."""
    path = folder / CONFIG
    config = read_json(path)
    I, O = (given(config, name, int, path) for name in ("in_features", "out_features"))
    if I is None or O is None or not (0 < I <= WIDEST and 0 < O <= WIDEST):
        raise CheckpointError(f"{path}: in_features and out_features must be from 1 to {WIDEST:,}")
    bias = given(config, "bias", bool, path) is not False
    residual = given(config, "use_residual", bool, path) is True
    name = config.get("activation_function")
    activation = "Tanh" if name is None else named(name, path)
    wanted: dict[str, tuple[int, ...]] = {"linear.weight": (O, I)}
    wanted |= {"linear.bias": (O,)} if bias else {}
    wanted |= {"residual.weight": (O, I)} if residual and O != I else {}
    arrays = read_arrays(folder, wanted)
    return Dense(
        arrays["linear.weight"],
        arrays.get("linear.bias"),
        activation,
        target_of(config, path),
        residual,
        arrays.get("residual.weight"),
    )


READERS: dict[str, Callable[[Path], Step]] = {"Pooling": read_pooling, "Dense": read_dense, "Normalize": read_normalize}


def target_of(config: dict[str, Any], path: Path) -> str:
    """What a step changes: the text's vector, or those of its tokens. Raises CheckpointError for anything else."""
    source = config.get("module_input_name") or SENTENCE
    target = config.get("module_output_name") or source
    if source not in (SENTENCE, TOKENS) or target != source:
        raise CheckpointError(
            f"{path}: makes {excerpt(target)} of {excerpt(source)}; here a step changes {SENTENCE} or {TOKENS}"
        )
    return str(source)


def read_arrays(folder: Path, wanted: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """The arrays of a module, float32 or as exact. Raises CheckpointError: none, of another shape, not finite."""
    path = next((folder / name for name in (WEIGHTS, TORCH) if (folder / name).is_file()), None)
    if path is None:
        raise CheckpointError(f"{folder}: lacks {WEIGHTS}")
    file = SafetensorsFile(path) if path.name == WEIGHTS else TorchFile(path)
    found = {}
    for name, shape in wanted.items():
        if name not in file.entries or file.entries[name].shape != shape:
            has = file.entries[name].shape if name in file.entries else "none"
            raise CheckpointError(f"{path}: {name} should be {shape}, there is {has}")
        dtype = np.float64 if file.entries[name].dtype == "F64" else np.float32
        found[name] = file.array(name, dtype).copy()
        if not finite(found[name]):
            raise CheckpointError(f"{path}: {name} has numbers that are NaN or infinite")
    return found

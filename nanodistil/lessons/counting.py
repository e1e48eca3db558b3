"""`nanodistil count`: what every op of a model has to do for a shape, what it did, and what it waited for.

Everything is read off a run on random ids (trace.py): a linear map does 2 N I O operations, attention 4 D for each pair
of query and key; nothing else is worth counting (benchmark.py). Two streams of bytes belong to an op:

    memory   its arguments and its result, once each: the least that can be moved
    cache    what the register tile reads on the way (cpu/tile.py). A tile of R rows and C columns reads R + C numbers
             for R C multiplications, so N I O of them read 4 N I O (1/R + 1/C) bytes, however large the cache is

Operations by bytes of memory is the intensity. Where it is below peak by bandwidth, an op waits for memory, however
good its kernel: that is the roofline (Williams, Waterman and Patterson 2009), and the measured points lie below it;
above it only what was in a cache.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import numpy as np

from nanodistil import backend as backends
from nanodistil.benchmark import shape_of
from nanodistil.lessons.trace import Call, limits_now, trace
from nanodistil.weights.errors import MissingExtraError
from nanodistil.weights.names import expected


@dataclass
class Op:
    """All calls of one kind, "lin1 linear_activation"."""

    name: str
    calls: int = 0
    parameters: int = 0
    flops: int = 0
    memory: int = 0  # bytes
    cache: int = 0  # bytes
    seconds: float = 0.0
    roof: float = 0.0  # the most operations a second at this intensity; 0 if it is not known
    waits: str = ""  # "memory" or "arithmetic"

    @property
    def intensity(self) -> float:
        """Operations for a byte of memory."""
        return self.flops / self.memory if self.memory else 0.0

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.flops / self.seconds if self.seconds else 0.0


@dataclass
class Counted:
    """A model on a shape."""

    shape: str
    backend: str
    dtype: str
    parameters: dict[str, int]  # of embeddings, one layer, all layers, head
    ops: list[Op]
    seconds: float  # of the whole
    peak: float  # operations a second; 0 if it is not known
    bandwidth: float  # bytes a second
    limits: Any = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("ops", "limits")}
        ops = [asdict(op) | {"intensity": op.intensity, "rate": op.rate} for op in self.ops]
        return found | {"ops": ops}


def parameters(config: Any, head: Any) -> dict[str, int]:
    """How many numbers a model learns, by part.

    >>> from nanodistil import DistilBertForMaskedLM, DistilBertConfig
    >>> parameters(DistilBertConfig(), DistilBertForMaskedLM.head)["whole"]
    66985530
    """
    sizes = {name: prod(shape) for name, shape in expected(config, head).items()}
    layers = sum(size for name, size in sizes.items() if name.startswith("transformer.layer."))
    words = sum(size for name, size in sizes.items() if name.startswith("embeddings."))
    whole = sum(sizes.values())
    return {
        "embeddings": words, "a layer": layers // max(config.n_layers, 1), "layers": layers,
        "head and last norm": whole - words - layers, "whole": whole,
    }  # fmt: skip


def count(model: Any = None, shape: str = "1x128", **options: Any) -> Counted:
    """What a model's ops do for a batch of a shape, sentences x tokens.

    model: loaded, or a folder or hub id (None: the command line's own), with options of from_pretrained: backend,
    dtype, threads. Raises InputError for a shape that is none, or has more tokens than the model has positions.

    >>> from nanodistil import DistilBertConfig, DistilBertForMaskedLM
    >>> tiny = DistilBertConfig(vocab_size=99, n_layers=2, n_heads=2, dim=8, hidden_dim=16)
    >>> found = count(DistilBertForMaskedLM(tiny, backend="numpy"), "1x4")
    >>> [(op.calls, op.parameters, op.flops) for op in found.ops if op.name == "out_lin linear"]
    [(2, 144, 1024)]
    """
    B, T = shape_of(shape)
    if model is None or not hasattr(model, "weights"):
        from nanodistil.lessons.explaining import load

        model = load(model, **options)[0]
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (B, T))
    more = {"use_cache": False} if type(model).__name__.endswith("LMHeadModel") else {}
    seen = trace(model, lambda model, tap: model(ids, tap=tap, **more), keep=False)
    limits, sizes = limits_now(model), _sizes(model)
    found: dict[str, Op] = {}
    for call in seen.calls:
        whose = next((w for w in call.weights if not w.endswith(".bias")), "").removesuffix(".weight")
        name = f"{whose.rpartition('.')[2]} {call.op}".strip()
        op = found.setdefault(name, Op(name))
        op.calls += 1
        op.parameters += sum(sizes.get(weight, 0) for weight in call.weights)
        op.flops += call.flops
        op.memory += call.bytes
        op.cache += cached(call)
        op.seconds += call.seconds
    for op in found.values():
        if limits is not None and op.flops:
            peak = limits.peak_of(op.name.split()[-1])
            op.roof = min(peak, op.intensity * limits.bandwidth)
            op.waits = "memory" if op.roof < peak else "arithmetic"
        elif not op.flops:
            op.waits = "memory"
    peak, bandwidth = (limits.flops, limits.bandwidth) if limits is not None else (0.0, 0.0)
    return Counted(
        shape, model.backend, model.dtype, parameters(model.config, model.head), list(found.values()), seen.seconds,
        peak, bandwidth, limits,
    )  # fmt: skip


def _sizes(model: Any) -> dict[str, int]:
    """A weight as ops are given it -> how many numbers it has."""
    sizes = {name: prod(shape) for name, shape in expected(model.config, model.head).items()}
    found: dict[str, int] = {}
    for name, size in sizes.items():
        whole, _, kind = name.removeprefix("transformer.").rpartition(".")
        at, _, last = whole.rpartition(".")
        at = at.removesuffix(".attention").removesuffix(".ffn").removeprefix("embeddings").strip(".")
        last = "qkv_lin" if last in ("q_lin", "k_lin", "v_lin") else last
        map_, array = ".".join(filter(None, [at, last])), ".".join(filter(None, [at, last, kind]))
        found[map_] = found.get(map_, 0) + size
        found[array] = found.get(array, 0) + size
    return found


def cached(call: Call) -> int:
    """Bytes that the register tile reads for an op; of an op that does not multiply its memory's."""
    if not call.flops:
        return call.bytes
    rows, columns = _tile()
    return int(call.flops / 2 * 4 * (1 / rows + 1 / columns))


def _tile() -> tuple[int, int]:
    try:
        tile = backends.instrument("diagnosis").register_tile()
    except MissingExtraError:
        return 1, 1
    return int(tile["rows"]), int(tile["columns"])

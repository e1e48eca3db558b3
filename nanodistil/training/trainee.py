"""A model while it learns: all its weights in one flat array, all their gradients in another.

Flat, because what is done to weights between two batches (clipping, AdamW, averaging over processes, saving) knows
nothing of layers: it is one pass over one array. `weights` and `gradients` are views into the two, under the names of
weights/names.py. Weights that decay come first, so decay too is a matter of a slice.

Which weights decay: matrices do, biases and LayerNorms do not. Upstream's scripts say the same by listing names that
contain "bias" or "LayerNorm.weight"; but DistilBERT calls its norms `sa_layer_norm`, `output_layer_norm` and
`vocab_layer_norm`, which that list misses, so there their scales are pulled towards 0. Here all norms are spared.

Frozen weights get no gradient and no decay. Sinusoidal positions are frozen where the config says they are sinusoids,
as transformers 4 had it (5 trains them).

All of it lies where the backend computes: on a GPU, in its memory, where the optimiser's step is made too.

The masters are float32 or float64, the dtype in which the model was loaded. In bfloat16 or float16 linear maps multiply
rounded copies, while gradients are added up and steps taken in float32: a step is often smaller than the distance from
one such number to the next, and would be lost.

What it does not do: losses (the heads' objectives), and steps (optimizer.py). And it takes a model over: pruning its
heads or resizing its embeddings afterwards begins a new model, and needs a new trainee.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from nanodistil import backend as backends
from nanodistil.backend import Array
from nanodistil.config import Config
from nanodistil.head import HeadRun
from nanodistil.model import Look, Packed, attending
from nanodistil.packing import sent
from nanodistil.pretrained import Pretrained
from nanodistil.taps import Recorder
from nanodistil.training import backward, saved
from nanodistil.training.below import Below
from nanodistil.training.saved import Dropout, Run
from nanodistil.weights.errors import InputError, excerpt
from nanodistil.weights.layout import POSITIONS, Weights, lay_out
from nanodistil.weights.names import LEARNED, is_norm

LINE = 64  # bytes
WORDS = "embeddings.word_embeddings.weight"
QKV = ("q_lin", "k_lin", "v_lin")


def how_to_load(backend: str | None, dtype: str | None, threads: int | None) -> dict[str, Any]:
    """The keywords with which a model is loaded that is to be trained in `dtype`: its masters are float32 or float64.

    Raises InputError for a dtype or a backend that cannot be, and for int8, before anything is read.

    >>> how_to_load("numba", "bfloat16", 2)
    {'backend': 'numba', 'dtype': 'float32', 'threads': 2}
    """
    backend, dtype = backends.choose(backend, dtype)
    if dtype == "int8":
        backends.load_backward(backend, dtype)  # says why not
    return {
        "backend": backend,
        "dtype": "float64" if dtype == "float64" else "float32",
        "threads": threads if backend == "numba" else None,
    }


class Map(NamedTuple):
    """The gradients of a linear map: what linear_backward_weight adds to."""

    weight: Array  # (O, I)
    bias: Array  # (O,)


class Trainee:
    """A model, its gradients, and the way forward and back.

    >>> from nanodistil import DistilBertConfig, DistilBertForSequenceClassification
    >>> tiny = DistilBertConfig(vocab_size=9, max_position_embeddings=4, n_layers=1, n_heads=2, dim=4, hidden_dim=8)
    >>> trainee = Trainee(DistilBertForSequenceClassification(tiny, backend="numpy"))
    >>> batch = Packed(np.array([1, 2, 3]), np.array([0, 1, 2]), np.array([0, 3]), None)
    >>> run = trainee.encode(batch)
    >>> head = trainee.apply_head(run.x)
    >>> run.x.shape, head.logits.shape
    ((3, 4), (3, 2))
    >>> trainee.encode_backward(trainee.head_backward(np.ones_like(head.logits), head), run).shape
    (3, 4)
    >>> trainee.gradients["classifier.bias"]
    array([3., 3.], dtype=float32)
    """

    def __init__(
        self,
        model: Pretrained,
        *,
        checkpointing: bool = False,
        dtype: str | None = None,
        frozen: Collection[str] = (),
        below: int = 0,
    ) -> None:
        """Takes the model over: from now on it answers with the weights of the last `refresh`.

        model: loaded in float32 or float64. checkpointing: a third more time for far less memory, see saved.py.
        dtype: "bfloat16" for linear maps in bfloat16 (on a GPU also "tf32", and "float16", whose loss has to be scaled:
        loss_scale.py); None for the model's own. frozen: names of weights to leave as they are. below: how many of the
        lowest blocks to leave as they are, with the embeddings, and to compute once (below.py). Raises InputError for a
        model whose weights were rounded on loading, or whose activation has learned numbers (prelu, xielu), for
        names it does not have, and for a dtype that cannot be.
        """
        config = model.config
        if config.activation in LEARNED:
            raise InputError(
                f"a model with the activation {excerpt(config.activation)}, which learns itself, cannot be trained"
            )
        masters = model.tensors()
        backend, dtype = backends.choose(model.backend, dtype or model.dtype)
        self.bops = backends.load_backward(backend, dtype)
        if dtype != model.dtype and (model.dtype != "float32" or dtype not in ("tf32", "float16", "bfloat16")):
            raise InputError(f"a model in {model.dtype} cannot be trained in {dtype}; load it in the dtype you want")
        self.ops = backends.load(backend, dtype=dtype) if dtype != model.dtype else model.ops
        self.model, self.checkpointing = model, checkpointing
        self.frozen = _frozen(frozen, config, masters)
        self.below = Below(below) if below else None
        if below >= config.n_layers:
            raise InputError(f"of {config.n_layers} layers {below} cannot be left as they are")
        left = tuple(f"transformer.layer.{i}." for i in range(below))
        self.still = frozenset(name for name in masters if below and name.startswith(("embeddings.", *left)))
        self._held = self.frozen | (self.still & {WORDS} if model.head.tied else set())  # the others get no gradients
        model.ops, model.dtype, model.graphs = self.ops, dtype, None  # a recording would hold the old weights

        def decays(name: str) -> bool:
            return not (name in self.frozen | self.still or name.endswith(".bias") or is_norm(name))

        # Within a group the table's order stays, in which weights of q, k and v are neighbours, and so are biases.
        names = sorted(masters, key=lambda name: (not decays(name), name.endswith(".bias")))
        self.decayed = sum(masters[name].size for name in names if decays(name))
        floats = masters[names[0]].dtype
        n = sum(array.size for array in masters.values())
        flat = aligned(n, floats)
        self.places: dict[str, slice] = {}  # in the flat arrays
        end = 0
        for name in names:
            self.places[name] = slice(end, end + masters[name].size)
            flat[self.places[name]] = masters[name].reshape(-1)
            end += masters[name].size
        self.flat, self.flat_gradients = self.ops.send(flat), self.ops.send(aligned(n, floats))  # (n,)
        shapes = {name: masters[name].shape for name in names}
        del masters
        self.weights = {name: self.flat[place].reshape(shapes[name]) for name, place in self.places.items()}
        self.gradients = {name: self.flat_gradients[place].reshape(shapes[name]) for name, place in self.places.items()}
        self._d = self._laid_out_gradients(self.places)
        self.refresh()

    @property
    def config(self) -> Config:
        """The model's."""
        return self.model.config

    def _laid_out_gradients(self, places: dict[str, slice]) -> Weights:
        """The gradients as backward.py wants them, views into flat_gradients all."""
        d = lay_out(self.gradients, self.config, self.model.head, Map, Map, lambda gradient: gradient)

        def qkv(at: str, kind: str) -> Array:
            """The three as one, since they are neighbours: -> (3A, D) or (3A,)."""
            q, v = places[f"{at}.q_lin.{kind}"], places[f"{at}.v_lin.{kind}"]
            all_three: Array = self.flat_gradients[q.start : v.stop]
            return all_three.reshape(-1, *self.gradients[f"{at}.q_lin.{kind}"].shape[1:])

        layers = []
        for i, layer in enumerate(d.layers):
            at = f"transformer.layer.{i}.attention"
            layers.append(layer._replace(qkv_lin=Map(qkv(at, "weight"), qkv(at, "bias"))))
        return d._replace(layers=tuple(layers))

    def zero_gradients(self) -> None:
        """Forget what was added to the gradients so far."""
        self.flat_gradients[...] = 0

    def refresh(self) -> None:
        """Lay the weights out again, for forward and backward: after every change to `flat`.

        The model answers with the new weights from here on, and save_pretrained writes the masters, not rounded ones.
        """
        for prepared in ("weights", "_w"):  # the old ones first, or they would lie in memory beside the new
            vars(self.model if prepared == "weights" else self).pop(prepared, None)
        ops, config, prepare, head = self.ops, self.config, self.bops.prepare_backward, self.model.head
        self.model.weights = lay_out(self.weights, config, head, ops.prepare_linear, ops.prepare_head, ops.send)
        self.model.masters = self.weights
        self._w = lay_out(self.weights, config, head, prepare, prepare, ops.send)

    # ---- forward and back

    def encode(self, batch: Packed, look: Look | None = None, key: int | None = None) -> Run:
        """The encoder on a checked batch (packing.py): run.x is (N, D), or (M, D) at the rows of `look`.

        key: 0 .. 2^64 - 1, of the dropout, another at every step and micro-batch; None for no dropout.
        """
        first, x = 0, None
        if self.below:
            first, x = self.below.layers, self.below(batch, self.model.weights, self.config, self.ops)
        batch = sent(batch, self.ops.send)
        if look is not None:
            look = look._replace(rows=self.ops.send(look.rows))
        who = attending(batch, self.config, self.ops)
        told = saved.Pass(batch, who, self.config, self.ops, self.bops, self._dropout(key))
        return saved.encoder(self.model.weights, told, look, self.checkpointing, first, x)

    def encode_backward(self, dx: Array, run: Run) -> Array:
        """From the gradient of run.x to that of the sum of embeddings: (N or M, D) -> (N, D). Adds to the gradients.

        A run goes back once: what it kept is let go on the way.
        """
        dx = backward.encoder_backward(
            dx, run, self._w, self.model.weights, self._d, self.config, self.ops, self.bops
        )  # (N, D)
        self._take_apart()
        self._freeze()
        return dx

    def _take_apart(self) -> None:
        """What was added up for each pair of type and position (layout.places): each table has its part."""
        if self._d.tables is None:
            return
        types, positions = self._d.tables
        both = self._d.position_embeddings.reshape(*types.shape[:1], *positions.shape)  # (Y, P, D)
        types += both.sum(1)  # (Y, D)
        positions += both.sum(0)  # (P, D)
        both[...] = 0

    def apply_head(self, x: Array, key: int | None = None) -> HeadRun:
        """The head on hidden states: (rows, D) -> run.logits (rows, V or C or 2), row by row, so in pieces if need be.

        key: as for `encode`, and the same number may serve both. Raises InputError for a model without a head.
        """
        head, dropout = self.model.head, self._dropout(key)
        x, tap = dropout("hidden", x), Recorder(head.kept, dropout)
        logits = head.forward(x, self.model.weights, self.ops, tap)
        return HeadRun(logits, x, tap.seen, dropout)

    def head_backward(self, dlogits: Array, run: HeadRun) -> Array:
        """From the gradient of run.logits to that of the hidden states: -> (rows, D). Adds to the gradients."""
        dx = self.model.head.backward(dlogits, run, self._w, self._d, self.ops, self.bops)
        self._freeze()
        return run.dropout("hidden", dx)

    def _dropout(self, key: int | None) -> Dropout:
        return Dropout(saved.dropout_rates(self.config, self.model.head), key, self.bops.dropout)

    def _freeze(self) -> None:
        for name in self._held:
            self.gradients[name][...] = 0


def aligned(n: int, dtype: np.dtype[Any]) -> Array:
    """(n,) zeros from the beginning of a cache line, where kernels read and write whole vectors fastest."""
    memory = np.zeros(n + LINE // dtype.itemsize, dtype)
    start = -memory.ctypes.data % LINE // dtype.itemsize
    return memory[start : start + n]


def _frozen(names: Collection[str], config: Config, masters: dict[str, Any]) -> frozenset[str]:
    """The frozen names, checked. Of q_lin, k_lin and v_lin, one map in memory, all or none are frozen."""
    frozen = frozenset(names) | ({POSITIONS} if config.sinusoidal_pos_embds else frozenset())
    unknown = sorted(frozen - masters.keys())
    if unknown:
        raise InputError(f"frozen: there are no weights called {excerpt(unknown[0])}")
    for i in range(config.n_layers):
        for kind in ("weight", "bias"):
            maps = {f"transformer.layer.{i}.attention.{name}.{kind}" for name in QKV}
            if 0 < len(maps & frozen) < len(maps):
                raise InputError(
                    f"frozen: {min(maps & frozen)} is one map with those of q, k and v; freeze all or none"
                )
    return frozen

"""The cupy backend: the names of numpy_ops on an NVIDIA GPU, on our own CUDA C and cuBLAS.

A forward pass launches four kinds of kernel: linear maps, which are cuBLAS's (cublas_lt.py), and LayerNorm (with what
it adds first), GELU and attention, which are ours (cuda/*.cu); so is the ranking of words. Arrays live in the GPU's
memory; `send` and `fetch` are the only ways in and out, but for `starts` and `asking`: they say where sentences begin,
and it is the host that divides the work.

    dtype       linear maps                          attention                     softmax, GELU, LayerNorm, residuals
    float32     float32                              float32                       float32
    tf32        10 bits of fraction, summed in       float32                       float32
                float32
    float16     float16, summed in float32           float16, summed in float32    float32
    bfloat16    the same in bfloat16

The rarer things are done on the host, with numpy_ops: scores and probabilities that a tap asks for, activations other
than gelu, its form with tanh, relu and tanh, the probabilities of the whole vocabulary.

Unlike the numba backend's, a row's last bits may depend on its batch: cuBLAS chooses a way of summing by shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..definitions import numpy_ops
from ..definitions.numpy_ops import Activation
from ..definitions.remembered import Remembered, Rows
from ..definitions.sentences import Sentences
from . import cublas_lt
from .cuda_source import TYPES, compiled
from .cuda_source import cupy as cp
from .cupy_remembered import Slots
from .lane import pinned
from .tables import MadeOnce, Table, blocks_of_queries

Array = Any  # a cupy.ndarray
Ints = NDArray[np.int64]

LEAST_CAPABILITY = 8, 0  # bfloat16 and asynchronous copies came with Ampere
ATTENTION_THREADS = 128
ROW_THREADS = 128  # a block of the kernels that give a row to each warp: 4 rows
PIECE_THREADS = 256  # a block of those that give a thread 8 numbers
PIECE = 8
TOURNAMENT = 512  # threads of a block of most_probable.cu
MOST_RANKED = 128  # words that a tournament is expected to find sooner than the host can sort
LARGEST_HEAD = 128  # of a size that attention's kernels have registers for
STAGED = 1 << 20, 1 << 27  # bytes of arrays that are fetched by pinned memory: what a batch gives, not a whole model
WITH_TANH = "gelu_new", "gelu_accurate", "gelu_fast", "gelu_python_tanh", "gelu_pytorch_tanh"  # names of one function
ACTIVATIONS = {  # name -> function in gelu.cu
    "gelu": "gelu", "relu": "relu", "tanh": "hyperbolic_tangent", **dict.fromkeys(WITH_TANH, "gelu_tanh"),
}  # fmt: skip


class Stream(cp.ndarray):  # type: ignore[misc]
    """A float32 array (N, D) that brings its rounded copy along. What is made of it (slices, sums) does not.

    What is rounded to 16 bits is what PyTorch's autocast rounds: the operands and results of linear maps and of
    attention. The residual stream, what LayerNorm gives and takes, stays float32. As the next linear map wants it
    rounded, the LayerNorm kernel writes both, and the rounded copy travels with the array as its attribute `rounded`
    (`Stream`): 6 bytes a number written and 2 read again, where a kernel that only rounds would read 4 and write 2 in
    between. Maps of heads give float32: nothing averages out after them.
    """

    rounded: Array | None = None


class LinearMap(NamedTuple):
    """A linear map as this backend keeps it."""

    weight: Array  # (O, I) in the dtype that is multiplied
    bias: Array  # (O,) in the dtype of the result


def unusable(device: int) -> str:
    """Why there is nothing to compute on; "" if there is."""
    try:
        count = cp.cuda.runtime.getDeviceCount()
    except cp.cuda.runtime.CUDARuntimeError as error:
        return f"no NVIDIA GPU answers ({error})"
    if not device < count:
        return f"there is no GPU {device}: {count} answer{'s' if count == 1 else ''}, numbered from 0"
    found = cp.cuda.runtime.getDeviceProperties(device)
    if (found["major"], found["minor"]) < LEAST_CAPABILITY:
        return (
            f"{found['name'].decode()} has compute capability {found['major']}.{found['minor']}, and the kernels need "
            f"{'.'.join(map(str, LEAST_CAPABILITY))} (Ampere, of 2020) or later"
        )
    return ""


def free_memory() -> None:
    """Give back what CuPy keeps for the next arrays: on the GPU, and of the host's memory that it reads directly."""
    cp.get_default_memory_pool().free_all_blocks()
    cp.get_default_pinned_memory_pool().free_all_blocks()


class CupyOps:
    """The ops in one dtype on one GPU. Shapes and meaning: numpy_ops.py, function by function."""

    def __init__(self, dtype: str, device: int = 0) -> None:
        self.device = cp.cuda.Device(device)
        if dtype == "bfloat16":
            import ml_dtypes

            self.stored = np.dtype(ml_dtypes.bfloat16)  # what linear maps and attention take and give
        else:
            self.stored = np.dtype(np.float16 if dtype == "float16" else np.float32)
        self.half = self.stored.itemsize == 2
        self.compute = "tf32" if dtype == "tf32" else "float32"
        self.table = MadeOnce(blocks_of_queries)
        self.streams: dict[int, Any] = {}  # of `apart`

    # ---- where arrays are

    def send(self, x: NDArray[Any] | Array) -> Array:
        """An array of the host -> the GPU's memory. A forward pass begins here, so here its thread takes the GPU."""
        self.device.use()
        return cp.asarray(x)

    def fetch(self, x: Array) -> NDArray[Any]:
        """And back, 16-bit numbers as float32. Waits for all that was asked of the GPU before."""
        if isinstance(x, np.ndarray):
            return x
        values = x.get(out=pinned(x.shape, x.dtype) if STAGED[0] <= x.nbytes <= STAGED[1] else None)
        return values.astype(np.float32) if self.half and values.dtype == self.stored else values

    def apart(self, number: int) -> None:
        """What this thread asks of the GPU from here on may run beside what threads of other numbers ask.

        Not beside the default stream's work, on which weights are sent and trained: these are streams that wait for it,
        and it for them.

        Batches that follow one another overlap: two threads take turns at them, each on a stream of its own (`apart`),
        so one's numbers travel, and its host is busy with what they mean, while the other computes. Arrays of some size
        travel by memory that the GPU writes without the host's help (`pinned`).
        """
        self.device.use()
        if number not in self.streams:  # two threads may find so at once: the first one's stays
            self.streams.setdefault(number, cp.cuda.Stream())
        self.streams[number].use()

    def wait(self) -> None:
        """Until all that this thread asked of the GPU is done."""
        cp.cuda.get_current_stream().synchronize()

    # ---- linear maps

    def prepare_linear(self, weight: NDArray[Any], bias: NDArray[Any]) -> LinearMap:
        """(O, I), (O,) -> both rounded as this dtype multiplies and gives them: called once, at load."""
        return LinearMap(self.as_stored(self.send(weight)), self.as_stored(self.send(bias)))

    def prepare_head(self, weight: NDArray[Any], bias: NDArray[Any]) -> LinearMap:
        """The same for a map of a head, which gives float32."""
        return LinearMap(self.as_stored(self.send(weight)), self.send(bias))

    def restore_linear(self, w: LinearMap) -> tuple[NDArray[Any], NDArray[Any]]:
        """What `prepare_linear` was given, if nothing was rounded."""
        return self.fetch(w.weight), self.fetch(w.bias)

    def linear(self, x: Array, w: LinearMap) -> Array:
        """x W^T + b: (N, I) -> (N, O), in the dtype of the bias."""
        x = self.operand(x)
        out = cp.empty((x.shape[0], w.weight.shape[0]), w.bias.dtype)
        cublas_lt.matmul(x, w.weight, out, transpose_b=True, bias=w.bias, compute=self.compute)
        return out

    def linear_activation(self, x: Array, w: LinearMap, which: Activation) -> Array:
        """activation(linear(x)): (N, I) -> (N, O)."""
        return self._activate(self.linear(x, w), which, in_place=True)

    def as_stored(self, x: Array) -> Array:
        """Rounded to the dtype of linear maps: any shape."""
        if x.dtype == self.stored:
            return x
        x, out = cp.ascontiguousarray(x), cp.empty(x.shape, self.stored)
        pieces(compiled("round.cu", STORED=TYPES[self.stored.name]), "rounded_copy", x.size, x, out)
        return out

    def operand(self, x: Array) -> Array:
        """x (N, I) as linear maps and attention take it: rounded, each row contiguous."""
        if x.dtype != self.stored:
            carried = getattr(x, "rounded", None)
            x = self.as_stored(x) if carried is None else carried
        return x if x.strides[1] == x.itemsize and x.strides[0] >= x.shape[1] * x.itemsize else cp.ascontiguousarray(x)

    # ---- activations

    def activation(self, x: Array, which: Activation) -> Array:
        """The activation a checkpoint's config names: any shape, in the dtype of x."""
        return self._activate(x, which, in_place=False)

    def _activate(self, x: Array, which: Activation, in_place: bool) -> Array:
        if not isinstance(which, str) or which not in ACTIVATIONS:
            return self.send(numpy_ops.activation(self.fetch(x), which)).astype(x.dtype)
        x = cp.ascontiguousarray(x)
        out = x if in_place else cp.empty(x.shape, x.dtype)
        module = compiled("gelu.cu", STORED=TYPES[x.dtype.name], ACTIVATION=ACTIVATIONS[which])
        pieces(module, "activation", x.size, x, out)
        return out

    # ---- embeddings and LayerNorm

    def embed(self, ids: Array, positions: Array, words: Array, places: Array) -> Array:
        """words[ids] + places[positions]: (N,), (N,), (V, D), (P, D) -> (N, D) float32."""
        N, D = ids.shape[0], words.shape[1]
        out = cp.empty((N, D), np.float32)
        rows(self.rows_of("embed.cu", D), "embed", N, ids, positions, words, places, out, np.int32(N), np.int32(D))
        return out

    def embed_layer_norm(
        self, ids: Array, positions: Array, words: Array, places: Array, weight: Array, bias: Array, eps: float
    ) -> Array:
        """layer_norm(embed(...)): ..., 2 x (D,) -> (N, D) float32, with its rounded copy."""
        N, D = ids.shape[0], words.shape[1]
        out, copy = self.with_copy((N, D))
        read = ids, positions, words, places, weight, bias
        last = np.int32(N), np.int32(D), np.float32(eps)
        rows(self.rows_of("embed.cu", D), "embed_layer_norm", N, *read, out, copy, *last)
        return out

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float) -> Array:
        """LayerNorm over the last axis: (N, D), 2 x (D,) -> (N, D) float32, with its rounded copy."""
        return self._norm("layer_norm", (x,), weight, bias, eps)

    def add_layer_norm(self, x: Array, residual: Array, weight: Array, bias: Array, eps: float) -> Array:
        """layer_norm(x + residual): (N, D), (N, D) float32 -> (N, D) float32, with its rounded copy."""
        return self._norm("add_layer_norm", (x, residual), weight, bias, eps)

    def add(self, x: Array, residual: Array) -> Array:
        """x + residual, for blocks that do not normalise it: (N, D), (N, D) float32 -> (N, D) float32."""
        x, residual = cp.ascontiguousarray(x), cp.ascontiguousarray(residual)
        N, D = x.shape
        out = cp.empty((N, D), np.float32)
        module = self.rows_of("layer_norm.cu", D, INPUT=TYPES[x.dtype.name])
        rows(module, "add", N, x, residual, out, np.int32(N), np.int32(D))
        return out

    def _norm(self, kernel: str, summands: tuple[Array, ...], weight: Array, bias: Array, eps: float) -> Array:
        summands = tuple(cp.ascontiguousarray(x) for x in summands)
        N, D = summands[0].shape
        out, copy = self.with_copy((N, D))
        module = self.rows_of("layer_norm.cu", D, INPUT=TYPES[summands[0].dtype.name])
        last = np.int32(N), np.int32(D), np.float32(eps)
        rows(module, kernel, N, *summands, weight, bias, out, copy, *last)
        return out

    def with_copy(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """A float32 array for a kernel to fill, and the rounded copy it brings along; a null pointer for none."""
        out = Stream(shape, np.float32)
        if not self.half:
            return out, np.uint64(0)
        out.rounded = cp.empty(shape, self.stored)
        return out, out.rounded

    def rows_of(self, file: str, D: int, **defines: str) -> Any:
        """The module of a file that holds a row of D numbers in a warp's registers (row.cuh)."""
        return compiled(file, STORED=TYPES[self.stored.name], PIECES=-(-D // (32 * PIECE)), **defines)

    # ---- attention

    def attention(self, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        """softmax(q k^T / sqrt(Dh)) v, each sentence by itself: (M, A), 2 x (N, A) -> (M, A)."""
        return self.attention_with(None, q, k, v, who)

    def attention_with(self, dropping: tuple[float, int] | None, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        """The same with dropout on the probabilities, for training. dropping: rate and key."""
        if q.shape[1] // who.heads > LARGEST_HEAD and dropping is None:
            return self.on_host(numpy_ops.attention, q, k, v, who)[0]
        return self.attention_by(self.table(who.asking, who.starts), dropping, *self.asked_and_kept(q, k, v), who)

    def asked_and_kept(self, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values, rounded; k and v alike in strides, as the kernels want them."""
        q, k, v = (self.operand(x) for x in (q, k, v))
        if k.strides[0] != v.strides[0]:
            k, v = cp.ascontiguousarray(k), cp.ascontiguousarray(v)
        return q, k, v

    def attention_by(
        self, table: Table, dropping: tuple[float, int] | None, q: Array, k: Array, v: Array, who: Sentences
    ) -> Array:
        """The same of what `asked_and_kept` gives, whose sentences the table has found."""
        size, out = q.shape[1] // who.heads, cp.empty(q.shape, self.stored)
        if not table.tiles.shape[0]:
            return out
        strides = [np.int32(x.strides[0] // x.itemsize) for x in (q, k, out)]
        rate, key = dropping or (0.0, 0)
        kernel = compiled(
            "attention.cu" if self.on_tensor_cores(size, q, k, v) else "attention_float32.cu",
            STORED=TYPES[self.stored.name],
            HEAD=size,
            **({} if dropping is None else {"DROPOUT": 1}),
            **({} if who.reach is None else {"CAUSAL": 1}),
        ).get_function("attention")
        none = np.uint64(0)  # a null pointer
        mask = none if who.keep is None else who.keep.view(np.uint8)
        arguments = q, k, v, *strides[:2], table.tiles, mask, np.int32(who.heads), np.float32(1 / np.sqrt(size))
        drop = table.places, np.uint64(key), np.uint64(round(rate * 2**32)), np.float32(1 - rate)
        to = out, strides[2], none if who.reach is None else cp.ascontiguousarray(who.reach)
        kernel((table.tiles.shape[0], who.heads), (ATTENTION_THREADS,), (*arguments, *drop, *to))
        return out

    def on_tensor_cores(self, size: int, *arrays: Array) -> bool:
        """Whether attention with heads of this size takes these matrices to the tensor cores: attention.cu."""
        return self.half and size % 16 == 0 and all(x.data.ptr % 16 == 0 and x.strides[0] % 16 == 0 for x in arrays)

    def on_host(self, definition: Any, *arguments: Any) -> tuple[Array, ...]:
        """The results of a function of numpy_ops or numpy_backward, one or several, for what has no kernel here."""
        found = definition(*map(self._fetched, arguments))
        return tuple(self.send(x) for x in (found if isinstance(found, tuple) else (found,)))

    def _fetched(self, argument: Any) -> Any:
        """An argument as the definitions take it: arrays on the host, those of sentences too."""
        if isinstance(argument, Sentences):
            keep, reach = (None if x is None else self.fetch(x) for x in (argument.keep, argument.reach))
            return argument._replace(keep=keep, reach=reach)
        return self.fetch(argument) if isinstance(argument, cp.ndarray) else argument

    def remember(self, widths: Sequence[int], head: int) -> Remembered:
        """Room for the keys and values of texts that are written on; on the host for heads too large for a kernel."""
        if head > LARGEST_HEAD:
            return Rows(self.attention, len(widths), self.send, self.fetch)
        return Slots(self, widths)

    def attention_scores(self, q: Array, k: Array, who: Sentences) -> list[Array]:
        """Scaled dot products of every sentence with itself: (M, A), (N, A) -> B x (H, Q, T). On the host."""
        return [self.send(s) for s in numpy_ops.attention_scores(self.fetch(q), self.fetch(k), self._fetched(who))]

    def attention_probs(self, scores: Sequence[Array]) -> list[Array]:
        """softmax over the keys: B x (H, Q, T) -> B x (H, Q, T). On the host."""
        return [self.send(numpy_ops.softmax(self.fetch(s))) for s in scores]

    def attention_context(self, probs: Sequence[Array], v: Array, starts: Ints) -> Array:
        """The values, averaged by the probabilities: B x (H, Q, T), (N, A) -> (M, A). On the host."""
        return self.send(numpy_ops.attention_context([self.fetch(p) for p in probs], self.fetch(v), starts))

    # ---- vocabulary: sums of 30522 exponentials are float64 here, on the host as in the kernel

    def vocabulary_softmax(self, logits: Array) -> NDArray[Any]:
        """softmax over the vocabulary: (M, V) float32 -> (M, V). On the host, and it stays there."""
        return numpy_ops.vocabulary_softmax(self.fetch(logits).astype(np.float64)).astype(np.float32)

    def most_probable(self, logits: Array, k: int) -> tuple[Array, Array]:
        """The same at the k largest, largest first: (M, V) float32 -> (M, k) float32, (M, k) int64."""
        M, V = logits.shape
        if not 0 < k <= min(MOST_RANKED, V):
            probs, words = numpy_ops.most_probable(self.fetch(logits).astype(np.float64), k)
            return probs.astype(np.float32), words
        probs, words = cp.empty((M, k), np.float32), cp.empty((M, k), np.int64)
        if M:
            kernel = compiled("most_probable.cu").get_function("most_probable")
            kernel((M,), (TOURNAMENT,), (cp.ascontiguousarray(logits), probs, words, np.int32(V), np.int32(k)))
        return probs, words


def rows(module: Any, kernel: str, N: int, *arguments: Any) -> None:
    """A kernel that gives each of N rows to a warp; nothing if there are none."""
    if N:
        module.get_function(kernel)((-(-N // (ROW_THREADS // 32)),), (ROW_THREADS,), arguments)


def pieces(module: Any, kernel: str, n: int, *arguments: Any) -> None:
    """A kernel that gives each thread 8 of n numbers, and wants n as its last argument."""
    if n:
        blocks = -(-n // (PIECE_THREADS * PIECE))
        module.get_function(kernel)((blocks,), (PIECE_THREADS,), (*arguments, np.int64(n)))

"""The derivatives on an NVIDIA GPU: the names of numpy_backward on our own CUDA C and cuBLASLt.

Every gradient that is added up over rows (a bias's, a LayerNorm's, a word's) is added in an order that depends on the
shapes alone: nowhere is there an atomic addition. cuBLASLt promises as much of its products on one kind of GPU. So a
run can be repeated to the last bit on the machine it was made on.

Where things are. All arrays live in the GPU's memory, the labels of `cross_entropy` too; losses and the sum of squares
come back as floats, for which the host waits. A linear map's weight for the backward pass is the weight itself, because
cuBLASLt multiplies transposed matrices as they lie in memory.

Mixed precision, as PyTorch's autocast has it and as cupy_ops.py goes forward:

    weights, their gradients, AdamW's means     float32: a step is often smaller than a 16-bit number can tell
    gradients between ops                       float32, but for those of attention and activations: products follow
    operands of the products                    rounded to the dtype; sums and results float32

As forward, a LayerNorm's result, here dx, and dropout's bring their rounded copies along for the linear map that comes
next (`Stream` in cupy_ops.py); whoever changes one of these arrays in place makes its copy wrong, so nobody does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..definitions import numpy_backward
from ..definitions.numpy_ops import Activation
from ..definitions.sentences import Sentences
from ..definitions.step import Step
from . import cublas_lt
from .cuda_source import TYPES, compiled
from .cuda_source import cupy as cp
from .cupy_ops import LARGEST_HEAD, WITH_TANH, CupyOps, pieces, rows
from .tables import QUERIES, MadeOnce, columns, cut

Array = Any  # a cupy.ndarray
Ints = NDArray[np.int64]

SLOPES = {  # name -> function in activation_backward.cu
    "gelu": "gelu_slope", "relu": "relu_slope", "tanh": "tanh_slope", **dict.fromkeys(WITH_TANH, "gelu_tanh_slope"),
}  # fmt: skip
ROWS_A_WARP = 8  # of layer_norm_backward.cu
SUMMED_ROWS, SUMMED_COLUMNS = 256, 32  # a block of column_sums.cu
SUM_THREADS = 256
DROPPED = 4 * 256  # numbers a block of dropout.cu
WORD_THREADS = 256
LONG = 4096  # numbers from which on a row of a loss is worth a large block
STEP_THREADS = 256
STRETCH = 1 << 16  # numbers of a partial sum in adamw.cu


class CupyBackwardOps:
    """The derivatives in one dtype on one GPU. Shapes and meaning: numpy_backward.py, function by function."""

    HEAD_ROWS = 1024  # as in numpy_backward.py: here the host waits once a piece for each loss, and memory holds more

    def __init__(self, dtype: str, device: int = 0) -> None:
        self.ops = CupyOps(dtype, device)
        self.table_of_keys = MadeOnce(blocks_of_keys)

    # ---- linear maps

    def prepare_backward(self, weight: Array, bias: Array) -> Array:
        """(O, I), (O,) -> what `linear_backward_input` wants: the weight, rounded."""
        return self.ops.as_stored(self.ops.send(weight))

    def linear_backward_input(self, dy: Array, w: Array) -> Array:
        """dx = dy W: (N, O) -> (N, I) float32."""
        dx = cp.empty((dy.shape[0], w.shape[1]), np.float32)
        cublas_lt.matmul(self.ops.operand(dy), w, dx, compute=self.ops.compute)
        return dx

    def linear_backward_weight(self, dy: Array, x: Array, dW: Array, db: Array) -> None:
        """dW += dy^T x and db += the sum of dy's rows: (N, O), (N, I), adding to (O, I) and (O,) float32."""
        a, b = self.ops.operand(dy), self.ops.operand(x)
        cublas_lt.matmul(a, b, dW, transpose_a=True, accumulate=True, compute=self.ops.compute)
        add_rows(dy, db)

    # ---- row by row

    def activation_backward(self, dy: Array, x: Array, which: Activation) -> Array:
        """dy times the activation's slope at x: any shape, twice -> rounded. On the host but for those of SLOPES."""
        if which not in SLOPES:
            found = numpy_backward.activation_backward(self.ops.fetch(dy), self.ops.fetch(x), which)
            return self.ops.as_stored(self.ops.send(found))
        dy, x = cp.ascontiguousarray(dy), cp.ascontiguousarray(x)
        dx = cp.empty(x.shape, self.ops.stored)
        types = {"INPUT": TYPES[x.dtype.name], "STORED": TYPES[self.ops.stored.name]}
        module = compiled("activation_backward.cu", **types, SLOPE=SLOPES[which])
        pieces(module, "activation_backward", x.size, dy, x, dx)
        return dx

    def layer_norm_backward(
        self, dy: Array, x: Array, weight: Array, dweight: Array, dbias: Array, eps: float
    ) -> Array:
        """dx of layer_norm(x): (N, D), (N, D), (D,), adding to (D,) and (D,) -> (N, D) float32."""
        return self._norm("layer_norm_backward", dy, (x,), weight, dweight, dbias, eps)

    def add_layer_norm_backward(
        self, dy: Array, x: Array, residual: Array, weight: Array, dweight: Array, dbias: Array, eps: float
    ) -> Array:
        """The same of layer_norm(x + residual): -> (N, D) float32, the gradient of x and of residual alike."""
        return self._norm("add_layer_norm_backward", dy, (x, residual), weight, dweight, dbias, eps)

    def _norm(
        self,
        kernel: str,
        dy: Array,
        summands: tuple[Array, ...],
        weight: Array,
        dweight: Array,
        dbias: Array,
        eps: float,
    ) -> Array:
        dy, summands = cp.ascontiguousarray(dy), tuple(cp.ascontiguousarray(x) for x in summands)
        N, D = dy.shape
        warps = -(-N // ROWS_A_WARP)
        dx, copy = self.ops.with_copy((N, D))
        shares = cp.empty((2, warps, D), np.float32)
        module = self.ops.rows_of("layer_norm_backward.cu", D, INPUT=TYPES[summands[0].dtype.name])
        last = np.int32(N), np.int32(D), np.float32(eps)
        rows(module, kernel, warps, dy, *summands, weight, dx, copy, shares[0], shares[1], *last)
        add_rows(shares[0], dweight)
        add_rows(shares[1], dbias)
        return dx

    def embed_backward(self, dx: Array, ids: Array, positions: Array, dwords: Array, dplaces: Array) -> None:
        """Every row of dx goes to its word and its place: (N, D), (N,), (N,), adding to (V, D) and (P, D)."""
        N, D = dx.shape
        if not N:
            return
        dx, numbers, module = cp.ascontiguousarray(dx), cp.arange(N, dtype=np.int64), compiled("embed_backward.cu")
        for places, table in ((ids, dwords), (positions, dplaces)):
            keys = cp.sort(places * (1 << 32) + numbers)  # (N,) by place, and of one place by row
            last = np.int32(N), np.int32(D)
            module.get_function("embed_backward")((N,), (WORD_THREADS,), (dx, keys, added_to(table), *last))

    def dropout(self, x: Array, rate: float, key: int) -> Array:
        """x / (1 - rate), with a share `rate` of it 0: any shape, in the dtype of x. dx is dropout(dy, rate, key)."""
        if rate == 0:
            return x
        x = cp.ascontiguousarray(x)
        in_float32 = x.dtype == np.float32
        out, copy = self.ops.with_copy(x.shape) if in_float32 else (cp.empty(x.shape, x.dtype), np.uint64(0))
        if x.size:
            stored = self.ops.stored if in_float32 else x.dtype
            module = compiled("dropout.cu", INPUT=TYPES[x.dtype.name], STORED=TYPES[stored.name])
            launch = (-(-x.size // DROPPED),), (DROPPED // 4,)
            last = np.uint64(key), np.uint64(round(rate * 2**32)), np.float32(1 - rate)
            module.get_function("dropout")(*launch, (x, out, copy, np.int64(x.size), *last))
        return out

    # ---- attention

    def attention_dropped(self, q: Array, k: Array, v: Array, who: Sentences, rate: float, key: int) -> Array:
        """`attention` with dropout on the probabilities, as training has it: (M, A), 2 x (N, A) -> (M, A)."""
        if q.shape[1] // who.heads > LARGEST_HEAD or who.reach is not None:
            arguments = q, k, v, who, rate, key
            return self.ops.on_host(numpy_backward.attention_dropped, *arguments)[0]
        return self.ops.attention_with((rate, key), q, k, v, who)

    def attention_backward(
        self, dcontext: Array, q: Array, k: Array, v: Array, context: Array, who: Sentences, rate: float, key: int
    ) -> tuple[Array, Array, Array]:
        """dq, dk, dv of attention_dropped (of attention: rate 0): (M, A), ... -> (M, A), 2 x (N, A), rounded.

        context is not looked at: attention_backward.cu says why.
        """
        (M, A), N = q.shape, k.shape[0]
        size = A // who.heads
        if size > LARGEST_HEAD or who.reach is not None:
            arguments = dcontext, q, k, v, context, who, rate, key
            dq, dk, dv = self.ops.on_host(numpy_backward.attention_backward, *arguments)
            return dq, dk, dv
        dcontext, q, k, v = (self.ops.operand(x) for x in (dcontext, q, k, v))
        if k.strides[0] != v.strides[0]:
            k, v = cp.ascontiguousarray(k), cp.ascontiguousarray(v)
        dq, dk, dv = (cp.empty((height, A), self.ops.stored) for height in (M, N, N))
        statistics = cp.empty((M, who.heads, 4), np.float32)
        if self.ops.on_tensor_cores(size, dcontext, q, k, v):
            file, threads, parts = "attention_backward.cu", 128, 1
        else:
            file, (threads, parts) = "attention_backward_float32.cu", (64, 2) if size <= 64 else (32, 4)
        stored = TYPES[self.ops.stored.name]
        module = compiled(file, STORED=stored, HEAD=size, **({"DROPOUT": 1} if rate else {}))
        wide, of_q, of_k, apart = (np.int32(x.strides[0] // x.itemsize) for x in (dcontext, q, k, dk))
        mask = np.uint64(0) if who.keep is None else who.keep.view(np.uint8)  # 0: a null pointer
        drop = np.uint64(key), np.uint64(round(rate * 2**32)), np.float32(1 - rate)
        for kernel, (tiles, places), out in (
            ("attention_backward_queries", self.ops.table(who.asking, who.starts), (dq, apart)),
            ("attention_backward_keys", self.table_of_keys(who.asking, who.starts), (dk, dv, apart)),
        ):
            if tiles.shape[0]:
                inputs = dcontext, wide, q, k, v, of_q, of_k, tiles, mask, np.int32(who.heads), np.float32(size**-0.5)
                launch = (tiles.shape[0], who.heads, parts), (threads,)
                module.get_function(kernel)(*launch, (*inputs, places, *drop, statistics, *out))
        return dq, dk, dv

    # ---- losses

    def cross_entropy(self, logits: Array, labels: Array, scale: float, dlogits: Array) -> float:
        """The sum over rows of -log softmax(logits)[label]: (M, V), (M,) int64, adding to (M, V) -> a number."""
        return loss_of_rows("cross_entropy", logits, labels, np.float32(scale), out=dlogits)

    def divergence(self, student: Array, teacher: Array, temperature: float, scale: float, dstudent: Array) -> float:
        """The sum over rows of KL(p_T || p_S), p = softmax(. / temperature): 2 x (M, V), adding to (M, V)."""
        numbers = np.float32(1 / temperature), np.float32(scale / temperature)
        return loss_of_rows("divergence", student, teacher, *numbers, out=dstudent)

    def squared_error(self, student: Array, teacher: Array, scale: float, dstudent: Array) -> float:
        """The sum of (student - teacher)^2: 2 x (M, V), adding to (M, V) -> a number."""
        return loss_of_rows("squared_error", student, teacher, np.float32(scale), out=dstudent)

    def cosine_distance(self, student: Array, teacher: Array, scale: float, dstudent: Array) -> float:
        """The sum over rows of 1 - cos(student, teacher): 2 x (N, D), adding to (N, D) -> a number."""
        return loss_of_rows("cosine_distance", student, teacher, np.float32(scale), out=dstudent)

    # ---- the step

    def sum_of_squares(self, x: Array) -> float:
        """The sum of x^2 in float64: (n,) float32 -> a number.

        bfloat16 has the range of float32, so nothing else is needed. float16 has not: numbers below 6e-8 become 0 or
        that, and gradients are small. Whoever trains in it has to multiply the loss by a large number (`scale` of the
        losses), give its inverse to `adamw` as `scale`, and lower the number when `sum_of_squares` is no longer finite.
        That is the caller's to do, and nanodistil.training does it (loss_scale.py).
        """
        sums = cp.empty(-(-x.size // STRETCH), np.float64)
        if x.size:
            kernel = compiled("adamw.cu").get_function("square_sums")
            kernel((sums.size,), (STEP_THREADS,), (cp.ascontiguousarray(x), sums, np.int64(x.size)))
        return float(sums.get().sum())

    def adamw(self, x: Array, dx: Array, m: Array, v: Array, step: Step) -> None:
        """One step of x against its gradient, in place: 4 x (n,) float32."""
        if x.size:
            arrays = added_to(x), cp.ascontiguousarray(dx), added_to(m), added_to(v)
            kernel = compiled("adamw.cu").get_function("adamw")
            blocks = -(-x.size // STEP_THREADS)
            kernel((blocks,), (STEP_THREADS,), (*arrays, np.int64(x.size), *step.rounded(np.float32)))


def blocks_of_keys(asking: Ints, starts: Ints) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What each block works on that owns keys: blocks_of_queries of cupy_ops.py the other way round, (tiles, 4) each:

    tiles   first query row and number of queries of the sentence, first key row, number of keys
    places  number of the sentence; in it, 0 and number of the first key; number of keys in all
    """
    queries, keys = np.diff(asking), np.diff(starts)  # (B,)
    b, first = cut(keys, queries)
    tiles = columns(asking[b], queries[b], starts[b] + first, np.minimum(keys[b] - first, QUERIES))
    return tiles, columns(b, np.zeros_like(b), first, keys[b])


def added_to(x: Array) -> Array:
    """x, which a kernel changes in place. Raises TypeError unless it is contiguous: a copy would be changed instead."""
    if not x.flags.c_contiguous:
        raise TypeError(f"an array that is added to must be contiguous, not {x.shape} with strides {x.strides}")
    return x


def add_rows(x: Array, out: Array) -> None:
    """out += the sum of the rows of x: (N, O), rows contiguous, adding to (O,) float32."""
    while x.shape[0]:
        N, O = x.shape
        blocks, last = -(-N // SUMMED_ROWS), N <= SUMMED_ROWS
        sums = added_to(out) if last else cp.empty((blocks, O), np.float32)
        if x.strides[1] != x.itemsize:
            x = cp.ascontiguousarray(x)
        kernel = compiled("column_sums.cu", INPUT=TYPES[x.dtype.name]).get_function("column_sums")
        numbers = np.int32(N), np.int32(O), np.int64(x.strides[0] // x.itemsize)
        kernel((-(-O // SUMMED_COLUMNS), blocks), (SUM_THREADS,), (x, *numbers, sums, np.int32(last)))
        if last:
            return
        x = sums


def loss_of_rows(kernel: str, x: Array, truth: Array, *numbers: np.float32, out: Array) -> float:
    """The losses of all rows of x, each compared with its row of `truth`, added in their order; gradients go to out."""
    M, V = x.shape
    losses = cp.empty(M, np.float64)
    if M:
        threads = 512 if V >= LONG else 128
        arrays = cp.ascontiguousarray(x), cp.ascontiguousarray(truth)
        launched = compiled("losses.cu", AT_WORK=threads).get_function(kernel)
        launched((M,), (threads,), (*arrays, *numbers, losses, added_to(out), np.int32(V)))
    return float(losses.get().sum())

"""Attention on CUDA, on a GPU where there is one and else on the CPU under the stand-in for CuPy, against float64.

The bounds are what rounding to the stored type must cost, and little more: each probability is rounded once, which
moves the result by at most a unit of the average of |v| with the same probabilities, and the result once.
"""

from __future__ import annotations

import numpy as np
import pytest

from nanodistil.kernels.definitions import numpy_backward, numpy_ops
from nanodistil.kernels.definitions.sentences import Sentences

pytestmark = pytest.mark.sweep  # a minute of g++ where nothing is compiled yet

LENGTHS = (1, 15, 16, 17, 64, 65, 130)  # around whole rows of a tile, whole tiles and two of them
ALL = LENGTHS
SOME = (1, 2, 4, 0, 3, 65, 70)  # queries of these sentences, as in a last layer
UNIT = {"float": 2**-24, "float16": 2**-11, "bfloat16": 2**-8}  # relative error of rounding once


@pytest.fixture
def compiled(cupy):
    from nanodistil.kernels.gpu.cuda_source import compiled

    return compiled


def dtype_of(stored):
    if stored == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype({"float": np.float32}.get(stored, stored))


def begins(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def table(asked, lengths, queries=64):
    """The blocks of queries of a batch, and an empty one, as attention.cu wants them: tiles and places (n, 4) int32."""
    asking, starts = begins(asked), begins(lengths)
    tiles, places = [], []
    for s in range(len(lengths)):
        for first in range(0, asked[s], queries):
            tiles.append([asking[s] + first, min(queries, asked[s] - first), starts[s], lengths[s]])
            places.append([s, first, 0, lengths[s]])
    tiles.append([0, 0, 0, 0])
    places.append([0, 0, 0, 0])
    return np.array(tiles, np.int32), np.array(places, np.int32)


def table_of_keys(asked, lengths):
    """The same for blocks of keys: all queries of the sentence, up to 64 of its keys."""
    asking, starts = begins(asked), begins(lengths)
    tiles, places = [[0, 0, 0, 0]], [[0, 0, 0, 0]]
    for s in range(len(lengths)):
        for first in range(0, lengths[s], 64):
            tiles.append([asking[s], asked[s], starts[s] + first, min(64, lengths[s] - first)])
            places.append([s, 0, first, lengths[s]])
    return np.array(tiles, np.int32), np.array(places, np.int32)


class Batch:
    """q (M, D), and k and v as slices of one matrix (N, 2D), in the stored type."""

    def __init__(self, stored, head, heads=2, asked=ALL, lengths=LENGTHS, masked=False, rate=0.0, seed=0, causal=False):
        rng = np.random.default_rng(seed)
        self.stored, self.head, self.heads, self.rate = stored, head, heads, rate
        self.asked, self.lengths, self.key = asked, lengths, 2**63 + 12345
        self.D, M, N = head * heads, sum(asked), sum(lengths)
        self.dtype = dtype_of(stored)
        self.q = (1.5 * rng.standard_normal((M, self.D))).astype(self.dtype)
        self.kv = (1.5 * rng.standard_normal((N, 2 * self.D))).astype(self.dtype)
        self.dcontext = rng.standard_normal((M, self.D)).astype(self.dtype)
        self.keep = self.reach = None
        if causal:  # the last queries of each sentence, that of 130 among them with one that sees less than a tile
            seen = [np.arange(n - m, n) + 1 for m, n in zip(asked, lengths, strict=True)]
            self.reach = np.concatenate(seen).astype(np.int64)
            self.reach[-3] = 5
        if masked:  # the sentence of 16 wholly, that of 130 in its whole first tile
            self.keep = rng.random(N) < 0.7
            self.keep[16:32] = False
            self.keep[178:243] = False

    def run(self, cupy, compiled, file, queries=None):
        defines = {"STORED": self.stored, "HEAD": self.head}
        if queries:
            defines["QUERIES"] = queries
        if self.rate:
            defines["DROPOUT"] = 1
        if self.reach is not None:
            defines["CAUSAL"] = 1
        tiles, places = table(self.asked, self.lengths, queries or 64)
        q, kv = cupy.asarray(self.q), cupy.asarray(self.kv)
        k, v = kv[:, : self.D], kv[:, self.D :]
        out = cupy.empty(self.q.shape, self.dtype)
        keep = np.uint64(0) if self.keep is None else cupy.asarray(self.keep.astype(np.uint8))
        strides = np.int32(self.D), np.int32(2 * self.D)
        dropout = np.uint64(self.key), np.uint64(round(self.rate * 2**32)), np.float32(1 - self.rate)
        args = (q, k, v, *strides, cupy.asarray(tiles), keep, np.int32(self.heads), np.float32(self.head**-0.5))
        kernel = compiled(file, **defines).get_function("attention")
        reach = np.uint64(0) if self.reach is None else cupy.asarray(self.reach)
        kernel((len(tiles), self.heads), (128,), (*args, cupy.asarray(places), *dropout, out, strides[0], reach))
        return out.get()

    def truth(self, dtype=np.float64, size=False):
        """What it should be; size: the average of |v|."""
        q, k, v = (a.astype(dtype) for a in (self.q, self.kv[:, : self.D], self.kv[:, self.D :]))
        who = Sentences(begins(self.asked), begins(self.lengths), self.heads, self.keep, self.reach)
        if size:
            v = np.abs(v)
        if self.rate:
            return numpy_backward.attention_dropped(q, k, v, who, self.rate, self.key)
        return numpy_ops.attention(q, k, v, who)

    def backward(self, cupy, compiled, file, parts=2):
        """dq (M, D), dk, dv (N, D) for the gradient self.dcontext. parts: of a tile, in float32."""
        defines = {"DROPOUT": 1} if self.rate else {}
        module = compiled(file, STORED=self.stored, HEAD=self.head, **defines)
        parts, threads = (1, 128) if file == "attention_backward.cu" else (parts, 64 if self.head <= 64 else 32)
        q, kv, dcontext = (cupy.asarray(a) for a in (self.q, self.kv, self.dcontext))
        dq, dkv = cupy.empty(self.q.shape, self.dtype), cupy.empty(self.kv.shape, self.dtype)
        statistics = cupy.empty((len(self.q), self.heads, 4), np.float32)
        keep = np.uint64(0) if self.keep is None else cupy.asarray(self.keep.astype(np.uint8))
        one, two = np.int32(self.D), np.int32(2 * self.D)
        dropout = np.uint64(self.key), np.uint64(round(self.rate * 2**32)), np.float32(1 - self.rate)
        for name, (tiles, places), out in (
            ("attention_backward_queries", table(self.asked, self.lengths), (dq, one)),
            (
                "attention_backward_keys",
                table_of_keys(self.asked, self.lengths),
                (dkv[:, : self.D], dkv[:, self.D :], two),
            ),
        ):
            args = (dcontext, one, q, kv[:, : self.D], kv[:, self.D :], one, two, cupy.asarray(tiles), keep)
            args = (*args, np.int32(self.heads), np.float32(self.head**-0.5), cupy.asarray(places), *dropout)
            module.get_function(name)((len(tiles), self.heads, parts), (threads,), (*args, statistics, *out))
        dkv = dkv.get()
        return dq.get(), dkv[:, : self.D], dkv[:, self.D :]

    def true_gradients(self, dtype=np.float64):
        arrays = self.dcontext, self.q, self.kv[:, : self.D], self.kv[:, self.D :]
        dcontext, q, k, v = (a.astype(dtype) for a in arrays)
        who = Sentences(begins(self.asked), begins(self.lengths), self.heads, self.keep)
        context = self.truth(dtype)
        return numpy_backward.attention_backward(dcontext, q, k, v, context, who, self.rate, self.key)

    def within_rounding(self, result):
        """|error| <= a rounding of each probability and one of the result, 3e-5 of it for scores in float32."""
        truth, unit = self.truth(), UNIT[self.stored]
        bound = unit * np.abs(truth) + (unit + 3e-5) * self.truth(size=True) + 1e-6
        return bool((np.abs(result.astype(np.float64) - truth) <= bound).all())  # False also where there is NaN


HALVES = ["float16", "bfloat16"]
FLOAT32 = "attention_backward_float32.cu"


@pytest.mark.parametrize("head", [16, 32, 64])
@pytest.mark.parametrize("stored", HALVES)
def test_attention(cupy, compiled, stored, head):
    batch = Batch(stored, head)
    assert batch.within_rounding(batch.run(cupy, compiled, "attention.cu"))


@pytest.mark.parametrize("head", [48, 80, 128])
def test_heads_of_other_sizes(cupy, compiled, head):
    batch = Batch("float16", head, heads=1, asked=SOME, masked=True)
    assert batch.within_rounding(batch.run(cupy, compiled, "attention.cu"))


@pytest.mark.parametrize("file, stored, queries", [
    ("attention.cu", "float16", 64), ("attention.cu", "bfloat16", 128), ("attention_float32.cu", "float", 64),
])  # fmt: skip
@pytest.mark.parametrize("asked", [ALL, SOME])
def test_causal(cupy, compiled, file, stored, queries, asked):
    """A query sees itself and those before it, also where only some ask, and where what it sees is masked."""
    for masked in (False, True):
        batch = Batch(stored, 32, asked=asked, masked=masked, causal=True)
        assert batch.within_rounding(batch.run(cupy, compiled, file, queries if file == "attention.cu" else None))


@pytest.mark.parametrize("stored", HALVES)
def test_masks_and_fewer_queries(cupy, compiled, thread_order, stored):
    batch = Batch(stored, 64, asked=SOME, masked=True)
    assert batch.within_rounding(batch.run(cupy, compiled, "attention.cu"))


@pytest.mark.parametrize("queries", [64, 128])
def test_dropout(cupy, compiled, queries):
    batch = Batch("float16", 64, masked=True, rate=0.1)
    assert batch.within_rounding(batch.run(cupy, compiled, "attention.cu", queries))


def test_two_strips_a_warp(cupy, compiled):
    batch = Batch("bfloat16", 64, masked=True)
    assert batch.within_rounding(batch.run(cupy, compiled, "attention.cu", 128))


@pytest.mark.parametrize("file, stored", [("attention.cu", "float16"), ("attention_float32.cu", "float")])
def test_no_order_of_threads_changes_a_bit(cupy, compiled, monkeypatch, file, stored):
    if not hasattr(cupy, "emulation"):
        pytest.skip("a GPU orders its threads itself")
    batch, results = Batch(stored, 32, masked=True), []
    for order in cupy.emulation.ORDERS:
        monkeypatch.setattr(cupy.emulation, "thread_order", order)
        results.append(batch.run(cupy, compiled, file))
    assert all(np.array_equal(results[0], result) for result in results[1:])


def test_sentence_with_all_keys_masked_is_uniform(cupy, compiled):
    """And not NaN, nor a hair off: its probabilities are all 1 before they are divided."""
    batch = Batch("float16", 16, heads=1, asked=(70,), lengths=(70,))
    batch.keep = np.zeros(70, bool)
    batch.kv[:, 16:] = np.arange(70)[:, None]
    assert (batch.run(cupy, compiled, "attention.cu") == 34.5).all()


def test_large_scores(cupy, compiled):
    """Scores of thousands, whose exp overflows, and which leave one probability that counts."""
    batch = Batch("float16", 16, heads=1)
    batch.q *= 50
    batch.kv[:, :16] *= 50
    assert batch.within_rounding(batch.run(cupy, compiled, "attention.cu"))


@pytest.mark.parametrize("head", [5, 32, 36, 64, 80, 128])
def test_float32(cupy, compiled, head):
    """About as close to float64 as the definitions in float32: measured 0.97 to 1.14 of their error, 1.37 for 5."""
    batch = Batch("float", head, heads=1, asked=SOME, masked=True)
    result, truth = batch.run(cupy, compiled, "attention_float32.cu"), batch.truth()
    error, theirs = np.abs(result - truth), np.abs(batch.truth(np.float32) - truth)
    assert np.sqrt((error**2).mean()) <= 1.4 * np.sqrt((theirs**2).mean())
    assert error.max() <= 1e-5


@pytest.mark.parametrize("stored", ["float", "bfloat16"])
def test_float32_dropout(cupy, compiled, thread_order, stored):
    batch = Batch(stored, 20, masked=True, rate=0.2)
    assert batch.within_rounding(batch.run(cupy, compiled, "attention_float32.cu"))


@pytest.mark.parametrize("head, rate", [(5, 0.0), (32, 0.2), (64, 0.0), (64, 0.2), (80, 0.0)])
def test_backward(cupy, compiled, head, rate):
    """As close to float64 as the definitions in float32: measured 0.64 to 1.03 of their error."""
    batch = Batch("float", head, asked=SOME, masked=True, rate=rate)
    truths, theirs = batch.true_gradients(), batch.true_gradients(np.float32)
    for result, truth, other in zip(batch.backward(cupy, compiled, FLOAT32), truths, theirs, strict=True):
        error, their_error = np.abs(result - truth), np.abs(other - truth)
        print(
            head, rate, np.sqrt((error**2).mean()) / np.sqrt((their_error**2).mean()), error.max() / their_error.max()
        )
        assert np.sqrt((error**2).mean()) <= 1.1 * np.sqrt((their_error**2).mean())
        assert error.max() <= 2e-5


@pytest.mark.parametrize("stored", HALVES)
def test_backward_of_half_types(cupy, compiled, thread_order, stored):
    """Rounded once, in the end."""
    batch = Batch(stored, 32, asked=SOME, masked=True, rate=0.1)
    for result, truth in zip(batch.backward(cupy, compiled, FLOAT32), batch.true_gradients(), strict=True):
        assert (np.abs(result.astype(np.float64) - truth) <= UNIT[stored] * np.abs(truth) + 2e-5).all()


@pytest.mark.parametrize(
    "stored, head, rate",
    [("bfloat16", 16, 0.1), ("float16", 64, 0.0), ("float16", 64, 0.1), ("bfloat16", 64, 0.0), ("float16", 128, 0.1)],
)
def test_backward_on_tensor_cores(cupy, compiled, stored, head, rate):
    """R and dS are rounded, and the results: two roundings are 0.58 of a unit in the mean, measured 0.53 to 0.65."""
    batch = Batch(stored, head, heads=1, asked=SOME, masked=True, rate=rate)
    results = batch.backward(cupy, compiled, "attention_backward.cu")
    for result, truth in zip(results, batch.true_gradients(), strict=True):
        error = np.abs(result.astype(np.float64) - truth) / UNIT[stored]
        assert np.sqrt((error**2).mean()) <= 0.7 * np.sqrt((truth**2).mean())
        assert error.max() <= 1.5 * np.abs(truth).max()
    asking_nothing = slice(*begins(LENGTHS)[SOME.index(0) :][:2])
    assert not results[1][asking_nothing].any()
    assert not results[2][asking_nothing].any()


@pytest.mark.parametrize("file, stored", [(FLOAT32, "float"), ("attention_backward.cu", "bfloat16")])
def test_backward_bits(cupy, compiled, monkeypatch, file, stored):
    """The same however the rows of a tile are shared out, and whatever the order of threads."""
    batch, results = Batch(stored, 16, masked=True, rate=0.1), []
    for parts in (1, 2, 3):
        if hasattr(cupy, "emulation"):
            monkeypatch.setattr(cupy.emulation, "thread_order", cupy.emulation.ORDERS[parts - 1])
        results.append(batch.backward(cupy, compiled, file, parts))
    assert all(np.array_equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("head", range(16, 129, 16))
def test_rows_of_a_matrix_lie_in_different_banks(head):
    """8 rows of 16 bytes, HEAD + 8 numbers of 2 bytes apart, fill the 32 banks of 4 bytes; HEAD apart they do not."""

    def banks(step):
        return {(row * step // 2 + word) % 32 for row in range(8) for word in range(4)}

    assert len(banks(head + 8)) == 32
    assert len(banks(head)) < 32


@pytest.mark.parametrize("head", [5, 16, 36, 64, 80, 128])
def test_rows_of_floats_lie_in_different_banks(head):
    """attention_rows.cuh: 8 consecutive rows, 16 bytes of each; and 4 rows of 8 weights."""
    wide = -(-head // 4) * 4
    step = wide if wide // 4 % 2 else wide + 4
    assert len({(row * step + word) % 32 for row in range(8) for word in range(4)}) == 32
    assert len({(row * (32 + 8) + column) % 32 for row in range(4) for column in range(8)}) == 32

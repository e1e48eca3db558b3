"""The cupy backend as a whole, on a GPU or under the stand-in for one: dtypes, errors, what it says of itself."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, random_tensors
from small_pipelines import small

from nanodistil import (
    DeviceError,
    DistilBertForMaskedLM,
    InputError,
    MissingExtraError,
    RobertaConfig,
    RobertaForMaskedLM,
    backend,
    pipeline,
)
from nanodistil.cli.doctor import gpu as doctor_lines
from nanodistil.kernels.definitions import numpy_ops
from nanodistil.warmup import warm_up_gpu

CONFIG = replace(TINY, dim=64, n_heads=2, hidden_dim=128)  # heads of 32: attention on the tensor cores
IDS = np.random.default_rng(0).integers(0, 50, (3, 20))
MASK = np.arange(20) < np.array([[20], [17], [3]])
UNIT = {"float32": 2**-24, "float16": 2**-11, "bfloat16": 2**-8}  # relative error of rounding once


def model(backend, dtype, config=CONFIG):
    return DistilBertForMaskedLM(config, random_tensors(config, scale=0.1), backend=backend, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_logits_are_off_by_a_few_roundings(cupy, dtype):
    """Measured under the stand-in, in units of rounding once, root mean square: 6.1, 1.3, 1.4."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    tensors = {name: x.astype(np.float64) for name, x in random_tensors(CONFIG, scale=0.1).items()}
    truth = DistilBertForMaskedLM(CONFIG, tensors, backend="numpy", dtype="float64")(IDS, MASK).logits
    logits = model("cupy", dtype)(IDS, MASK).logits
    assert logits.dtype == np.float32 and not logits[~MASK].any()
    error = np.sqrt(((logits - truth)[MASK] ** 2).mean() / (truth[MASK] ** 2).mean())
    assert UNIT[dtype] / 8 < error < 8 * UNIT[dtype]


@pytest.mark.sweep
def test_a_relative_answers_as_the_definitions(cupy):
    """RoBERTa, whose positions begin behind the padding's; from a recording and launch by launch."""
    config = RobertaConfig(
        vocab_size=50, max_position_embeddings=30, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    models = [RobertaForMaskedLM(config, backend=backend, seed=1) for backend in ("numpy", "cupy")]
    ids, mask = np.where(MASK, 3 + IDS % 47, 1), MASK.astype(int)
    for options in ({}, {"output_hidden_states": True}):
        truth, found = (model(ids, mask, **options).logits for model in models)
        np.testing.assert_allclose(found[MASK], truth[MASK], rtol=1e-4, atol=1e-5)
    assert models[1].graphs.recorded


def test_some_positions_only(cupy):
    """The last layer then asks at these rows alone; a row of the look has no rounded copy, and gets one."""
    for dtype in ("float32", "float16"):
        run = model("cupy", dtype)
        whole = run(IDS, MASK).logits
        some = run(IDS, MASK, positions=[(2, 1), (0, 19), (0, 19)]).logits
        np.testing.assert_allclose(some, whole[[2, 0, 0], [1, 19, 19]], rtol=0, atol=40 * UNIT[dtype])


def test_tf32_is_float32_to_all_but_linear_maps(cupy):
    ops = backend.load("cupy", dtype="tf32")
    assert ops.stored == np.float32 and ops.compute == "tf32"
    kept, given = model("cupy", "tf32").tensors(), random_tensors(CONFIG, scale=0.1)
    assert all(np.array_equal(kept[name], given[name]) for name in kept)


def test_a_norm_brings_its_rounded_copy(cupy):
    ops = backend.load("cupy", dtype="float16")
    rng = np.random.default_rng(1)
    x, weight, bias = (ops.send(rng.standard_normal(s).astype(np.float32)) for s in ((5, 24), 24, 24))
    norm = ops.layer_norm(x, weight, bias, 1e-12)
    np.testing.assert_array_equal(norm.rounded.get(), norm.get().astype(np.float16))
    assert ops.operand(norm) is norm.rounded
    assert norm[1:3].rounded is None and (norm + norm).dtype == np.float32


def test_what_a_tap_sees_and_gives(cupy):
    """NumPy's float32 arrays, whatever the dtype; a replacement goes back to the GPU."""
    seen = {}

    def tap(name, value):
        seen[name] = value
        return value

    run = model("cupy", "float16")
    looked = run(IDS, MASK, tap=tap).logits
    np.testing.assert_allclose(looked, run(IDS, MASK).logits, atol=0.02)
    assert {type(v) for v in seen.values()} == {np.ndarray, list}
    assert seen["layer.0.attention.q_lin"].dtype == np.float32
    silenced = run(IDS, MASK, tap=lambda n, v: 0 * v if n == "layer.1.output_layer_norm" else v).logits
    assert np.ptp(silenced[MASK], axis=0).max() == 0


def test_heads_too_large_for_registers(cupy):
    """Attention is then the host's."""
    config = replace(CONFIG, dim=144, n_heads=1, n_layers=1)
    wide, plain = (model(name, "float32", config)(IDS, MASK).logits for name in ("cupy", "numpy"))
    np.testing.assert_allclose(wide, plain, rtol=1e-4, atol=1e-5)


def test_rounded_weights_are_not_given_back(cupy):
    with pytest.raises(InputError, match="rounded to float16"):
        model("cupy", "float16").tensors()


def test_blocks_of_queries(cupy):
    from nanodistil.kernels.gpu.cupy_ops import blocks_of_queries

    asking, starts = np.array([0, 2, 2, 72]), np.array([0, 3, 5, 75])
    tiles, places = blocks_of_queries(asking, starts)
    assert tiles.tolist() == [[2, 64, 5, 70], [66, 6, 5, 70], [0, 2, 0, 3]]
    assert places.tolist() == [[2, 0, 0, 70], [2, 64, 0, 70], [0, 0, 0, 3]]
    assert [t.shape for t in blocks_of_queries(np.zeros(1, np.int64), np.zeros(1, np.int64))] == [(0, 4)] * 2


def test_the_table_is_made_once_a_batch(cupy):
    ops = backend.load("cupy")
    starts = np.array([0, 3, 5])
    assert ops.table(starts, starts) is ops.table(starts, starts)
    assert ops.table(starts, starts.copy()) is not ops.table(starts, starts)


def test_activations_nobody_has_written_for_a_gpu(cupy):
    ops = backend.load("cupy")
    x = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    for name in ("quick_gelu", "silu", "mish"):
        np.testing.assert_array_equal(ops.fetch(ops.activation(ops.send(x), name)), numpy_ops.activation(x, name))


# ------------------------------------------------------------------------------------------- errors, and what is said


def test_without_cupy(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"nanodistil\[cuda13\]"):
        backend.gpu_module("device")


def test_without_a_gpu(cupy, monkeypatch):
    def none():
        raise cupy.cuda.runtime.CUDARuntimeError(35)

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", none)
    with pytest.raises(DeviceError, match="no NVIDIA GPU answers"):
        backend.gpu_module("device")


def test_a_gpu_that_is_not_there(cupy):
    with pytest.raises(DeviceError, match="there is no GPU 99"):
        backend.load("cupy:99")


def test_a_gpu_that_is_too_old(cupy, monkeypatch):
    found = {**cupy.cuda.runtime.getDeviceProperties(0), "name": b"Tesla T4", "major": 7, "minor": 5}
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceProperties", lambda number: found)
    with pytest.raises(DeviceError, match=r"Tesla T4 has compute capability 7\.5"):
        backend.gpu_module("device")


def test_threads_are_not_for_a_gpu():
    with pytest.raises(InputError, match="a GPU decides"):
        backend.load("cupy", threads=2)


@pytest.mark.parametrize("name", ["cupy:", "cupy:x", "cupy:-1", "numba:1", "gpu"])
def test_names_that_are_none(name):
    with pytest.raises(InputError, match="unknown backend"):
        backend.choose(name, None)


def test_what_the_gpu_says_of_itself(cupy):
    gpu = backend.gpu_module("device")
    limits = gpu.limits("float16", side=64, copied=1 << 16)
    assert limits.flops > 0 and limits.bandwidth > 0
    found = {"devices": gpu.devices(), "versions": gpu.versions(), "limits": limits._asdict()}
    lines = [text for _, text in doctor_lines(found)]
    assert "multiprocessors, sm" in lines[0] and cupy.__version__ in lines[-2] and "TFLOP/s" in lines[-1]
    assert doctor_lines({"why_not": "no reason"}) == [("gpu", "none: no reason")]


def test_memory_is_given_back(cupy):
    from nanodistil.kernels.gpu.cupy_ops import free_memory

    free_memory()
    assert cupy.get_default_memory_pool().total_bytes() == cupy.get_default_memory_pool().used_bytes()


def test_batches_that_overlap(cupy, monkeypatch):
    """Eight batches by two threads, each on a stream of its own: what one batch at a time gives."""
    from nanodistil.pipelines import batching

    model, tokenizer = small("DistilBertForSequenceClassification", "cupy")
    run = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
    texts = [" ".join(["a", "b", "c"] * n) for n in (1, 3, 2, 6, 5, 4, 1, 2)]
    expected = [run(text) for text in texts]
    monkeypatch.setattr(batching, "ON_GPU", batching.Pace(8, 64))
    assert run(texts) == expected
    assert len(model.ops.streams) == 2 and cupy.cuda.get_current_stream() == cupy.cuda.Stream.null


def test_large_arrays_travel_by_pinned_memory(cupy, monkeypatch):
    from nanodistil.kernels.gpu import cupy_ops

    asked, pinned = [], cupy.cuda.alloc_pinned_memory
    monkeypatch.setattr(cupy.cuda, "alloc_pinned_memory", lambda size: asked.append(size) or pinned(size))
    for dtype in ("float32", "float16"):
        ops = backend.load("cupy", dtype=dtype)
        for shape in ((1, 7), (600, 500), (500, 600)):
            x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
            fetched = ops.fetch(ops.send(x))
            np.testing.assert_array_equal(fetched, x.astype(np.float32))
            fetched += 1  # it is the caller's
        assert ops.fetch(ops.send(x)[:, 3:90]).shape == (500, 87)
    assert asked == [1 << 21] * 2  # 1.2 MB twice; half of that, and columns, go by themselves
    monkeypatch.setattr(cupy_ops, "STAGED", (0, 1 << 10))
    columns = ops.send(np.arange(12, dtype=np.float32).reshape(3, 4))[:, 1:3]
    np.testing.assert_array_equal(ops.fetch(columns), [[1, 2], [5, 6], [9, 10]])


@pytest.mark.sweep
def test_a_warmup_runs_both_sizes(cupy, caplog):
    caplog.set_level("INFO", "nanodistil.kernels")
    warmth = warm_up_gpu(["float16"])
    assert warmth.modules > 5 and warmth.seconds > 0 and warmth.folder
    assert [m for m in caplog.messages if m.startswith("compiling those of width")] == [
        f"compiling those of width {width} for float16 on a GPU" for width in (384, 768)
    ]


def test_a_warmup_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    assert warm_up_gpu() is None

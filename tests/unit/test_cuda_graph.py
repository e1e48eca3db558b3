"""Small batches from a recording of launches: on a GPU, or on the stand-in, which keeps no array alive for one."""

import contextlib
import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, random_tensors

from nanodistil import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertForTokenClassification
from nanodistil.training.trainee import Trainee

CONFIG = replace(
    TINY, dim=64, n_heads=2, hidden_dim=128, max_position_embeddings=128
)  # heads of 32: attention on the tensor cores
HEADS = [
    (DistilBertForTokenClassification, "token_classification"),
    (DistilBertForSequenceClassification, "sequence_classification"),
]
RNG = np.random.default_rng(0)


def batch(*lengths):
    """Random ids and mask (B, T) of sentences of these lengths, without [PAD] among the real tokens."""
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return np.where(mask, RNG.integers(1, 50, mask.shape), 0), mask


def model(dtype="float16", config=CONFIG, seed=0, cls=DistilBertForMaskedLM, head="masked_lm"):
    return cls(config, random_tensors(config, head, seed, scale=0.1), backend="cupy", dtype=dtype)


def recordings(model):
    return set(model.graphs.recorded)


@contextlib.contextmanager
def launch_by_launch(model):
    graphs, model.graphs = model.graphs, None
    try:
        yield
    finally:
        model.graphs = graphs


def unrecorded(model, *args, **options):
    """What the model answers launch by launch."""
    with launch_by_launch(model):
        return model(*args, **options).logits


def same(cupy, x, y):
    """Bitwise under the stand-in; cuBLAS may add in another order where there are other rows."""
    if hasattr(cupy, "emulation"):
        np.testing.assert_array_equal(x, y)
    else:
        np.testing.assert_allclose(x, y, rtol=0, atol=0.01)


def test_room(cupy):
    from nanodistil.kernels.gpu.cuda_graph import MOST_ROWS, room

    sizes = {(1, 1): (16, 1), (17, 3): (32, 4), (128, 8): (128, 8), (129, 9): (192, 16), (512, 130): (512, 256)}
    assert {size: room(*size) for size in sizes} == sizes
    assert len({room(n, 1) for n in range(1, MOST_ROWS + 1)}) == 14


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_recording_answers_other_batches_of_its_size(cupy, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    run = model(dtype)
    for lengths in [(7,), (16,), (1,), (9,), (16,)]:
        ids, mask = batch(*lengths)
        same(cupy, run(ids, mask).logits, unrecorded(run, ids, mask))
        assert recordings(run) == {(16, 1)}


def test_sentences_of_any_lengths(cupy):
    """Rows and entries of one recording are the next batch's other sentences, or nobody's."""
    run = model()
    for lengths in [(20, 3, 1), (30, 1, 1), (8, 8, 8, 8), (30, 1, 1), (30, 2), (1, 2, 20), (70, 5, 5), (66, 9)]:
        ids, mask = batch(*lengths)
        same(cupy, run(ids, mask).logits, unrecorded(run, ids, mask))
    assert recordings(run) == {(32, 4), (32, 2), (80, 4)}


def test_sizes_take_turns(cupy):
    """They lie over each other in memory; what was answered stays."""
    run, cases = model(), [batch(5), batch(40), batch(9, 9)]
    expected = [unrecorded(run, *case) for case in cases]
    states = [run._encode(ids, mask, None, None, None).x for ids, mask in cases]
    heads = [run(*case).logits for case in cases]
    assert recordings(run) == {(16, 1), (48, 1), (32, 2)}
    for state, (ids, mask), logits, truth in zip(states, cases, heads, expected, strict=True):
        same(cupy, logits, truth)
        with launch_by_launch(run):
            plain = run._encode(ids, mask, None, None, None).x
        same(cupy, state.get(), plain.get())
        same(cupy, state.rounded.get(), plain.rounded.get())


def test_positions_asked_for(cupy):
    run, (ids, mask) = model(), batch(11, 4)
    places = [(1, 2), (0, 10), (0, 10)]
    expected = unrecorded(run, ids, mask, positions=places)
    for _ in range(2):
        np.testing.assert_allclose(run(ids, mask, positions=places).logits, expected, rtol=0, atol=0.02)
    assert recordings(run) == {(16, 2)}
    probs, words = run.most_probable(ids, mask, places, 3)
    assert words.shape == (3, 3) and (probs[:, 0] >= probs[:, 1]).all()


@pytest.mark.parametrize("cls, head", HEADS)
def test_other_heads(cupy, cls, head):
    """Also where the first token is looked at though the mask hides it."""
    run = model(cls=cls, head=head)
    ids, mask = batch(6, 2)
    same(cupy, run(ids, mask).logits, unrecorded(run, ids, mask))
    assert recordings(run)
    mask[1, 0] = False
    same(cupy, run(ids, mask).logits, unrecorded(run, ids, mask))


def test_what_is_never_recorded(cupy):
    run = model()
    ids, mask = batch(6, 3)
    mask[1, 1] = False
    embeds = RNG.standard_normal((1, 4, 64)).astype(np.float32)
    run(ids, mask, keep_masked=True)
    run(ids, mask, output_hidden_states=True)
    run(ids, mask, output_attentions=True)
    run(ids, mask, tap=lambda name, value: value)
    run(ids, mask, head_mask=np.ones(CONFIG.n_heads))
    run(inputs_embeds=embeds)
    run(np.zeros((0, 4), int))
    run(np.ones((9, 60), int))
    assert not recordings(run)


def test_a_pass_that_wants_the_host(cupy):
    """An activation without a kernel, and heads too large for one."""
    for config in (replace(CONFIG, activation="silu"), replace(TINY, dim=288, n_heads=2)):
        run = model(config=config)
        case = batch(5)
        for _ in range(2):
            same(cupy, run(*case).logits, unrecorded(run, *case))
        assert not run.graphs.possible and not recordings(run)


def test_new_weights_are_recorded_anew(cupy):
    run, case = model("float32"), batch(12)
    run(*case)
    run.prune_heads({0: [1]})
    for _ in range(2):
        same(cupy, run(*case).logits, unrecorded(run, *case))
    run._set(CONFIG, random_tensors(CONFIG, seed=5, scale=0.1))
    for _ in range(2):
        same(cupy, run(*case).logits, unrecorded(run, *case))
    assert recordings(run) == {(16, 1)}


def test_a_model_in_training_is_not_recorded(cupy):
    """Nor are the weights it had kept for nothing."""
    run, case = model("float32"), batch(12)
    run(*case)
    before = weakref.ref(run.weights.word_embeddings)
    trainee = Trainee(run)
    gc.collect()
    assert before() is None
    trainee.flat += 0.01
    trainee.refresh()
    run(*case)
    assert run.graphs is None


def test_two_models_and_threads(cupy):
    """Recordings of all models share memory and a stream, so one waits for another."""
    runs, cases = [model(seed=seed) for seed in range(2)], [batch(7), batch(14)]
    expected = [[unrecorded(run, *case) for case in cases] for run in runs]
    wrong = []

    def ask(run, truths):
        for _ in range(4):
            for case, truth in zip(cases, truths, strict=True):
                if not np.allclose(run(*case).logits, truth, rtol=0, atol=0.01):
                    wrong.append(run)

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(runs, expected, strict=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and recordings(runs[0]) == recordings(runs[1]) == {(16, 1)}


@pytest.mark.parametrize("when", ["before", "while capturing"])
def test_a_full_gpu(cupy, monkeypatch, when):
    """Nothing stays half recorded: this batch is answered without, the next one makes the recording."""
    run, case = model(), batch(3)
    expected = unrecorded(run, *case)
    left, norm = [3 if when == "before" else 2 * CONFIG.n_layers + 1], type(run.ops).add_layer_norm

    def failing(ops, *args):
        left[0] -= 1
        if not left[0]:
            raise MemoryError("full")
        return norm(ops, *args)

    monkeypatch.setattr(type(run.ops), "add_layer_norm", failing)
    stream = cupy.cuda.Stream(non_blocking=True).use()
    try:
        same(cupy, run(*case).logits, expected)
        assert cupy.cuda.get_current_stream() == stream
    finally:
        cupy.cuda.Stream.null.use()
    assert not recordings(run) and left[0] < 0
    same(cupy, run(*case).logits, expected)
    assert recordings(run) == {(16, 1)}


def test_recordings_keep_their_memory(cupy):
    """Also when a pool is short and gives up what lies idle."""
    from nanodistil.kernels.gpu.lane import lane_of

    run, case = model(), batch(3)
    expected = run(*case).logits
    cupy.get_default_memory_pool().free_all_blocks()
    lane_of(0).pool.free_all_blocks()
    same(cupy, run(*case).logits, expected)


def test_whoever_waits_for_the_device_disturbs(cupy, monkeypatch):
    run, case = model(), batch(3)
    expected, norm, first = unrecorded(run, *case), type(run.ops).add_layer_norm, []

    def disturbed(ops, *args):
        if not first:
            first.append(True)
            raise cupy.cuda.runtime.CUDARuntimeError(900)
        return norm(ops, *args)

    monkeypatch.setattr(type(run.ops), "add_layer_norm", disturbed)
    same(cupy, run(*case).logits, expected)
    assert first and not recordings(run)
    same(cupy, run(*case).logits, expected)
    assert recordings(run) == {(16, 1)}


@pytest.mark.parametrize("chosen", ["with", "use"])
def test_the_callers_own_stream(cupy, chosen):
    """It is still the current one afterwards, its work comes first, and others' replays do not overtake its own."""
    run, case, other = model(), batch(6), batch(9)
    expected, expected_other = unrecorded(run, *case), unrecorded(run, *other)
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()
    if chosen == "use":
        stream.use()
    try:
        with contextlib.nullcontext() if chosen == "use" else stream:
            later = run._encode(*case, None, None, None).x  # on the stand-in nothing of it is done yet
            assert cupy.cuda.get_current_stream() == stream
            with cupy.cuda.Stream.null:
                same(cupy, run(*other).logits, expected_other)
            stream.use()
            same(cupy, run.ops.fetch(run_head(run, later)), expected[case[1]])
    finally:
        cupy.cuda.Stream.null.use()


def run_head(run, x):
    from nanodistil.taps import NoTap

    return run.head.forward(x, run.weights, run.ops, NoTap())


def test_the_stand_in_finds_what_a_gpu_would_not_say(cupy):
    """A recording whose arrays were given back, and a copy to the host in the middle of one."""
    if not hasattr(cupy, "emulation"):
        pytest.skip("on a GPU the result would be wrong, now and then")
    ops, stream = model().ops, cupy.cuda.Stream(non_blocking=True)
    x, weight = (ops.send(np.ones(shape, np.float32)) for shape in ((4, 64), 64))
    with stream:
        stream.begin_capture()
        ops.layer_norm(ops.layer_norm(x, weight, weight, 1e-12), weight, weight, 1e-12)
        with pytest.raises(cupy.emulation.EmulationError, match="a copy to the host while the stream captures"):
            ops.fetch(x)
        graph = stream.end_capture()
    with pytest.raises(cupy.emulation.EmulationError, match=r"layer_norm is launched by a graph, and .* was freed"):
        graph.launch()

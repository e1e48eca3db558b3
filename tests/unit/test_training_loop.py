"""The loop, its schedule and optimiser, on a trainee that can be followed by hand."""

import json
import os
import signal
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from small_trainee import Line, points

from nanodistil import backend as backends
from nanodistil.training import loss_scale
from nanodistil.training.checkpoint import read
from nanodistil.training.finetune import Options, make_plan
from nanodistil.training.loop import Epochs, Plan, Stopped, Worked, key_of, train
from nanodistil.training.optimizer import AdamW, clipping
from nanodistil.training.run import Run, made_with
from nanodistil.training.schedule import linear, planned_steps, warmup_steps
from nanodistil.weights.errors import CheckpointError, InputError

OPS = backends.load_backward("numpy", "float64")
SETTINGS = {"learning_rate": 0.05, "seed": 3}


def go(folder, *, plan=None, trainee=None, step=None, settings=SETTINGS, resume=False, force=False, **hooks):
    """A run in `folder`; its trainee."""
    trainee = trainee or Line()
    plan = plan or Plan(12, lambda s: 0.05, 2, 1.0, 3, log_interval=2, checkpoint_interval=2)
    run = Run(folder, settings, resume=resume, force=force, free=("log_interval",))
    train(trainee, AdamW(trainee, OPS, weight_decay=0.1), step or trainee.step, points, plan, run, **hooks)
    return trainee


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def untimed(lines):
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def checkpoints(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


class Killed(Exception):
    """Stands for a kill: nothing is saved on its way."""


def dying(trainee, after):
    """A step that fails at its after-th call."""
    calls = 0

    def step(batch, key, scale):
        nonlocal calls
        calls += 1
        if calls > after:
            raise Killed
        return trainee.step(batch, key, scale)

    return step


# ------------------------------------------------------------------------------------------------ schedule, optimiser


def test_the_schedule_rises_and_falls_as_upstream():
    total = planned_steps(101, 4, 3)
    assert (total, warmup_steps(total, 0.05), warmup_steps(total, 0.0)) == (76, 4, 0)
    assert [linear(s, 0, 4) for s in range(5)] == [1, 0.75, 0.5, 0.25, 0]
    assert linear(3, 4, total) == 0.75 and linear(4, 4, total) == 1 and linear(75, 4, total) == pytest.approx(1 / 72)


def test_clipping_is_torchs():
    assert clipping(2.0, 1.0) == 1 / (2 + 1e-6)
    assert clipping(1.0 - 1e-6, 1.0) == pytest.approx(1.0) and clipping(0.0, 1.0) == 1.0


def test_weights_decay_and_biases_do_not():
    line = Line()
    before = line.flat.copy()
    AdamW(line, OPS, weight_decay=0.5).step(1, 0.1, 1.0)  # with gradients of 0 only the decay moves anything
    np.testing.assert_allclose(line.flat[:6], before[:6] * 0.95)
    np.testing.assert_array_equal(line.flat[6:], before[6:])


def test_accumulated_batches_are_one_large_one(tmp_path):
    """Two micro-batches a step are the mean of two losses; without dropout the order does not matter either."""
    line, whole = Line(), Line()
    (x1, y1), (x2, y2) = points(0)[:2]

    def plain(batch, key, scale):
        return line.step(batch, 5, scale)

    plan = Plan(2, lambda s: 0.05, 2)
    train(line, AdamW(line, OPS), plain, lambda e: [(x1, y1), (x2, y2)], plan, Run(tmp_path / "a", {}))
    for batch in ((x1, y1), (x2, y2)):
        whole.step(batch, 5, 0.5)
    AdamW(whole, OPS).step(1, 0.05, 1.0)
    np.testing.assert_allclose(line.flat, whole.flat, rtol=1e-13)


# ----------------------------------------------------------------------------------------------------------- the loop


def test_every_micro_batch_is_used_once_and_the_last_step_divides_by_what_is_left(tmp_path):
    seen, line = [], Line()

    def step(batch, key, scale):
        seen.append((batch, key, scale))
        return Worked((1.0,), 10)

    plan = Plan(batches=10, rate=lambda s: 0.1, accumulation=4, seed=9, log_interval=1)
    ended = []
    run = Run(tmp_path / "r", {})
    train(line, AdamW(line, OPS), step, lambda e: list("abcde"), plan, run, on_epoch=lambda e: ended.append(e))
    assert "".join(batch for batch, _, _ in seen) == "abcdeabcde"
    assert [scale for _, _, scale in seen] == [0.25] * 8 + [0.5] * 2
    assert len({key for _, key, _ in seen}) == 10 and seen[4][1] == key_of(9, 1, 0)
    assert ended == [0, 1]
    lines = [(line["step"], line["epoch"], line["loss"]) for line in log(tmp_path / "r")]
    assert lines == [(1, 0.8, 1), (2, 1.6, 1), (3, 2, 1)]


@pytest.mark.parametrize("each", [None, 1, 2, 3, 5, 7, 12])
@pytest.mark.parametrize("accumulation", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("batches", [1, 6, 7, 24, 25])
def test_steps_share_out_the_micro_batches(each, accumulation, batches):
    plan = Plan(batches, lambda s: 0.1, accumulation, each=each)
    steps = [plan.micro(step) for step in range(plan.steps)]
    assert [number for micro in steps for number in micro] == list(range(batches))
    for micro in steps:
        assert 1 <= len(micro) <= accumulation
        if each:
            assert micro[0] // each == micro[-1] // each  # an epoch's alone
            assert len(micro) == accumulation or (micro.stop % each == 0 or micro.stop == batches)
        else:
            assert len(micro) == accumulation or micro.stop == batches


def test_fine_tuning_ends_an_epoch_with_a_step_or_reaches_over():
    def plan(**more):
        options = Options(model="m", train="t", out="o", gradient_accumulation_steps=3, **more)
        made = make_plan(options, 4)
        return [list(made.micro(step)) for step in range(made.steps)], made.rate(made.steps) == 0.0

    assert plan(num_train_epochs=2) == ([[0, 1, 2], [3], [4, 5, 6], [7]], True)
    assert plan(num_train_epochs=2, accumulate_across_epochs=True) == ([[0, 1, 2], [3, 4, 5], [6, 7]], True)
    assert plan(num_train_epochs=1.5) == ([[0, 1, 2], [3], [4, 5, 6]], True)
    assert plan(max_steps=3) == ([[0, 1, 2], [3], [4, 5, 6]], True)
    assert plan(max_steps=2, accumulate_across_epochs=True) == ([[0, 1, 2], [3, 4, 5]], True)


def test_the_log_says_what_happened(tmp_path):
    steps, lines = [], []
    go(tmp_path / "r", on_step=steps.append, on_log=lines.append, on_epoch=lambda e: {"accuracy": e})
    written = log(tmp_path / "r")
    assert [line for line in written if "loss" in line] == lines
    losses = [s.loss["loss"] for s in steps]
    assert [s.done for s in steps] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines] == [2, 3, 4, 5, 6]  # every second, and 3 and 5 end an epoch
    assert lines[0]["loss"] == pytest.approx((losses[0] + losses[1]) / 2) and lines[1]["loss"] == losses[2]
    assert lines[1]["epoch_loss"] == pytest.approx(sum(losses[:3]) / 3) and lines[2]["epoch_loss"] == losses[3]
    names = ["step", "epoch", "lr", "loss", "grad_norm", "epoch_loss", "tokens_per_second", "seconds"]
    assert list(lines[0]) == names
    assert [(line["step"], line["accuracy"]) for line in written if "accuracy" in line] == [(3, 0), (5, 1)]
    assert json.loads((tmp_path / "r" / "settings.json").read_text()) == SETTINGS


def test_epochs_must_be_alike():
    with pytest.raises(InputError, match="no data"):
        Epochs(lambda e: [])
    with pytest.raises(InputError, match="epoch 1 has 3 batches, epoch 0 had 2"):
        Epochs(lambda e: [0] * (2 + e))[2]


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_loss_that_is_no_number_ends_the_run_and_is_not_kept(tmp_path, poison):
    line, calls = Line(), []

    def step(batch, key, scale):
        calls.append(key)
        worked = line.step(batch, key, scale)
        if len(calls) > 7:
            line.flat_gradients[0] = poison
        return worked

    with pytest.raises(InputError, match=r"step 4: .* the last checkpoint is of step 2; try a lower learning rate"):
        go(tmp_path / "r", trainee=line, step=step)
    assert checkpoints(tmp_path / "r") == ["00000002.safetensors"] and np.isfinite(line.flat).all()


def test_too_little_memory_says_what_needs_less(tmp_path):
    def step(batch, key, scale):
        raise MemoryError("no room for 5 bytes")

    with pytest.raises(InputError, match=r"step 1: out of memory \(no room for 5 bytes\); .* --batch-size"):
        go(tmp_path / "r", step=step)


def overflowing(line, seen, limit=5000.0):
    """A step whose gradients are beyond float16 where the loss is scaled too much; `seen` gets the scales."""

    def step(batch, key, scale):
        seen.append(scale)
        worked = line.step(batch, key, scale)
        if scale > limit:
            line.flat_gradients[3] = np.inf
        return worked

    return step


def test_a_step_that_overflows_is_done_again_with_half_the_scale(tmp_path, monkeypatch):
    """Powers of two change no bit in float64: the run ends where it would have without."""
    monkeypatch.setattr(loss_scale, "GROWTH", 2)
    plain, line, seen = go(tmp_path / "plain"), Line(), []
    go(tmp_path / "scaled", trainee=line, step=overflowing(line, seen), dtype="float16")
    np.testing.assert_array_equal(line.flat, plain.flat)
    assert untimed(log(tmp_path / "scaled")) == untimed(log(tmp_path / "plain"))
    twice = [13, 12, 12]  # one try too many, and two steps that go well
    assert seen[::2] == [2.0**n for n in (15, 14, *twice, *twice, *twice)]  # of a micro-batch, two a step


def test_the_scale_is_part_of_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH", 3)
    straight, line, seen, rest = Line(), Line(), [], []
    go(tmp_path / "straight", trainee=straight, step=overflowing(straight, seen), dtype="float16")
    with pytest.raises(Killed):
        step = dying(SimpleNamespace(step=overflowing(line, [])), 15)
        go(tmp_path / "killed", trainee=line, step=step, dtype="float16")
    again = Line()
    go(tmp_path / "killed", trainee=again, step=overflowing(again, rest), dtype="float16", resume=True)
    assert rest == seen[-len(rest) :] and len(rest) < len(seen)
    np.testing.assert_array_equal(again.flat, straight.flat)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    whole = go(tmp_path / "whole")
    line, calls = Line(), []

    def step(batch, key, scale):
        calls.append(key)
        if len(calls) == 8:  # in the middle of step 4
            os.kill(os.getpid(), number)
        return line.step(batch, key, scale)

    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="stopped after 3 of 6 steps; the same command with --resume goes on"):
        go(tmp_path / "r", trainee=line, step=step)
    assert signal.getsignal(number) is before
    resumed = go(tmp_path / "r", resume=True)
    np.testing.assert_array_equal(resumed.flat, whole.flat)
    assert untimed(log(tmp_path / "r")) == untimed(log(tmp_path / "whole"))


# --------------------------------------------------------------------------------------------------------- the folder


@pytest.mark.parametrize("after", range(13))
def test_a_run_goes_on_to_the_same_bits(tmp_path, after):
    whole = go(tmp_path / "whole")
    try:
        line = Line()
        go(tmp_path / "r", trainee=line, step=dying(line, after))
    except Killed:
        pass
    resumed = go(tmp_path / "r", resume=True)
    np.testing.assert_array_equal(resumed.flat, whole.flat)
    assert untimed(log(tmp_path / "r")) == untimed(log(tmp_path / "whole"))
    assert checkpoints(tmp_path / "r") == ["00000004.safetensors", "00000006.safetensors"]


def test_the_log_goes_on_within_an_interval(tmp_path):
    """Checkpoints and lines of the log need not fall together: the sums are kept."""
    plan = Plan(12, lambda s: 0.05, 1, seed=3, log_interval=5, checkpoint_interval=3)
    go(tmp_path / "whole", plan=plan)
    line = Line()
    with pytest.raises(Killed):
        go(tmp_path / "r", plan=plan, trainee=line, step=dying(line, 8))
    go(tmp_path / "r", plan=plan, resume=True)
    assert untimed(log(tmp_path / "r")) == untimed(log(tmp_path / "whole"))


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def damage_bit(path):
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


def damage_step(path):
    path.write_bytes(path.read_bytes().replace(b'"step": "6"', b'"step": "5"'))


def damage_empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_cut, damage_bit, damage_step, damage_empty])
def test_a_damaged_checkpoint_is_passed_over_with_a_note(tmp_path, damage):
    whole = go(tmp_path / "r")
    damage(tmp_path / "r" / "checkpoints" / "00000006.safetensors")
    with pytest.warns(UserWarning, match=r"note: .*00000006.*; going on from step 4"):
        resumed = go(tmp_path / "r", resume=True)
    np.testing.assert_array_equal(resumed.flat, whole.flat)
    assert read(tmp_path / "r" / "checkpoints" / "00000006.safetensors").step == 6


def test_two_damaged_checkpoints_are_an_error_and_not_a_new_start(tmp_path):
    go(tmp_path / "r")
    for path in (tmp_path / "r" / "checkpoints").iterdir():
        damage_cut(path)
    with pytest.raises(CheckpointError, match="no checkpoint is left to go on from: --force"):
        go(tmp_path / "r", resume=True)


def test_settings_that_differ_are_refused_by_name(tmp_path):
    go(tmp_path / "r", settings={**SETTINGS, "log_interval": 2})
    with pytest.raises(InputError, match=r"began with learning_rate = 0.05, not 0.1; resume it with"):
        go(tmp_path / "r", settings={**SETTINGS, "learning_rate": 0.1, "log_interval": 2}, resume=True)
    with pytest.raises(InputError, match="began with seed = 3, not null"):
        go(tmp_path / "r", settings={"learning_rate": 0.05, "log_interval": 2}, resume=True)
    go(tmp_path / "r", settings={**SETTINGS, "log_interval": 3}, resume=True)  # which changes no weight


def test_what_changes_the_last_bits_is_told_and_not_refused(tmp_path):
    made = {"numpy": "2.0", "tile": [6, 4, 16]}
    go(tmp_path / "r", settings={**SETTINGS, "made_with": made})
    other = {**SETTINGS, "made_with": {**made, "tile": [6, 2, 8]}}
    with pytest.warns(UserWarning) as caught:
        go(tmp_path / "r", settings=other, resume=True)
    assert [str(one.message) for one in caught] == [
        "note: the result may differ in its last bits from what it would have been "
        "(tile [6, 4, 16] before, [6, 2, 8] now)"
    ]
    go(tmp_path / "earlier")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go(tmp_path / "r", settings=other, resume=True)  # as it was the last time
        go(tmp_path / "earlier", settings=other, resume=True)  # a run of an earlier version


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_the_last_bits_depend_on(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    names = {"numpy": {"nanodistil", "numpy"}, "numba": {"nanodistil", "numpy", "numba", "tile", "features"}}
    found = made_with(backend)
    assert found.keys() == names[backend] and json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("damaged", [b"", b'{"seed": 3, "learn', b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_damaged_settings_are_named_and_what_to_do(tmp_path, damaged):
    go(tmp_path / "r")
    (tmp_path / "r" / "settings.json").write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"settings\.json: .*.* nobody knows .* with --force") as caught:
        go(tmp_path / "r", resume=True)
    assert "\n" not in str(caught.value) and "get the file" not in str(caught.value)
    go(tmp_path / "r", force=True)


def test_a_run_is_not_written_over_silently(tmp_path):
    go(tmp_path / "r")
    with pytest.raises(InputError, match="--resume goes on with it, --force starts it again"):
        go(tmp_path / "r")
    with pytest.raises(InputError, match="one of them"):
        go(tmp_path / "r", resume=True, force=True)
    (tmp_path / "r" / "mine.txt").write_text("kept")
    (tmp_path / "r" / "checkpoints" / ".00000007.safetensors.abcd1234").write_text("a kill left this")
    go(tmp_path / "r", resume=True)
    assert checkpoints(tmp_path / "r") == ["00000004.safetensors", "00000006.safetensors"]
    (tmp_path / "r" / "model_epoch_0").mkdir()
    go(tmp_path / "r", settings={"seed": 4}, force=True)
    assert (tmp_path / "r" / "mine.txt").exists() and not (tmp_path / "r" / "model_epoch_0").exists()
    assert [line["step"] for line in log(tmp_path / "r")] == [2, 3, 4, 5, 6]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    for force in (False, True):
        with pytest.raises(InputError, match="not the folder of a run"):
            go(tmp_path / "other", force=force)


def test_resuming_what_never_began_begins_with_a_note(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / ".settings.json.abcd1234").write_text("{")  # killed while it wrote its first file
    with pytest.warns(UserWarning, match="note: .* holds no run to go on with: starting it"):
        go(tmp_path / "r", resume=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go(tmp_path / "r", resume=True)
    assert not (tmp_path / "r" / ".settings.json.abcd1234").exists()


def test_another_models_checkpoint_is_refused(tmp_path):
    go(tmp_path / "r")
    with pytest.raises(InputError, match="the checkpoint holds 8 weights, the model 10"):
        go(tmp_path / "r", trainee=Line(inputs=4), resume=True)


def test_checkpoints_also_come_by_the_clock(tmp_path):
    plan = Plan(6, lambda s: 0.05, 1, checkpoint_interval=100, checkpoint_minutes=0.0)
    line = Line()
    with pytest.raises(Killed):
        go(tmp_path / "r", plan=plan, trainee=line, step=dying(line, 3))
    assert checkpoints(tmp_path / "r") == ["00000002.safetensors", "00000003.safetensors"]


def test_a_checkpoint_of_another_run_is_not_taken(tmp_path):
    go(tmp_path / "other", settings={"seed": 4})
    go(tmp_path / "r")
    for path in (tmp_path / "r" / "checkpoints").iterdir():
        path.write_bytes((tmp_path / "other" / "checkpoints" / path.name).read_bytes())
    with pytest.raises(CheckpointError, match=r"comes from a run with other settings; no checkpoint is left"):
        go(tmp_path / "r", resume=True)

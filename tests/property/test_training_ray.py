"""Workers of Ray Train make the gradients of one process; without Ray only what they do when they meet is tested."""

import asyncio
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from small_distillation import small_distillation

from nanodistil import InputError
from nanodistil.training.distill import Options, distill
from nanodistil.training.on_ray import Meeting, Workers, run


def together(size, work):
    """work(workers) on a thread for each of `size` workers who meet in this process; what each gave."""
    meeting, loop, found = Meeting(size), asyncio.new_event_loop(), {}
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def meet(*brought):
        return asyncio.run_coroutine_threadsafe(meeting.sum(*brought), loop).result(60)

    def one(rank):
        found[rank] = work(Workers(rank, size, meet))

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop.call_soon_threadsafe(loop.stop)
    assert not meeting.brought and not meeting.sums
    return [found[rank] for rank in range(size)]


def test_sums_and_broadcasts():
    def work(everyone):
        array = np.array([0.1, -0.0, 1.0], np.float32) * (everyone.rank + 1)
        own = array.copy()
        everyone.all_reduce_sum(array)
        everyone.barrier()
        everyone.broadcast(own)
        return array, own

    for array, own in together(3, work):
        wanted = np.float32([0.1, -0.0, 1.0])
        np.testing.assert_array_equal(array, wanted + wanted * np.float32(2) + wanted * np.float32(3))
        assert own.tobytes() == wanted.tobytes()


def test_two_workers_make_the_gradients_of_one(tmp_path):
    """Three micro-batches a step: the shares are unequal."""
    flags = small_distillation(tmp_path) | {"dtype": "float64", "gradient_accumulation_steps": 3, "max_steps": 3}
    for name, size in (("alone", 1), ("both", 2)):
        options = Options(**flags | {"dump_path": str(tmp_path / name)})
        together(size, lambda everyone, options=options: distill(options, communicator=everyone))
    logs = [[json.loads(line) for line in (tmp_path / n / "log.jsonl").open()] for n in ("alone", "both")]
    assert len(logs[0]) == len(logs[1]) > 0
    for mine, theirs in zip(*logs, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-12)


def dying(options, once, **course):
    """A distillation in whose middle somebody ends rank 0, once."""

    def on_step(step):
        if step.done == 2:
            try:
                os.close(os.open(once, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    return distill(options, on_step=on_step, **course)


@pytest.mark.sweep
def test_ray_train(tmp_path, monkeypatch):
    """The same in Ray's processes, one of them killed, to the bits of workers that meet in one; errors reach us."""
    ray = pytest.importorskip("ray", reason="needs the extra [ray]")
    pytest.importorskip("ray.train", reason="needs the extra [ray]")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")  # on a busy machine
    flags = small_distillation(tmp_path) | {"gradient_accumulation_steps": 2, "max_steps": 3, "checkpoint_interval": 1}
    here = Options(**flags | {"dump_path": str(tmp_path / "here")})
    together(2, lambda everyone: distill(here, communicator=everyone))
    paths = [str(path) for path in (Path(__file__).parent, Path(__file__).parents[1])]
    env = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=env)
    try:
        run(dying, Options(**flags), str(tmp_path / "once"), workers=2, restarts=1)
        assert (tmp_path / "once").exists()
        models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("here", "run")]
        assert models[0] == models[1]
        with pytest.raises(InputError, match="the run began with max_steps = 3, not 4"):
            run(distill, Options(**flags | {"max_steps": 4}), workers=2)
    finally:
        ray.shutdown()

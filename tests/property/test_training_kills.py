"""A distillation that is killed with kill -9 at random moments, and resumed, ends with the bits of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from small_distillation import command, small_distillation

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(os.name == "nt", reason="signals of POSIX"),
]
KILLS = 30


def start(flags, *more):
    words = [sys.executable, "-m", "nanodistil", "distill", *command(flags), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def untimed(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def test_thirty_kills_change_no_bit(tmp_path):
    """A checkpoint after every step, so that many kills hit one that is being written; dropout is on."""
    flags = small_distillation(tmp_path) | {"max_steps": 2000, "checkpoint_interval": 1, "log_interval": 7}
    whole = {**flags, "dump_path": str(tmp_path / "whole"), "checkpoint_interval": 500}
    process = start(whole)
    assert process.wait(600) == 0, process.stderr.read()
    log, rng = tmp_path / "run" / "log.jsonl", np.random.default_rng(0)
    kills, steps = 0, []
    while kills < KILLS:
        process = start(flags, "--resume")
        checkpoints = tmp_path / "run" / "checkpoints"
        before = sorted(checkpoints.glob("0*")) if checkpoints.exists() else []
        deadline = time.monotonic() + 120
        if kills > 2:  # the first kills hit the start of the run, before it has a checkpoint
            while sorted(checkpoints.glob("0*")) == before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.1))
        else:
            time.sleep(rng.uniform(0, 2))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
        steps.append(max((int(path.stem) for path in checkpoints.glob("0*.safetensors")), default=0))
    print(f"{kills} kills, at steps {steps}")
    process = start(flags, "--resume")
    assert process.wait(600) == 0, process.stderr.read()
    assert kills == KILLS and 1 < steps[-1] < 2000
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert untimed(log) == untimed(tmp_path / "whole" / "log.jsonl")
    left = {path.name for path in (tmp_path / "run").iterdir()} - {path.name for path in (tmp_path / "whole").iterdir()}
    assert not left, left  # nothing half written stays behind

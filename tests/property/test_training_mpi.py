"""Two processes under mpirun make the gradients of one; where there is no mpirun and no mpi4py, nothing is tested."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import EMULATION, ROOT
from small_distillation import small_distillation

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(not (shutil.which("mpirun") and find_spec("mpi4py")), reason="no mpirun or no mpi4py"),
]

SCRIPT = """
import json, sys
import numpy as np
from nanodistil.training.communicator import communicator
from nanodistil.training.distill import Options, distill
flags = json.loads(sys.argv[1])
if "--own-gpus" in sys.argv:
    import cupy
    from mpi4py import MPI
    cupy.cuda.runtime.bus = str(MPI.COMM_WORLD.Get_rank())
def watch(trainee, run):
    fetch = trainee.ops.fetch
    return lambda line: np.save(run.folder / f"gradients-{line['step']}.npy", fetch(trainee.flat_gradients))
with communicator() as everyone:
    distill(Options(**flags), resume="--resume" in sys.argv, communicator=everyone, watch=watch)
    print(everyone.rank, everyone.size)
"""


def run(flags, processes, *more):
    words = ["mpirun", "-n", str(processes)] if processes > 1 else []
    words += [sys.executable, "-c", SCRIPT, json.dumps(flags), *more]
    paths = [str(ROOT), *([str(EMULATION)] if flags.get("backend") == "cupy" else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("dtype, close", [("float32", 1e-6), ("float64", 1e-13)])
def test_two_ranks_make_the_gradients_of_one(tmp_path, dtype, close):
    """Three micro-batches a step: the shares are unequal."""
    flags = small_distillation(tmp_path) | {"dtype": dtype, "gradient_accumulation_steps": 3, "max_steps": 5}
    alone = run({**flags, "dump_path": str(tmp_path / "alone")}, 1)
    assert (alone.returncode, alone.stdout) == (0, "0 1\n"), alone.stderr
    both = run(flags, 2)
    assert both.returncode == 0, both.stderr
    assert sorted(both.stdout.split("\n")) == ["", "0 2", "1 2"]
    one, two = (np.load(tmp_path / name / "gradients-1.npy").astype(np.float64) for name in ("alone", "run"))
    assert np.linalg.norm(one - two) <= close * np.linalg.norm(one) and np.linalg.norm(one) > 0
    logs = [[json.loads(line) for line in (tmp_path / n / "log.jsonl").open()] for n in ("alone", "run")]
    for mine, theirs in zip(*logs, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4) and mine["epoch"] == theirs["epoch"]


def test_another_number_of_processes_is_refused_by_all(tmp_path):
    flags = small_distillation(tmp_path) | {"max_steps": 2}
    assert run(flags, 2).returncode == 0
    wrong = run(flags, 1, "--resume")
    assert wrong.returncode == 1 and "began with processes = 2, not 1" in wrong.stderr
    few = run({**flags, "gradient_accumulation_steps": 1, "dump_path": str(tmp_path / "few")}, 2)
    assert few.returncode != 0 and "2 processes need at least as many batches a step, not 1" in few.stderr


def test_two_ranks_with_a_gpu_each_and_with_one_for_both(stand_in, tmp_path):
    """Emulated ones: the sum goes from GPU to GPU, or through the host, and is that of one rank."""
    if not stand_in:
        pytest.skip("a GPU is here, but not two")
    flags = small_distillation(tmp_path) | {"backend": "cupy", "gradient_accumulation_steps": 2, "max_steps": 2}
    found, said = {}, {}
    for name, processes, *more in (("alone", 1), ("shared", 2), ("own", 2, "--own-gpus")):
        result = run({**flags, "dump_path": str(tmp_path / name)}, processes, *more)
        assert result.returncode == 0, result.stderr
        found[name] = np.load(tmp_path / name / "gradients-1.npy").astype(np.float64)
        said[name] = "ranks share GPUs, so gradients are summed on the host" in result.stderr
        assert json.loads((tmp_path / name / "settings.json").read_text())["backend"] == "cupy"
    assert said == {"alone": False, "shared": True, "own": False}
    for name in ("shared", "own"):
        assert np.linalg.norm(found[name] - found["alone"]) <= 1e-6 * np.linalg.norm(found["alone"])

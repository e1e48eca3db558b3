"""Shared fixtures: the backends, a tiny model, the optional folder of data beside the project."""

import importlib
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from nanodistil import backend as backends
from nanodistil.config import DistilBertConfig
from nanodistil.weights.names import expected

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"  # data sets and official tokenizers, where someone has put them

# Scripts beside the tests (recorders, benchmarks) need extras that the test command does not install.
collect_ignore = [
    str(p) for p in Path(__file__).parent.rglob("*.py") if not p.name.startswith("test_") and p.name != "conftest.py"
]

TINY = DistilBertConfig(vocab_size=50, max_position_embeddings=24, n_layers=2, n_heads=4, dim=20, hidden_dim=37)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Compiled kernels of a test run go to a folder of its own, unless one is named (to share between runs)."""
    if "NANODISTIL_CACHE_DIR" not in os.environ:
        os.environ["NANODISTIL_CACHE_DIR"] = str(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    """Every test that takes it runs once a backend."""
    if not find_spec(request.param):
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def ops(backend):
    return backends.load(backend)


@pytest.fixture(scope="session")
def shared():
    if not SHARED.is_dir():
        pytest.skip("no ../shared here")
    return SHARED


def random_tensors(config, head="masked_lm", seed=0, dtype=np.float32, scale=0.2):
    """A random model's tensors under the names of weights/names.py, norms near 1."""
    rng = np.random.default_rng(seed)
    tensors = {name: scale * rng.standard_normal(shape) for name, shape in expected(config, head).items()}
    for name in tensors:
        if "norm" in name.lower() and name.endswith("weight"):
            tensors[name] += 1
    return {name: value.astype(dtype) for name, value in tensors.items()}


EMULATION = Path(__file__).resolve().parent / "emulation"


@pytest.fixture(scope="session")
def cupy():
    """CuPy where it has a GPU; elsewhere its stand-in, which runs the kernels on the CPU, compiled by g++."""
    if find_spec("cupy"):
        import cupy

        try:
            if cupy.cuda.runtime.getDeviceCount():
                return cupy
        except cupy.cuda.runtime.CUDARuntimeError:
            pass
        for name in [name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx", "cupy_backends")]:
            del sys.modules[name]
    if not shutil.which("g++"):
        pytest.skip("neither a GPU nor g++ to run kernels on")
    sys.path.insert(0, str(EMULATION))
    return importlib.import_module("cupy")


@pytest.fixture(params=["forward", "backward", "shuffled"])
def thread_order(request, cupy, monkeypatch):
    """Three orders in which the emulator runs the threads of a block; a GPU has its own."""
    if hasattr(cupy, "emulation"):
        monkeypatch.setattr(cupy.emulation, "thread_order", request.param)
    elif request.param != "forward":
        pytest.skip("a GPU orders its threads itself")

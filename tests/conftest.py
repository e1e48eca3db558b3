"""Shared fixtures: the backends, a tiny model, the optional folder of data beside the project."""

import functools
import importlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from nanodistil import backend as backends
from nanodistil.config import DistilBertConfig
from nanodistil.heads import HEADS as TABLE
from nanodistil.kernels.definitions.sentences import Sentences
from nanodistil.weights.names import expected

ROOT = Path(__file__).resolve().parent.parent
READING_PATH = [  # who has read these knows DistilBERT
    ROOT / "nanodistil" / "model.py",
    ROOT / "nanodistil" / "heads" / "masked_lm.py",
    ROOT / "nanodistil" / "kernels" / "definitions" / "numpy_ops.py",
    ROOT / "nanodistil" / "kernels" / "definitions" / "gelu.py",
    ROOT / "nanodistil" / "kernels" / "definitions" / "sentences.py",
    ROOT / "nanodistil" / "weights" / "names.py",
    ROOT / "nanodistil" / "tokenization" / "wordpiece.py",
]
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
        run = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:  # its siblings have folders beside this one
            run = run.parent
        os.environ["NANODISTIL_CACHE_DIR"] = str(run / "kernels")


@pytest.fixture(params=["numpy", "numba", pytest.param("cupy", marks=pytest.mark.sweep)])
def backend(request):
    """Every test that takes it runs once a backend; cupy under the stand-in where no GPU is."""
    if request.param == "cupy":
        request.getfixturevalue("cupy")
    elif not find_spec(request.param):
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def interruptible():
    """A test run that was started in the background ignores SIGINT, and what it starts inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class OnHost:
    """The ops of a GPU, called with NumPy's arrays and answering with them."""

    def __init__(self, ops):
        self.ops = ops

    def __getattr__(self, name):
        op = getattr(self.ops, name)
        if name in ("send", "fetch"):
            return op

        def sent(value):
            if isinstance(value, list):
                return [sent(one) for one in value]
            if isinstance(value, Sentences):
                return value._replace(keep=sent(value.keep))
            return self.ops.send(value) if isinstance(value, np.ndarray) else value

        def fetched(value):
            if type(value) in (list, tuple):  # and no LinearMap
                return type(value)(fetched(one) for one in value)
            return self.ops.fetch(value) if hasattr(value, "get") else value

        @functools.wraps(op)
        def call(*arguments):
            names = inspect.signature(op).parameters
            here = ("starts",) if not name.startswith("prepare") else names
            return fetched(op(*(a if n in here else sent(a) for n, a in zip(names, arguments, strict=True))))

        return call


def assert_same(backend, result, wanted):
    """Bitwise on a CPU; of a GPU nearly, where cuBLAS sums in an order it chooses by shape, and taps by other means."""
    if backend == "cupy":
        np.testing.assert_allclose(result, wanted, rtol=2e-5, atol=2e-6)
    else:
        np.testing.assert_array_equal(result, wanted)


@pytest.fixture
def ops(backend):
    ops = backends.load(backend)
    return OnHost(ops) if backend == "cupy" else ops


@pytest.fixture(scope="session")
def shared():
    if not SHARED.is_dir():
        pytest.skip("no ../shared here")
    return SHARED


def random_tensors(config, head="masked_lm", seed=0, dtype=np.float32, scale=0.2):
    """A random model's tensors under the names of weights/names.py, norms near 1."""
    rng = np.random.default_rng(seed)
    tensors = {name: scale * rng.standard_normal(shape) for name, shape in expected(config, TABLE[head]).items()}
    for name in tensors:
        if "norm" in name.lower() and name.endswith("weight"):
            tensors[name] += 1
    return {name: value.astype(dtype) for name, value in tensors.items()}


EMULATION = Path(__file__).resolve().parent / "emulation"


def modules_of_cupy():
    return [name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx", "cupy_backends")]


@pytest.fixture(scope="session")
def stand_in():
    """The modules of the stand-in for CuPy, {name: module}; none where CuPy has a GPU."""
    if find_spec("cupy"):
        import cupy

        try:
            if cupy.cuda.runtime.getDeviceCount():
                return {}
        except cupy.cuda.runtime.CUDARuntimeError:
            pass
    probe = ["g++", "-ftrivial-auto-var-init=pattern", "-fsyntax-only", "-x", "c++", os.devnull]
    if sys.platform != "linux" or not shutil.which("g++") or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("neither a GPU nor Linux with g++ 12 or later to run kernels on")
    with pytest.MonkeyPatch.context() as patch:
        for name in modules_of_cupy():
            patch.delitem(sys.modules, name)
        patch.syspath_prepend(EMULATION)
        importlib.import_module("cupy")
        return {name: sys.modules.pop(name) for name in modules_of_cupy()}


@pytest.fixture
def cupy(stand_in, monkeypatch):
    """CuPy where it has a GPU; elsewhere, for this test, its stand-in, which runs the kernels on the CPU."""
    if stand_in:
        for name in modules_of_cupy():
            monkeypatch.delitem(sys.modules, name)
        for name, module in stand_in.items():
            monkeypatch.setitem(sys.modules, name, module)
    return importlib.import_module("cupy")


@pytest.fixture(params=["forward", "backward", "shuffled"])
def thread_order(request, cupy, monkeypatch):
    """Three orders in which the emulator runs the threads of a block; a GPU has its own."""
    if hasattr(cupy, "emulation"):
        monkeypatch.setattr(cupy.emulation, "thread_order", request.param)
    elif request.param != "forward":
        pytest.skip("a GPU orders its threads itself")

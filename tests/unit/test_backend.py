"""The choice of backend and dtype, and the seam itself."""

import inspect

import pytest

from nanodistil import InputError, MissingExtraError, backend
from nanodistil.kernels.definitions import numpy_ops


def test_defaults():
    assert backend.choose("numpy", None)[1] == "float32"
    assert backend.choose(None, "float64")[0] == "numpy"  # the only one that computes in it


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("torch", None, "unknown backend"),
        ("numba", "float64", "numpy"),
        ("numpy", "float16", "float16"),
        ("numpy", "x", "x"),
    ],
)
def test_what_cannot_be_is_said(name, dtype, message):
    with pytest.raises(InputError, match=message):
        backend.choose(name, dtype)


def test_numba_absent(monkeypatch):
    """The numpy backend is the default then, and asking for numba names it."""
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    assert backend.choose(None, None)[0] == "numpy"
    with pytest.raises(MissingExtraError, match="pip install numba"):
        backend.load("numba")


def test_threads_are_for_numba():
    with pytest.raises(InputError, match="OPENBLAS_NUM_THREADS"):
        backend.load("numpy", threads=2)
    with pytest.raises(InputError, match="at least 1"):
        backend.load("numba", threads=0)


def test_every_backend_has_every_op_with_the_same_arguments(ops):
    names = [n for n, f in vars(backend.Ops).items() if inspect.isfunction(f) and not n.startswith("_")]
    assert "attention" in names
    for name in names:
        definition = list(inspect.signature(getattr(numpy_ops, name)).parameters)
        assert list(inspect.signature(getattr(ops, name)).parameters) == definition, name
        wanted = list(inspect.signature(getattr(backend.Ops, name)).parameters)[1:]  # without self
        assert definition == wanted, name

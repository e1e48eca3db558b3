"""Two processes that compile at once: the dearest kernel in one of its own, and no kernel twice."""

import contextlib
import os
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("numba")
pytest.importorskip("fcntl")
from nanodistil.config import DistilBertConfig
from nanodistil.family.distilbert import DistilBertModel
from nanodistil.kernels.cpu import dearest, numba_ops
from nanodistil.kernels.runtime import beside, pool, store
from nanodistil.kernels.runtime.native import words_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NANODISTIL_CACHE_DIR", str(tmp_path / "cache"))
    return store.folder()


def test_a_kernel_that_another_is_at_is_waited_for(folder, monkeypatch):
    found, looks = [], threading.Event()

    def second():
        with beside.claimed("a.bin") as waited:
            found.append((waited, store.read("a.bin")))

    monkeypatch.setattr(beside.time, "sleep", lambda seconds: looks.set())  # it has found the claim
    with beside.claimed("a.bin") as waited:
        assert not waited
        thread = threading.Thread(target=second)
        thread.start()
        assert looks.wait(60)
        store.write("a.bin", b"code")
    thread.join()
    assert found == [(True, b"code")] and os.listdir(folder) == ["a.bin"]


def test_a_claim_ends_with_the_one_who_fails(folder):
    with contextlib.suppress(RuntimeError), beside.claimed("a.bin"):
        raise RuntimeError
    with beside.claimed("a.bin") as waited:
        assert not waited


def test_nobody_waits_for_ever_or_where_nothing_can_be_kept(folder, monkeypatch):
    monkeypatch.setattr(beside, "PATIENCE", 0.0)
    with beside.claimed("a.bin"), beside.claimed("a.bin"), beside.claimed("b.bin"):
        pass
    monkeypatch.setattr(store, "folder", lambda: None)
    with beside.claimed("a.bin") as waited:
        assert not waited


def refuse(*arguments, **options):
    raise OSError(38, "no locks here")


def test_a_file_system_without_locks(folder, monkeypatch):
    monkeypatch.setattr("fcntl.flock", refuse)
    with beside.claimed("a.bin") as waited:
        assert not waited


@pytest.fixture
def started(folder, monkeypatch):
    """The command lines of processes that would be started."""
    lines = []
    monkeypatch.setattr(beside, "_started", [])
    monkeypatch.setattr(beside.target, "INTERPRETED", False)
    monkeypatch.setattr(beside.granted, "thread_limits", lambda: {"cpus": 8, "cgroup": 2})

    def popen(line, **options):
        lines.append((line, options))
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr("subprocess.Popen", popen)
    return lines


def test_one_process_is_started_once(started):
    beside.begin()
    beside.begin()
    [(line, options)] = started
    assert line[1:] == ["-P", "-m", dearest.__name__]  # -P: whatever modules lie in the working folder
    assert os.path.isdir(os.path.join(options["env"]["PYTHONPATH"].split(os.pathsep)[0], "nanodistil"))


@pytest.mark.parametrize("why", ["one core", "kept", "read-only", "frozen", "no Python", "itself", "forbidden"])
def test_none_is_started_in_vain(started, folder, monkeypatch, why):
    if why == "one core":
        monkeypatch.setattr(beside.granted, "thread_limits", lambda: {"cpus": 8, "cgroup": 1})
    elif why == "kept":
        store.write(f"{beside.KEPT_AS}0123.bin", b"")
    elif why == "read-only":
        monkeypatch.setattr(store, "write", refuse)
    elif why == "frozen":
        monkeypatch.setattr(beside.sys, "frozen", True, raising=False)
    elif why == "no Python":
        monkeypatch.setattr(beside.sys, "executable", "")
    elif why == "itself":
        itself = SimpleNamespace(__spec__=SimpleNamespace(name=dearest.__name__))
        monkeypatch.setitem(beside.sys.modules, "__main__", itself)
    else:
        monkeypatch.setattr("subprocess.Popen", refuse)
    beside.begin()
    assert not started


def test_it_compiles_what_a_model_asks_for(monkeypatch):
    """The same kernel for the same kinds of arguments, kept under the name that is looked for."""
    asked = []

    def run(kernel, items, *arguments, **options):
        if kernel is numba_ops.attention_heads:
            asked.append(words_of(arguments)[0])
        pool.run(kernel, items, *arguments, **options)

    monkeypatch.setattr(numba_ops, "run", run)
    monkeypatch.setattr(pool, "only_compile", lambda: None)
    dearest.main()
    config = DistilBertConfig(vocab_size=9, n_layers=1, dim=8, n_heads=2, hidden_dim=8)
    DistilBertModel(config, backend="numba")([[1, 2, 3]])
    assert len(asked) == 2 and asked[0] == asked[1]
    function = numba_ops.attention_heads.py_func
    assert f"{function.__module__.rpartition('.')[2]}.{function.__name__}-" == beside.KEPT_AS

"""weights/saving.py: whatever ends a save, a folder holds the old model or the new one, and nothing else for long."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import ROOT
from weight_files import TINY, as_filed, tiny_arrays

from nanodistil import DistilBertConfig, DistilBertModel, DistilBertTokenizer
from nanodistil.weights import saving
from nanodistil.weights.errors import InputError
from nanodistil.weights.safetensors_reader import SafetensorsFile
from nanodistil.weights.safetensors_writer import write_safetensors

OLD, NEW = as_filed(tiny_arrays(seed=1)), as_filed(tiny_arrays(seed=2))
FIRST = next(iter(OLD))
unix = pytest.mark.skipif(sys.platform == "win32", reason="no flock, no SIGKILL")


def held(folder):
    """Which config and which weights a folder holds, and its other files."""
    config = json.loads((folder / "config.json").read_text())["which"]
    array = SafetensorsFile(folder / "model.safetensors").array(FIRST)
    weights = next((which for which, arrays in (("old", OLD), ("new", NEW)) if (array == arrays[FIRST]).all()), None)
    return config, weights, sorted({p.name for p in folder.iterdir()} - {"config.json", "model.safetensors"})


def save(folder, which):
    saving.save(folder, json.dumps({"which": which}), {"old": OLD, "new": NEW}[which])


DYING = """
import os, signal, sys
from pathlib import Path
from weight_files import as_filed, tiny_arrays
from nanodistil.weights.saving import save
calls = 0
def counted(call):
    def inner(*arguments):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)
    return inner
os.fsync, os.replace, Path.chmod = counted(os.fsync), counted(os.replace), counted(Path.chmod)
save(Path(sys.argv[1]), '{"which": "new"}', as_filed(tiny_arrays(seed=2)))
"""
# fsync, chmod of the weights; of the config; rename of the weights, of the config; fsync of the folder
AFTER = ["old", "old", "old", "old", "old", None, "new", "new"]


@unix
@pytest.mark.parametrize("step", range(1, 9))
def test_killed_at_every_step(tmp_path, step):
    save(tmp_path, "old")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-c", DYING, str(tmp_path), str(step)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == (-signal.SIGKILL if step < 8 else 0), done.stderr
    config, weights, others = held(tmp_path)
    if AFTER[step - 1] is None:  # the one window that is left: between two renames
        assert (config, weights) == ("old", "new")
    else:
        assert config == weights == AFTER[step - 1]
    assert bool(others) == (step < 8)
    save(tmp_path, "new")
    assert held(tmp_path) == ("new", "new", [])


def test_a_config_that_stays_the_same_is_not_renamed(tmp_path, monkeypatch):
    """So saving a model again has no window at all."""
    saving.save(tmp_path, "{}", OLD)
    renamed = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda new, path: (renamed.append(path), replace(new, path)))
    saving.save(tmp_path, "{}", NEW)
    assert renamed == [tmp_path / "model.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("which", [0, 1])
def test_a_full_disk(tmp_path, monkeypatch, which):
    save(tmp_path, "old")
    sync, calls = os.fsync, []

    def full(number):
        calls.append(number)
        if len(calls) == which + 1:
            raise OSError(28, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        save(tmp_path, "new")
    assert held(tmp_path) == ("old", "old", [])


def test_a_folder_in_the_place_of_the_second_file(tmp_path):
    save(tmp_path, "old")
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InputError, match="a folder of this name"):
        save(tmp_path, "new")
    np.testing.assert_array_equal(SafetensorsFile(tmp_path / "model.safetensors").array(FIRST), OLD[FIRST])


@pytest.mark.parametrize("there", [True, False])
def test_a_rename_that_is_refused(tmp_path, monkeypatch, there):
    """As Windows does while somebody reads the old file: the first is put back."""
    if there:
        save(tmp_path, "old")
    replace = os.replace

    def refused(new, path):
        if path.name == "config.json":
            raise PermissionError(13, "Permission denied")
        replace(new, path)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(InputError, match="Permission denied"):
        save(tmp_path, "new")
    if there:
        assert held(tmp_path) == ("old", "old", [])
    else:
        assert not list(tmp_path.iterdir())


@unix
def test_the_old_file_keeps_a_name_while_it_is_replaced(tmp_path, monkeypatch):
    """Giving back its space takes a hundred times as long as the rename, within the window in which a kill hurts."""
    save(tmp_path, "old")
    links, replace = [], os.replace

    def watched(new, path):
        links.append(path.stat().st_nlink)
        replace(new, path)

    monkeypatch.setattr(os, "replace", watched)
    save(tmp_path, "new")
    assert links == [2, 2] and held(tmp_path) == ("new", "new", [])


def test_an_exception_between_the_renames(tmp_path, monkeypatch):
    """As Ctrl-C may come there: the second is renamed all the same, and the exception goes on."""
    save(tmp_path, "old")
    replace = os.replace

    def stopped(new, path):
        replace(new, path)
        if path.name == "model.safetensors":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, "new")
    assert held(tmp_path) == ("new", "new", [])


@unix
def test_leftovers_go_and_files_in_use_stay(tmp_path):
    save(tmp_path, "old")
    mine = [".model.safetensors.abcdefgh", ".config.json.12345_78"]
    others = [".model.safetensors.backup-2", ".vocab.txt.abcdefgh", "model.safetensors.abcdefgh"]
    for name in mine + others:
        (tmp_path / name).write_bytes(b"x")
    begun, go_on = threading.Event(), threading.Event()

    def slow(path):
        path.write_text("{}")
        begun.set()
        assert go_on.wait(20)

    thread = threading.Thread(target=saving.written, args=(tmp_path / "config.json", slow))
    thread.start()
    assert begun.wait(20)
    save(tmp_path, "new")
    config, weights, left = held(tmp_path)
    assert config == weights == "new" and set(left) > set(others) and len(left) == len(others) + 1
    go_on.set()
    thread.join()
    assert (tmp_path / "config.json").read_text() == "{}"


def test_two_at_once_never_mix(tmp_path):
    """Eight threads save one or the other model: at the end it is one of them."""

    def work(which):
        for _ in range(5):
            save(tmp_path, which)

    for _ in range(2):
        threads = [threading.Thread(target=work, args=(which,)) for which in ("old", "new") * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        config, weights, others = held(tmp_path)
        assert config == weights and not others


def test_a_tokenizer_is_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    tokenizer = DistilBertTokenizer.from_pretrained("nanodistil-mini")
    tokenizer.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    tokenizer.add_tokens(["new"])
    sync, calls = os.fsync, []

    def full(number):
        calls.append(number)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space"):
        tokenizer.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint16])
def test_the_library_reads_what_is_written(tmp_path, dtype):
    from safetensors import safe_open

    arrays = {"a": np.arange(6).reshape(2, 3).astype(dtype).T, "é\n": np.zeros((0, 3), dtype), "s": np.array(3, dtype)}
    write_safetensors(tmp_path / "x", arrays, {"format": "pt"})
    with safe_open(tmp_path / "x", "numpy") as file:
        assert file.metadata() == {"format": "pt"} and set(file.keys()) == set(arrays)
        for name, array in arrays.items():
            if dtype != np.uint16:  # BF16, which it cannot give
                np.testing.assert_array_equal(file.get_tensor(name), array)
    assert SafetensorsFile(tmp_path / "x").entries["a"].shape == (3, 2)


@unix
def test_the_files_are_as_open_as_others(tmp_path):
    old = os.umask(0o027)
    try:
        model = DistilBertModel(DistilBertConfig(**vars(TINY)), backend="numpy")
        model.save_pretrained(tmp_path)
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}

"""Where compiled kernels are kept, and that nothing is believed that someone else could have written."""

import os
import stat
import time

import pytest

pytest.importorskip("numba")
from nanodistil.kernels.runtime import jit, store

pytestmark = pytest.mark.skipif(not store.OWNED, reason="no owners and modes here")
VARIABLES = ("NANODISTIL_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder of ours to keep kernels in, in a folder of ours."""
    place = tmp_path / "above" / "cache"
    monkeypatch.setenv("NANODISTIL_CACHE_DIR", str(place))
    store.write("a.bin", b"code")
    assert store.read("a.bin") == b"code"
    return place


def refused(name="a.bin"):
    with pytest.raises(OSError) as caught:
        store.read(name)
    return store.why(caught.value)


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_only_we_can_read_and_write_whatever_the_umask(tmp_path, monkeypatch, umask):
    monkeypatch.setenv("NANODISTIL_CACHE_DIR", str(tmp_path / "a" / "b"))
    before = os.umask(umask)
    try:
        store.write("a.bin", b"code")
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.folder().stat().st_mode) == 0o700
    assert stat.S_IMODE((store.folder() / "a.bin").stat().st_mode) == 0o600
    assert store.read("a.bin") == b"code" and store.state().why_not_writable == ""
    assert [file.name for file in store.folder().iterdir()] == ["a.bin"]


def test_a_folder_above_that_others_may_write_to(root):
    root.parent.chmod(0o777)
    assert refused() == f"others may write to {root.parent}" == store.state().why_not_writable
    root.parent.chmod(0o1777)  # as /tmp: nobody can put another folder in the place of ours
    assert store.read("a.bin") == b"code"


def test_root_s_group_may_write_too(root):
    """As in images for any user number: their files belong to root's group, and so does whoever runs them."""
    try:
        for path in (store.folder() / "a.bin", store.folder(), root):
            os.chown(path, -1, 0)
            path.chmod(0o775)
    except PermissionError:
        pytest.skip("not one of root's group")
    assert store.read("a.bin") == b"code" and store.state().why_not_writable == ""


@pytest.mark.parametrize("mode", [0o722, 0o702, 0o720])
def test_our_folder_and_our_files_are_ours_alone(root, mode, monkeypatch):
    monkeypatch.setattr(store, "_ours_or_roots", lambda gid: False)
    (store.folder() / "a.bin").chmod(mode)
    assert refused().startswith("others may write to")
    (store.folder() / "a.bin").chmod(0o600)
    store.folder().chmod(mode)
    assert refused().startswith("others may write to") and "others" in store.state().why_not_readable


def test_links_and_pipes_are_not_followed(root, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"code")
    (store.folder() / "b.bin").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(store.folder() / "c.bin", 0o600)
    assert refused("b.bin") and "is no file" in refused("c.bin")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_someone_else(root):
    for path in (store.folder() / "a.bin", store.folder(), root, root.parent):
        os.chown(path, 12345, 12345)
        assert refused() == f"{path} belongs to another user"
        os.chown(path, 0, 0)
    assert store.read("a.bin") == b"code"


def test_the_folder_is_looked_at_each_time(root):
    """It may be swapped after the first look."""
    (root.parent / "theirs").mkdir(mode=0o777)
    (root.parent / "theirs").chmod(0o777)
    folder = store.folder()
    folder.rename(root / "away")
    (root.parent / "theirs").rename(folder)
    (folder / "a.bin").write_bytes(b"evil")
    assert refused() == f"others may write to {folder}"


def test_what_killed_processes_left_is_removed(root):
    for name, age in (("a.bin.7.tmp", 7200), ("8.trial", 7200), ("b.bin.9.tmp", 0), ("a.bin", 7200)):
        (store.folder() / name).write_bytes(b"")
        os.utime(store.folder() / name, (time.time() - age,) * 2)
    store.write("c.bin", b"")
    assert sorted(os.listdir(store.folder())) == ["a.bin", "b.bin.9.tmp", "c.bin"]


def test_a_relative_folder_where_the_working_folder_is_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("NANODISTIL_CACHE_DIR", "a-folder-not-seen-before")
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    monkeypatch.setenv("HOME", "")
    for variable in VARIABLES[1:3]:
        monkeypatch.delenv(variable, raising=False)
    assert store.cache_root() is None or store.cache_root().is_absolute()


def test_nowhere_to_keep_anything(tmp_path, monkeypatch, caplog):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the standard says to ignore
    assert store.folder().is_relative_to(tmp_path / "file")
    assert store.state().why_not_writable.endswith("Not a directory")
    monkeypatch.setattr(store.os.path, "expanduser", lambda path: path)  # no HOME, and no entry for the user
    assert store.state() == (None, "the user has no home folder", "the user has no home folder")
    monkeypatch.setattr(jit, "_foretold", [])
    jit._say_not_kept.cache_clear()
    for _ in range(2):
        jit.foretell()
    (record,) = caplog.records
    assert "the user has no home folder; set NANODISTIL_CACHE_DIR" in record.getMessage()

"""Where compiled kernels are kept, and which of them may be believed.

    NANODISTIL_CACHE_DIR, else NUMBA_CACHE_DIR, else $XDG_CACHE_HOME/nanodistil, else ~/.cache/nanodistil

The files are machine code: whoever writes one has us run what he likes. So one is believed only if nobody but root
and we ourselves can have written it, which is looked at anew each time, on what is then read and not on its name: the
folder and the file are opened without following links, belong to root or us, and no one else may write to them. Nor may
anybody else put another folder in this one's place: all folders above it belong to root or us too, and if others may
write to one (/tmp), it has the sticky bit. Two groups may write as well: root's, to which an image for any user number
gives its files (OpenShift; `docker run --user 12345`); and one that holds nobody but its user, and has his name.

So a folder that root filled while building an image serves everybody, read-only or not. If nothing can be kept,
everything works, and each process compiles anew. What we write, only we can read (0600), whatever the umask.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import stat
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import llvmlite
import numpy as np

OWNED = hasattr(os, "geteuid") and os.open in os.supports_dir_fd  # files have owners, and modes that mean something
OLD = 3600.0  # seconds; nobody writes a kernel for so long
ADVICE = "set NANODISTIL_CACHE_DIR to a folder of your own that no one else may write to"


class Distrusted(OSError):
    """Someone else could have written it. The text says why."""


@cache
def _absolute(path: str) -> Path:
    """Where a path led when it was first seen, whatever the working folder became since."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def cache_root() -> Path | None:
    """The folder under which everything is kept, or None if the user has no home. May not exist."""
    for variable in ("NANODISTIL_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        place = os.environ.get(variable)
        if place and (variable != "XDG_CACHE_HOME" or os.path.isabs(place)):  # the standard: ignore a relative one
            with contextlib.suppress(OSError):  # a relative one, if the working folder is gone
                return _absolute(place) if variable == "NANODISTIL_CACHE_DIR" else _absolute(place) / "nanodistil"
    home = os.path.expanduser("~")
    return Path(home) / ".cache" / "nanodistil" if os.path.isabs(home) else None


@cache
def source_key() -> str:
    """A hash of all that the machine code depends on besides the CPU: our sources and the compilers' versions."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    package = find_spec("numba")  # importlib.metadata would say the version, but takes 20 ms to import
    for folder in package.submodule_search_locations or [] if package else []:
        digest.update(Path(folder, "_version.py").read_bytes())
    for part in (llvmlite.__version__, np.__version__, sys.version, platform.machine()):
        digest.update(part.encode())
    return digest.hexdigest()[:16]


def folder() -> Path | None:
    """Where compiled kernels belong; None if the user has no home."""
    root = cache_root()
    return root / f"kernels-{source_key()}" if root else None


def _ours_or_roots(gid: int) -> bool:
    """Whether a group is root's, or the usual one of its user alone: ours, with our name and nobody else in it."""
    if gid == 0:
        return True
    import grp
    import pwd

    with contextlib.suppress(KeyError):
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
        return user.pw_gid == gid and user.pw_name == group.gr_name and not set(group.gr_mem) - {user.pw_name}
    return False


def _check(path: object, status: os.stat_result, above: bool = False) -> None:
    """Raises Distrusted if others could write. above: it is a folder above ours, for which the sticky bit will do.

    A folder above may also belong to the owner of the root folder: root, in a namespace where root has no number.
    """
    if status.st_uid not in (0, os.geteuid()) and not (above and status.st_uid == os.lstat("/").st_uid):
        raise Distrusted(f"{path} belongs to another user")
    if above and status.st_mode & stat.S_ISVTX:
        return
    if status.st_mode & 0o002 or (status.st_mode & 0o020 and not _ours_or_roots(status.st_gid)):
        raise Distrusted(f"others may write to {path}")


@contextlib.contextmanager
def _opened(place: Path) -> Iterator[int | None]:
    """A descriptor of our folder, which is what it should be; None on a system without. Raises OSError."""
    if not OWNED:
        yield None
        return
    real = Path(os.path.realpath(place))
    for parent in reversed(real.parents):
        _check(parent, os.lstat(parent), above=True)
    descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check(real, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _made(place: Path) -> None:
    """Make the folder, for us alone, and those above it that are not there, writable to us alone. Raises OSError."""
    for path in (*reversed(place.parents), place):
        with contextlib.suppress(FileExistsError):
            if not path.is_dir():
                path.mkdir(mode=0o700 if path == place else 0o755)
                path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o700)  # a umask may take from us too


def read(name: str) -> bytes:
    """The contents of a file of ours. Raises OSError if there is none, and Distrusted, which is one."""
    place = folder()
    if place is None:
        raise FileNotFoundError("no home")
    with _opened(place) as inside:
        path = name if inside is not None else place / name
        extra = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK if OWNED else getattr(os, "O_BINARY", 0)
        with open(os.open(path, os.O_RDONLY | extra, dir_fd=inside), "rb") as file:
            if OWNED:
                status = os.fstat(file.fileno())
                _check(place / name, status)
                if not stat.S_ISREG(status.st_mode):
                    raise Distrusted(f"{place / name} is no file")
            return file.read()


def write(name: str, raw: bytes) -> None:
    """Keep a file, whole or not at all. Raises OSError."""
    place = folder()
    if place is None:
        raise FileNotFoundError("the user has no home folder")
    _made(place)
    with _opened(place) as inside:
        temporary = f"{name}.{os.getpid()}.tmp"
        here, there = (temporary, name) if inside is not None else (place / temporary, place / name)
        extra = os.O_NOFOLLOW | os.O_CLOEXEC if OWNED else getattr(os, "O_BINARY", 0)
        _tidy(place, inside)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(here, dir_fd=inside)
        try:
            with open(os.open(here, os.O_WRONLY | os.O_CREAT | os.O_EXCL | extra, 0o600, dir_fd=inside), "wb") as file:
                if OWNED:
                    os.fchmod(file.fileno(), 0o600)
                file.write(raw)
            os.replace(here, there, src_dir_fd=inside, dst_dir_fd=inside)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(here, dir_fd=inside)
            raise


def lock(name: str) -> int:
    """A descriptor of the file by which `name` is claimed (beside.py). Raises OSError if nothing can be kept."""
    place = folder()
    if place is None:
        raise FileNotFoundError("the user has no home folder")
    _made(place)
    with _opened(place) as inside:
        extra = os.O_NOFOLLOW | os.O_CLOEXEC if OWNED else 0
        return os.open(_lock_of(place, inside, name), os.O_RDWR | os.O_CREAT | extra, 0o600, dir_fd=inside)


def unlock(name: str, descriptor: int) -> None:
    """Remove the file, and close it, which ends the claim."""
    with contextlib.suppress(OSError):
        place = folder()
        assert place is not None  # it was when the file was made
        with _opened(place) as inside:
            os.unlink(_lock_of(place, inside, name), dir_fd=inside)
    os.close(descriptor)


def _lock_of(place: Path, inside: int | None, name: str) -> str | Path:
    return f"{name}.lock" if inside is not None else place / f"{name}.lock"


def _tidy(place: Path, inside: int | None) -> None:
    """Remove what processes that were killed have begun to write."""
    for name in os.listdir(place if inside is None else inside):
        if name.endswith((".tmp", ".trial", ".lock")):
            path = name if inside is not None else place / name
            with contextlib.suppress(OSError):  # another process is quicker
                if os.stat(path, dir_fd=inside, follow_symlinks=False).st_mtime < time.time() - OLD:
                    os.unlink(path, dir_fd=inside)


class State(NamedTuple):
    """What can be done with the folder: each text says why it cannot, "" if it can."""

    folder: Path | None
    why_not_readable: str
    why_not_writable: str


def state() -> State:
    """How it is at this moment. Makes the folder if need be."""
    place = folder()
    if place is None:
        why_not = "the user has no home folder"
        return State(None, why_not, why_not)
    trial = f"{os.getpid()}.trial"
    why_not_writable = _why_not(write, trial, b"")
    with contextlib.suppress(OSError):
        os.unlink(place / trial)
    return State(place, _why_not(listed) if why_not_writable else "", why_not_writable)


def listed() -> dict[str, int]:
    """Names and sizes of the files that are kept. Raises OSError if there is no folder, or none to be believed."""
    place, sizes = folder(), {}
    if place is None:
        raise FileNotFoundError("the user has no home folder")
    with _opened(place) as inside:
        for name in os.listdir(place if inside is None else inside):
            if name.endswith(".bin"):
                with contextlib.suppress(OSError):  # another process has just replaced or removed it
                    sizes[name] = os.stat(name if OWNED else place / name, dir_fd=inside).st_size
    return sizes


def share() -> None:
    """Let every user read what root has compiled, as for an image; without effect for others than root."""
    place = folder()
    if not OWNED or os.geteuid() != 0 or place is None:
        return
    with contextlib.suppress(OSError), _opened(place) as inside:
        assert inside is not None  # there are owners
        os.fchmod(inside, 0o755)
        for name in os.listdir(inside):
            os.chmod(name, 0o644, dir_fd=inside)


def why(error: OSError) -> str:
    """An error of this module in a few words.

    >>> why(PermissionError(13, "Permission denied", "/root/x")), why(Distrusted("others may write to /x"))
    ('/root/x: Permission denied', 'others may write to /x')
    """
    if isinstance(error, Distrusted) or not error.strerror:
        return str(error)
    place = error.filename if isinstance(error.filename, str) and os.path.isabs(error.filename) else folder()
    return f"{place}: {error.strerror}"


def _why_not(action: Callable[..., object], *arguments: object) -> str:
    try:
        action(*arguments)
    except OSError as error:
        return why(error)
    return ""

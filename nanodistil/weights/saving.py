"""Writing files each whole or not at all, and several of them as nearly at once as a file system allows.

A file is written under a temporary name beside its place, forced to the disk and then renamed, which replaces an older
one in one step. So a crash or a full disk leaves the old file or none, and a process that has the old weights mapped
into memory keeps them. If files belong together, as weights and config do, all are written and forced to the disk
before the first is renamed: what can fail has then not failed, and only the renames remain. No file system does two in
one step, so a process killed just between them leaves the new weights beside the old config. Meanwhile the old files
have a second name: giving back their space would make a rename of 20 microseconds one of 5 milliseconds, within that
window, and they could not be put back if the system refused a later rename. A file that stays what it is, byte for
byte, is not renamed: saving a model again touches its weights only, and then there is no window. Savers of one folder
take turns at renaming, or one's weights would meet the other's config.

A killed process leaves its temporary files behind, of a model's size each. The next save of the same file removes them,
but never those of a save that still runs, perhaps in another container: whoever writes one holds a lock (flock) on it,
which the system lets go with the process. If there are no such locks (Windows) an open file cannot be removed.

The metadata {"format": "pt"} is what transformers asks for: 4.x refuses a file that says "np".
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .files import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SAME_UP_TO = 1 << 20  # bytes; a larger file is not compared with the one it replaces


def save(folder: Path, config: str, arrays: dict[str, NDArray[Any]]) -> None:
    """Write config.json and model.safetensors. Raises InputError if the folder cannot be made or written."""
    from .safetensors_writer import write_safetensors  # NumPy comes with it, which a verb tells things first

    written_together(
        {
            folder / WEIGHTS: lambda path: write_safetensors(path, arrays, {"format": "pt"}),
            folder / CONFIG: lambda path: path.write_text(config, encoding="utf-8"),
        }
    )


def written(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a temporary file, which then takes the place of `path`; folders are made as needed.

    Raises InputError, and leaves nothing behind, if that fails.
    """
    written_together({path: write})


def written_together(files: Mapping[Path, Callable[[Path], Any]]) -> None:
    """As `written`, for files that belong together: none takes its place before all are whole on the disk.

    They are renamed in the order given. Raises InputError, and leaves everything as it was, if one cannot be
    written.
    """
    path = next(iter(files))
    with ExitStack() as temporaries:
        try:
            fresh: dict[Path, Path] = {}
            for path, write in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():  # which the rename would only find when others are done
                    raise IsADirectoryError(None, "a folder of this name is there")
                fresh[path] = temporaries.enter_context(_temporary(path))
                write(fresh[path])
                with fresh[path].open("rb+") as file:
                    os.fsync(file.fileno())
                mask = os.umask(0)
                os.umask(mask)
                fresh[path].chmod(0o666 & ~mask)  # mkstemp's 0600 is for secrets
            _renamed([(new, path) for path, new in fresh.items()])
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise InputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, locked; gone at the end unless it was renamed. Those of dead processes go first."""
    _remove_leftovers(path)
    while True:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            _lock(number)
            if os.fstat(number).st_nlink:  # else somebody took it for a leftover before it was locked
                break
        except OSError:  # a file system without locks: nobody can take it for a leftover
            break
        os.close(number)
    fresh = Path(name)
    if fcntl is None:  # Windows cannot rename a file that is open
        os.close(number)
    try:
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
        if fcntl is not None:
            os.close(number)


def _remove_leftovers(path: Path) -> None:
    """Unlink temporary files of `path` that nobody holds a lock on: their process was killed."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")  # as mkstemp makes them
    for other in [other for other in path.parent.iterdir() if name.fullmatch(other.name)]:
        try:
            number = os.open(other, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                _lock(number, wait=False)
                other.unlink()
            finally:
                os.close(number)
        except OSError:  # it is in use, gone, another user's, or there are no locks here
            continue


def _lock(number: int, wait: bool = True) -> None:
    """The lock on an open file or folder. Raises OSError if it is taken, or if there are none."""
    if fcntl is None:
        raise OSError("no locks on this system")
    fcntl.flock(number, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _same(new: Path, old: Path) -> bool:
    """Whether `old` is there, no link, and already holds what `new` holds."""
    if old.is_symlink() or not old.is_file() or not new.stat().st_size == old.stat().st_size <= SAME_UP_TO:
        return False
    return new.read_bytes() == old.read_bytes()


def _renamed(pairs: list[tuple[Path, Path]]) -> None:
    """Rename each first to its second if they differ: all, even if an exception (Ctrl-C) comes in between; or none,
    if the system refuses one.
    """
    folders = {}
    kept: dict[Path, Path] = {}  # old file -> its second name
    done: list[Path] = []
    try:
        if os.name != "nt":
            for folder in sorted({path.parent for _, path in pairs}):  # sorted: two savers never wait for each other
                folders[folder] = os.open(folder, os.O_RDONLY)
                with suppress(OSError):
                    _lock(folders[folder])
        pairs = [(new, path) for new, path in pairs if not _same(new, path)]
        for _, path in pairs:
            if path.is_file() and not path.is_symlink():
                kept[path] = path.with_name(f".{path.name}.{token_hex(4)}")  # a leftover's name, should we be killed
                with suppress(OSError):
                    os.link(path, kept[path])
        try:
            for new, path in pairs:
                os.replace(new, path)
                done.append(path)
        except OSError:
            for path in done:
                if path in kept:
                    with suppress(OSError):
                        os.replace(kept[path], path)
                else:
                    path.unlink()
            raise
        except BaseException:
            for new, path in pairs:
                if new.exists():
                    os.replace(new, path)
            raise
        for number in folders.values():
            with suppress(OSError):  # the new names reach the disk too
                os.fsync(number)
    finally:
        for old in kept.values():
            with suppress(OSError):
                old.unlink(missing_ok=True)
        for number in folders.values():
            os.close(number)

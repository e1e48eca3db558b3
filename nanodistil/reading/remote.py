"""Files at an address, s3://bucket/reviews.parquet, through fsspec (extras: "nanodistil[fsspec]", "nanodistil[s3]").

What it opens is read as a file of this machine is, from lines of text to Parquet, and nothing is fetched whole. A file
is sent when it is whole, under a temporary name, and renamed there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from nanodistil.weights.errors import InputError, MissingExtraError, NanoDistilError


def is_remote(name: str) -> bool:
    """Whether a name is an address.

    >>> is_remote("s3://bucket/a.csv"), is_remote("a.csv")
    (True, False)
    """
    scheme, colon, _ = name.partition("://")
    return bool(colon) and scheme.replace("+", "").isalnum()


def place_of(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Raises MissingExtraError, InputError for no address."""
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(f'{address} needs fsspec ({error}): pip install "nanodistil[fsspec]"') from None
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    except ImportError as error:
        hint = '"nanodistil[s3]"' if address.startswith(("s3://", "s3a://")) else "what it names"
        said = " ".join(str(error).split())
        raise MissingExtraError(f"{address} needs another package ({said}): pip install {hint}") from None
    except Exception as error:  # every file system has its own
        raise _failed(address, "is no address that can be used", error) from None
    return found


@contextmanager
def opened(address: str) -> Iterator[IO[bytes]]:
    """The file at an address, to be read. Raises MissingExtraError, InputError."""
    system, path = place_of(address)
    try:
        file: IO[bytes] = system.open(path, "rb")
    except Exception as error:
        raise _failed(address, "cannot be opened", error) from None
    with file:
        yield file


def exists(address: str) -> bool:
    """Whether there is a file, or anything else. Raises MissingExtraError, InputError."""
    system, path = place_of(address)
    try:
        return bool(system.exists(path))
    except Exception as error:
        raise _failed(address, "cannot be reached", error) from None


def send(file: str, address: str) -> None:
    """Put a file of this machine there. Raises InputError."""
    system, path = place_of(address)
    try:
        system.put_file(file, f"{path}.partial")
        system.mv(f"{path}.partial", path)
    except Exception as error:
        raise _failed(address, "cannot be written", error) from None


def _failed(address: str, what: str, error: Exception) -> NanoDistilError:
    said = "there is no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
    return InputError(f"{address} {what}: {said[:200] or type(error).__name__}")

"""Answers for an address: they are written on this machine, and sent when they are whole.

A run that fails leaves nothing there. What cannot be sent is kept here, and the message says where.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nanodistil.reading.remote import exists, is_remote, send
from nanodistil.weights.errors import InputError


@contextmanager
def delivered(args: argparse.Namespace) -> Iterator[None]:
    """Around a verb's run: an --output that is an address becomes a file of this machine, which is then sent.

    Raises InputError if there is something at the address, or it cannot be reached; MissingExtraError.
    """
    address = getattr(args, "output", None)
    if address is None or not is_remote(address) or not hasattr(args, "resume"):
        yield
        return
    if args.resume:
        raise InputError("--resume goes on with a file of this machine, not with one at an address")
    if exists(address):
        raise InputError(f"{address} exists already: remove it, or name another")
    folder = Path(tempfile.mkdtemp(prefix="nanodistil-"))
    file = folder / address.rpartition("/")[2]
    args.output = str(file)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        send(str(file), address)
    except InputError as error:
        raise InputError(f"{error}; all answers are in {file}") from None
    shutil.rmtree(folder, ignore_errors=True)

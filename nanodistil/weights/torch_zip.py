"""A zip archive as torch.save writes it: the name of each member, and where in the file it lies.

    [local header, name, padding][the member's bytes]  ...  as often as there are members
    [central directory: for each member its name, its size and where its local header stands]
    [zip64: where the central directory stands, in 64 bits][the same in 32 bits]  the end of the file

A zip is read from its end, and says everything twice: in the central directory and in the local headers. Programs that
believe different ones see different archives, which is how checks are walked around. So here both have to agree, no two
members may share a byte or a name, and everything has to lie where it should. Members are never compressed by
torch.save, as nobody could map them; a compressed one is refused, and with it every zip bomb.

Checksums are not compared: torch.load does not, as it may be told not to write them (safetensors has none at all), and
a member is to be mapped, not read. For Python's `zipfile` it would be the other way round: it checks sums, believes the
central directory, and takes a kilobyte of memory for each 46 bytes a hostile directory may repeat.
"""

import mmap
import struct
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from .errors import CheckpointError, excerpt

MOST = 10_000  # members; a DistilBERT's archive has 110
LARGEST_DIRECTORY = 4 << 20
LONGEST_NAME = 300

_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the 64-bit field"
ENCRYPTED = 0x2041  # bits 0 (encrypted), 6 (strongly), 13 (so are the headers)


class Member(NamedTuple):
    """Where a member's bytes are in the file."""

    begin: int
    end: int


def members(path: Path, data: mmap.mmap) -> dict[str, Member]:
    """Name -> place of every member of the archive, each within the file and apart from all others.

    Raises CheckpointError for an archive that is cut short, or not such as torch.save writes.
    """
    try:
        return _members(path, data)
    except struct.error:
        raise CheckpointError(f"{path}: its zip directory ends in the middle; get the file again") from None


def _members(path: Path, data: mmap.mmap) -> dict[str, Member]:
    count, size, start = _directory(path, data)
    directory = data[start : start + size]
    found: dict[str, Member] = {}
    taken: list[tuple[int, int, str]] = []  # each member's bytes with its local header
    at = 0
    for _ in range(count):
        sign, _, _, flags, method, _, _, _, packed, full, n_name, n_extra, n_comment, disk, _, _, header = (
            _CENTRAL.unpack_from(directory, at)
        )
        raw = directory[at + _CENTRAL.size :][: n_name + n_extra] if n_name + n_extra < 4096 else b""
        at += _CENTRAL.size + n_name + n_extra + n_comment
        if sign != b"PK\1\2" or at > size or len(raw) != n_name + n_extra or disk not in (0, FULL16):
            raise CheckpointError(f"{path}: its zip directory is broken; get the file again")
        name = _checked_name(path, raw[:n_name])
        full, packed, header = _wide(path, raw[n_name:], [full, packed, header])
        if flags & ENCRYPTED:
            raise CheckpointError(f"{path}: its member {name} is encrypted")
        if method != 0 or packed != full:
            raise CheckpointError(f"{path}: its member {name} is compressed, which torch.save does not do")
        if name in found:
            raise CheckpointError(f"{path}: its member {name} stands in it twice")
        begin = _local(path, data, header, raw[:n_name], full, start)
        found[name] = Member(begin, begin + full)
        taken.append((header, begin + full, name))
    if at != size:
        raise CheckpointError(f"{path}: its zip directory is longer than its members; get the file again")
    taken.sort()
    for (_, end, first), (begin, _, second) in pairwise(taken):
        if begin < end:
            raise CheckpointError(f"{path}: its members {first} and {second} share bytes")
    return found


def _directory(path: Path, data: mmap.mmap) -> tuple[int, int, int]:
    """How many members the central directory has, its size, and where it begins."""
    end = len(data) - _END.size
    if end < 0 or data[end : end + 4] != b"PK\5\6":
        raise CheckpointError(f"{path}: its zip directory is not at its end: cut short? Get the file again")
    _, disk, first, here, count, size, start, _ = _END.unpack_from(data, end)
    at = end
    if end >= _LOCATOR.size and data[end - _LOCATOR.size : end - _LOCATOR.size + 4] == b"PK\6\7":
        at = _LOCATOR.unpack_from(data, end - _LOCATOR.size)[2]
        if at > end - _LOCATOR.size - _END64.size:
            raise CheckpointError(f"{path}: its zip directory is broken; get the file again")
        narrow = (here, count, size, start)
        sign, _, _, _, disk, first, here, count, size, start = _END64.unpack_from(data, at)
        full = (FULL16, FULL16, FULL32, FULL32)
        pairs = zip(narrow, full, (here, count, size, start), strict=True)
        if sign != b"PK\6\6" or any(n not in (f, wide) for n, f, wide in pairs):
            raise CheckpointError(f"{path}: its zip directory says two things of itself")
    if disk or first or here != count or start + size != at:
        raise CheckpointError(f"{path}: its zip directory is broken; get the file again")
    if count > MOST or size > LARGEST_DIRECTORY:
        raise CheckpointError(f"{path}: has {count} members, no model has more than {MOST}")
    return count, size, start


def _wide(path: Path, extra: bytes, fields: list[int]) -> list[int]:
    """Size, packed size and place, those that did not fit 32 bits from the zip64 field (id 1) of `extra`."""
    at = 0
    while FULL32 in fields:
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4 + length
        if kind == 1:
            wanted = [i for i, value in enumerate(fields) if value == FULL32]
            if length < 8 * len(wanted) or at > len(extra):
                raise CheckpointError(f"{path}: its zip directory is broken; get the file again")
            for i, value in zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", extra, at - length), strict=True):
                fields[i] = value
            break
    return fields


def _local(path: Path, data: mmap.mmap, header: int, name: bytes, size: int, limit: int) -> int:
    """Where the bytes begin, after the local header has been seen to tell what the directory tells."""
    shown = name.decode("utf-8")
    if header + _LOCAL.size > limit:
        raise CheckpointError(f"{path}: its member {shown} does not lie within the file")
    sign, _, flags, method, _, _, _, packed, full, n_name, n_extra = _LOCAL.unpack_from(data, header)
    place = header + _LOCAL.size
    begin: int = place + n_name + n_extra
    # A size of 0 here means: unknown when this was written, see the directory.
    same = full in (0, FULL32, size) and packed in (0, FULL32, size) and method == 0 and not flags & ENCRYPTED
    if sign != b"PK\3\4" or not same or n_name != len(name) or data[place : place + n_name] != name:
        raise CheckpointError(f"{path}: its zip directory and its member {shown} tell different stories")
    if begin + size > limit:
        raise CheckpointError(f"{path}: its member {shown} does not lie within the file")
    return begin


def _checked_name(path: Path, raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = ""
    parts = name.removesuffix("/").split("/")
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or "\\" in name or {"", ".", ".."} & set(parts):
        raise CheckpointError(f"{path}: has a member named {excerpt(raw)}, which torch.save does not write")
    return name

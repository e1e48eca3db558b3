"""One pytorch_model.bin as named arrays: a pickle that describes them, and the storages they are views of.

torch.save has written two formats under this name. Since 1.6 (2020) it is a zip archive (torch_zip.py):

    NAME/data.pkl      the state dict: name -> which storage, offset, shape, strides (torch_pickle.py)
    NAME/data/KEY      one storage, little-endian, aligned to 64 bytes
    NAME/byteorder     "little"; absent before 2.1

Before that, and on request still, it is five pickles behind each other and then the storages:

    a magic number, the version 1001, a dict about the machine, the state dict, the list of storage keys;
    for each key: 8 bytes, how many numbers; then the numbers

Both are believed only if they agree with themselves, and both are mapped: nothing is read but the descriptions. The
tar archives of torch 0.1 are older than DistilBERT and refused.

A training checkpoint has its state dict somewhere inside: {"model": ..., "optimizer": ...}. If one dict in it, and only
one, has a model's arrays, it is that one, and `note` says so; of two (a model and its average) nobody but the user can
tell which is meant. What stands beside it is not looked into. Of the state dict itself all has to be known.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import CheckpointError, excerpt
from .mapped import WIDTHS, Entry, map_file, take
from .torch_pickle import LARGEST, NOT_A_NAME, Opaque, Pickled, Storage, Tensor, read_checkpoint, read_pickle, refusal
from .torch_zip import Member, members

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
WORDS = "embeddings.word_embeddings.weight"  # what tells a model's state dict from all else
DEEPEST = 4  # dicts within dicts in which one is looked for


class TorchFile:
    """An open file: `entries` (name -> Entry), `array` to take one, and `note`, if there is anything to say of it.

    What is no tensor in the state dict has an entry of its Python type and no shape, so that it shows up in messages.
    Raises CheckpointError if the file is not what torch.save writes, or names anything that could be executed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = map_file(path)
        start = self._map[:265]
        if start.startswith(b"PK\3\4"):
            read, places = _zip(path, self._map)
        elif start.startswith(b"\x80"):
            read, places = _stream(path, self._map)
        elif start[257:262] == b"ustar":
            raise CheckpointError(f"{path}: is a tar archive of torch 0.1; save it again with a newer torch")
        elif start[8:10] in (b'{"', b"{}"):
            raise CheckpointError(f"{path}: is safetensors: name it model.safetensors")
        else:
            raise CheckpointError(f"{path}: is nothing torch.save wrote; get the file again")
        state, self.note = _state_dict(path, read)
        self.entries = {name: _entry(path, value, places) for name, value in state.items()}

    def array(self, name: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """The array in float32 or float64, a read-only view if the file holds that type so, else a copy.

        Raises CheckpointError for any type in the file that is no float.
        """
        return take(self.path, self._map, name, self.entries[name], dtype)


Places = dict[str, Member]  # a storage's key -> where its bytes are


def _state_dict(path: Path, read: Pickled) -> tuple[dict[Any, Any], str]:
    """The state dict among what a file holds, all of it known; and a note of where it was, if not at the top."""
    top, where = read.value, f"{path}: its data.pkl"
    if type(top) is Opaque:
        raise CheckpointError(f"{refusal(where, top)}; of a whole pickled model, save model.state_dict() instead")
    if type(top) is not dict:
        raise CheckpointError(f"{path}: holds a {type(top).__name__}, not a state dict")
    models = _models(top)
    if len(models) > 1:
        places = " and ".join(excerpt(place) for place in list(models)[:3])
        raise CheckpointError(f"{path}: holds {len(models)} models, in {places}; save the state dict of one by itself")
    place, state = next(iter(models.items()), ("", top))
    if (state is top and read.unknown) or any(type(value) is Opaque for value in state.values()):
        name = next((value for value in state.values() if type(value) is Opaque), read.unknown[0])
        advice = "" if models else "; of a whole pickled model, save model.state_dict() instead"
        raise CheckpointError(f"{refusal(where, name)}{advice}")
    if NOT_A_NAME in state:
        raise CheckpointError(f"{where}: has a {state[NOT_A_NAME]} as the name of an array")
    return state, f"the weights are those in its {excerpt(place)}" if place else ""


def _models(top: dict[Any, Any]) -> dict[str, dict[Any, Any]]:
    """Place -> every dict that holds a model's arrays: the top one, "", or else those in it, in dicts in dicts."""
    found, seen = {}, set()
    level: dict[str, dict[Any, Any]] = {"": top}
    for _ in range(DEEPEST):
        deeper: dict[str, dict[Any, Any]] = {}
        for place, value in level.items():
            if id(value) in seen:
                continue
            seen.add(id(value))
            if any(type(key) is str and key.endswith(WORDS) and type(v) is Tensor for key, v in value.items()):
                found[place] = value
                continue
            inner = {key: v for key, v in value.items() if type(key) is str and type(v) is dict}
            deeper |= {f"{place}.{key[:80]}".removeprefix("."): v for key, v in inner.items()}
        level = deeper
    return found


def _entry(path: Path, value: Any, places: Places) -> Entry:
    if type(value) is not Tensor:
        return Entry(type(value).__name__, (), 0)
    storage, offset, shape, strides = value
    if storage.key not in places:
        raise CheckpointError(f"{path}: its storage {excerpt(storage.key)} is not there")
    begin, end = places[storage.key]
    if end - begin != storage.numel * WIDTHS[storage.dtype]:
        raise CheckpointError(f"{path}: its storage {excerpt(storage.key)} has {end - begin} bytes, not what it says")
    return Entry(storage.dtype, shape, begin + offset * WIDTHS[storage.dtype], strides)


def _zip(path: Path, data: mmap.mmap) -> tuple[Pickled, Places]:
    """The pickle and the storages of a zip archive."""
    found = members(path, data)
    pickles = [name for name in found if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(f"{path}: has {len(pickles)} members data.pkl, torch.save writes one")
    folder = pickles[0].removesuffix("data.pkl")
    order = found.get(folder + "byteorder")
    if order and data[order.begin : min(order.end, order.begin + 9)] != b"little":
        raise CheckpointError(f"{path}: its numbers are not little-endian; save it again on a common machine")
    begin, end = found[pickles[0]]
    if end - begin > LARGEST:
        raise CheckpointError(f"{path}: its data.pkl has {end - begin} bytes, no model's has more than {LARGEST}")
    read = read_checkpoint(f"{path}: its data.pkl", data[begin:end])
    if read.used != end - begin:
        raise CheckpointError(f"{path}: its data.pkl goes on after its end")
    storages = folder + "data/"
    return read, {name.removeprefix(storages): place for name, place in found.items() if name.startswith(storages)}


def _stream(path: Path, data: mmap.mmap) -> tuple[Pickled, Places]:
    """The pickle and the storages of the old format."""
    at = 0

    def read(what: str) -> Any:
        nonlocal at
        value, used = read_pickle(f"{path}: its {what}", data[at : at + LARGEST])
        at += used
        return value

    if read("magic number") != MAGIC or read("version") != VERSION:
        raise CheckpointError(f"{path}: is a pickle, but not one torch.save wrote")
    machine = read("machine")
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise CheckpointError(f"{path}: its numbers are not little-endian; save it again on a common machine")
    state = read_checkpoint(f"{path}: its data.pkl", data[at : at + LARGEST])
    at += state.used
    keys = read("keys")
    if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) != len(keys):
        raise CheckpointError(f"{path}: its list of storages is none")
    widths = _widths(path, state.storages)
    places: Places = {}
    for key in keys:
        count = int.from_bytes(data[at : at + 8], "little")
        begin, at = at + 8, at + 8 + count * widths.get(key, 0)
        if key not in widths or at > len(data):
            raise CheckpointError(f"{path}: its storage {excerpt(key)} does not lie within the file: cut short?")
        places[key] = Member(begin, at)
    if at != len(data):
        raise CheckpointError(f"{path}: goes on after its last storage")
    return state, places


def _widths(path: Path, storages: list[Storage]) -> dict[str, int]:
    """Key -> bytes a number of it takes, which in the old format only the tensors tell."""
    widths: dict[str, int] = {}
    for storage in storages:
        width = WIDTHS[storage.dtype]
        if widths.setdefault(storage.key, width) != width:
            raise CheckpointError(f"{path}: its storage {excerpt(storage.key)} is of two types")
    return widths

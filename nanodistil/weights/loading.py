"""A model's folder and config -> all its arrays, checked: names, shapes, types, and every number finite.

The order matters. Which files: files.py. What they hold: the headers alone, renamed by names.py (and before that, where
need be, by foreign_names.py and wrappers.py) and compared with the table, before a byte of data is read; so the wrong
model costs a millisecond and one message that names every array. Only then are the arrays taken (mapped.py,
quantization.py) and looked over for NaN and infinity, which no format check sees and which would otherwise surface as a
nonsense answer much later.

A body without a head is how every fine-tuning starts, so a missing head is drawn fresh and named in a warning; a
missing piece of the body has no such excuse and is an error, where transformers would draw it too.
"""

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import names, sentence_modules
from .errors import CheckpointError, excerpt
from .files import ADAPTER_CONFIG, WEIGHT_FILES, contained, is_index, shards, weight_map, weights_file
from .foreign_names import translated
from .initial import POSITIONS, fresh
from .mapped import FLOATS, release
from .names import BARE, TIED, Head, expected, is_head
from .quantization import is_quantized, is_scale, misfits, read_quantized
from .renamed import Names, without_copies
from .safetensors_reader import SafetensorsFile
from .side_by_side import PartOfFile
from .wrappers import OUTSIDE, unwrapped

if TYPE_CHECKING:
    from .h5_file import H5File
    from .msgpack_file import MsgpackFile
    from .torch_file import TorchFile

QUANTIZED = ("quantization_config", "quantization")  # what other programs' configs say of their integers
MOST_SHARDS = 500
MOST_ARRAYS = 20_000  # in all shards; a DistilBERT's have 105
THREADS = 2  # read arrays: more would wait for the memory
LISTED = 150  # names of one kind in a message: a DistilBERT's 105 and a broken file's first ones

WeightsFile: TypeAlias = "SafetensorsFile | TorchFile | H5File | MsgpackFile"  # alike: entries, array(name, dtype)
Source: TypeAlias = "tuple[WeightsFile, str]"  # a file and the array's name in it


class Loaded(NamedTuple):
    """What came of a checkpoint."""

    tensors: dict[str, NDArray[Any]]  # canonical name (names.py) -> array, in the table's order
    initialised: list[str]  # drawn at random because the checkpoint lacks them, under transformers' names
    dropped: list[str]  # in the checkpoint, and of no use to this model, under the file's names


def load(
    folder: Path,
    config: Any,
    head: Head = BARE,
    dtype: DTypeLike = np.float32,
    *,
    ignore_mismatched_sizes: bool = False,
    table: Names = names,
    draw: bool = True,
    base: Path | None = None,
) -> Loaded:
    """All arrays that `names.expected(config, head)` has, in float32 or float64, and what was added or left out.

    Arrays stored in the wanted type are read-only views of the mapped file. What the checkpoint lacks of the head is
    drawn fresh (initial.py), under one UserWarning that names it; so is, with ignore_mismatched_sizes, what it has in
    another shape. What it lacks of the body is never invented; only positions called sinusoidal are computed.
    Names a model has no use for are warned about once, as transformers does; the head of another task is left aside
    silently by the body alone. table: whose names are in the file. draw: False if a missing head is an error too. base:
    of a folder that holds an adapter alone, the folder of the model it is added to. Raises CheckpointError naming each
    array of the body that is missing, and each one that is misshapen, not of a float type, or not finite.
    """
    found, notes = found_in(base or folder, table)
    if head.optional and not any(name in found for name in head.arrays):
        head = BARE
    wanted = expected(config, head)
    adapter = None
    if base:
        from .adapter import Adapter

        adapter = Adapter(folder, table)
        adapter.check(wanted, head)
        found = {name: one for name, one in found.items() if name in wanted or not is_head(name)}  # not another task's
        found |= {name: (adapter.file, stored) for name, stored in adapter.whole.items()}
    if head.bare and (vectors := sentence_modules.told(folder)):
        notes = [f"{folder}: {vectors}", *notes]
    drawn, dropped, told = _check(folder, wanted, found, head, config, ignore_mismatched_sizes, table, draw)
    new = fresh({name: wanted[name] for name in drawn}, config, dtype)

    def read(name: str) -> NDArray[Any]:
        if name in new:
            return new[name]
        file, stored = found[name]
        array = read_quantized(file, stored, dtype) if is_ours(file, stored) else file.array(stored, dtype)
        if adapter and name not in adapter.whole:
            array = adapter.applied(name, array, dtype)
        if not finite(array):
            raise CheckpointError(
                f"{file.path}: {stored} {wanted[name]} has numbers that are NaN or infinite in {dtype}"
            )
        release(array)
        return array

    with ThreadPoolExecutor(THREADS) as pool:
        tensors = dict(zip(wanted, pool.map(read, wanted), strict=True))
    for note in (*notes, *told):  # when nothing worse can follow
        warnings.warn(note, stacklevel=3)
    return Loaded(tensors, [table.filed(name, head) for name in drawn if name != POSITIONS], dropped)


def finite(array: NDArray[Any]) -> bool:
    """Whether all numbers are finite.

    NaN and infinity survive addition, so a finite sum proves it: one pass without the temporary of np.isfinite, 11 ms
    instead of 21 for 66 M float32 on the development machine. Where the sum alone overflows, the slow way decides.

    >>> finite(np.array([3e38, 3e38], np.float32)), finite(np.array([np.inf, -np.inf]))
    (True, False)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def sizes(folder: Path, table: Names = names) -> dict[str, int]:
    """Fields of the config that an adapter's own arrays tell (adapter.py). Raises CheckpointError where it is none."""
    from .adapter import Adapter

    return Adapter(folder, table).sizes()


class Found(NamedTuple):
    """What a folder's files of weights hold, by their headers."""

    arrays: dict[str, Source]  # canonical name -> where it lies
    notes: list[str]  # what was done to find them so, and the user may want to know


def sources(folder: Path, table: Names = names) -> dict[str, Source]:
    """Canonical name -> where it lies, over one file or all shards. Headers only, so it is a cheap way to see what
    there is. Raises CheckpointError where the folder has no weights, or files that cannot be read."""
    return found_in(folder, table).arrays


def found_in(folder: Path, table: Names = names) -> Found:
    """As `sources`, with what there is to say of it."""
    weights = weights_file(folder)
    if weights is None:
        raise CheckpointError(f"{folder}: has no weights: {', '.join(WEIGHT_FILES[:-1])} or {WEIGHT_FILES[-1]}")
    if is_index(weights.name):
        pairs = _sharded(folder, weights)
    else:
        file = _opened(weights, weights.name)
        pairs = [(name, file) for name in file.entries]
    bare, left_off = unwrapped(str(folder), [name for name, _ in pairs], table)
    found: dict[str, Source] = {}
    named = list(zip(without_copies(bare, table), pairs, strict=True))
    for plain_name, (name, file) in [one for stored in named for one in _apart(*stored, table)]:
        plain = plain_name if plain_name.startswith(OUTSIDE) else table.canonical(plain_name)
        if plain is None or (isinstance(file, SafetensorsFile) and is_scale(file, name)):
            continue
        if plain in found:
            raise CheckpointError(f"{folder}: {_shown(name)} and {_shown(found[plain][1])} are the same array twice")
        found[plain] = (file, name)
    notes = []
    if left_off:
        notes.append(f"note: {folder}: the names of its arrays stand behind {excerpt(left_off)}, which was left off")
    if (folder / ADAPTER_CONFIG).is_file():
        notes.append(f"note: {folder}: has an adapter beside its weights, which was not added to them")
    files = dict.fromkeys(file for _, file in pairs)
    notes += [f"note: {file.path}: {said}" for file in files if (said := getattr(file, "note", ""))]
    return Found(found, notes)


def _apart(plain: str, source: tuple[str, WeightsFile], table: Names) -> list[tuple[str, tuple[str, Any]]]:
    """An array of a file, or those that it is taken apart into, each a file of its own (side_by_side.py)."""
    name, file = source
    parts = [(part.name, (name, PartOfFile(file, name, part))) for part in table.parts(plain)]
    return parts or [(plain, source)]


def _opened(path: Path, name: str) -> WeightsFile:
    """A file in the format its name says; in the cache, `path` may be a blob that is named by its hash.

    The readers that most models do not need are imported here: together they take 5 ms of every start.
    """
    match Path(name).suffix:
        case ".safetensors":
            file = SafetensorsFile(path)
            try:
                file.entries = translated(file.entries)
            except ValueError as error:
                raise CheckpointError(f"{path}: {error}") from None
            return file
        case ".bin":
            from .torch_file import TorchFile

            return TorchFile(path)
        case ".h5":
            from .h5_file import H5File

            return H5File(path)
        case _:
            from .msgpack_file import MsgpackFile

            return MsgpackFile(path)


def _sharded(folder: Path, index: Path) -> list[tuple[str, WeightsFile]]:
    """The tensors of all shards, after index and shards were found to tell the same story."""
    files: dict[str, WeightsFile] = {}
    for shard in shards(index):
        if len(files) >= MOST_SHARDS or sum(len(file.entries) for file in files.values()) > MOST_ARRAYS:
            raise CheckpointError(f"{index}: names more shards, or they hold more arrays, than any model has")
        if not (folder / shard).is_file():
            raise CheckpointError(f"{index}: the shard {shard} is not there")
        files[shard] = _opened(contained(folder, shard), shard)
    place = weight_map(index)  # where TensorFlow wrote it, with other names than are in the shards
    told = {name: shard for name, shard in place.items() if "/" not in name}
    absent = [f"{name} ({shard})" for name, shard in told.items() if name not in files[shard].entries]
    if absent:
        raise CheckpointError(f"{index}: not in the shard it names: {_list(absent)}")
    return [(name, file) for file in files.values() for name in file.entries]


def _check(
    folder: Path,
    wanted: dict[str, tuple[int, ...]],
    found: dict[str, Source],
    head: Head,
    config: Any,
    ignore_mismatched_sizes: bool,
    table: Names,
    draw: bool,
) -> tuple[list[str], list[str], list[str]]:
    """Canonical names to make anew, names in the files that go unused, and warnings of both.

    Raises one error that names every array that is missing or misfit and may not be made anew.
    """
    anew: list[str] = []
    missing: list[str] = []
    reshaped: list[str] = []
    misfit: list[str] = []
    for name, shape in wanted.items():
        drawn = draw and is_head(name)
        if name not in found:
            # A head can be trained again, and sinusoidal positions are the same everywhere. Nothing else is made up.
            if drawn or (name == POSITIONS and getattr(config, "sinusoidal_pos_embds", False)):
                anew.append(name)
            else:
                missing.append(f"{table.filed(name, BARE)} {shape}")
            continue
        file, stored = found[name]
        entry = file.entries[stored]
        if entry.shape != shape:
            drawn = drawn or ignore_mismatched_sizes
            (reshaped if drawn else misfit).append(f"{stored} is {entry.shape}, the config says {shape}")
            if drawn:
                anew.append(name)  # or, where that is not wanted, one of the problems below
        elif is_ours(file, stored):
            misfit += misfits(file, stored)
        elif entry.dtype not in FLOATS:
            misfit.append(f"{stored} is {entry.dtype}, weights are {', '.join(FLOATS)}")
    # A tied projection is the embedding again (names.py).
    others = {n: stored for n, (_, stored) in found.items() if n not in wanted and n not in TIED}
    dropped = list(others.values())
    unexpected = [stored for name, stored in others.items() if not table.set_aside(name, head)]
    problems = []
    packed = next((key for key in QUANTIZED if key in getattr(config, "extra", {})), None)
    if packed and any(f.entries[n].dtype not in FLOATS and not is_ours(f, n) for f, n in found.values()):
        problems.append(f"its weights are quantised (config.json: {packed}), which is not read; get them unquantised")
    if missing:
        problems.append(f"missing: {_list(missing)}")
    if misfit:
        problems.append(f"misfit: {_list(misfit)}")
    if reshaped and not ignore_mismatched_sizes:
        problems.append(
            f"misfit: {_list(reshaped)} (ignore_mismatched_sizes=True makes a new head of the config's size)"
        )
    if problems and unexpected:
        problems.append(f"unexpected: {_list(unexpected)}")
    if problems:
        raise CheckpointError(f"{folder}: {'; '.join(problems)}")
    notes = []
    if unexpected:
        notes.append(f"{folder}: arrays this model has no use for: {_list(unexpected)}")
    told = [table.filed(name, head) for name in anew if name != POSITIONS]
    if told:
        why = "not in the checkpoint" + (f" in this shape ({_list(reshaped)})" if reshaped else "")
        notes.append(f"{folder}: newly initialised, as {why}: {_list(told)}; train the model before you trust it")
    return anew, dropped, notes


def is_ours(file: WeightsFile, name: str) -> TypeGuard[SafetensorsFile]:
    """Whether an array is of integers as quantization.py makes them, for which it takes such a file."""
    return isinstance(file, SafetensorsFile) and is_quantized(file, name)


def _list(names: Iterable[str]) -> str:
    shown = [_shown(name) for name in names]
    return ", ".join(shown[:LISTED]) + (f" and {len(shown) - LISTED} more" if len(shown) > LISTED else "")


def _shown(name: str) -> str:
    """A name from a file, fit for a message of one line: it may hold line breaks, or megabytes."""
    name = name if len(name) <= 200 else f"{name[:200]}..."
    return name if name.isprintable() else repr(name)

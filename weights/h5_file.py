"""One tf_model.h5 as named arrays: what Keras wrote of a TensorFlow DistilBERT, under PyTorch's names.

    distilbert/                                         a layer of the model, as a group
      tf_distil_bert_for_masked_lm/                     the model: level zero of the name, dropped
        distilbert/transformer/layer_._0/ffn/lin1/      the name
          kernel:0                                      (in, out), where torch has (out, in)
          bias:0

The rules are transformers' own: `_._` and `/` become dots, `kernel` becomes `weight` and is transposed, `embeddings`
becomes `weight`, and so do `gamma` and `beta` of a LayerNorm, which names.py knows from elsewhere. Keras lists an array
again under every layer that uses it (the vocabulary's projection uses the embeddings); only the one under the layer
its own name begins with counts.

h5py (the extra `h5`) says where the arrays are; they are mapped from the file like those of the other formats, which is
possible since Keras stores them in one piece. Chunks, filters, other files' data and links out of the file are features
of HDF5 that no weights need: they are refused, and no decompression runs. What remains is libhdf5 itself, a large
parser in C that had its share of holes. To take a stranger's file, prefer any other format.
"""

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import CheckpointError, MissingExtraError
from .mapped import Entry, map_file, take

MOST = 10_000  # groups and arrays in a file; a DistilBERT's has 250
DEEPEST = 16  # groups within groups; a DistilBERT's are 9
_CODES = {"<f8": "F64", "<f4": "F32", "<f2": "F16"}


class H5File:
    """An open file: `entries` (name -> Entry), and `array` to take one.

    Raises MissingExtraError without h5py, CheckpointError where the file is not such as Keras writes.
    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("h5py") is None:
            raise MissingExtraError(f'to read {path}: pip install "nanodistil[h5]"')
        self.path = path
        self._map = map_file(path)
        try:
            self.entries = _entries(path)
        except CheckpointError:
            raise
        except Exception as error:  # h5py turns what libhdf5 reports into half a dozen builtin errors
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{path}: not a readable HDF5 file ({reason})") from None

    def array(self, name: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """The array in float32 or float64, a read-only view where the file holds that type so, else a copy.

        Raises CheckpointError for any type in the file that is no float.
        """
        return take(self.path, self._map, name, self.entries[name], dtype)


def torch_name(path: str) -> str | None:
    """PyTorch's name for a path in the file; None for an array that stands there for the second time.

    >>> torch_name("distilbert/tf_distil_bert_model/distilbert/transformer/layer_._0/ffn/lin1/kernel:0")
    'distilbert.transformer.layer.0.ffn.lin1.weight'
    >>> torch_name("vocab_projector/tf_distil_bert_for_masked_lm/distilbert/embeddings/word_embeddings/weight:0")
    """
    layer, *name = path.removesuffix(":0").split("/")
    name = name[1:] if len(name) > 1 else name
    if not name or (name[0] != layer and len(name) > 1):
        return None
    if name[-1] in ("kernel", "embeddings"):
        name[-1] = "weight"
    return ".".join(name).replace("_._", ".")


def _entries(path: Path) -> dict[str, Entry]:
    """All arrays of the file, found by a walk of our own that ends after MOST steps.

    h5py's visititems would be shorter, but with a broken B-tree libhdf5 fills the memory before it hands out a name;
    and Keras' lists of names (the attributes layer_names, weight_names) hang it for good where their heap is broken.
    """
    import h5py

    entries: dict[str, Entry] = {}
    seen = 0

    def walk(group: Any, place: str, depth: int) -> None:
        nonlocal seen
        names: list[bytes] = []

        def see(name: bytes) -> bool | None:
            names.append(name)
            return True if len(names) > MOST else None  # True ends it

        group.id.links.iterate(see)
        seen += len(names)
        if seen > MOST or depth > DEEPEST:
            raise CheckpointError(f"{path}: has more in it, or deeper, than any model")
        for raw in names:
            if group.id.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                continue  # to elsewhere in this file, or to another one: as if it were not there
            item, at = group[raw], f"{place}/{raw.decode()}".removeprefix("/")
            if isinstance(item, h5py.Group):
                walk(item, at, depth + 1)
            name = torch_name(at) if isinstance(item, h5py.Dataset) else None
            if name is not None and name in entries:
                raise CheckpointError(f"{path}: has {name!r:.200} twice")
            if name is not None:
                entries[name] = _entry(path, at, item)

    with h5py.File(path, "r") as file:
        if file.userblock_size:
            raise CheckpointError(f"{path}: begins with something that is not HDF5")
        walk(file, "", 0)
    return entries


def _entry(path: Path, place: str, dataset: Any) -> Entry:
    """Where a dataset lies, once it is certain to lie in one piece in this file."""
    shape, kind = tuple(int(n) for n in dataset.shape or ()), dataset.dtype
    code = _CODES.get(kind.str)
    if code is None:
        return Entry(str(kind), shape, 0)
    begin, size = dataset.id.get_offset(), math.prod(shape) * kind.itemsize
    # No offset: in chunks, in another file, put together from others, or never written.
    if size and (begin is None or dataset.id.get_storage_size() != size):
        raise CheckpointError(f"{path}: {place!r:.200} is not stored in one piece, as Keras does; save the file again")
    if place.endswith(("/kernel:0", "/kernel")) and len(shape) == 2:
        return Entry(code, shape[::-1], begin or 0, (1, shape[1]))
    return Entry(code, shape, begin or 0)

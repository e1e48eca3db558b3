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
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import CheckpointError, MissingExtraError
from .mapped import Entry, map_file, take

MOST = 10_000  # names in a list; a DistilBERT's have up to 100
LONGEST = 1000  # bytes of a name
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
    """All arrays Keras lists, found by name: what it does not list is not looked for.

    Walking through all that is in the file would be shorter, and a file whose B-tree has a leaf that follows itself
    would fill the memory: libhdf5 collects the names of a group before it hands them out.
    """
    import h5py

    entries: dict[str, Entry] = {}
    with h5py.File(path, "r") as file:
        if file.userblock_size:
            raise CheckpointError(f"{path}: begins with something that is not HDF5")
        for layer in _listed(path, file, "layer_names"):
            group = _hard(path, file, layer)
            for weight in _listed(path, group, "weight_names"):
                name = torch_name(f"{layer}/{weight}")
                if name is None:
                    continue
                if name in entries:
                    raise CheckpointError(f"{path}: has {name!r:.200} twice")
                entries[name] = _entry(path, weight, _hard(path, group, weight))
    return entries


def _listed(path: Path, group: Any, attribute: str) -> list[str]:
    """The names in an attribute; of a list beyond 64 kB, Keras makes several: weight_names0, weight_names1, ..."""
    there = group.attrs
    several = takewhile(there.__contains__, (f"{attribute}{i}" for i in range(MOST)))
    parts = [attribute] if attribute in there else list(several)
    if not parts:
        raise CheckpointError(f"{path}: has no {attribute}, which Keras writes")
    names: list[str] = []
    for part in parts:
        claimed = there.get_id(part)
        if math.prod(claimed.shape) > MOST - len(names) or claimed.dtype.itemsize > LONGEST:
            raise CheckpointError(f"{path}: lists more, or longer, names than any model has")
        names += [name.decode() if isinstance(name, bytes) else str(name) for name in there[part]]
    return names


def _hard(path: Path, group: Any, place: str) -> Any:
    """What lies at a place, every step a plain one: HDF5 has links to elsewhere in the file and to other files."""
    import h5py

    item = group
    for step in place.split("/"):
        if not isinstance(item.get(step, getlink=True), h5py.HardLink):
            raise CheckpointError(f"{path}: {place!r:.200} is not there, or only a link to elsewhere")
        item = item[step]
    return item


def _entry(path: Path, place: str, dataset: Any) -> Entry:
    """Where a dataset lies, once it is certain to lie in one piece in this file."""
    if not hasattr(dataset, "shape"):
        raise CheckpointError(f"{path}: {place!r:.200} is no array")
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

"""safetensors files written by hand, byte for byte, so that tests can write wrong ones too; and a tiny model."""

import json
from types import SimpleNamespace

import numpy as np

from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.names import expected, filed

TINY = SimpleNamespace(
    vocab_size=11, max_position_embeddings=5, dim=4, hidden_dim=6, n_layers=2, n_heads=2, tie_word_embeddings=True
)


def tiny_arrays(head="masked_lm", config=TINY, seed=0):
    """Canonical name -> float32 array."""
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal(shape).astype(np.float32) for name, shape in expected(config, TABLE[head]).items()
    }


def as_filed(arrays, head="masked_lm"):
    """The same under transformers' names."""
    return {filed(name, TABLE[head]): array for name, array in arrays.items()}


def bf16(array):
    """float32 -> the bits of BF16, cut off."""
    return (np.asarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)


CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "uint16": "BF16",
    "int8": "I8",
    "int64": "I64",
    "bool": "BOOL",
}


def header_of(arrays, metadata=None):
    """The header as a dict, and the data; uint16 stands for BF16."""
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        row = {"dtype": CODES[array.dtype.name], "shape": list(array.shape)}
        header[name] = row | {"data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return header, data


def file_bytes(arrays, metadata=None, align=8):
    """A whole file; the header padded to `align` bytes."""
    header, data = header_of(arrays, metadata)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8) + b" " * (align % 8)
    return len(text).to_bytes(8, "little") + text + data

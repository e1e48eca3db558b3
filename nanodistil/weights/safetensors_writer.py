"""Named arrays as one .safetensors file, written to the very file it is told to.

    8 bytes          length n of the header, little-endian
    n bytes          JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}, and spaces
    the rest         the arrays one after the other, in the order given

The safetensors library writes too, but to a temporary file of its own that it then renames: killed there, it leaves a
file behind whose name tells nobody what it is. It also cannot write BF16 from NumPy, which has no such type; here the
bits are given as uint16. The header is padded to 8 bytes, so that the arrays lie aligned in a map.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64", "int8": "I8"}


def write_safetensors(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write the arrays, in C order; uint16 are the bits of BF16. Raises OSError if the disk does not take them."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    begin = 0
    for name, array in arrays.items():
        row = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape)}
        header[name] = row | {"data_offsets": [begin, begin + array.nbytes]}
        begin += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(np.asarray(array, order="C").data)

"""A stand-in for CuPy, for machines without a GPU: NumPy arrays behind CuPy's names, kernels run by cuda_on_cpu.h.

It has the part of CuPy 14 that this project uses, under CuPy's names, and no more: what is missing here has not been
looked up in CuPy's documentation either. It is as strict as the real one, or stricter, where a mistake would go
unseen on a CPU: arrays do not mix with NumPy's and are not converted silently, and a kernel's arguments must have the
types its signature names (a GPU would read garbage). It says nothing about speed: on the default stream everything has
happened when a call returns, and on others as little as graphs.py can help.

`emulation` is the one name the real CuPy lacks: the knobs of the emulator, and how tests tell it from CuPy.
"""

from numpy import bool_, dtype, float16, float32, float64, int8, int32, int64, uint8, uint16, uint32, uint64

from . import cuda, emulation
from .arrays import (
    arange,
    array,
    asarray,
    ascontiguousarray,
    asnumpy,
    concatenate,
    empty,
    empty_like,
    get_default_memory_pool,
    get_default_pinned_memory_pool,
    matmul,
    ndarray,
    sort,
    zeros,
    zeros_like,
)
from .modules import RawKernel, RawModule

__version__ = "14.2.0"
__all__ = [
    "RawKernel",
    "RawModule",
    "arange",
    "array",
    "asarray",
    "ascontiguousarray",
    "asnumpy",
    "bool_",
    "concatenate",
    "cuda",
    "dtype",
    "empty",
    "empty_like",
    "emulation",
    "float16",
    "float32",
    "float64",
    "get_default_memory_pool",
    "get_default_pinned_memory_pool",
    "int8",
    "int32",
    "int64",
    "matmul",
    "ndarray",
    "sort",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "zeros",
    "zeros_like",
]

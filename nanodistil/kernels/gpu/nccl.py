"""Several GPUs, one a process: sums and copies of arrays from GPU to GPU, without the way through the host's memory.

It is NCCL that does it, by CuPy's binding. Before it can, the processes must all know a number that the first of them
has drawn; how they are told is the caller's to say. Two processes on one GPU it refuses, and its library may be missing
(pip install nvidia-nccl-cu13, or -cu12), so `own_gpu` is asked first. Whoever cannot have it sums on the host: for
DistilBERT's gradients that is 265 MB down and up again a step.

Sums are asked of CuPy's current device and stream, and not waited for.
"""

from __future__ import annotations

import importlib
import platform
import warnings
from collections.abc import Callable
from typing import Any

from .cuda_source import cupy as cp

Array = Any  # a cupy.ndarray


def _nccl() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the library is missing
        return importlib.import_module("cupy.cuda.nccl")


def own_gpu() -> str:
    """A name of this process's GPU that no other GPU has; "" if NCCL is not installed."""
    if not _nccl().available:
        return ""
    return f"{platform.node()} {cp.cuda.runtime.deviceGetPCIBusId(cp.cuda.runtime.getDevice())}"


class Gpus:
    """The GPUs of `size` processes, as one of them sees them.

    tell: called once in every process; gives all of them what it was called with in process 0.
    """

    def __init__(self, rank: int, size: int, tell: Callable[[Any], Any]) -> None:
        self._library = _nccl()
        number = tell(self._library.get_unique_id() if rank == 0 else None)
        self._all = self._library.NcclCommunicator(size, number, rank)

    def all_reduce_sum(self, array: Array) -> None:
        """In place: every process gets the sum of all. Contiguous, float32."""
        self._all.allReduce(array.data.ptr, array.data.ptr, *self._kind(array), self._library.NCCL_SUM, _stream())

    def broadcast(self, array: Array) -> None:
        """In place: every process gets what process 0 has. Contiguous, float32."""
        self._all.bcast(array.data.ptr, *self._kind(array), 0, _stream())

    def _kind(self, array: Array) -> tuple[int, int]:
        if array.dtype != "float32" or not array.flags.c_contiguous:
            raise ValueError(f"a contiguous float32 array is needed, not {array.dtype}")
        return array.size, self._library.NCCL_FLOAT32


def _stream() -> int:
    return int(cp.cuda.get_current_stream().ptr)

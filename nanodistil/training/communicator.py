"""Several processes, one model: each works through its share of the micro-batches, and gradients are summed.

That is all data-parallel training is, so this is all there is of it: who am I, how many are we, and a sum. `Single` is
one process, if there is nothing to sum. `Mpi` is the processes that mpirun started (extra: "nanodistil[mpi]"):

    mpirun -n 2 nanodistil distill ... --threads 1

The sum of two ranks is the gradient of one process to rounding, not to the last bit, because it adds in another order.
So the number of ranks is one of a run's settings, and a run goes on only with as many as it began with.

With `--backend cupy` each rank takes a GPU of its machine, in turn. If each has one to itself and NCCL is installed,
sums go from GPU to GPU (kernels/gpu/nccl.py); else through the host.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from nanodistil.backend import Array, gpu_module
from nanodistil.weights.errors import MissingExtraError, NanoDistilError

STARTED_BY_MPIRUN = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")  # how many: Open MPI; MPICH and its kin


class Communicator(Protocol):
    """What a training loop needs of the others."""

    rank: int  # 0 .. size - 1; rank 0 writes the files
    size: int

    def placed(self, backend: str | None) -> str | None:
        """The backend for this rank, if the user asked for `backend`."""
        ...

    def all_reduce_sum(self, array: Array) -> None:
        """In place, on the host or a GPU: every rank gets the sum of all."""
        ...

    def broadcast(self, array: Array) -> None:
        """In place, on the host or a GPU: every rank gets what rank 0 has."""
        ...

    def barrier(self) -> None:
        """Nobody goes on before all are here."""
        ...


class Single:
    """One process by itself."""

    rank, size = 0, 1

    def placed(self, backend: str | None) -> str | None:
        """As it is."""
        return backend

    def all_reduce_sum(self, array: Array) -> None:
        """The sum of one."""

    def broadcast(self, array: Array) -> None:
        """There is nobody to tell."""

    def barrier(self) -> None:
        """There is nobody to wait for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Mpi:
    """The processes that mpirun started. As a context it ends all of them if one fails, lest they wait for it.

    Raises MissingExtraError without mpi4py.
    """

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # RuntimeError: no MPI library on this machine
            reason = " ".join(str(error).split())[:200]
            raise MissingExtraError(f'mpi4py and an MPI are needed ({reason}): pip install "nanodistil[mpi]"') from None
        self._mpi, self._world = MPI, MPI.COMM_WORLD
        self.rank, self.size = int(self._world.Get_rank()), int(self._world.Get_size())

    def placed(self, backend: str | None) -> str | None:
        """The backend for this rank: "cupy" becomes a GPU of its own, "cupy:1", while there are any; others stay."""
        if backend != "cupy":
            return backend
        neighbour = self._world.Split_type(self._mpi.COMM_TYPE_SHARED).Get_rank()
        return f"cupy:{neighbour % len(gpu_module('device').devices())}"

    def all_reduce_sum(self, array: Array) -> None:
        """In place, on the host or a GPU: every rank gets the sum of all."""
        if isinstance(array, np.ndarray):
            self._world.Allreduce(self._mpi.IN_PLACE, array)
        elif self._gpus:
            self._gpus.all_reduce_sum(array)
        else:
            self._on_host(self.all_reduce_sum, array)

    def broadcast(self, array: Array) -> None:
        """In place, on the host or a GPU: every rank gets what rank 0 has."""
        if isinstance(array, np.ndarray):
            self._world.Bcast(array, root=0)
        elif self._gpus:
            self._gpus.broadcast(array)
        else:
            self._on_host(self.broadcast, array)

    @cached_property
    def _gpus(self) -> Any:
        """NCCL, if all ranks have it and each a GPU to itself, else None. All ranks ask at the same time."""
        nccl = gpu_module("nccl")
        names = self._world.allgather(nccl.own_gpu())
        if all(names) and len(set(names)) == self.size:
            return nccl.Gpus(self.rank, self.size, self._world.bcast)
        if self.rank == 0:
            reason = "ranks share GPUs" if all(names) else "NCCL is not installed (pip install nvidia-nccl-cu13)"
            warnings.warn(f"note: {reason}, so gradients are summed on the host", stacklevel=2)
        return None

    @staticmethod
    def _on_host(collective: Callable[[Any], None], array: Any) -> None:
        there = array.get()
        collective(there)
        array.set(there)

    def barrier(self) -> None:
        """Nobody goes on before all are here."""
        self._world.Barrier()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):  # every rank stops at the same step
            return
        if isinstance(error, NanoDistilError):
            print(f"nanodistil: {error}", file=sys.stderr, flush=True)
        else:
            traceback.print_exception(error)
        self._world.Abort(2 if isinstance(error, NanoDistilError) else 1)


def communicator() -> Single | Mpi:
    """Mpi if mpirun started this process among several, otherwise Single."""
    several = any(os.environ.get(name, "1") not in ("", "0", "1") for name in STARTED_BY_MPIRUN)
    return Mpi() if several else Single()

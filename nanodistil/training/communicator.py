"""Several processes, one model: each works through its share of the micro-batches, and gradients are summed.

That is all data-parallel training is, so this is all there is of it: who am I, how many are we, and a sum. `Single` is
one process, where there is nothing to sum. `Mpi` is the processes that mpirun started (extra: "nanodistil[mpi]"):

    mpirun -n 2 nanodistil distill ... --threads 1

The sum of two ranks is the gradient of one process to rounding, not to the last bit, because it adds in another order.
So the number of ranks is one of a run's settings, and a run goes on only with as many as it began with.
"""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from nanodistil.weights.errors import MissingExtraError, NanoDistilError

STARTED_BY_MPIRUN = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")  # how many: Open MPI; MPICH and its kin


class Communicator(Protocol):
    """What a training loop needs of the others."""

    rank: int  # 0 .. size - 1; rank 0 writes the files
    size: int

    def all_reduce_sum(self, array: NDArray[Any]) -> None:
        """In place: every rank gets the sum of all."""
        ...

    def broadcast(self, array: NDArray[Any]) -> None:
        """In place: every rank gets what rank 0 has."""
        ...

    def barrier(self) -> None:
        """Nobody goes on before all are here."""
        ...


class Single:
    """One process by itself."""

    rank, size = 0, 1

    def all_reduce_sum(self, array: NDArray[Any]) -> None:
        """The sum of one."""

    def broadcast(self, array: NDArray[Any]) -> None:
        """There is nobody to tell."""

    def barrier(self) -> None:
        """There is nobody to wait for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Mpi:
    """The processes that mpirun started. As a context it ends all of them where one fails, lest they wait for it.

    Raises MissingExtraError without mpi4py.
    """

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # RuntimeError: no MPI library on this machine
            reason = " ".join(str(error).split())[:200]
            raise MissingExtraError(f'mpi4py and an MPI are needed ({reason}): pip install "nanodistil[mpi]"') from None
        self._world, self._in_place = MPI.COMM_WORLD, MPI.IN_PLACE
        self.rank, self.size = int(self._world.Get_rank()), int(self._world.Get_size())

    def all_reduce_sum(self, array: NDArray[Any]) -> None:
        """In place: every rank gets the sum of all."""
        self._world.Allreduce(self._in_place, array)

    def broadcast(self, array: NDArray[Any]) -> None:
        """In place: every rank gets what rank 0 has."""
        self._world.Bcast(array, root=0)

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
    """Mpi where mpirun started this process among several, otherwise Single."""
    several = any(os.environ.get(name, "1") not in ("", "0", "1") for name in STARTED_BY_MPIRUN)
    return Mpi() if several else Single()

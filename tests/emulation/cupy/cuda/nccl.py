"""cupy.cuda.nccl: processes that mpirun started, each with an emulated GPU, joined by MPI."""

import ctypes
from importlib.util import find_spec

import numpy as np

from . import runtime

available = find_spec("mpi4py") is not None
NCCL_FLOAT32, NCCL_SUM = 7, 0


class NcclError(RuntimeError):
    pass


def get_unique_id():
    return tuple(range(128))


class NcclCommunicator:
    def __init__(self, ndev, commId, rank):
        from mpi4py import MPI

        self.in_place, self.world = MPI.IN_PLACE, MPI.COMM_WORLD
        if (ndev, rank) != (self.world.Get_size(), self.world.Get_rank()) or commId != get_unique_id():
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: invalid argument")
        if len(set(self.world.allgather(runtime.deviceGetPCIBusId(0)))) < ndev:
            raise NcclError("NCCL_ERROR_INVALID_USAGE: duplicate GPU")

    def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):
        if sendbuf != recvbuf or op != NCCL_SUM:
            raise NcclError("only sums in place are emulated")
        self.world.Allreduce(self.in_place, numbers(recvbuf, count, datatype))

    def bcast(self, buff, count, datatype, root, stream):
        self.world.Bcast(numbers(buff, count, datatype), root=root)


def numbers(address, count, datatype):
    if datatype != NCCL_FLOAT32:
        raise NcclError("only float32 is emulated")
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))

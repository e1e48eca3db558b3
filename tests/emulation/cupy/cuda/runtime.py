"""cupy.cuda.runtime: what a driver would say of an H200, as far as anybody asks."""

from ..memory import pool

TOTAL_MEMORY = 1 << 34
PROPERTIES = {
    "name": b"emulated",
    "totalGlobalMem": TOTAL_MEMORY,
    "major": 9,
    "minor": 0,
    "multiProcessorCount": 132,
    "warpSize": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsDim": (1024, 1024, 64),
    "maxGridSize": (2147483647, 65535, 65535),
    "sharedMemPerBlock": 49152,
    "sharedMemPerBlockOptin": 232448,
    "sharedMemPerMultiprocessor": 233472,
    "l2CacheSize": 62914560,
    "memoryBusWidth": 6144,
}


class CUDARuntimeError(RuntimeError):
    def __init__(self, status, message="emulated"):
        self.status = status
        super().__init__(message)


def getDeviceCount():
    return 1


def getDevice():
    return 0


def setDevice(device):
    if device:
        raise CUDARuntimeError(101, "cudaErrorInvalidDevice: invalid device ordinal")


def getDeviceProperties(device):
    setDevice(device)
    return dict(PROPERTIES)


bus = "0000:00:00.0"  # no name of CuPy's: where the device is; a test may say so for each process


def deviceGetPCIBusId(device):
    setDevice(device)
    return bus


def deviceSynchronize():
    pass


def memGetInfo():
    total = pool.limit or TOTAL_MEMORY
    return total - pool.used, total


def runtimeGetVersion():
    return 13000


def driverGetVersion():
    return 13000

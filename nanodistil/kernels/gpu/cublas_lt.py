"""The linear map of a GPU: y (N, O) = x (N, I) W^T + bias (O,), with its bias, in one call of cuBLASLt.

The backward pass is two more products, dX = dY W and dW += dY^T X, so what stands here is one general product,
`matmul`, of matrices as they lie in memory, either of them transposed, with a bias or added to what `out` holds.

Why cuBLASLt. NVIDIA has tuned a kernel for every shape and every GPU. CuPy's `matmul` reaches those through
cublasGemmEx, which cannot add a bias; a second kernel would read all of y and write it again for that. cuBLASLt adds
the bias while the sums are still in registers (its "epilogue").

Why ctypes. CuPy wraps cuBLAS but not cuBLASLt. All that goes into the library is numbers: addresses on the GPU,
addresses of descriptors on the host, the stream. Descriptors are made by the library and filled attribute by attribute
(their size has changed between versions), so only one struct's layout must be known here, `_Result`.

Types. Operands float32, float16 or bfloat16, both the same; out the same or float32; sums always float32, also if a
long sum is divided among blocks, whose parts by default may be stored in 16 bits (hence the mask on reduction schemes).
The bias has the type of out: that is the rule of cublasLtMatmul's table for every combination used here.

CUDA graphs. Run the same shapes on the same stream once before capture: a search inside one fails (CUDA 13.3: "Could
not obtain green context information"), and the workspace, allocated once a stream and kept, must exist by then.

Source: cublasLt.h and the cuBLAS documentation of CUDA 13, section "cublasLtMatmul()".
"""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress
from ctypes import byref, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any, NamedTuple

Array = Any  # a cupy.ndarray

WORKSPACE = 32 << 20  # bytes: what NVIDIA recommends for Hopper; its address must be a multiple of 256, as CuPy's are

# The numbers of cublasLt.h, cublas_api.h and library_types.h that are used here.
TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}  # CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF
COMPUTE = {"float32": 68, "tf32": 77}  # CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32
TRANSPOSE_A, TRANSPOSE_B, EPILOGUE, BIAS_POINTER = 3, 4, 7, 8  # CUBLASLT_MATMUL_DESC_...
EPILOGUE_BIAS = 4  # the default is 1: nothing
COLUMNS = 3  # CUBLASLT_MATRIX_LAYOUT_COLS
MAX_WORKSPACE, REDUCTION_SCHEMES, ALIGNMENT, IMPLEMENTATIONS = 1, 3, (5, 6, 7, 8), 12  # CUBLASLT_MATMUL_PREF_...
REDUCE_IN_FLOAT32 = 2  # CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; not to divide the sum is allowed anyway
EVERY = (1 << 64) - 1
ROUNDED_INPUTS = 0x7 << 16  # CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F | ..._16BF | ..._TF32
NOT_SUPPORTED = 15  # CUBLAS_STATUS_NOT_SUPPORTED


class CublasLtError(RuntimeError):
    """cuBLASLt is missing, or refused: one line with the name of its status and the shapes."""


class _Algorithm(ctypes.Structure):  # cublasLtMatmulAlgo_t
    _fields_ = (("data", c_uint64 * 8),)


class _Result(ctypes.Structure):  # cublasLtMatmulHeuristicResult_t
    _fields_ = (
        ("algorithm", _Algorithm),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasLtCreate": (c_void_p,),
    "cublasLtGetStatusName": (c_int,),
    "cublasLtMatmulDescCreate": (c_void_p, c_int, c_int),  # where to, compute type, type of alpha and beta
    "cublasLtMatmulDescSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "cublasLtMatrixLayoutCreate": (c_void_p, c_int, c_uint64, c_uint64, c_int64),  # where to, type, rows, columns, ld
    "cublasLtMatrixLayoutSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "cublasLtMatmulPreferenceCreate": (c_void_p,),
    "cublasLtMatmulPreferenceSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "cublasLtMatmulPreferenceDestroy": (c_void_p,),
    # handle, operation, 4 layouts, preference, results wanted, results, number found
    "cublasLtMatmulAlgoGetHeuristic": (*(c_void_p,) * 7, c_int, c_void_p, c_void_p),
    "cublasLtMatmulAlgoCheck": (c_void_p,) * 8,  # handle, operation, 4 layouts, algorithm, result
    # handle, operation, alpha, A, layout, B, layout, beta, C, layout, D, layout, algorithm, workspace, its size, stream
    "cublasLtMatmul": (*(c_void_p,) * 14, c_size_t, c_void_p),
}

_ZERO, _ONE = c_float(0.0), c_float(1.0)  # what beta and alpha point to, on the host


class _Kind(NamedTuple):
    """All that a plan depends on. Lengths are in numbers, not bytes.

    Alignment is part of a plan: addresses and distances between rows decide how wide loads may be. For these types the
    documentation demands none, so rows of 16-bit numbers that do not begin at multiples of 16 bytes (I or O no multiple
    of 8) are only slower. If that hurts, as with a vocabulary of 30522, let `out` be columns of a wider matrix: rows
    may be any distance apart. A bias that no algorithm takes (early versions wanted it aligned) is written to out
    first, and the product added to it: the same sum, rounded once.
    """

    device: int
    N: int  # rows of a, rounded up
    W: int  # numbers in a row of a
    O: int  # numbers in a row of out
    distances: tuple[int, int, int]  # from row to row of a, b and out
    types: tuple[str, str]  # of a and b, of out and bias
    compute: str
    transpose_a: bool
    transpose_b: bool
    alignment: tuple[int, int, int, int]  # of a, b, out and bias in bytes, at most 256; 0: no bias

    def shapes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Of a, b and out as they lie in memory."""
        rows, summed = (self.W, self.N) if self.transpose_a else (self.N, self.W)
        return (self.N, self.W), (self.O, summed) if self.transpose_b else (summed, self.O), (rows, self.O)

    def __str__(self) -> str:
        (a, b, out), mark = self.shapes(), {False: "", True: "^T"}
        return (
            f"{a}{mark[self.transpose_a]} x {b}{mark[self.transpose_b]} in {self.types[0]} -> {out} in {self.types[1]}"
            f"{' with bias' if self.alignment[3] else ''}, rows {self.distances} apart, compute {self.compute}"
        )


class _Plan:
    """The descriptors of one kind of product, and the algorithms found for it.

    Plans. Before a product, the library wants shapes described and an algorithm chosen, tens of microseconds that a
    short batch's product itself may not take. Both are kept, as a plan. But N is the number of tokens in a ragged
    batch, hardly ever twice the same, so a plan serves all N that round up to the same four leading bits, an eighth
    more at most. Is its algorithm right for them all? It is a size of tile, a number of stages, a division of the sum;
    N is only how many tiles there are. N is never a leading dimension (a row of x is I long, however many rows there
    are), so nothing about alignment depends on it. And cublasLtMatmulAlgoCheck is asked once for each N; if it
    refuses, that N gets a search of its own. What can be lost is a little speed, if another tile would have filled
    the last wave better.
    """

    def __init__(self, operation: c_void_p, layouts: list[c_void_p], long: list[c_void_p], N: int) -> None:
        self.operation, self.layouts = operation, layouts  # layouts: of a, b and out
        self.long = long  # those of `layouts` that have N columns
        self.N = N  # columns they have now
        self.bias = 0  # address the operation has now
        self.algorithms: dict[int, _Algorithm | None] = {}  # by N; None: there is none


_lock = threading.Lock()  # around everything below: plans change from call to call
_handles: dict[int, c_void_p] = {}  # by device
_workspaces: dict[tuple[int, int], Array] = {}  # by device and stream
_plans: dict[_Kind, _Plan] = {}


def rounded_up(N: int) -> int:
    """N with only its four leading bits, rounded up: numbers with which plans are made.

    >>> [rounded_up(N) for N in (1, 15, 16, 17, 100, 1000, 1024, 1025)]
    [1, 15, 16, 18, 104, 1024, 1024, 1152]
    """
    step = 1 << max(0, N.bit_length() - 4)
    return -(-N // step) * step


def matmul(
    a: Array,
    b: Array,
    out: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    bias: Array | None = None,
    accumulate: bool = False,
    compute: str,
) -> None:
    """out = a b + bias, or out += a b: (M, K), (K, O), (O,) -> (M, O); a is (K, M) with transpose_a, b (O, K) likewise.

    y = x W^T + bias     matmul(x, W, y, transpose_b=True, bias=bias, ...)
    dX = dY W            matmul(dY, W, dX, ...)
    dW += dY^T X         matmul(dY, X, dW, transpose_a=True, accumulate=True, ...)

    The rows of a are the tokens: their number may change from call to call at little cost, the other lengths are a
    model's. Numbers of a row are contiguous, rows may be further apart than they are long. a and b are float32, float16
    or bfloat16; out is of their type or float32, and bias (O,) of out's. compute: "float32", or "tf32" for float32
    operands rounded to 10 bits of fraction. Asked of CuPy's current device and stream, and not waited for.

    Raises ValueError for arrays that do not go together, CublasLtError if cuBLASLt is missing or refuses.
    """
    (N, W), (M, O) = a.shape, out.shape
    types = _types(a, b, out, bias, compute)
    distances = _distance(a), _distance(b), _distance(out)
    K = N if transpose_a else W
    if (W if transpose_a else N) != M or b.shape != ((O, K) if transpose_b else (K, O)):
        raise ValueError(f"shapes {a.shape} and {b.shape} do not multiply to {out.shape}")
    if bias is not None and (bias.shape != (O,) or bias.strides != (bias.itemsize,) or accumulate):
        raise ValueError(f"a bias is ({O},), contiguous and not for accumulating: {bias.shape}, {bias.strides} bytes")
    if not M or not O:
        return
    if not K:  # an empty sum
        if not accumulate:
            out[...] = 0 if bias is None else bias
        return
    device = _cupy().cuda.runtime.getDevice()
    addresses = a.data.ptr, b.data.ptr, out.data.ptr, 0 if bias is None else bias.data.ptr
    # If both are transposed, N is the length of b's rows and not to be rounded. Neither pass needs that product.
    planned = N if transpose_a and transpose_b else rounded_up(N)
    A, B, C, D = (min(256, address & -address) for address in addresses)
    kind = _Kind(device, planned, W, O, distances, types, compute, transpose_a, transpose_b, (A, B, C, D))
    with _lock:
        done = _launch(kind, N, addresses, accumulate)
    if done:
        return
    if bias is None:
        raise CublasLtError(f"cuBLASLt has no algorithm for {kind._replace(N=N)}")
    out[...] = bias
    matmul(a, b, out, transpose_a=transpose_a, transpose_b=transpose_b, accumulate=True, compute=compute)


@cache
def _type(dtype: Any) -> str:
    return dtype.name if dtype.name in TYPES else ""


def _types(a: Array, b: Array, out: Array, bias: Array | None, compute: str) -> tuple[str, str]:
    """Those of the operands and of the result, if they go together."""
    operands, result = _type(a.dtype), _type(out.dtype)
    if not operands or a.dtype != b.dtype or result not in (operands, "float32"):
        raise ValueError(f"{a.dtype} and {b.dtype} do not multiply to {out.dtype}")
    if bias is not None and bias.dtype != out.dtype:
        raise ValueError(f"a bias is added in the type of the result, {out.dtype}: this one is {bias.dtype}")
    if compute not in COMPUTE or (compute == "tf32" and operands != "float32"):
        raise ValueError(f"{operands} is not multiplied in {compute}: float32 is in float32 or tf32, others in float32")
    return operands, result


def _distance(x: Array) -> int:
    """From one row to the next, in numbers."""
    (rows, length), (row, number), size = x.shape, x.strides, x.itemsize
    if rows <= 1 or not length:
        row = length * size  # whatever the stride says
    if (length > 1 and number != size) or row < length * size or row % size:
        raise ValueError(f"rows must be contiguous and not overlap: shape {x.shape}, strides {x.strides} bytes")
    return row // size


@cache
def _cupy() -> Any:
    from .cuda_source import cupy

    return cupy


# ---- below the lock


def _launch(kind: _Kind, N: int, addresses: tuple[int, int, int, int], accumulate: bool) -> bool:
    """The product, or False if there is no algorithm for it."""
    lt = _library()
    plan = _plans.get(kind)
    if plan is None:
        plan = _plans[kind] = _planned(lt, kind)
    a, b, out, bias = addresses
    if bias != plan.bias:
        _set(lt.cublasLtMatmulDescSetAttribute, plan.operation, BIAS_POINTER, c_void_p(bias))
        plan.bias = bias
    if N != plan.N:
        _resize(lt, plan, N)
    handle = _handle(lt, kind.device)
    if N not in plan.algorithms:
        plan.algorithms[N] = _algorithm(lt, handle, kind, plan, N)
    algorithm = plan.algorithms[N]
    if algorithm is None:
        return False
    stream = _cupy().cuda.get_current_stream().ptr
    workspace = _workspaces.get((kind.device, stream))
    if workspace is None:
        workspace = _workspaces[kind.device, stream] = _cupy().empty(WORKSPACE, "uint8")
    of_a, of_b, of_out = plan.layouts
    beta = _ONE if accumulate else _ZERO
    scaled = plan.operation, byref(_ONE), b, of_b, a, of_a, byref(beta), out, of_out, out, of_out
    status = lt.cublasLtMatmul(handle, *scaled, byref(algorithm), workspace.data.ptr, WORKSPACE, stream)
    if status:
        raise _error(status, "cublasLtMatmul", kind._replace(N=N))
    return True


@cache
def _library() -> ctypes.CDLL:
    """cuBLASLt of the CUDA version CuPy was built for."""
    cuda = _cupy().cuda
    name = f"libcublasLt.so.{cuda.runtime.runtimeGetVersion() // 1000}"
    with suppress(ImportError, AttributeError, RuntimeError):  # should it fail, the next error is the shorter one
        _ = cuda.cublas  # CuPy looks in NVIDIA's wheels too, and what it has loaded is then found by name
    try:
        lt = ctypes.CDLL(name)
    except OSError as error:
        raise CublasLtError(f"cuBLAS is missing: {error}; CuPy's extra [ctk] installs it") from error
    for entry, arguments in _SIGNATURES.items():
        getattr(lt, entry).argtypes = arguments
    lt.cublasLtGetStatusName.restype = c_char_p
    return lt


def _error(status: int, entry: str, of: object) -> CublasLtError:
    name = _library().cublasLtGetStatusName(status).decode()
    return CublasLtError(f"{name} ({status}) from {entry}: {of}")


def _set(entry: Any, descriptor: c_void_p, attribute: int, value: Any) -> None:
    """One attribute of a descriptor; `value` is of the C type that the header names, whose size the library checks."""
    status = entry(descriptor, attribute, byref(value), ctypes.sizeof(value))
    if status:
        raise _error(status, entry.__name__, f"attribute {attribute} = {value}")


def _created(entry: Any, *arguments: Any) -> c_void_p:
    made = c_void_p()
    status = entry(byref(made), *arguments)
    if status:
        raise _error(status, entry.__name__, arguments)
    return made


def _handle(lt: ctypes.CDLL, device: int) -> c_void_p:
    if device not in _handles:
        _handles[device] = _created(lt.cublasLtCreate)
    return _handles[device]


def _planned(lt: ctypes.CDLL, kind: _Kind) -> _Plan:
    """Descriptors with our operands in cuBLAS's order: out^T = b^T a^T, whose A is our b.

    Rows or columns. BLAS is older than C: a matrix lies column after column. Our rows are its columns, so what we call
    out = a b it sees as out^T = b^T a^T, and is asked for just that: operands swapped, shapes turned round, nothing
    moved. It could be told that matrices lie row by row (CUBLASLT_ORDER_ROW), but its bias has a number for each row of
    the result. For out^T (O, N) that is the bias of a linear map; for out (N, O) it would be one number a token. A
    forward product becomes the case where both operands lie along the sum in memory ("TN"), the one tensor cores were
    made for.

    What float32 means. cuBLASLt knows no math mode, so CuPy's settings do not reach it, but the environment variable
    NVIDIA_TF32_OVERRIDE=1 is known to turn TF32 on under programs that asked for float32. So the search for an
    algorithm excludes those that round their operands to 16 or 19 bits; should none remain, there is an error, not a
    worse result. (The compute type CUBLAS_COMPUTE_32F_PEDANTIC says much the same, but of it NVIDIA warns that it may
    be slower.) That the exclusion holds against the variable is still to be seen on a GPU: if there is one,
    test_cublas_lt.py asks.
    """
    operation = _created(lt.cublasLtMatmulDescCreate, COMPUTE[kind.compute], TYPES["float32"])
    put = lt.cublasLtMatmulDescSetAttribute
    _set(put, operation, TRANSPOSE_A, c_int32(kind.transpose_b))  # CUBLAS_OP_N is 0, CUBLAS_OP_T 1
    _set(put, operation, TRANSPOSE_B, c_int32(kind.transpose_a))
    if kind.alignment[3]:
        _set(put, operation, EPILOGUE, c_uint32(EPILOGUE_BIAS))
    types = kind.types[0], kind.types[0], kind.types[1]
    layouts = [
        _created(lt.cublasLtMatrixLayoutCreate, TYPES[of], length, rows, distance)  # a row of ours is a column
        for of, (rows, length), distance in zip(types, kind.shapes(), kind.distances, strict=True)
    ]
    a, b, out = layouts
    return _Plan(operation, layouts, [a, b] if kind.transpose_a else [a, out], kind.N)


def _resize(lt: ctypes.CDLL, plan: _Plan, N: int) -> None:
    for layout in plan.long:
        _set(lt.cublasLtMatrixLayoutSetAttribute, layout, COLUMNS, c_uint64(N))
    plan.N = N


def _algorithm(lt: ctypes.CDLL, handle: c_void_p, kind: _Kind, plan: _Plan, N: int) -> _Algorithm | None:
    """The plan's algorithm if it can do N, otherwise one for N alone; None if there is none."""
    if N != kind.N:
        if kind.N not in plan.algorithms:
            _resize(lt, plan, kind.N)
            plan.algorithms[kind.N] = _found(lt, handle, kind, plan)
            _resize(lt, plan, N)
        algorithm = plan.algorithms[kind.N]
        if algorithm is not None:
            a, b, out = plan.layouts
            result = _Result()
            status = lt.cublasLtMatmulAlgoCheck(handle, plan.operation, b, a, out, out, byref(algorithm), byref(result))
            if not status and result.workspace <= WORKSPACE:
                return algorithm
    return _found(lt, handle, kind, plan)


def _found(lt: ctypes.CDLL, handle: c_void_p, kind: _Kind, plan: _Plan) -> _Algorithm | None:
    """The library's first choice for the layouts as they are now; None if it has none."""
    preference = _created(lt.cublasLtMatmulPreferenceCreate)
    put = lt.cublasLtMatmulPreferenceSetAttribute
    _set(put, preference, MAX_WORKSPACE, c_uint64(WORKSPACE))
    _set(put, preference, REDUCTION_SCHEMES, c_uint32(REDUCE_IN_FLOAT32))
    exact = kind.types[0] == "float32" and kind.compute == "float32"
    _set(put, preference, IMPLEMENTATIONS, c_uint64(EVERY & ~ROUNDED_INPUTS if exact else EVERY))
    of_a, of_b, of_out, _ = kind.alignment
    for attribute, alignment in zip(ALIGNMENT, (of_b, of_a, of_out, of_out), strict=True):  # A, B, C, D
        _set(put, preference, attribute, c_uint32(alignment))
    a, b, out = plan.layouts
    result, number = _Result(), c_int()
    status = lt.cublasLtMatmulAlgoGetHeuristic(
        handle, plan.operation, b, a, out, out, preference, 1, byref(result), byref(number)
    )
    lt.cublasLtMatmulPreferenceDestroy(preference)
    if status not in (0, NOT_SUPPORTED):
        raise _error(status, "cublasLtMatmulAlgoGetHeuristic", kind._replace(N=plan.N))
    return result.algorithm if not status and number.value and not result.state else None

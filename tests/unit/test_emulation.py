"""The emulator finds what it is there to find: each kernel here has one mistake, or one tensor-core instruction."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest


@pytest.fixture
def emulated(cupy):
    """The stand-in; its tests mean nothing to a GPU, where most of these launches would do harm."""
    if not hasattr(cupy, "emulation"):
        pytest.skip("CuPy has a GPU here")
    return cupy


XYN = "const float* x, float* y, int n"


def kernel(cupy, body, arguments=XYN):
    """A kernel of these lines, with the words of device.cuh."""
    return kernels(cupy, {"f": body}, arguments)["f"]


def kernels(cupy, bodies, arguments=XYN):
    """Several, compiled together: {name: body} -> {name: kernel}."""
    from nanodistil.kernels.gpu.cuda_source import source

    code = source("device.cuh")
    for i, body in enumerate(bodies.values()):
        code += f'#line 1 "f{i}.cu"\nextern "C" __global__ void f{i}({arguments}) {{\n{body}\n}}\n'
    module = cupy.RawModule(code=code, options=("-std=c++17",), backend="nvrtc")
    return {name: module.get_function(f"f{i}") for i, name in enumerate(bodies)}


class Wrong(NamedTuple):
    """A kernel that is wrong, and what is said of it."""

    body: str
    message: str


FAULTS = {
    "read past the end": Wrong("y[0] = x[64];", "reads 4 bytes outside of every array"),
    "read far past the end": Wrong("y[0] = x[1000];", "outside of every array"),
    "read half past the end": Wrong(
        "y[0] = widened(reinterpret_cast<const float16*>(x)[128]);", "reads 2 bytes outside"
    ),
    "write past the end": Wrong("y[n + 2] = 1;", "writes 4 bytes outside of every array"),
    "write before the start": Wrong("y[-1] = 1;", "writes 4 bytes outside of every array"),
    "read of a null pointer": Wrong("y[0] = *reinterpret_cast<const float*>(n - 64);", "null address|outside of every"),
    "misaligned": Wrong("y[0] = reinterpret_cast<const float4*>(x + 1)->x;", "misaligned"),
    "an index past an array": Wrong("float a[4] = {}; y[0] = a[n - 60];", "index 4 past an array"),
    "an index past shared memory": Wrong("__shared__ float a[4]; a[threadIdx.x] = 1;", "index 4 past an array"),
    "past dynamic shared memory": Wrong(
        "extern __shared__ __align__(16) unsigned char dynamic[]; dynamic[threadIdx.x + 1] = 1;",
        "past its 64 bytes",
    ),
    "a barrier some never reach": Wrong("if (threadIdx.x < 40) __syncthreads();", "for threads that never come"),
    "a shuffle some lanes never reach": Wrong("if (threadIdx.x != 3) warp_sum(1.0f);", "for threads that never come"),
    "lanes that meet in different places": Wrong(
        "float a = 1;\nif (threadIdx.x % 2)\n a = __shfl_xor_sync(ALL_LANES, a, 1);\nelse\n"
        " a = __shfl_xor_sync(ALL_LANES, a, 2);\ny[threadIdx.x] = a;",
        "at line \\d, while others wait in __shfl_xor_sync at line \\d",
    ),
    "a partial mask": Wrong("y[threadIdx.x] = __shfl_xor_sync(0xffff, 1.0f, 1);", "a mask other than"),
    "division by zero": Wrong("y[0] = n / (n - 64);", "divided by zero"),
    "an overflow": Wrong("y[0] = n * 100000000;", "overflows"),
    "a row outside shared memory": Wrong("unsigned r[4]; load_matrix_x4(r, x);", "a row outside of shared memory"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(emulated, fault):
    bodies = {name: wrong.body for name, wrong in FAULTS.items()}
    all_of_them = kernels(emulated, {**bodies, "none": "y[threadIdx.x] = x[threadIdx.x] + warp_sum(1.0f);"})
    x, y = emulated.zeros(64, np.float32), emulated.zeros(64, np.float32)
    with pytest.raises(emulated.emulation.EmulationError, match=FAULTS[fault].message):
        all_of_them[fault]((1,), (64,), (x, y, np.int32(64)), shared_mem=64)
    y = emulated.zeros(64, np.float32)
    all_of_them["none"]((1,), (64,), (x, y, np.int32(64)))  # a failed launch leaves nothing behind
    assert (y.get() == 32).all()


# What a GPU may get right a thousand times.
BARRIER, OF_A_WARP = "no barrier between them", "no __syncwarp between them|no barrier between them"
RACES = {
    "no barrier": Wrong(
        "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; y[threadIdx.x] = s[63 - threadIdx.x];",
        BARRIER,
    ),
    "no barrier before the next writes": Wrong(
        "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; __syncthreads();"
        "y[threadIdx.x] = s[63 - threadIdx.x]; s[threadIdx.x] = 0;",
        BARRIER,
    ),
    "all write the same place": Wrong(
        "__shared__ float s; s = threadIdx.x; __syncthreads(); y[threadIdx.x] = s;", BARRIER
    ),
    "no barrier of a warp": Wrong(
        "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; y[threadIdx.x] = s[threadIdx.x ^ 1];",
        OF_A_WARP,
    ),
    "a shuffle is no barrier": Wrong(
        "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; warp_sum(1.0f); y[threadIdx.x] = s[threadIdx.x ^ 1];",
        OF_A_WARP,
    ),
    "no barrier of a warp before the next writes": Wrong(
        "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; __syncwarp(); y[threadIdx.x] = s[threadIdx.x ^ 1];"
        "s[threadIdx.x] = 0;",
        OF_A_WARP,
    ),
    "the barrier of a warp for threads of two": Wrong(
        "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; __syncwarp(); y[threadIdx.x] = s[63 - threadIdx.x];",
        BARRIER,
    ),
    "no barrier, dynamic memory": Wrong(
        "extern __shared__ __align__(16) unsigned char dynamic[]; float* s = reinterpret_cast<float*>(dynamic);"
        "s[threadIdx.x] = x[threadIdx.x]; y[threadIdx.x] = s[63 - threadIdx.x];",
        BARRIER,
    ),
    "no wait for a copy": Wrong(
        "__shared__ __align__(16) float s[64];\n"
        "if (threadIdx.x % 4 == 0) copy_async_16(s + threadIdx.x, x + threadIdx.x);\n"
        "copy_async_commit(); y[threadIdx.x] = s[63 - threadIdx.x]; copy_async_wait<0>();",
        BARRIER,
    ),
    "no barrier after the wait": Wrong(
        "__shared__ __align__(16) float s[64];\n"
        "if (threadIdx.x % 4 == 0) copy_async_16(s + threadIdx.x, x + threadIdx.x);\n"
        "copy_async_commit(); __syncthreads(); copy_async_wait<0>(); y[threadIdx.x] = s[63 - threadIdx.x];",
        BARRIER,
    ),
    "one buffer for two copies": Wrong(
        "__shared__ __align__(16) float s[64]; bool mine = threadIdx.x % 4 == 0;\n"
        "if (mine) copy_async_16(s + threadIdx.x, x + threadIdx.x);\ncopy_async_commit();\ncopy_async_wait<0>();\n"
        "__syncthreads();\nif (mine) copy_async_16(s + threadIdx.x, y + threadIdx.x);\n"
        "copy_async_commit();\nfloat v = s[63 - threadIdx.x];\n"
        "copy_async_wait<0>();\n__syncthreads();\ny[threadIdx.x] = v;",
        BARRIER,
    ),
}


@pytest.mark.parametrize("race", RACES)
def test_races_are_found_in_any_order(emulated, thread_order, race):
    f = kernels(emulated, {name: wrong.body for name, wrong in RACES.items()})[race]
    x, y = emulated.zeros(64, np.float32), emulated.zeros(64, np.float32)
    with pytest.raises(emulated.emulation.EmulationError, match=RACES[race].message):
        f((1,), (64,), (x, y, np.int32(64)), shared_mem=256)


def test_atomic_sums_are_no_race(emulated, thread_order):
    f = kernel(
        emulated,
        "__shared__ float s; if (threadIdx.x == 0) s = 0; __syncthreads(); atomicAdd(&s, x[threadIdx.x]);\n"
        "__syncthreads(); if (threadIdx.x == 0) atomicAdd(y, s);",
    )
    x, y = emulated.asarray(np.arange(64, dtype=np.float32)), emulated.zeros(64, np.float32)
    f((3,), (64,), (x, y, np.int32(64)))
    assert y.get()[0] == 3 * 63 * 32


def test_shared_memory_and_registers_begin_as_rubbish(emulated):
    f = kernel(emulated, "__shared__ float s[64]; float r; y[threadIdx.x] = threadIdx.x % 2 ? s[threadIdx.x] : r;")
    x, y = emulated.zeros(64, np.float32), emulated.zeros(64, np.float32)
    f((1,), (64,), (x, y, np.int32(64)))
    assert np.isnan(y.get()[1::2]).all() and (np.abs(y.get()[::2]) > 1e30).all()


def test_an_unfinished_copy_is_late_in_some_order(emulated, monkeypatch):
    """Where no other thread is involved, nothing is a race: only the wait is missing."""
    f = kernel(
        emulated,
        "__shared__ __align__(16) float s[256]; copy_async_16(s + 4 * threadIdx.x, x);\n"
        "copy_async_commit(); y[threadIdx.x] = s[4 * threadIdx.x]; copy_async_wait<0>();",
    )
    late = []
    for order in emulated.emulation.ORDERS:
        monkeypatch.setattr(emulated.emulation, "thread_order", order)
        x, y = emulated.zeros(64, np.float32), emulated.zeros(64, np.float32)
        f((1,), (64,), (x, y, np.int32(64)))
        late.append(bool(np.isnan(y.get()).any()))
    assert late == [False, True, True]


MIRROR = np.arange(64, dtype=np.float32)[::-1]


def test_the_same_with_its_barriers(emulated, thread_order):
    f = kernel(
        emulated,
        "__shared__ __align__(16) float s[64];\n"
        "if (threadIdx.x % 4 == 0) copy_async_16(s + threadIdx.x, x + threadIdx.x);\n"
        "copy_async_commit(); copy_async_wait<0>(); __syncthreads(); y[threadIdx.x] = s[63 - threadIdx.x];",
    )
    x, y = emulated.asarray(MIRROR[::-1].copy()), emulated.zeros(64, np.float32)
    f((1,), (64,), (x, y, np.int32(64)))
    assert (y.get() == MIRROR).all()


def test_launches_are_checked(emulated):
    f = kernel(emulated, "y[0] = n;", "const float* __restrict__ x, float* __restrict__ y, int n")
    x, y, n = emulated.zeros(64, np.float32), emulated.zeros(64, np.float32), np.int32(64)
    f((1,), (64,), (x, y, n))
    wrong = [
        ((1,), (64,), (x, y)),
        ((1,), (64,), (x, y, 64)),
        ((1,), (64,), (x, y, np.int64(64))),
        ((1,), (64,), (x, y, np.float32(64))),
        ((1,), (64,), (x.astype(np.float16), y, n)),
        ((1,), (64,), (x.get(), y, n)),
        ((1,), (64,), (None, y, n)),
        ((1,), (64,), (y, y, n)),
        ((1,), (64,), (y[:32], y[16:], n)),
        ((0,), (64,), (x, y, n)),
        ((1,), (2048,), (x, y, n)),
        ((1, 70000), (64,), (x, y, n)),
    ]
    for grid, block, args in wrong:
        with pytest.raises(emulated.emulation.EmulationError):
            f(grid, block, args)
    f((1,), (64,), (y[:32], y[32:], n))
    with pytest.raises(emulated.emulation.EmulationError, match="max_dynamic"):
        f((1,), (64,), (x, y, n), shared_mem=50000)
    f.max_dynamic_shared_size_bytes = 50000
    f((1,), (64,), (x, y, n), shared_mem=50000)


def test_arrays_do_not_mix_with_numpy(emulated):
    x, host = emulated.zeros(3, np.float32), np.zeros(3, np.float32)
    mixtures = [
        lambda: x + host,
        lambda: host + x,
        lambda: host @ x,
        lambda: np.exp(x),
        lambda: np.asarray(x),
        lambda: x[np.array([0, 1])],
        lambda: x[[0, 1]],
        lambda: x.__setitem__(0, host),
        lambda: emulated.concatenate([x, host]),
        lambda: emulated.matmul(x, host),
    ]
    for mixture in mixtures:
        with pytest.raises(TypeError):
            mixture()
    assert ((x + 1) * np.float32(2) == emulated.asarray(host + 2)).get().all()
    assert (x[emulated.asarray(np.array([0, 2]))].get() == 0).all()


MISSING = """
import sys
try:
    import cupy
except ImportError:
    sys.exit("no CuPy")
for name in sys.argv[1:]:
    at = cupy
    for part in name.split("."):
        at = getattr(at, part, None)
    if at is None:
        print(name)
"""


def test_every_name_is_one_of_cupys(emulated):
    """Where CuPy is installed; it need not have a GPU to be asked."""
    places = {
        "": emulated.__all__,
        "ndarray.": [name for name in vars(emulated.ndarray) if name[0] != "_"],
        "cuda.": emulated.cuda.__all__,
        "cuda.runtime.": [name for name in vars(emulated.cuda.runtime) if name[:3] in ("get", "set", "mem", "CUD")],
        "cuda.Device.": [name for name in vars(emulated.cuda.Device) if name[0] != "_"],
        "cuda.Stream.": ["synchronize", "record", "wait_event", "use", "null"],
        "cuda.Event.": ["record", "synchronize", "done"],
        "cuda.MemoryPool.": [name for name in vars(emulated.cuda.MemoryPool) if name[0] != "_"],
        "RawKernel.": ["__call__", "max_dynamic_shared_size_bytes"],
        "RawModule.": ["get_function"],
    }
    names = [place + name for place, found in places.items() for name in found if name != "emulation"]
    answer = subprocess.run([sys.executable, "-c", MISSING, *names], capture_output=True, text=True)
    if answer.stderr == "no CuPy\n":
        pytest.skip("CuPy is not installed")
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr


def test_fresh_memory_is_not_zero_and_views_share_it(emulated):
    x = emulated.empty((4, 6), np.float16)
    assert np.isnan(x.get()).all()
    x[1:3, ::2].fill(1)
    assert (x.reshape(-1)[6:18].get()[::2] == 1).all() and np.isnan(x.get()[0]).all()
    assert x.data.ptr % 512 == 0 and x[1].data.ptr == x.data.ptr + 12 and not x.T.flags.c_contiguous


def test_the_pool_has_a_limit(emulated):
    pool = emulated.get_default_memory_pool()
    pool.set_limit(size=pool.used_bytes() + 10000)
    try:
        with pytest.raises(emulated.cuda.memory.OutOfMemoryError):
            emulated.empty(10001, np.uint8)
        kept = emulated.empty(9000, np.uint8)
        assert kept.size == 9000
    finally:
        pool.set_limit(size=0)


@pytest.mark.parametrize("name", ["half", "bfloat16"])
def test_conversions_are_to_nearest_even(emulated, name):
    """All that a 16-bit type holds, what lies between any two neighbours, and a hair to either side of it."""
    dtype = np.dtype(np.float16 if name == "half" else pytest.importorskip("ml_dtypes").bfloat16)
    every = np.arange(65536, dtype=np.uint16).view(dtype).astype(np.float32)
    every = np.sort(every[np.isfinite(every)])
    between = ((every[:-1].astype(np.float64) + every[1:]) / 2).astype(np.float32)
    x = np.concatenate(
        [every, between, np.nextafter(between, np.float32(9e9)), np.nextafter(between, np.float32(-9e9))]
    )
    x = x[np.abs(x) >= np.finfo(np.float32).tiny]  # smaller ones are flushed to zero, as on the GPU
    f = kernel(
        emulated,
        "int i = blockIdx.x * 256 + threadIdx.x; if (i >= n) return;\n"
        f"y[i] = {name}_bits(x[i]); z[i] = from_{name}_bits(y[i]);",
        "const float* x, unsigned short* y, float* z, int n",
    )
    y, z = emulated.empty(x.shape, np.uint16), emulated.empty(x.shape, np.float32)
    f((-(-x.size // 256),), (256,), (emulated.asarray(x), y, z, np.int32(x.size)))
    with np.errstate(over="ignore"):
        truth = x.astype(dtype)
    assert (y.get() == truth.view(np.uint16)).all()
    assert (z.get() == truth.astype(np.float32)).all()


@pytest.mark.parametrize("type_name", ["float16", "bfloat16"])
def test_tensor_core_product(emulated, thread_order, type_name):
    """d += a b through load_matrix, as attention does it: a by rows, b (16, 8) from a matrix of its columns."""
    dtype = np.dtype(np.float16 if type_name == "float16" else pytest.importorskip("ml_dtypes").bfloat16)
    rng = np.random.default_rng(0)
    a, b, d = rng.standard_normal((16, 16)), rng.standard_normal((16, 16)), rng.standard_normal((16, 16))
    a, b = a.astype(dtype), b.astype(dtype)
    body = f"""
    __shared__ __align__(16) {type_name} sa[16 * 16], sb[16 * 16];
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) sa[i] = a[i], sb[i] = b[i];
    __syncwarp();
    unsigned fa[4], fb[4], ft[4];
    load_matrix_x4(fa, sa + lane % 16 * 16 + lane / 16 * 8);
    load_matrix_x4_transposed(ft, sb + lane % 16 * 16 + lane / 16 * 8);
    for (int half = 0; half < 2; ++half) {{
        float acc[4];
        for (int i = 0; i < 4; ++i) acc[i] = d[(lane / 4 + i / 2 * 8) * 16 + half * 8 + lane % 4 * 2 + i % 2];
        unsigned right[2] = {{ft[2 * half], ft[2 * half + 1]}};
        mma_{type_name}(acc, fa, right);
        for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 16 + half * 8 + lane % 4 * 2 + i % 2] = acc[i];
    }}
    """
    f = kernel(emulated, body, f"const {type_name}* a, const {type_name}* b, float* d")
    out = emulated.asarray(d.astype(np.float32))
    f((1,), (32,), (emulated.asarray(a), emulated.asarray(b), out))
    truth = d + a.astype(np.float64) @ b.astype(np.float64)
    assert np.abs(out.get() - truth).max() < 1e-5

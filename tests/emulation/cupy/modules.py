"""RawModule and RawKernel: CUDA C compiled by g++ with cuda_on_cpu.h, its launches checked before they run.

What a GPU would not say: CuPy hands the driver the bytes of whatever it is given, a Python int as eight of them, None
as no argument at all, a grid of 0 as a grid of 1, and the kernel reads what it finds. Here an argument has the type the
signature names or the launch is refused.
"""

import ctypes
import fcntl
import hashlib
import mmap
import os
import re
import subprocess
import tempfile
import threading
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np

from . import emulation
from .arrays import ndarray
from .cuda.runtime import PROPERTIES
from .emulation import ORDERS, EmulationError
from .graphs import launched
from .memory import forbid

HEADER = Path(__file__).resolve().parent.parent / "cuda_on_cpu.h"
CHECKS = "alignment,bounds,shift,integer-divide-by-zero,signed-integer-overflow,null"
FLAGS = ("-xc++", "-c", "-O1", "-w", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE",
         "-ftrivial-auto-var-init=pattern", f"-fsanitize=thread,{CHECKS}",
         "--param=tsan-instrument-func-entry-exit=0")  # fmt: skip
KERNEL = re.compile(
    r'extern "C"\s+__global__\s+(?:__launch_bounds__\((?P<bounds>[^()]*)\)\s+)?'
    r"void\s+(?P<name>\w+)\s*\((?P<args>[^)]*)\)"
)
DYNAMIC = re.compile(r"extern __shared__ __align__\(\d+\) unsigned char (\w+)\[\];")
COMMENT = re.compile(r"//[^\n]*")
STATIC_LIMIT = 48 * 1024  # of shared memory, unless a kernel asks for more
STACK, STACK_GUARD, MOST_THREADS = 1 << 18, 1 << 16, 1024  # as in cuda_on_cpu.h
one_at_a_time = threading.Lock()


@cache
def stacks():
    """Memory for the stacks of a block's fibers; an access below one is that thread's error, not its neighbour's."""
    each = STACK + STACK_GUARD
    pages = mmap.mmap(-1, MOST_THREADS * each, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = np.frombuffer(pages, np.uint8).ctypes.data
    for thread in range(MOST_THREADS):
        forbid(start + thread * each, STACK_GUARD)
    return pages, start


@cache
def objects():
    """The folder of compiled sources, this user's own."""
    folder = Path(tempfile.gettempdir()) / f"nanodistil-emulation-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        folder = Path(tempfile.mkdtemp())
    return folder


@cache
def compiled(code, options):
    """The shared object of a source, from the folder if these very bytes were compiled before."""
    kernels = list(KERNEL.finditer(COMMENT.sub("", code)))
    if len(kernels) != len(re.findall(r"__global__", COMMENT.sub("", code))):
        raise EmulationError("a kernel whose signature is not of the agreed form")
    source = DYNAMIC.sub(r"static unsigned char* const \1 = emulated::dynamic_shared;", code)
    entries = "\n".join(f"EMULATED_KERNEL({k['name']}, {k['bounds'] or 1024})" for k in kernels)
    source = f'#include "{HEADER.name}"\nnamespace {{\n{source}\n}}\n#line 1 "entries"\n{entries}\n'
    key = hashlib.sha256(repr((source, options, FLAGS, HEADER.read_text("utf-8"))).encode()).hexdigest()[:24]
    path = objects() / f"{key}.so"
    with open(objects() / f"{key}.lock", "w") as lock:  # two test processes would compile it twice
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            compiling = ["g++", *options, *FLAGS, f"-I{HEADER.parent}", "-", "-o", f"{temporary}.o"]
            linking = ["g++", "-shared", f"{temporary}.o", "-o", str(temporary)]  # without the sanitizers' libraries
            for command in (compiling, linking):
                result = subprocess.run(command, input=source, capture_output=True, text=True)
                if result.returncode:
                    raise CompileException(result.stderr)
            os.unlink(f"{temporary}.o")
            temporary.replace(path)
    return ctypes.CDLL(str(path)), {k["name"]: [a.strip() for a in k["args"].split(",")] for k in kernels}


class CompileException(Exception):
    """g++ refused the source."""


class RawModule:
    def __init__(self, code=None, *, options=(), backend="nvrtc"):
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError("code is a str, options a tuple of str")
        known = re.compile(r"-std=c\+\+17|-D\w+(=.*)?|--?use_fast_math|-lineinfo")
        if not all(known.fullmatch(o) for o in options):
            raise EmulationError(f"options {options}")
        self.code, self.options, self.backend = code, options, backend

    def get_function(self, name):
        library, signatures = compiled(self.code, tuple(o for o in self.options if o.startswith(("-D", "-std"))))
        if name not in signatures:
            raise KeyError(f"no kernel named {name}")
        return RawKernel(library, name, signatures[name])


class RawKernel:
    def __init__(self, library, name, arguments):
        self.name, self.arguments = name, arguments
        self.launch = getattr(library, f"launch_{name}")
        self.launch.restype = ctypes.c_char_p
        describe = getattr(library, f"describe_{name}")
        describe.restype = ctypes.c_char_p
        self.types = describe().decode().split()
        self.most_threads = getattr(library, f"bounds_{name}")()
        self.max_dynamic_shared_size_bytes = STATIC_LIMIT

    def __call__(self, grid, block, args, *, shared_mem=0):
        self.check_shape(grid, block, shared_mem)
        if not isinstance(args, tuple) or len(args) != len(self.types):
            raise EmulationError(f"{self.name} wants a tuple of {len(self.types)} arguments: {self.arguments}")
        values = [self.checked(*a) for a in zip(args, self.types, self.arguments, strict=True)]
        self.check_restrict(args)
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.cast(ctypes.byref(v), ctypes.c_void_p) for v in values))
        shape = (ctypes.c_uint * 6)(*(int(n) for n in (*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3])))
        extents, count = self.extents(args)

        def run(values=values):  # which the pointers point to
            with one_at_a_time:
                order = ORDERS.index(emulation.thread_order)
                where = ctypes.c_void_p(stacks()[1]), extents, count
                message = self.launch(pointers, shape, int(shared_mem), order, *where).decode()
            if message:
                raise EmulationError(f"{self.name}, {message}")

        pairs = zip(args, self.arguments, strict=True)
        launched(self.name, [(a._block.pages, text) for a, text in pairs if isinstance(a, ndarray)], run)

    def check_shape(self, grid, block, shared_mem):
        """As the driver would, and no zeros, which CuPy takes for ones."""
        for numbers, limits in ((grid, "maxGridSize"), (block, "maxThreadsDim")):
            if not isinstance(numbers, tuple) or not 1 <= len(numbers) <= 3:
                raise EmulationError(f"{self.name}: grid and block are tuples of one to three numbers, got {numbers}")
            if not all(1 <= n <= most for n, most in zip(numbers, PROPERTIES[limits], strict=False)):
                raise EmulationError(f"{self.name}: {numbers} is beyond {limits}, {PROPERTIES[limits]}, or zero")
        threads = int(np.prod(block))
        if threads > min(self.most_threads, PROPERTIES["maxThreadsPerBlock"]):
            raise EmulationError(f"{self.name}: {threads} threads, at most {self.most_threads}")
        if self.max_dynamic_shared_size_bytes > PROPERTIES["sharedMemPerBlockOptin"]:
            raise EmulationError(f"{self.name}: max_dynamic_shared_size_bytes {self.max_dynamic_shared_size_bytes}")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise EmulationError(f"{self.name}: {shared_mem} bytes of shared memory; set max_dynamic_shared_size_bytes")

    def checked(self, value, kind, argument):
        """The bytes a launch hands over, once their type is the signature's."""
        if kind.startswith("*"):
            if isinstance(value, np.uint64) and value == 0:
                return ctypes.c_void_p(0)  # how a null pointer is said; None would be no argument
            if not isinstance(value, ndarray) or value.dtype.name != kind[1:]:
                got = f"an array of {value.dtype}" if hasattr(value, "dtype") else repr(value)
                raise EmulationError(f"{self.name}: `{argument}` wants a cupy.ndarray of {kind[1:]}, got {got}")
            return ctypes.c_void_p(value.data.ptr)
        if not isinstance(value, np.generic) or value.dtype.name != kind:
            raise EmulationError(
                f"{self.name}: `{argument}` wants numpy.{kind}, got {value!r} ({type(value).__name__})"
            )
        return np.ctypeslib.as_ctypes_type(value.dtype)(value.item())

    def extents(self, args):
        """Of each array the addresses of its block's pages and of itself, begin and end, and how many arrays."""
        found = []
        for array in args:
            if isinstance(array, ndarray) and array.size:
                steps = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
                first = array.data.ptr + sum(step for step in steps if step < 0)
                end = array.data.ptr + sum(step for step in steps if step > 0) + array.itemsize
                found += [*array._block.pages.extent, first, end]
        return (ctypes.c_size_t * len(found))(*found), len(found) // 4

    def check_restrict(self, args):
        """__restrict__ promises that what one pointer writes no other reads: the compiler reads early, or twice."""
        pairs = [(a, text) for a, text in zip(args, self.arguments, strict=True) if isinstance(a, ndarray)]
        promised = [(a, text) for a, text in pairs if "__restrict__" in text]
        for (a, a_text), (b, b_text) in combinations(promised, 2):
            written = not (a_text.startswith("const") and b_text.startswith("const"))
            if written and np.shares_memory(a._host, b._host):
                raise EmulationError(f"{self.name}: `{a_text}` and `{b_text}` overlap")

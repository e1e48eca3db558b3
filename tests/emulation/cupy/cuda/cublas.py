"""cupy.cuda.cublas: what looking at it does to a process, which is to load cuBLASLt. Here that is ../../cublas_lt.cpp.

It is loaded as libcublasLt.so.13, so that dlopen of that name finds it, as it would find NVIDIA's after CuPy's import.
`emulated` is no name of CuPy's: it is what the stand-in tells, and can be told, beyond the library's own entry points.
"""

import ctypes
import hashlib
import os
import subprocess
from pathlib import Path

from .. import graphs
from ..modules import objects
from .runtime import runtimeGetVersion

SOURCE = Path(__file__).resolve().parent.parent.parent / "cublas_lt.cpp"
CHOICES = ("no_bias", "check_refuses", "force_tf32", "fail_product", "fail_search", "nothing_found")  # as in the source
COUNTS = ("searches", "checks", "products", "last_stream", "descriptors")


def loaded():
    name = f"libcublasLt.so.{runtimeGetVersion() // 1000}"
    command = ["g++", "-std=c++17", "-O2", "-shared", "-fPIC", f"-Wl,-soname,{name}", str(SOURCE), "-o"]
    built = objects() / f"cublas_lt-{hashlib.sha256(SOURCE.read_bytes() + repr(command).encode()).hexdigest()[:16]}.so"
    if not built.exists():
        part = built.with_name(f"{built.name}.{os.getpid()}")
        subprocess.run([*command, str(part)], check=True)
        part.replace(built)
    return ctypes.CDLL(str(built))


class Emulated:
    def __init__(self, library):
        self.library = library
        library.emulated_complaint.restype = ctypes.c_char_p
        library.emulated_count.restype = ctypes.c_longlong
        self.told = ctypes.CFUNCTYPE(None, ctypes.c_int)(self.keep)
        library.emulated_tell(self.told)
        graphs.captures.append(lambda stream: library.emulated_capture(ctypes.c_void_p(stream)))

    def choose(self, **choices):
        """What the library leaves open: each 0 or 1."""
        for name, value in choices.items():
            self.library.emulated_choose(CHOICES.index(name), int(value))

    def keep(self, number):
        """A product was asked for on a stream that is not the default one: to write down, or to make at once."""
        graphs.launched("a product", [], lambda: self.library.emulated_replay(number))
        graphs.entered.current.finish()

    def count(self, which):
        return self.library.emulated_count(COUNTS.index(which))

    @property
    def complaint(self):
        """Why the last call of this thread that was refused was."""
        return self.library.emulated_complaint().decode()


emulated = Emulated(loaded())

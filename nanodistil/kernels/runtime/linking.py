"""From kept machine code to an address, with LLVM's linker and without Numba.

What is kept of a kernel is an object file, as a C compiler makes them: LLVM's linker puts it in memory and fills in the
addresses of what it calls. These are functions of C and Python, which are in the process anyway, and of two small
libraries that belong to Numba: memory for arrays (NRT_...), and raising exceptions (numba_...). Both are loaded by
themselves, in 5 ms; `import numba`, which runs 200 Python modules, takes 0.2 s.

A name that nobody knows would end the process. So the names stand before the code, and are looked up first.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

import llvmlite.binding as llvm

END = b"\n\n"  # of the names
_engines: list[Any] = []  # each holds its code in memory, for ever: threads may be at it to the very last


def packed(symbol: str, needs: list[str], code: bytes) -> bytes:
    """What is kept: the name of the function, the names it needs, the object file."""
    return "\n".join([symbol, *needs]).encode() + END + code


@cache
def _engine_of_numba() -> None:
    """Have Numba itself say where its functions are, with all it imports."""
    from numba.core.registry import cpu_target
    from numba.core.runtime.nrt import rtsys

    rtsys.initialize(cpu_target.target_context)


def _library(name: str) -> Any:
    """One of Numba's modules that are written in C, without the package around it. Raises ImportError."""
    if name not in sys.modules:
        package = find_spec("numba")
        folders = list(package.submodule_search_locations or []) if package else []
        spec = PathFinder.find_spec(name, [os.path.join(f, *name.split(".")[1:-1]) for f in folders])
        if spec is None or spec.loader is None:
            raise ImportError(f"no {name}")
        sys.modules[name] = module_from_spec(spec)  # so that Numba, should it be imported, finds this one
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@cache
def _told() -> None:
    """Tell LLVM where Numba's functions are. Once a process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if os.name == "nt" or "numba" in sys.modules:  # Windows: there C's functions must be told too
        _engine_of_numba()
        return
    helpers, memory = _library("numba._helperlib"), _library("numba.core.runtime._nrt_python")
    memory.memsys_use_cpython_allocator()
    for prefix, library in (("numba_", helpers), ("NRT_", memory)):
        for name, address in library.c_helpers.items():
            llvm.add_symbol(name if name.startswith("_") else prefix + name, address)


def linked(raw: bytes) -> int | None:
    """The address of what `packed` made; None if something that it needs is not to be found."""
    _told()
    names, _, code = raw.partition(END)
    symbol, *needs = names.decode().split("\n")
    engine = llvm.create_mcjit_compiler(
        llvm.parse_assembly(""), llvm.Target.from_default_triple().create_target_machine(jit=True)
    )
    if any(llvm.address_of_symbol(name) is None for name in needs):
        return None
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(symbol) or None

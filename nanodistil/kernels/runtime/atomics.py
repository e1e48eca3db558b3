"""Words of memory that several threads read and write, as compiled code does it.

An address is a whole number, a word has 64 bits, and word i lies at address + 8 i. Every access is one that all
threads see in the same order ("seq_cst"), so that what is written before a flag is there for whoever sees the flag.

`claimed` and `given_back` are for what each thread needs one of, as scratch memory: a row of words, one a piece, 0
where it is free.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numpy.typing import NDArray

from .late import cgutils, intrinsic, overload, types

_i64 = ir.IntType(64)


def _word(builder: Any, base: Any, i: Any) -> Any:
    return builder.gep(builder.inttoptr(base, _i64.as_pointer()), [i])


def _whole(count: int) -> Any:
    return types.int64(*(types.int64,) * count)


@intrinsic
def load(typing_context, base, i):  # type: ignore[no-untyped-def]
    """Word i at the address `base`."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load_atomic(_word(builder, *arguments), "seq_cst", 8)

    return _whole(2), codegen


@intrinsic
def exchange(typing_context, base, i, value):  # type: ignore[no-untyped-def]
    """Write word i; what was there before."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.atomic_rmw("xchg", _word(builder, *arguments[:2]), arguments[2], "seq_cst")

    return _whole(3), codegen


@intrinsic
def add(typing_context, base, i, value):  # type: ignore[no-untyped-def]
    """Add to word i; what was there before."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.atomic_rmw("add", _word(builder, *arguments[:2]), arguments[2], "seq_cst")

    return _whole(3), codegen


@intrinsic
def call(typing_context, address, a, b, c):  # type: ignore[no-untyped-def]
    """Call the C function at an address, of at most three whole numbers or pointers.

    Such arguments travel in registers on every 64-bit system, so a function may be handed more than it takes.
    """

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        function = ir.FunctionType(_i64, [_i64] * 3)
        return builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])

    return _whole(4), codegen


@intrinsic
def pause(typing_context):  # type: ignore[no-untyped-def]
    """Tell the processor that this is a loop that waits."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        if str(builder.module.triple).startswith(("x86_64", "i686")):
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


def claimed(taken: NDArray[Any]) -> int:
    """The number of a piece that nobody else has until it is given back; waits for one."""
    i = 0
    while taken[i]:
        i += 1
    taken[i] = 1
    return i


def given_back(taken: NDArray[Any], i: int) -> None:
    """Free piece i."""
    taken[i] = 0


@overload(claimed)
def _claimed(taken):  # type: ignore[no-untyped-def]
    def body(taken):  # type: ignore[no-untyped-def]
        i = 0
        while exchange(taken.ctypes.data, i, 1):
            i = i + 1 if i + 1 < len(taken) else 0
            pause()
        return i

    return body


@overload(given_back)
def _given_back(taken, i):  # type: ignore[no-untyped-def]
    def body(taken, i):  # type: ignore[no-untyped-def]
        exchange(taken.ctypes.data, i, 0)

    return body

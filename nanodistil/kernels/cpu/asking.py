"""Asking for memory before it is needed: what a tile will read next (linear.py), and what it will write.

A line that is written must be in the first-level cache first, and so is read, though nobody wants what it holds. A
product in eight bits is done so soon that it waits for the lines of its results, rows that lie pages apart, which no
processor foresees. So the kernel says which they will be, and multiplies meanwhile. Nothing is read or written by it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..runtime.late import cgutils, intrinsic, overload, types
from ..runtime.place import Place

LINE = 16  # numbers of 4 bytes in a line of the cache
_byte, _i32 = ir.IntType(8), ir.IntType(32)


def prefetch(builder: Any, place: Any, level: int, *, write: bool = False) -> None:
    """Emit that the line of a pointer to bytes be in the first-level cache soon (level 1), or in the second (2)."""
    takes = ir.FunctionType(ir.VoidType(), [_byte.as_pointer(), _i32, _i32, _i32])
    function = cgutils.get_or_insert_function(builder.module, takes, "llvm.prefetch.p0")
    builder.call(function, [place, _i32(int(write)), _i32(4 - level), _i32(1)])


def ask_to_write(n: int, rows: Place, words: int) -> None:
    """Have the first `words` numbers of n rows in the first-level cache soon, as this core's own."""


@intrinsic
def _ask(typing_context, numbers, at):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        numbers, at = arguments
        line = builder.gep(context.make_array(signature.args[0])(context, builder, numbers).data, [at])
        prefetch(builder, builder.bitcast(line, _byte.as_pointer()), 1, write=True)
        return context.get_dummy_value()

    return types.void(numbers, types.int64), codegen


@overload(ask_to_write, inline="always")
def _compiled(n, rows, words):  # type: ignore[no-untyped-def]
    def lines(n, rows, words):  # type: ignore[no-untyped-def]
        for r in range(n):
            for j in range(0, words, LINE):
                _ask(rows.numbers, rows.at + r * rows.step + j)

    return lines

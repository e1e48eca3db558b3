"""A kernel as the machine sees it: an address to call, and a row of 64-bit words that hold its arguments.

A Python thread that is to run its part of a kernel must first be woken, get the interpreter's lock from the thread that
wants to compute too, and let Numba look at every argument. That took 60 us an op; a forward pass has 50 ops and, for a
short sentence, 5 ms. Threads that call machine code by its address need none of it (pool.py).

`entry` compiles the C function `call(start, stop, words)` around a kernel: it makes the kernel's arrays again from
their addresses and shapes and calls it. One is made for each combination of argument types. The arrays are borrowed:
whoever calls must hold the real ones until the kernel has returned. The result is 1, or 0 if the kernel failed,
which ours do only for want of memory.
"""

from __future__ import annotations

import contextlib
import ctypes
from array import array
from collections.abc import Callable, Iterator
from itertools import count
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.lib.stride_tricks import as_strided

from . import beside
from .jit import OPTIONS, Kernel, address_of
from .late import intrinsic, tell_numba, types
from .place import Place
from .undisturbed import undisturbed

# Of an argument: character of the dtype, and dimensions (0: a number). A named tuple is its class, then its members.
Kind = tuple[str, int] | type[tuple[Any, ...]]

_i64 = ir.IntType(64)
_entries: dict[tuple[Kernel, tuple[Kind, ...]], Entry] = {}


class Entry(NamedTuple):
    """A compiled kernel for certain types of arguments."""

    address: int
    call: Callable[[int, int, int], int]  # start, stop, address of the words; without the interpreter's lock


class Rows(NamedTuple):
    """An argument: the rows of a matrix (N, D) with whatever lies between them, for the kernel a Place.

    So columns of a product are read where they are.
    """

    matrix: np.ndarray[Any, Any]

    def line(self) -> tuple[int, int]:
        """Length of the line, from the first number of the first row to the last of the last, and the distance."""
        (N, D), (step, size) = self.matrix.shape, self.matrix.strides
        if not self.matrix.size:
            return 0, D  # NumPy gives these any strides
        if size != self.matrix.itemsize or step < D * size or step % size:
            raise TypeError("rows must be contiguous")
        return (N - 1) * (step // size) + D, step // size

    def address(self) -> int:
        """Where the first row begins."""
        try:
            return _address_of(_at(self.matrix))  # type: ignore[arg-type]
        except (TypeError, ValueError, BufferError):  # read-only, empty, or rows apart
            return int(self.matrix.ctypes.data)


_NUMBER, _WORD = Struct("d"), Struct("q")  # the bits of a float64; NumPy's `view` takes 1 us, not 0.2
_at, _address_of = ctypes.c_char.from_buffer, ctypes.addressof  # of an array; `.ctypes.data` takes 1 us, not 0.2


def words_of(arguments: tuple[Any, ...]) -> tuple[tuple[Kind, ...], array[int]]:
    """The kinds of a kernel's arguments and the words that hold them: of an array its address and its shape.

    A named tuple lies there member by member: to say what belongs together costs the kernel nothing.

    >>> kinds, words = words_of((np.zeros((2, 3), np.float32), 7))
    >>> kinds, words[1:].tolist()
    ((('f', 2), ('q', 0)), [2, 3, 7])
    """
    kinds: list[Kind] = []
    words: list[int] = []
    _lay_out(arguments, kinds, words)
    return tuple(kinds), array("q", words)


def _lay_out(arguments: tuple[Any, ...], kinds: list[Kind], words: list[int]) -> None:
    for value in arguments:
        if isinstance(value, np.ndarray):
            kinds.append((value.dtype.char, value.ndim))
            try:
                words.append(_address_of(_at(value)))  # type: ignore[arg-type]
            except (TypeError, ValueError, BufferError):  # read-only, empty, or not contiguous
                if not value.flags.c_contiguous:
                    raise TypeError("kernels take contiguous arrays only") from None
                words.append(int(value.ctypes.data))
            words.extend(value.shape)
        elif isinstance(value, Rows):
            kinds += Place, (value.matrix.dtype.char, 1), ("q", 0), ("q", 0)
            length, step = value.line()
            words += value.address(), length, 0, step
        elif isinstance(value, tuple):
            kinds.append(type(value))
            _lay_out(value, kinds, words)
        elif isinstance(value, np.float32):
            kinds.append(("f", 0))
            words.append(int(value.view(np.int32)))
        elif isinstance(value, float):
            kinds.append(("d", 0))
            words += _WORD.unpack(_NUMBER.pack(value))
        else:
            kinds.append(("q", 0))
            words.append(int(value))


def as_python(arguments: tuple[Any, ...]) -> list[Any]:
    """The arguments as a kernel that is not compiled takes them."""
    plain: list[Any] = []
    for value in arguments:
        if isinstance(value, Rows):
            length, step = value.line()
            plain.append(Place(as_strided(value.matrix, (length,), (value.matrix.itemsize,)), 0, step))
        elif isinstance(value, tuple):
            plain.append(type(value)(*as_python(value)))
        else:
            plain.append(value)
    return plain


def _type(kinds: Iterator[Kind]) -> Any:
    """What Numba calls the argument that begins here."""
    from numba.np.numpy_support import from_dtype

    kind = next(kinds)
    if isinstance(kind, type):
        return types.BaseTuple.from_types(tuple(_type(kinds) for _ in kind._fields), kind)
    number = from_dtype(np.dtype(kind[0]))
    return types.Array(number, kind[1], "C") if kind[1] else number


def _unpacked(kinds: tuple[Kind, ...]) -> tuple[Any, int]:
    """An intrinsic that makes a kernel's arguments from the address of their words, and how many they are."""
    from numba.np.arrayobj import populate_array

    left = iter(kinds)
    made = []
    with contextlib.suppress(StopIteration):
        while True:
            made.append(_type(left))

    @intrinsic
    def unpacked(typing_context, words):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            base, place = builder.inttoptr(arguments[0], _i64.as_pointer()), count()

            def word() -> Any:
                """The next one."""
                return builder.load(builder.gep(base, [_i64(next(place))]))

            def value(kind: Any) -> Any:
                if isinstance(kind, types.BaseTuple):
                    return context.make_tuple(builder, kind, [value(member) for member in kind])
                if kind == types.float32:
                    return builder.bitcast(builder.trunc(word(), ir.IntType(32)), ir.FloatType())
                if kind == types.float64:
                    return builder.bitcast(word(), ir.DoubleType())
                if not isinstance(kind, types.Array):
                    return word()
                made, number = context.make_array(kind)(context, builder), context.get_data_type(kind.dtype)
                data = builder.inttoptr(word(), number.as_pointer())
                shape = [word() for _ in range(kind.ndim)]
                size = _i64(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
                strides = [size]
                for length in reversed(shape[1:]):
                    strides.insert(0, builder.mul(strides[0], length))
                populate_array(made, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
                return made._getvalue()

            return context.make_tuple(builder, signature.return_type, [value(kind) for kind in signature.return_type])

        return types.Tuple(made)(types.int64), codegen

    return unpacked, len(made)


def c_function(function: Callable[..., int], count: int, options: dict[str, Any] = OPTIONS) -> Any:
    """Compile a function of `count` whole numbers, which gives one, so that C and compiled code can call it."""
    from numba.core.ccallback import CFunc

    tell_numba()
    compiled = CFunc(function, ((types.int64,) * count, types.int64), {}, options)
    compiled.compile()
    return compiled


def callable_at(address: int, count: int) -> Callable[..., int]:
    """The C function of `count` whole numbers at an address for Python to call, without the interpreter's lock."""
    return ctypes.CFUNCTYPE(*(ctypes.c_int64,) * (count + 1))(address)


def entry(kernel: Kernel, kinds: tuple[Kind, ...]) -> Entry:
    """The kernel for arguments of these kinds, compiled or loaded from the cache at its first use."""
    return _entries.get((kernel, kinds)) or undisturbed(_made, kernel, kinds)


def _made(kernel: Kernel, kinds: tuple[Kind, ...]) -> Entry:
    address = address_of(kernel.py_func, str(kinds), lambda: code_of(kernel, kinds))
    return _entries.setdefault((kernel, kinds), Entry(address, callable_at(address, 3)))


def code_of(kernel: Kernel, kinds: tuple[Kind, ...]) -> Any:
    """The kernel's entry, compiled."""
    if kernel.first:
        beside.begin()
    unpacked, count = _unpacked(kinds)
    scope = {"unpacked": unpacked, "kernel": kernel.inside}
    given = "".join(f", given[{i}]" for i in range(count))  # written out: with *given Numba puts no kernel inside
    exec(f"def call(start, stop, words):\n given = unpacked(words)\n kernel(start, stop{given})\n return 1", scope)
    return c_function(scope["call"], 3, kernel.options)

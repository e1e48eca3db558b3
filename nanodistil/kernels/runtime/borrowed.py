"""An array without its reference count, for helpers in an inner loop.

What. Numba counts references to arrays with atomic increments, and passing arrays to a helper that is not inlined, or
putting them in a tuple, costs a pair of them each. For a matrix product that is nothing; for a helper that looks up a
word in 20 ns it is most of the time, and when two threads count references to the same table, the counter's cache line
travels between them with every word: the tokenizer's scan was slower on two threads than on one.

Why this is safe. The array struct that a kernel is handed points to the owner of its memory. `borrowed(a)` is the same
struct without that pointer, so nobody counts; the memory stays alive because the caller of the kernel holds the real
array until the kernel returns. So borrow arguments, and never a local array: that one would be freed at once.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .late import cgutils, intrinsic, overload


@intrinsic
def _borrowed(typing_context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        struct = context.make_array(array)(context, builder, value=arguments[0])
        struct.meminfo = cgutils.get_null_value(struct.meminfo.type)
        struct.parent = cgutils.get_null_value(struct.parent.type)
        return struct._getvalue()

    return array(array), generate


def borrowed(array: NDArray[Any]) -> NDArray[Any]:
    """The argument of a kernel itself, not counted in compiled code; valid as long as the kernel runs."""
    return array


@overload(borrowed, inline="always")
def _overload(array):  # type: ignore[no-untyped-def]  # Numba compares the two signatures, annotations and all
    return lambda array: _borrowed(array)

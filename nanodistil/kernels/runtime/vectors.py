"""Whole vectors, for loops that gain by them.

Of some processors with AVX-512 LLVM prefers vectors of 256 bits, for fear of a slower clock, at which the tile's 512
have them run anyway. Loops that only compute (GELU) are a quarter faster with 512; those that add up a row are not, and
some lose by it. So a function says for itself that it wants them. It changes no bit of a result that adds nothing up.
"""

from __future__ import annotations

from .late import intrinsic, overload, types


def whole_vectors() -> None:
    """Compile the function that this stands in, loops included, for vectors of 512 bits where there are such."""


@intrinsic
def _whole_vectors(typing_context):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # llvmlite's own `add` knows few names
        return context.get_dummy_value()

    return types.void(), codegen


@overload(whole_vectors, inline="always")
def _compiled():  # type: ignore[no-untyped-def]
    return lambda: _whole_vectors()

"""Kernels that are wrong on purpose: what a rehearsal has to find and to name.

    index    gelu.cu writes its numbers eight places too far: outside of the array
    row      layer_norm.cu reads the first row for every row: inside, and only the numbers are wrong
    race     attention_float32.cu overwrites a tile without the barrier before
    status   cuBLASLt answers a product with CUBLAS_STATUS_EXECUTION_FAILED
    hang     most_probable.cu never ends

The sources on disk stay as they are; what is handed to the compiler is changed on its way.
"""

from __future__ import annotations

import sys
from typing import NamedTuple


class Change(NamedTuple):
    file: str  # of cuda/
    right: str
    wrong: str


SUMS = "    __shared__ double sums[WARPS];\n"
NORMED = "    load_row(row, x + at, D);\n    normalise(row, weight, bias, D, eps);"
CHANGES = {
    "index": Change("gelu.cu", "store_piece_of(out, piece,", "store_piece_of(out + PIECE, piece,"),
    "row": Change("layer_norm.cu", NORMED, NORMED.replace("x + at", "x")),
    "race": Change("attention_float32.cu", "__syncthreads();  // all have finished with the tile before\n", "\n"),
    "hang": Change("most_probable.cu", SUMS, "    for (volatile int on = 1; on;) {}\n" + SUMS),
}  # fmt: skip
NAMES = (*CHANGES, "status")
EXECUTION_FAILED = 13


class Breaking:
    """A plugin of pytest's: before a test has the kernels at hand, break them."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def pytest_runtest_call(self, item) -> None:
        if "status" in self.names:
            refuse_products()
        elsewhere = [name for name in self.names if name in CHANGES]
        self.names = elsewhere
        if elsewhere and "nanodistil.kernels.gpu.cuda_source" in sys.modules:  # importing it is importing CuPy
            change_sources(elsewhere)
            self.names = []


def break_them(names: list[str]) -> None:
    if "status" in names:
        refuse_products()
    change_sources(names)


def refuse_products() -> None:
    from nanodistil.kernels.gpu import cublas_lt

    def failing(kind, N, addresses, accumulate):
        raise cublas_lt._error(EXECUTION_FAILED, "cublasLtMatmul", kind._replace(N=N))

    cublas_lt._launch = failing


def change_sources(names: list[str]) -> None:
    from nanodistil.kernels.gpu import cuda_source

    right = cuda_source.source

    def wrong(file: str) -> str:
        text = right(file)
        for name in names:
            change = CHANGES.get(name)
            if change is not None and change.file == file:
                if change.right not in text:
                    raise LookupError(f"{file} has no longer what `{name}` changes")
                text = text.replace(change.right, change.wrong)
        return text

    cuda_source.source = wrong

"""Compile attention, run nothing: the program of the second process on a machine's first run (runtime/beside.py)."""

from __future__ import annotations

import numpy as np

from ..definitions.sentences import Sentences
from ..runtime import pool
from .numba_ops import attention


def main() -> None:
    """Have the kernel compiled, unless another process is at it or has kept it."""
    pool.only_compile()
    x, bounds = np.zeros((1, 2), np.float32), np.array([0, 1])
    attention(x, x, x, Sentences(bounds, bounds, 1, None))


if __name__ == "__main__":
    main()

"""tile: the sums of six rows in a local array, the innermost loop along the columns."""

import numpy as np
from numba import njit


@njit(fastmath={"contract"})
def tile(c, a, b):
    R, C = c.shape
    sums = np.empty(C, c.dtype)
    for r in range(R):
        for j in range(C):
            sums[j] = c[r, j]
        for k in range(a.shape[1]):
            for j in range(C):
                sums[j] += a[r, k] * b[k, j]
        for j in range(C):
            c[r, j] = sums[j]

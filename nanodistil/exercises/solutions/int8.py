"""quantized: one scale a row, halves to even."""

import numpy as np


def quantized(weight):
    scale = np.abs(weight).max(axis=1) / weight.dtype.type(127)
    scale[scale == 0] = 1
    return np.rint(weight / scale[:, None]).astype(np.int8), scale

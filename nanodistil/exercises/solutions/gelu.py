"""gelu: math.erf, number by number."""

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[float])


def gelu(x):
    return (x * (1 + erf(x / math.sqrt(2))) / 2).astype(x.dtype)

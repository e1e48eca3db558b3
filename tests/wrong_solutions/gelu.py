"""As in softmax.py beside it."""

import math

import numpy as np


def by_number(f):
    return lambda x: np.array([f(float(v)) for v in x.ravel()], x.dtype).reshape(x.shape)


@by_number
def tanh(v):
    return 0.5 * v * (1.0 + math.tanh(0.7978845608028654 * (v + 0.044715 * v**3 if abs(v) < 1e20 else v)))


@by_number
def sigmoid(v):
    return v / (1 + math.exp(-1.702 * v)) if v > -100 else 0.0


@by_number
def relu(v):
    return max(v, 0.0)


@by_number
def no_root(v):
    return v * 0.5 * (1 + math.erf(v))


@by_number
def no_half(v):
    return v * (1 + math.erf(v / 2**0.5))


@by_number
def no_x(v):
    return (1 + math.erf(v / 2**0.5)) / 2

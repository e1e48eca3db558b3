"""As in softmax.py beside it."""

import numpy as np


def transposed(x, weight, bias):
    return x @ weight + bias


def no_bias(x, weight, bias):
    return np.einsum("ni,oi->no", x, weight)


def inputs_of_32(x, weight, bias):
    y = np.zeros((len(x), len(weight)), x.dtype)
    for piece in range(x.shape[1] // 32):
        at = slice(32 * piece, 32 * piece + 32)
        y += x[:, at] @ weight[:, at].T
    return y + bias


def last_of_64(x, weight, bias):
    for i in range(0, x.shape[1], 64):
        y = x[:, i : i + 64] @ weight[:, i : i + 64].T
    return y + bias


def bias_of_16(x, weight, bias):
    y = np.zeros((len(x), len(weight)), x.dtype)
    for i in range(0, x.shape[1], 16):
        y += x[:, i : i + 16] @ weight[:, i : i + 16].T + bias
    return y


def rest_of_8(x, weight, bias):
    y = np.tile(bias, (len(x), 1))
    for n in range(len(x) // 8):
        for o in range(len(weight) // 8):
            for i in range(x.shape[1] // 8):
                rows, outs, ins = (slice(8 * at, 8 * at + 8) for at in (n, o, i))
                y[rows, outs] += x[rows, ins] @ weight[outs, ins].T
    return y

"""linear: tiles of 32 rows and 64 outputs, their sums in pieces of 64 inputs."""

import numpy as np

ROWS, OUTPUTS, PIECE = 32, 64, 64


def linear(x, weight, bias):
    y = np.empty((len(x), len(weight)), x.dtype)
    for o in range(0, len(weight), OUTPUTS):
        w = weight[o : o + OUTPUTS]
        for n in range(0, len(x), ROWS):
            rows = x[n : n + ROWS]
            total = np.zeros((len(rows), len(w)), x.dtype)
            for i in range(0, x.shape[1], PIECE):
                total += rows[:, i : i + PIECE] @ w[:, i : i + PIECE].T
            y[n : n + ROWS, o : o + OUTPUTS] = total + bias[o : o + OUTPUTS]
    return y

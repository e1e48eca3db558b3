"""A trainee small enough to follow by hand: a linear map with a bias, trained on squares, in float64 NumPy."""

import numpy as np

from nanodistil.kernels.definitions import numpy_ops
from nanodistil.training.loop import Worked


class Line:
    """y = W x + b, with W decayed and b not; `drop` of the inputs are left out, as a function of the key."""

    def __init__(self, inputs=3, outputs=2, seed=0):
        self.ops = numpy_ops
        rng = np.random.default_rng(seed)
        self.flat = rng.standard_normal(outputs * inputs + outputs)
        self.flat_gradients = np.zeros_like(self.flat)
        self.decayed = outputs * inputs
        self.shape = outputs, inputs
        self.refreshed = self.flat.copy()  # a forward pass reads this copy, so a forgotten refresh shows

    def zero_gradients(self):
        self.flat_gradients[:] = 0

    def refresh(self):
        self.refreshed = self.flat.copy()

    def step(self, batch, key, scale):
        x, y = batch  # (n, inputs), (n, outputs)
        x = x * (np.random.default_rng(key).random(x.shape) > 0.2)
        W, b = self.refreshed[: self.decayed].reshape(self.shape), self.refreshed[self.decayed :]
        wrong = x @ W.T + b - y  # (n, outputs)
        self.flat_gradients[: self.decayed] += scale * 2 * (wrong.T @ x).ravel()
        self.flat_gradients[self.decayed :] += scale * 2 * wrong.sum(0)
        return Worked((float((wrong**2).sum()),), x.size)


def points(epoch, batches=5, n=4, inputs=3, outputs=2):
    """An epoch's batches, in another order each time."""
    rng = np.random.default_rng(7)
    data = [(rng.standard_normal((n, inputs)), rng.standard_normal((n, outputs))) for _ in range(batches)]
    return [data[i] for i in np.random.default_rng((0, epoch)).permutation(batches)]

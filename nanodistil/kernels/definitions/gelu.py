"""gelu, the activation that DistilBERT is trained with (Hendrycks and Gimpel 2016, section 2). Others: activations.py.

The exact one has an erf, which NumPy lacks, so its tail is evaluated here from a series of our own. The well-known tanh
formula (`gelu_new`) is off by up to 4e-4, a hundred times float32's own error over the whole model: it is another
function, for checkpoints that were trained with it.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Array = NDArray[np.floating]

# exp(z^2/2) Q(z), where Q is the upper tail of the normal distribution, as a Chebyshev series in s = 2 / (1 + z/4) - 1,
# which maps z in [0, inf) to (-1, 1]. Fitted with 50 digits by tests/golden/fit_polynomials.py; truncation below 1e-17.
TAIL = (
    0.1682882016232327, 0.22915709990540908, 0.07778835509065742, 0.020384686418274105, 0.003918137045458075,
    0.0004666606283379171, 6.287520132139339e-06, -8.58398579912788e-06, -1.0167576108636199e-06,
    1.397526759521329e-07, 3.669280791486882e-08, -2.8041788924924713e-09, -1.2584224132220847e-09,
    8.950222407260244e-11, 4.536086530984231e-11, -4.474287656506267e-12, -1.671687905185684e-12,
    2.683781469553837e-13, 5.721760333130976e-14, -1.621048267715444e-14, -1.3744940820337785e-15,
    9.10143893328047e-16, -2.2734886306808515e-17, -4.421463813334421e-17,
)  # fmt: skip


def normal_tail(z: Array) -> Array:
    """Q(z) = erfc(z / sqrt 2) / 2 for z >= 0, the probability that a standard normal exceeds z: any shape.

    >>> float(normal_tail(np.array(0.0))), float(normal_tail(np.array(1.96)).round(6))
    (0.5, 0.024998)
    """
    s = 2 / (1 + z / 4) - 1
    return np.exp(-z * z / 2) * chebyshev.chebval(s, np.array(TAIL, s.dtype))


def gelu(x: Array) -> Array:
    """x Phi(x) = x (1 + erf(x / sqrt 2)) / 2: any shape (Hendrycks and Gimpel 2016, section 2).

    Written as ReLU minus a bump, max(x, 0) - |x| Q(|x|): the same function, but without the cancellation of 1 + erf
    for negative x.

    >>> gelu(np.array([-1.0, 0.0, 1.0, 3.0])).round(6)
    array([-0.158655,  0.      ,  0.841345,  2.99595 ])
    """
    z = np.minimum(np.abs(x), 40)  # beyond 40 the bump is 0; the bound keeps inf * 0 away
    return np.maximum(x, 0) - z * normal_tail(z)

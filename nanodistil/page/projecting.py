"""Hidden states seen from afar: each token's nearest others, and all of them on a plane.

Neighbours are by the cosine, in the full width. The plane is that of the two directions in which the tokens of a layer
differ most (principal components), with the share of all difference that it shows: with 10% of it, what is near on the
plane need not be near. Each direction may be turned around without being another, so the first token is kept on the
right and above.
"""

from __future__ import annotations

import numpy as np

from nanodistil.backend import Array, Ints


def nearest(x: Array, k: int = 5) -> tuple[Ints, Array]:
    """Of each row the k nearest others, and their cosines: (T, D) -> (T, k') twice, k' = min(k, T - 1).

    >>> nearest(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 1)[0].ravel()
    array([1, 0, 1])
    """
    units = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    cosines = units @ units.T  # (T, T)
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : min(k, len(x) - 1)]
    return order, np.take_along_axis(cosines, order, 1)


def plane(x: Array) -> tuple[Array, Array]:
    """The rows on their two principal components, and the share of all variance in each: (T, D) -> (T, 2), (2,).

    >>> points, shares = plane(np.array([[0.0, 0.0, 1.0], [2.0, 0.0, 1.0], [4.0, 0.0, 1.0]]))
    >>> points[:, 0].round(3) + 0.0, shares.round(3)
    (array([ 2.,  0., -2.]), array([1., 0.]))
    """
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    points, shares = np.zeros((len(x), 2)), np.zeros(2)
    n = min(2, len(s))
    points[:, :n] = u[:, :n] * s[:n]
    total = (s**2).sum()
    if total > 0:
        shares[:n] = s[:n] ** 2 / total
    return points * np.where(points[0] < 0, -1, 1), shares

"""The derivatives of a linear map y = x W^T + b: two more products of the same size, so two thirds of training.

Definition: linear_backward_input and linear_backward_weight in numpy_backward.py.

The definitions are one product each: dX = dY W, dW += dY^T X. Both run on the tile of the forward pass (tile.py), and
what differs is who is packed and how:

1. dX = dY W is a linear map whose weight is W^T. So W is packed a second time, into panels of its transpose, and
   `linear_blocks` does the rest, with a bias of 0. The weight lies the right way already: its rows are cut into pieces
   of COLUMNS and the pieces piled up. Both packings are made anew after every step of the optimiser.
2. In dW += dY^T X the sums run over the rows of the batch. X takes the place of the weight and is cut into panels in
   the same way; dY^T takes that of the inputs, but nobody transposes it: the tile wants one number of each of its 6
   rows at a time, and in dY these lie side by side, so `multiply_turned` reads them from there.
3. The tile's sums start from dW itself, so adding to a gradient costs no more than writing one.
4. DEPTH rows of the batch at a time, so that the panels of X take the same small memory whatever the batch.

db is summed beside it, in float64. An element's additions come in the same order whatever the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.jit import kernel
from ..runtime.memory import aligned
from ..runtime.native import Rows
from ..runtime.place import Place
from ..runtime.pool import run
from .linear import BLOCK, Panels, asked, place
from .tile import COLUMNS, PIECE, ROWS, multiply_turned

Array = NDArray[np.float32]

DEPTH = 1024  # rows of dY and X that are worked through together
STRIPE = 256  # numbers of db that are summed together: 2 KB of float64


@kernel()
def cut_rows(start: int, stop: int, x: Place, I: int, panels: Any) -> None:
    """Rows start..stop of x, cut into pieces of COLUMNS: (N, I) -> (P, N, COLUMNS), zeros beyond I.

    Indices are unsigned because Numba lets signed ones count from the end; that test cost 4 times the copying.
    """
    P, N, _ = panels.shape
    out = panels.reshape(-1)
    for n in range(start, stop):
        for p in range(P):
            left = p * COLUMNS
            a, c = np.uint64(n * x.step + left), np.uint64((p * N + n) * COLUMNS)
            width = np.uint64(min(COLUMNS, I - left))
            for j in range(width):
                out[c + j] = x.numbers[a + j]
            for j in range(width, np.uint64(COLUMNS)):
                out[c + j] = np.float32(0)


def panels_of_rows(x: Rows, panels: Array) -> Array:
    """x (N, I) in panels (P, N, COLUMNS), which are given."""
    run(cut_rows, x.matrix.shape[0], x, x.matrix.shape[1], panels, least=16)
    return panels


def pack_transpose(weight: Array) -> Panels:
    """(O, I) -> the panels of W^T, for dX = dY W as `linear_blocks` computes it."""
    O, I = weight.shape
    P = -(-I // COLUMNS)
    panels = panels_of_rows(Rows(np.require(weight, np.float32, ["C", "A"])), aligned(P, O, COLUMNS))
    return Panels(panels, np.zeros(P * COLUMNS, np.float32), I)


@kernel()
def add_rows(start: int, stop: int, dy: Place, N: int, db: Any) -> None:
    """Stripes start..stop, of STRIPE numbers, of db += the sum of the N rows of dy: adding to (O,)."""
    O = db.shape[0]
    sums = np.empty(STRIPE, np.float64)
    for stripe in range(start, stop):
        left = stripe * STRIPE
        width = min(STRIPE, O - left)
        sums[:] = 0.0
        for n in range(N):
            at = np.uint64(n * dy.step + left)
            for j in range(np.uint64(width)):
                sums[j] += np.float64(dy.numbers[at + j])
        for j in range(width):
            db[left + j] = np.float32(np.float64(db[left + j]) + sums[j])


def weight_kernel(multiply_turned: Any) -> Any:
    """`weight_blocks` for a tile: float32 below, bfloat16 in bfloat16_backward."""

    @kernel(fastmath={"contract"})
    def weight_blocks(start: int, stop: int, dy: Place, panels: Any, dW: Any) -> None:
        """Work items start..stop of dW += dY^T X: (N, O), (P, N, COLUMNS), adding to (O, I).

        N in words, see `Dot` in tile.py.
        """
        P, N, _ = panels.shape
        O, I = dW.shape
        b, flat = panels.reshape(-1), dW.reshape(-1)
        spare = np.zeros(BLOCK * COLUMNS, np.float32)  # the tile adds to whole panels; if I ends inside one, here
        for item in range(start, stop):
            top, bottom, p = place(item, O, P)
            left = p * COLUMNS
            each = asked(bottom - top)
            whole = left + COLUMNS <= I
            # row r, column j of the panel's results is c[at + r wide + j]
            c, at, wide = (flat, top * I + left, I) if whole else (spare, 0, COLUMNS)
            if not whole:
                for r in range(bottom - top):
                    spare[r * COLUMNS : r * COLUMNS + I - left] = dW[top + r, left:]
            for first in range(0, N, PIECE):
                depth = min(PIECE, N - first)
                for row in range(0, bottom - top, ROWS):
                    rows = min(ROWS, bottom - top - row)
                    here, panel = (
                        Place(dy.numbers, first * dy.step + top + row, dy.step),
                        Place(b, (p * N + first) * COLUMNS, COLUMNS),
                    )
                    ahead = Place(b, panel.at + depth * (COLUMNS + row // ROWS * each), each)
                    sums = Place(c, at + row * wide, wide)
                    multiply_turned(rows, here, panel, sums, sums, depth, ahead)
            if not whole:
                for r in range(bottom - top):
                    dW[top + r, left:] = spare[r * COLUMNS : r * COLUMNS + I - left]

    return weight_blocks


weight_blocks = weight_kernel(multiply_turned)

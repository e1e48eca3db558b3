"""From the vocabulary's logits to the few words a reader is shown.

Definition: most_probable in numpy_ops.py.

Softmax over 30522 words for the sake of five of them: NumPy walks over the row a dozen times, and sorts or partitions
it. Here it is fetched from memory once, 122 KB, which stay in the second-level cache for the second walk:

1. The k largest. A running list of them is kept sorted, and few words ever enter it (k ln(V / k) of a shuffled row: 45
   for five), so what counts is how fast a word is found not to: LANES of them at once, by their largest.
2. The sum of exponentials, in as many lanes and in the order in which PyTorch adds them: numpy_ops.vocabulary_softmax
   says why.

One row, five words kept: 280 us with NumPy's exp and partition (2600 if it sorts), 20 so; 100 kept: 47. A
short text's whole way through the embedded model is a millisecond or two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definitions.numpy_ops import LANES
from ..runtime.jit import helper, kernel
from .exp import exp_negative

f32 = np.float32
LOWEST, ZERO = f32(-np.inf), f32(0.0)


@helper()
def enter(x: Any, first: int, last: int, best: Any, words: Any) -> None:
    """Words first..last of x (V,) into the sorted list of the largest so far, (k,) each: equal ones in their order."""
    k = best.shape[0]
    for j in range(first, last):
        if x[j] > best[k - 1]:
            place = k - 1
            while place > 0 and x[j] > best[place - 1]:
                best[place], words[place] = best[place - 1], words[place - 1]
                place -= 1
            best[place], words[place] = x[j], j


@helper()
def find_largest(x: Any, best: Any, words: Any) -> None:
    """best, words (k,) = the largest of x (V,) and where they stand, largest first; k > 0."""
    V, k = x.shape[0], best.shape[0]
    best[:] = LOWEST
    whole = V // LANES * LANES
    for first in range(0, whole, LANES):
        top = x[first]
        for j in range(first + 1, first + LANES):
            top = max(top, x[j])
        if top > best[k - 1]:
            enter(x, first, first + LANES, best, words)
    enter(x, whole, V, best, words)


@helper(fastmath={"contract"})
def sum_of_exponentials(x: Any, top: Any, lanes: Any) -> Any:
    """The sum of exp(x - top), (V,), in LANES lanes; NaN if x holds a number that is not finite."""
    V = x.shape[0]
    lanes[:] = ZERO
    whole = V // LANES * LANES
    for first in range(0, whole, LANES):
        for j in range(LANES):
            lanes[j] += exp_negative(x[first + j] - top) + ZERO * x[first + j]
    for j in range(V - whole):
        lanes[j] += exp_negative(x[whole + j] - top) + ZERO * x[whole + j]
    total = ZERO
    for j in range(LANES):
        total += lanes[j]
    return total


@kernel(fastmath={"contract"})
def most_probable_rows(start: int, stop: int, logits: Any, probs: Any, words: Any) -> None:
    """Rows start..stop: softmax(logits) at the k largest, largest first, (M, V) float32 -> (M, k), (M, k) int64."""
    lanes = np.empty(LANES, np.float32)
    for i in range(start, stop):
        find_largest(logits[i], probs[i], words[i])
        top = probs[i, 0]
        total = sum_of_exponentials(logits[i], top, lanes)
        for n in range(probs.shape[1]):
            probs[i, n] = exp_negative(probs[i, n] - top) / total

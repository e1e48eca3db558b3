"""A long text as windows that overlap, so that what one cuts in two another sees whole.

    tokens   0 1 2 3 4 5 6 7 8        windows of 5, overlapping by 2:   0 1 2 3 4
                                                                              3 4 5 6 7
                                                                                    6 7 8

The last window is as long as what is left for it; it is not moved back to be full, as the fast tokenizer does not.
"""

from __future__ import annotations


def overlapping(n: int, size: int, overlap: int, from_right: bool = False) -> list[tuple[int, int]]:
    """[start, end) of the windows of at most `size` among `n` tokens, at least one window.

    overlap: less than size. from_right: laid from the end of the text, which is where a tokenizer with
    truncation_side="left" begins.

    >>> overlapping(9, 5, 2), overlapping(9, 5, 2, from_right=True), overlapping(5, 5, 2)
    ([(0, 5), (3, 8), (6, 9)], [(4, 9), (1, 6), (0, 3)], [(0, 5)])
    """
    windows = [(0, min(size, n))]
    while windows[-1][1] < n:
        start = windows[-1][0] + size - overlap
        windows.append((start, min(start + size, n)))
    return [(n - end, n - start) for start, end in windows] if from_right else windows

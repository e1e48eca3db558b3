"""The textbook's instruments: what one forward or training step did, in real numbers, and where each comes from.

    explain   explaining.py   the forward pass, step by step; trace.py, what was watched; by_hand.py, one step worked
                              in Python; theirs.py, transformers' tensors under our names
    learn     learning.py     a training step, gradient by gradient, each checked by a finite difference
    choose    choosing.py     what every processor did to the scores of a text that is written on
    drift     drifting.py     how far every op is from float64 (exact.py), and which op brought it
    count     counting.py     parameters, operations and bytes of every op, and the roofline
              telling.py      explain in words; drawing.py, the pictures of drift and count

Nothing here is written down by hand: lines of source, formulas, shapes and numbers are those of the run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanodistil.lessons.choosing import choose as choose
    from nanodistil.lessons.counting import count as count
    from nanodistil.lessons.drifting import drift as drift
    from nanodistil.lessons.explaining import explain as explain
    from nanodistil.lessons.learning import learn as learn

_HOME = {
    "explain": "explaining", "learn": "learning", "choose": "choosing", "drift": "drifting", "count": "counting",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nanodistil.lessons' has no attribute {name!r}")
    return getattr(import_module(f"nanodistil.lessons.{_HOME[name]}"), name)

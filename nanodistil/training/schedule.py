"""The learning rate: up in a straight line while the moments settle, then down in a straight line to nothing.

Adam divides by a running mean of squares that its first steps barely know, so these are taken small (warm-up; Devlin et
al. 2019, appendix A.2, whose schedule this is). All here are pure functions of the step's number, so a run that goes on
after a kill needs no state of a scheduler.

Two things that are easily got wrong, and are as in transformers and in DistilBERT's train.py:

- steps count from 0, so with a warm-up the first step has the rate 0 and changes nothing but the moments;
- train.py plans for one step more than there are (`+ 1`), so that the last one has a rate above 0.
"""

from __future__ import annotations

import math


def planned_steps(batches: int, accumulation: int, epochs: float) -> int:
    """Over how many steps distillation spreads its schedule: train.py's formula.

    >>> planned_steps(batches=1000, accumulation=50, epochs=3)
    61
    """
    return int(batches / accumulation * epochs) + 1


def warmup_steps(total: int, share: float) -> int:
    """How many of them the warm-up takes.

    >>> warmup_steps(61, 0.05)
    4
    """
    return math.ceil(total * share)


def linear(step: int, warmup: int, total: int) -> float:
    """By what the learning rate is multiplied at a step, counted from 0.

    >>> [linear(step, warmup=2, total=6) for step in range(7)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if step < warmup:
        return step / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


def layerwise(name: str, layers: int, decay: float) -> float:
    """By what the learning rate of a weight is multiplied: the less, the lower it is (Clark et al. 2020, ELECTRA).

    A head learns at the whole rate, the last of the layers at `decay` of it, each below at `decay` of the one above,
    and the embeddings at the least.

    >>> names = ("classifier.bias", "transformer.layer.1.ffn.lin1.weight", "transformer.layer.0.ffn.lin1.weight")
    >>> [layerwise(name, 2, 0.5) for name in (*names, "embeddings.LayerNorm.bias")]
    [1.0, 0.5, 0.25, 0.125]
    """
    if name.startswith("transformer.layer."):
        return decay ** (layers - int(name.split(".")[2]))
    return decay ** (layers + 1) if name.startswith("embeddings.") else 1.0

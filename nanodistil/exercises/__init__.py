"""Exercises: write an op of DistilBERT yourself, have it checked, and see the real model answer with it.

exercise.py says what an exercise is; problems/ has one a file: what is asked, the cases it is checked with, and the
slips that are known of it. solutions/ has one answer to each; nothing here imports them. stubs.py writes the file that
a learner fills in, and progress.py notes beside it what was passed.

Checking. sandbox.py starts a process for the learner's code, which may crash or never end, and listens to it;
sandboxed.py is what runs there: learner.py finds the function in the file, judging.py calls it with every case
(guarded.py builds walls around arrays), trial.py puts it into the model, and race.py times it.
"""

from __future__ import annotations

from importlib import import_module

from nanodistil.exercises.exercise import Exercise
from nanodistil.weights.errors import InputError, excerpt, meant

ORDER = (
    "softmax",
    "gelu",
    "layer_norm",
    "embeddings",
    "wordpiece",
    "attention",
    "matmul",
    "cross_entropy",
    "backward",
    "bpe",
    "sampling",
    "kv_cache",
    "int8",
    "tile",
)


def exercise(name: str) -> Exercise:
    """The exercise of a name; "layer-norm" is layer_norm. Raises InputError if there is none.

    >>> exercise("layer-norm").minutes
    15
    """
    known = name.strip().lower().replace("-", "_")
    if known not in ORDER:
        raise InputError(f"there is no exercise {excerpt(name)}{meant(known, ORDER)}; nanodistil exercise lists them")
    found: Exercise = import_module(f"nanodistil.exercises.problems.{known}").EXERCISE
    return found

"""Exercise: word and position embeddings of a packed batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.exercises.definitions import numpy_ops
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race, against, compiled_ops
from nanodistil.exercises.trial import Array, Function, Within, in_model


def positions_of(starts: Array) -> Array:
    """(B + 1,) -> (N,): 0, 1, 2, ... in every sentence."""
    lengths = np.diff(starts)
    return np.asarray(np.arange(starts[-1]) - np.repeat(starts[:-1], lengths))


def starts_of(positions: Array) -> Array:
    """(N,) -> (B + 1,): the way back."""
    return np.append(np.flatnonzero(positions == 0), len(positions))


def definition(ids: Array, starts: Array, words: Array, places: Array) -> Any:
    return numpy_ops.embed(ids, positions_of(starts), words, places)


def cases(dtype: str) -> list[Case]:
    random = np.random.default_rng(4)

    def given(lengths: list[int], D: int, P: int) -> tuple[Any, ...]:
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        tables = (random.standard_normal((n, D)).astype(dtype) for n in (11, P))
        return random.integers(0, 11, sum(lengths)), starts, *tables

    by_hand = np.array([[0, 1], [2, 3]], dtype), np.array([[10, 20], [30, 40], [50, 60]], dtype)
    return [
        Case("by hand", (np.array([1, 0]), np.array([0, 2]), *by_hand)),
        Case("one sentence", given([5], 8, 20)),
        Case("three sentences", given([3, 7, 1], 8, 20)),
        Case("as long as there are positions", given([20, 2], 4, 20)),
        Case("one token", given([1], 3, 4)),
    ]


def slipped(slips: Slips, ids: Array, starts: Array, words: Array, places: Array) -> Any:
    positions = np.arange(len(ids)) if "run on" in slips else positions_of(starts)
    if "backwards" in slips:
        positions = np.repeat(np.diff(starts), np.diff(starts)) - 1 - positions
    x = words[ids]
    if "scaled" in slips:
        x = x * x.dtype.type(np.sqrt(words.shape[1]))
    if "no places" in slips:
        return x
    there = places[positions + (1 if "from 1" in slips else 0)]
    return x * there if "product" in slips else x + there


def trial(function: Function) -> list[str]:
    within = Within(
        lambda ids, positions, words, places: function(ids, starts_of(positions), words, places),
        numpy_ops.embed,
        lambda ids, positions, words, places: float(ids.size * words.shape[1]),
    )
    return in_model({"embed": within}, within)


def race(large: bool) -> Race:
    N, D = (512, 768) if large else (8, 768)
    random = np.random.default_rng(0)
    words, places = (random.standard_normal((n, D), np.float32) for n in (3000, 512))
    ids, starts = random.integers(0, 3000, N), np.array([0, N // 2, N])
    positions = positions_of(starts)
    rivals = against(
        compiled_ops(),
        lambda: numpy_ops.embed(ids, positions, words, places),
        lambda ops: ops.embed(ids, positions, words, places),
    )
    return Race(f"{N} x {D}", lambda f: f(ids, starts, words, places), rivals, bytes=3 * N * D * 4)


EXERCISE = Exercise(
    name="embeddings",
    title="what each token is, plus where it stands",
    minutes=10,
    lines=4,
    header="def embeddings(ids, starts, words, places):",
    task="""words[id] + places[position], token by token.

A batch has no padding: its sentences stand one behind the other, and sentence b is ids[starts[b] :
starts[b + 1]]. Positions count from 0 in every sentence.

ids: (N,) whole numbers. starts: (B + 1,), the last is N. words: (V, D). places: (P, D). Returns:
(N, D).""",
    hints=(
        "np.arange(N) counts through the whole batch. What has to be taken away in sentence b?",
        "np.repeat(starts[:-1], np.diff(starts)) says for every token where its sentence begins.",
    ),
    example="""words, places = np.array([[0.0], [1.0]]), np.array([[10.0], [20.0], [30.0]])
print(embeddings(np.array([1, 0, 1]), np.array([0, 2, 3]), words, places).T)  # [[11. 20. 11.]]""",
    cases=cases,
    definition=definition,
    slips={
        "from 1": "positions begin at 1: they count from 0 (RoBERTa's begin later, DistilBERT's do not)",
        "run on": "positions run on from sentence to sentence: each one begins at 0 again",
        "backwards": "positions count from the end of the sentence",
        "no places": "the positions are left out",
        "product": "word and place are multiplied; they are added",
        "scaled": "words are multiplied by sqrt(D), as in the first Transformer; BERT does not",
    },
    slipped=slipped,
    trial=trial,
    race=race,
)

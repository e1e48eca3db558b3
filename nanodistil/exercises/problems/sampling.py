"""Exercise: top-k and top-p."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.exercises.definitions import numpy_ops
from nanodistil.exercises.exercise import Case, Exercise, Slips
from nanodistil.exercises.race import Race
from nanodistil.exercises.trial import TEXT, Array, Function, asked, masked_lm, tokenizer

DRAWS = 12


def definition(scores: Array, top_k: int, top_p: float) -> Any:
    """The project's two processors, and softmax."""
    from nanodistil.generation.narrowing import TopKLogitsWarper, TopPLogitsWarper

    row = np.array(scores)[None]
    if top_k:
        row = TopKLogitsWarper(top_k)([[0]], row)
    return numpy_ops.softmax(TopPLogitsWarper(top_p)([[0]], row)[0])


def cases(dtype: str) -> list[Case]:
    x = np.random.default_rng(9).standard_normal
    few = np.log(np.array([0.1, 0.45, 0.25, 0.2], dtype))
    return [
        Case("by hand: the best two", (few, 2, 1.0)),
        Case("by hand: p of 0.6, the one that crosses it stays", (few, 0, 0.6)),
        Case("by hand: p of 0.3, the best alone", (few, 0, 0.3)),
        Case("p of what k has left", (few, 3, 0.75)),
        Case("everything", (x(9).astype(dtype), 0, 1.0)),
        Case("more than there are", (x(5).astype(dtype), 50, 1.0)),
        Case("1000 words, k of 40 and p of 0.9", (3 * x(1000).astype(dtype), 40, 0.9), 200),
        Case("scores of a thousand", (np.array([1000, 990, 1001, -1000], dtype), 3, 0.95), 1000),
        Case("k of 1", (x(7).astype(dtype), 1, 0.5)),
    ]


def slipped(slips: Slips, scores: Array, top_k: int, top_p: float) -> Any:
    def softmax(s: Array) -> Array:
        e = np.exp(s if "no maximum" in slips else s - s.max())
        return np.asarray(e / e.sum())

    worst = "least" in slips
    order = np.argsort(scores if worst else -scores, kind="stable")  # best first
    k = len(scores) if top_k == 0 and "zero" not in slips else top_k + ("one more" in slips)
    kept = order[:k]
    probs = softmax(scores)
    if "k by itself" not in slips and kept.size:
        probs = np.zeros_like(scores)
        probs[kept] = softmax(scores[kept])
    walk = np.sort(kept) if "unsorted" in slips else kept
    before = np.cumsum(probs[walk]) - probs[walk]
    inside = before + probs[walk] <= top_p if "crossing" in slips else before < top_p
    if "no p" not in slips and top_p < 1:
        kept = walk[inside]
    out = np.zeros_like(scores)
    out[kept] = probs[kept] if "not divided" in slips or not kept.size else softmax(scores[kept])
    return out


def trial(function: Function) -> list[str]:
    ids, positions = asked()
    scores = masked_lm("numpy", "float32")(ids, positions=positions).logits[0]
    lines = [f"in the real model: {TEXT}"]
    for top_k, top_p in ((5, 1.0), (50, 0.7)):
        probs, right = function(scores.copy(), top_k, top_p), definition(scores, top_k, top_p)
        chosen = np.random.default_rng(0).choice(
            len(probs), DRAWS, p=probs.astype(np.float64) / probs.sum(dtype=np.float64)
        )
        drawn = [tokenizer().convert_ids_to_tokens(int(i)) for i in chosen]
        stay = f"{np.count_nonzero(probs)} words stay (ours: {np.count_nonzero(right)})"
        lines.append(f"  top_k {top_k}, top_p {top_p}: {stay}, largest difference {np.abs(probs - right).max():.1e}")
        lines.append(f"    {DRAWS} draws: {', '.join(drawn)}")
    return lines


def race(large: bool) -> Race:
    scores = 3 * np.random.default_rng(0).standard_normal(30522 if large else 477).astype(np.float32)
    return Race(
        f"{len(scores)} words, top_k 50, top_p 0.9",
        lambda f: f(scores, 50, 0.9),
        [("ours, NumPy", lambda: definition(scores, 50, 0.9))],
        bytes=2 * scores.nbytes,
    )


EXERCISE = Exercise(
    name="sampling",
    title="which words may be drawn: top-k and top-p",
    minutes=20,
    lines=12,
    header="def narrowed(scores, top_k, top_p):",
    task="""The probabilities to draw the next word with: those of a few good words, and 0 for all others.

1. Keep the top_k words with the largest scores (0: all), and take softmax over them.
2. Of these keep the best, as few as possible, that together have a probability of at least top_p. The one that crosses
   top_p is kept, so one always is.
3. The probabilities of what is kept are divided by their sum.

scores: (V,). top_k: a whole number, perhaps more than V. top_p: from 0 to 1. Returns: (V,) in the
dtype of scores. No two scores are equal.""",
    hints=(
        "np.argsort(-scores) are the words, best first; work on that order, and write the result back by it.",
        "A word stays if the sum of the probabilities before it is still below top_p.",
    ),
    example="print(narrowed(np.log(np.array([0.1, 0.5, 0.4])), 2, 1.0))  # [0.  0.556 0.444], rounded",
    cases=cases,
    definition=definition,
    slips={
        "crossing": "the word that crosses top_p is left out: it stays, or sometimes none would",
        "k by itself": "top_p is taken of the probabilities of all words: softmax comes again behind top_k",
        "not divided": "the probabilities of what is kept do not sum to 1: divide them",
        "least": "the words with the lowest scores are kept: sort from the best down",
        "unsorted": "probabilities are added up in the vocabulary's order: sort them first",
        "zero": "top_k of 0 keeps nothing: it means no limit",
        "one more": "one word too many is kept of top_k",
        "no p": "top_p is not used",
        "no maximum": "softmax subtracts no maximum, so large scores overflow",
    },
    slipped=slipped,
    trial=trial,
    race=race,
)

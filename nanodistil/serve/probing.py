"""Whether a model can be trusted to answer, before anybody is sent here: a text alone and the same among others.

The kernels have multiplied and been compared before they were used at all (backend.py). Here the model itself
answers, so that everything is compiled and in memory; on compiled kernels alone and together must be equal to the last
bit, which is what the server promises. Elsewhere nobody promises that, and it is enough that there are answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.pipelines.preset import settings_of
from nanodistil.serve.served import RANKING, Served
from nanodistil.tokenization.encoder import ENOUGH
from nanodistil.weights.errors import CheckpointError

SENTENCE = "The quick brown fox jumps over the lazy dog."
OPTIONS: dict[str, dict[str, Any]] = {
    "zero-shot-classification": {"candidate_labels": ["a", "b"]},
    "text-generation": {"do_sample": False, "max_new_tokens": 4},
}


def probe(served: Served, batch_tokens: int) -> None:
    """Have every pipeline of a model answer. Raises CheckpointError if alone and together are not the same."""
    for task, pipe in served.pipes.items():
        pipe.tokenizer([SENTENCE] * (1 + ENOUGH // len(SENTENCE)))  # so much that its scan is compiled, and not later
        options = OPTIONS.get(task, {})
        settings = settings_of(pipe, options)
        ready = [pipe.prepare(one, settings) for one in inputs(task, pipe)]
        rows = [row for one in ready for row in one.rows]
        together = iter(list(pipe.together(rows)))
        for one in ready:
            among_others = pipe.finish(one, [next(together) for _ in one.rows], settings)
            alone = pipe.finish(one, [next(iter(pipe.together([row]))) for row in one.rows], settings)
            if not same(alone, among_others) and pipe.model.backend == "numba":
                raise CheckpointError(f"{served.name}: answers a text otherwise among others than alone")
        longest = max(rows, key=len)
        if task != "text-generation":  # whose batches do not grow with what there is to do
            pipe.results([longest] * max(1, batch_tokens // len(longest)))


def same(one: Any, other: Any) -> bool:
    """Whether two answers are equal to the last bit, whatever arrays there are in them."""
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))


def inputs(task: str, pipe: Any) -> list[Any]:
    """Some that any model of the task can answer."""
    texts = [SENTENCE, SENTENCE[:19], f"{SENTENCE} {SENTENCE}"]
    if task == "text-generation":
        return [SENTENCE[:9], SENTENCE[:3], SENTENCE[:19]]
    if task == "fill-mask":
        return [f"{text} {pipe.tokenizer.mask_token}" for text in texts]
    if task == RANKING:
        return [(SENTENCE, text) for text in texts]
    if task == "question-answering":
        return [{"question": "What jumps?", "context": text} for text in texts]
    if task == "multiple-choice":
        return [{"prompt": text, "choices": ["Yes.", "It jumps."]} for text in texts]
    return texts

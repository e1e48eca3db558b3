"""The backward pass of every head against central differences, and the promises of the trainee."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, random_tensors

from nanodistil import heads
from nanodistil.training.objectives import OBJECTIVES
from nanodistil.training.trainee import Trainee

SMALL = replace(TINY, vocab_size=11, max_position_embeddings=6, dim=8, hidden_dim=10, n_heads=2)
CLASSES = {
    "masked_lm": heads.DistilBertForMaskedLM,
    "sequence_classification": heads.DistilBertForSequenceClassification,
    "token_classification": heads.DistilBertForTokenClassification,
    "question_answering": heads.DistilBertForQuestionAnswering,
    "multiple_choice": heads.DistilBertForMultipleChoice,
}
IDS = np.array([[3, 4, 5, 6, 7], [8, 9, 10, 0, 0], [5, 3, 4, 0, 0], [1, 0, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
TOKENS = {"input_ids": IDS, "attention_mask": MASK}
BATCHES = {
    "masked_lm": {"labels": np.where((IDS + np.arange(4)[:, None]) % 2, IDS, -100)},  # some of them on padding
    "sequence_classification": {"labels": np.array([1, 0, 1, -100])},
    "token_classification": {"labels": np.where(MASK == 1, IDS % 3, -100)},
    "question_answering": {"start_positions": np.array([1, 0, 9, 0]), "end_positions": np.array([[2], [4], [9], [0]])},
    "multiple_choice": {"labels": np.array([1, 0])},
}
LABELS = {i: str(i) for i in range(3)}


def batch_for(head):
    tokens = {k: v.reshape(2, 2, 5) for k, v in TOKENS.items()} if head == "multiple_choice" else TOKENS
    return {**tokens, **BATCHES[head]}


def model_for(head, config=SMALL, backend="numpy", dtype="float64", seed=0):
    if head in ("sequence_classification", "token_classification"):
        config = replace(config, id2label=LABELS)
    return CLASSES[head](config, random_tensors(config, head, seed, dtype), backend=backend, dtype=dtype)


def gradients(head, batch=None, key=None, scale=1.0, **options):
    config = {name: options.pop(name) for name in ("config", "backend", "dtype") if name in options}
    trainee = Trainee(model_for(head, **config), **options)
    loss = OBJECTIVES[head](trainee, batch or batch_for(head), key=key, scale=scale)
    return loss, trainee


def check_by_differences(head, trainee, batch, key=None, entries=3, step=1e-5):
    """Central differences of the loss at some entries of every parameter, against the gradients that are there."""
    rng = np.random.default_rng(0)
    exact = {name: gradient.copy() for name, gradient in trainee.gradients.items()}
    for name, weight in trainee.weights.items():
        flat, found = weight.reshape(-1), exact[name].reshape(-1)
        for i in {int(np.abs(found).argmax()), *rng.integers(0, flat.size, entries - 1).tolist()}:
            losses, before = [], flat[i]
            for sign in (1, -1):
                flat[i] = before + sign * step
                trainee.refresh()
                losses.append(OBJECTIVES[head](trainee, batch, key=key))
            flat[i] = before
            measured = (losses[0] - losses[1]) / (2 * step)
            if name == "embeddings.word_embeddings.weight" and i < SMALL.dim:
                continue  # the padding token's row, which by design does not learn from being read
            assert abs(measured - found[i]) < 1e-8 + 1e-6 * abs(found[i]), (name, i, measured, found[i])
    trainee.refresh()


@pytest.mark.parametrize("head", CLASSES)
def test_every_parameter_of_every_head_against_central_differences(head):
    loss, trainee = gradients(head)
    assert loss == pytest.approx(float(trainee.model(**batch_for(head)).loss), rel=1e-12)
    check_by_differences(head, trainee, batch_for(head))

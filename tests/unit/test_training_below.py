"""Frozen layers that are computed once: the same losses and gradients, and nothing of them moves."""

from dataclasses import replace

import numpy as np
import pytest
from test_training_backward import SMALL, batch_for, gradients, model_for

from nanodistil import InputError
from nanodistil.heads import HEADS
from nanodistil.packing import Packing
from nanodistil.training.below import Below
from nanodistil.training.trainee import Trainee

CALM = replace(SMALL, n_layers=3)


@pytest.mark.parametrize("head", ["masked_lm", "sequence_classification"])
@pytest.mark.parametrize("below", [1, 2])
def test_loss_and_gradients_are_those_of_the_whole_way(head, below):
    loss, free = gradients(head, model=model_for(head, CALM))
    _, trainee = gradients(head, model=model_for(head, CALM), below=below)
    for _ in range(2):  # the second time from memory
        trainee.zero_gradients()
        assert HEADS[head].objective(trainee, batch_for(head)) == pytest.approx(loss, rel=1e-12)
        for name, gradient in trainee.gradients.items():
            if name in trainee.still:
                assert not gradient.any(), name
            else:
                np.testing.assert_allclose(gradient, free.gradients[name], rtol=1e-9, atol=1e-12, err_msg=name)
    assert len(trainee.still) == 4 + 16 * below and all(
        np.shares_memory(trainee.flat[trainee.decayed :], trainee.weights[name]) for name in trainee.still
    )


def test_a_sentence_is_computed_once_while_there_is_room():
    trainee = Trainee(model_for("token_classification", CALM))
    batch = packed(trainee)
    w, config, ops = trainee.model.weights, trainee.config, trainee.ops
    whole, narrow = Below(2), Below(2, room=batch.starts[1] * CALM.dim * 8)
    first = whole(batch, w, config, ops)
    np.testing.assert_array_equal(first, narrow(batch, w, config, ops))
    assert (len(whole.known), len(narrow.known), narrow.room) == (3, 1, 0)
    computed, whole._computed = whole._computed, None  # would be called for a sentence that is not known
    np.testing.assert_array_equal(first, whole(batch, w, config, ops))
    whole._computed = computed
    hidden = batch._replace(keep=np.arange(len(batch.ids)) > 0)
    assert not np.array_equal(whole(hidden, w, config, ops), first)


def packed(trainee):
    return Packing.of([[3, 4, 5], [6, 7, 0], [8, 9, 10]], [[1, 1, 1], [1, 1, 0], [1, 1, 1]], trainee.config).batch


def test_more_layers_than_there_are():
    with pytest.raises(InputError, match="of 3 layers 3 cannot be left"):
        Trainee(model_for("masked_lm", CALM), below=3)

"""load_state_dict: weights from memory into a model, under the names of transformers."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY

from nanodistil import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel, InputError

IDS = [[1, 2, 3]]


def two(kind, **config):
    return (kind(replace(TINY, **config), backend="numpy", seed=seed) for seed in (1, 2))


@pytest.mark.parametrize("kind", [DistilBertModel, DistilBertForMaskedLM, DistilBertForSequenceClassification])
def test_a_model_becomes_another(kind):
    model, other = two(kind)
    assert not np.array_equal(model(IDS)[0], other(IDS)[0])
    assert model.load_state_dict(other.state_dict()) == ([], [])
    np.testing.assert_array_equal(model(IDS)[0], other(IDS)[0])


def test_old_names_and_the_tied_projection(backend):
    model, other = (DistilBertForMaskedLM(TINY, backend=backend, seed=seed) for seed in (1, 2))
    weights = {name.replace("Norm.weight", "Norm.gamma"): array for name, array in other.state_dict().items()}
    weights["vocab_projector.weight"] = np.full(3, np.nan)  # passed over: it is the embeddings again
    weights["distilbert.embeddings.position_ids"] = np.arange(24)
    model.load_state_dict(weights)
    np.testing.assert_array_equal(model(IDS).logits, other(IDS).logits)
    untied, _ = two(DistilBertForMaskedLM, tie_word_embeddings=False)
    with pytest.raises(InputError, match=r"missing 'vocab_projector.weight'"):
        untied.load_state_dict(other.state_dict())


def test_in_part_only_where_that_is_said():
    model, other = two(DistilBertForSequenceClassification)
    before = model.state_dict()
    part = {name: array for name, array in other.state_dict().items() if "classifier" not in name}
    with pytest.raises(InputError, match=r"missing 'pre_classifier.weight'.* and 1 more; strict=False"):
        model.load_state_dict(part)
    with pytest.raises(InputError, match=r"unexpected 'qa_outputs.bias'; strict=False"):
        model.load_state_dict({**other.state_dict(), "qa_outputs.bias": np.zeros(2)})
    for name, array in before.items():  # nothing has changed
        np.testing.assert_array_equal(model.state_dict()[name], array)
    keys = model.load_state_dict({**part, "qa_outputs.bias": [0, 0]}, strict=False)
    assert keys.unexpected_keys == ["qa_outputs.bias"] and len(keys.missing_keys) == 4
    np.testing.assert_array_equal(model.state_dict()["classifier.weight"], before["classifier.weight"])


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.zeros(3), r"is \(3,\), this model's is"), (np.full((50, 20), np.inf), "infinite"), ("x", "must hold numbers")],
)
def test_what_does_not_fit_is_named(value, message):
    model, other = two(DistilBertModel)
    with pytest.raises(InputError, match=message):
        model.load_state_dict({**other.state_dict(), "embeddings.word_embeddings.weight": value})
    with pytest.raises(InputError, match="a dict, not list"):
        model.load_state_dict([1])
    copied = {name: array.copy() for name, array in other.state_dict().items()}
    model.load_state_dict(copied)
    wanted = model(IDS).last_hidden_state
    for array in copied.values():
        array[...] = 0  # theirs, no longer ours
    np.testing.assert_array_equal(model(IDS).last_hidden_state, wanted)

"""Blocks in GPT-2's order: x + f(norm(x)), no norm of the embeddings, and one after the last block."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, random_tensors
from test_training_backward import CLASSES, IDS, LABELS, MASK, SMALL, TOKENS, batch_for, check_by_differences, gradients

from nanodistil.config import DistilBertConfig
from nanodistil.heads import DistilBertModel
from nanodistil.kernels.definitions import numpy_ops


@pytest.fixture(autouse=True)
def pre_norm(monkeypatch):
    monkeypatch.setattr(DistilBertConfig, "pre_norm", True)


def model_of(cls, config, backend="numpy", dtype="float64"):
    return cls(config, random_tensors(config, cls.head.name, dtype=dtype), backend=backend, dtype=dtype)


def by_hand(t, ids):
    """One sentence through the encoder: hidden states after the embeddings and each layer, the last normalised."""
    x, states = t["embeddings.word_embeddings.weight"][ids] + t["embeddings.position_embeddings.weight"][: len(ids)], []

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * t[f"{name}.weight"] + t[f"{name}.bias"]

    for i in range(TINY.n_layers):
        at, Dh = f"transformer.layer.{i}", TINY.dim // TINY.n_heads
        states.append(x)
        given = norm(x, f"{at}.sa_layer_norm")
        q, k, v = (linear(given, f"{at}.attention.{c}_lin").reshape(len(ids), -1, Dh).swapaxes(0, 1) for c in "qkv")
        context = (numpy_ops.softmax(q @ k.swapaxes(1, 2) / np.sqrt(Dh)) @ v).swapaxes(0, 1).reshape(len(ids), -1)
        x = x + linear(context, f"{at}.attention.out_lin")
        h = numpy_ops.activation(linear(norm(x, f"{at}.output_layer_norm"), f"{at}.ffn.lin1"), "gelu")
        x = x + linear(h, f"{at}.ffn.lin2")
    return [*states, norm(x, "transformer.last_layer_norm")]


def test_every_hidden_state_by_hand(backend):
    model = model_of(DistilBertModel, TINY, backend, "float64" if backend == "numpy" else "float32")
    output = model(IDS, MASK, output_hidden_states=True)
    expected = by_hand(random_tensors(TINY, "base", dtype="float64"), IDS[1, :3])
    for got, exact in zip(output.hidden_states, expected, strict=True):
        np.testing.assert_allclose(got[1, :3], exact, rtol=0, atol=1e-12 if backend == "numpy" else 2e-5)
    np.testing.assert_array_equal(output.last_hidden_state, output.hidden_states[-1])
    assert {name for name in model.tensors() if "norm" in name.lower()} == {
        f"{at}.{kind}"
        for kind in ("weight", "bias")
        for at in (
            "transformer.last_layer_norm",
            *(f"transformer.layer.{i}.{norm}_layer_norm" for i in range(2) for norm in ("sa", "output")),
        )
    }


@pytest.mark.parametrize(("head", "dropped"), [("masked_lm", False), ("sequence_classification", True)])
def test_gradients_against_central_differences(head, dropped, monkeypatch):
    """Of all rows and of a look at some; dropout falls on the embeddings, both halves of a block and the probs."""
    rate = 0.3 if dropped else 0.0
    monkeypatch.setattr(DistilBertConfig, "attention_out_dropout", rate)
    config = replace(SMALL, dropout=rate, attention_dropout=rate, seq_classif_dropout=rate, id2label=LABELS)
    key = 5 if dropped else None
    _, trainee = gradients(head, key=key, model=model_of(CLASSES[head], config))
    check_by_differences(head, trainee, batch_for(head), key=key, entries=1)


@pytest.mark.parametrize("head", ["masked_lm", "sequence_classification"])
def test_gradients_in_float32_and_checkpointing(head, backend):
    def found(*how, **options):
        return gradients(head, model=model_of(CLASSES[head], replace(SMALL, id2label=LABELS), *how), **options)[1]

    exact, rounded = found("numpy", "float64"), found(backend, "float32")
    fetch, again = rounded.ops.fetch, found(backend, "float32", checkpointing=True)
    for name, gradient in exact.gradients.items():
        np.testing.assert_allclose(fetch(rounded.gradients[name]), gradient, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(fetch(again.gradients[name]), fetch(rounded.gradients[name]))


def test_a_look_at_some_rows_is_the_whole(backend):
    model = model_of(CLASSES["masked_lm"], SMALL, backend, "float64" if backend == "numpy" else "float32")
    whole, some = model(**TOKENS).logits, model(**TOKENS, positions=[(2, 1), (0, 4)]).logits
    np.testing.assert_allclose(some, whole[[2, 0], [1, 4]], rtol=1e-6, atol=1e-6)

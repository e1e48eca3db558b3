"""explain's tensors are transformers', name by name, in every family; explain --diff shows both."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_families import FAMILIES

from nanodistil import lessons
from nanodistil.cli import main
from nanodistil.lessons.explaining import load
from nanodistil.lessons.theirs import theirs

pytestmark = pytest.mark.parity


def compared(model, tokenizer, text):
    """name -> the largest difference, in float64; and what transformers does not show."""
    found = lessons.explain(text, model, tokenizer)
    other, apart, lacks = theirs(model, found.ids, "float64"), {}, []
    for name, value in found.trace.values.items():
        if name not in other:
            lacks.append(name.split(".", 2)[-1] if name.startswith("layer.") else name)
            continue
        mine, his = value[0] if isinstance(value, list) else value, other[name]
        if len(mine) != len(his):  # the head was asked for one token
            his = his[found.at : found.at + 1]
        apart[name] = np.abs(mine - his).max()
    return apart, set(lacks)


@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_are_those_of_transformers(tmp_path, family):
    model, tokenizer = load(str(FAMILIES[family](tmp_path / "m")), backend="numpy", dtype="float64")
    apart, lacks = compared(model, tokenizer, "the film was good")
    assert len(apart) > 20 and max(apart.values()) < 1e-12, max(apart, key=apart.get)
    assert lacks <= {"embeddings.sum", "attention.scores", "attended", "fed", "pre_classifier.activation"}


def test_the_embedded_model():
    model, tokenizer = load("nanodistil-mini", backend="numpy", dtype="float64")
    apart, lacks = compared(model, tokenizer, "Paris is the [MASK] of France.")
    assert len(apart) == 70 and max(apart.values()) < 1e-11 and lacks == {"embeddings.sum", "attention.scores"}


def test_diff(tmp_path, capsys):
    argv = ["explain", "the [MASK] film", "--diff", "--model", FAMILIES["distilbert"](tmp_path / "m")]
    assert main([*argv, "--backend", "numpy", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) > 20 and all(row["ours"] < 2e-6 and row["theirs"] < 2e-6 for row in rows)
    assert main([*argv, "--dtype", "int8"]) == 2
    assert "load the model in float32" in capsys.readouterr().err

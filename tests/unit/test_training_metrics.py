"""Metrics without the libraries that compute most of them: what can be said is, in no case does a run end.

With the libraries: by hand in test_training_tasks.py, against transformers in tests/parity.
"""

import json
import sys

import numpy as np
import pytest

from nanodistil.cli import main
from nanodistil.training import metrics

SAID, TRUTH = np.array([0, 1, 1]), np.array([0, 1, 0])


@pytest.fixture
def bare(monkeypatch):
    for name in ("sklearn", "sklearn.metrics", "scipy", "scipy.stats", "seqeval", "seqeval.metrics"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails


def test_accuracy_needs_nobody(bare):
    for task in metrics.ACCURACY_ONLY:  # and says nothing of what it does not lack
        assert metrics.glue(task, SAID, TRUTH) == {"acc": pytest.approx(2 / 3)}
    for task, lacking in (("cola", "mcc"), ("mrpc", "f1"), ("qqp", "f1")):
        with pytest.warns(UserWarning, match=f"without scikit-learn there is acc, but no {lacking}: pip"):
            assert metrics.glue(task, SAID, TRUTH) == {"acc": pytest.approx(2 / 3)}
    with pytest.warns(UserWarning, match="without scikit-learn"):
        assert metrics.classes(SAID, TRUTH) == {"acc": pytest.approx(2 / 3)}
    with pytest.warns(UserWarning, match="without scikit-learn"):
        assert metrics.several_classes(np.eye(2), np.ones((2, 2))) == {"acc": 0.0}
    with pytest.warns(UserWarning, match="without scipy there is mse, but no correlation"):
        assert metrics.glue("stsb", np.array([1.0, 2.0]), np.array([1.0, 4.0])) == {"mse": 2.0}
    with pytest.warns(UserWarning, match="without seqeval there is acc, but no f1 of entities"):
        assert metrics.entities([["B-A", "O"]], [["B-A", "B-A"]]) == {"acc": 0.5}


def test_what_decides_is_what_is_there(bare):
    assert metrics.deciding("cola") == metrics.deciding("mrpc") == "acc"
    assert metrics.deciding_number() == ("mse", False)
    assert metrics.deciding_entity(["O", "B-A"]) == "acc"


def test_what_decides_where_all_is_there():
    for library in metrics.PACKAGES:
        pytest.importorskip(library)
    assert [metrics.deciding(task) for task in ("cola", "mrpc", "sst2", None)] == ["mcc", "acc_and_f1", "acc", "acc"]
    assert metrics.deciding_number() == ("corr", True)
    assert metrics.deciding_entity(["O", "B-A"]) == "f1"
    assert metrics.deciding_entity(["O", "NOUN"]) == "acc"  # its f1 would be of no spans


TABLES = {
    "classification": ("t.tsv", "sentence\tlabel\ngood\t1\nbad\t0\n", []),
    "token-classification": ("t.conll", "a O\nb B-X\n", []),
    "regression": ("t.tsv", "sentence1\tsentence2\tscore\na\tb\t1.5\na\tc\t0.5\n", ["--task-name", "stsb"]),
    "matthews": ("t.tsv", "sentence\tlabel\ngood\t1\nbad\t0\n", ["--task-name", "cola"]),
}


@pytest.mark.parametrize("kind", ["classification", *(pytest.param(k, marks=pytest.mark.sweep) for k in [*TABLES][1:])])
def test_a_run_without_the_extra_measures_what_it_can(kind, bare, tmp_path, capsys):
    name, text, more = TABLES[kind]
    data, run = tmp_path / name, tmp_path / "run"
    data.write_text(text)
    task = kind if kind in ("classification", "token-classification") else "classification"
    line = ["finetune", task, "--model", "nanodistil-mini", "--train", str(data), "--dev", str(data), *more]
    line = [*line, "--out", str(run), "--backend", "numpy", "--num-train-epochs", "2", "--batch-size", "2"]
    assert main(line) == 0
    err = capsys.readouterr().err
    assert err.count('pip install "nanodistil[train]" adds it') == 1  # said once, not an epoch
    figures = [json.loads(one) for one in (run / "log.jsonl").read_text().splitlines()]
    deciding = "dev_mse" if kind == "regression" else "dev_acc"
    assert sum(deciding in one for one in figures) == 2


@pytest.mark.sweep
def test_a_run_that_goes_on_with_other_figures_says_so(monkeypatch, tmp_path, capsys):
    pytest.importorskip("sklearn.metrics")
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    name, text, more = TABLES["matthews"]
    data, run = tmp_path / name, tmp_path / "run"
    data.write_text(text)
    line = ["finetune", "classification", "--model", "nanodistil-mini", "--train", str(data), "--dev", str(data)]
    line = [*line, *more, "--out", str(run), "--backend", "numpy", "--num-train-epochs", "2", "--batch-size", "2"]
    assert main(line) == 0
    monkeypatch.undo()  # now scikit-learn is there
    capsys.readouterr()
    assert main([*line, "--resume"]) == 2
    assert "was measured without mcc" in capsys.readouterr().err

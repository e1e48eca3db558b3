"""Metrics against those who are known for them, where they are installed; by hand in test_training_tasks.py."""

import sys
import warnings

import numpy as np
import pytest

from nanodistil.training import metrics
from nanodistil.training.entities import entities

TAGS = ["O", "B-A", "I-A", "E-A", "S-A", "B-B-b", "I-B-b", "I", "B-", "L-A", "U-B", ".", "NOUN"]


def rows(kind):
    random = np.random.default_rng(0)
    for n, C in [(1, 2), (2, 2), (3, 3), (50, 2), (50, 4), (300, 7)]:
        for _ in range(8):
            yield random.integers(0, C, (2, n) if kind == "classes" else (2, n, C) if C > 2 else (2, n, 2))


def test_classes_and_f1_and_matthews():
    sklearn = pytest.importorskip("sklearn.metrics")
    for said, truth in rows("classes"):
        found = metrics.classes(said, truth)
        assert found["acc"] == pytest.approx(sklearn.accuracy_score(truth, said))
        assert found["f1_macro"] == pytest.approx(sklearn.f1_score(truth, said, average="macro", zero_division=0.0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = sklearn.matthews_corrcoef(truth, said)
        assert metrics.matthews(said, truth) == pytest.approx(expected, abs=1e-12)
        if max(said.max(), truth.max()) < 2:
            expected = sklearn.f1_score(truth, said, zero_division=0.0)
            assert metrics.glue("mrpc", said, truth)["f1"] == pytest.approx(expected)


def test_several_classes_at_once():
    sklearn = pytest.importorskip("sklearn.metrics")
    for said, truth in rows("several"):
        said, truth = said % 2, truth % 2
        found = metrics.several_classes(said, truth)
        for mean in ("micro", "macro"):
            expected = sklearn.f1_score(truth, said, average=mean, zero_division=0.0)
            assert found[f"f1_{mean}"] == pytest.approx(expected)


def test_correlations():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(1)
    for n in (2, 3, 10, 200):
        for kind in (np.float32, np.float64):
            x, y = random.standard_normal((2, n)).astype(kind)
            for a, b in ((x, y), (np.round(2 * x), np.round(2 * y)), (1e-200 * x.astype(np.float64), y)):
                if np.ptp(a) == 0 or np.ptp(b) == 0:
                    continue
                found = metrics.regression(a, b)
                assert found["pearson"] == pytest.approx(stats.pearsonr(a, b)[0], abs=1e-6)
                assert found["spearmanr"] == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-12)
    assert np.isnan(metrics.regression(np.ones(3), np.arange(3.0))["corr"])


def test_entities_are_seqevals():
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    seqeval = pytest.importorskip("seqeval.metrics")
    random = np.random.default_rng(2)
    for n in (1, 2, 5, 30):
        for _ in range(60):
            said, truth = [[[TAGS[i] for i in random.integers(0, len(TAGS), n)] for _ in range(3)] for _ in range(2)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for tags in said:
                    assert entities(tags) == labeling.get_entities(tags)
                found = metrics.entities(said, truth)
                report = seqeval.classification_report(truth, said, output_dict=True, zero_division=0)
                assert found["acc"] == pytest.approx(seqeval.accuracy_score(truth, said))
            for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
                assert found[ours] == pytest.approx(report["micro avg"][theirs])
                for kind, one in found.items():
                    if isinstance(one, dict):
                        assert one[ours] == pytest.approx(report[kind][theirs])
                        assert one["number"] == report[kind]["support"]


def test_nothing_but_numpy_is_needed(monkeypatch):
    for name in ("sklearn", "sklearn.metrics", "scipy", "scipy.stats", "seqeval", "seqeval.metrics"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    said, truth = np.array([0, 1, 1]), np.array([0, 1, 0])
    for task in metrics.GLUE:
        assert all(isinstance(value, float) for value in metrics.glue(task, said, truth).values())
    assert metrics.classes(said, truth)["acc"] == pytest.approx(2 / 3)
    assert metrics.entities([["B-A"]], [["B-A"]])["f1"] == 1.0

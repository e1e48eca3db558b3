"""The search for settings: seeded, resumed to the same trials, the best model left, and what it refuses."""

import json
import shutil
import sys

import pytest
from tiny_folders import tiny_folder

from nanodistil import DistilBertForSequenceClassification, InputError, pipeline
from nanodistil.cli import main
from nanodistil.training import search as searching
from nanodistil.training.communicator import Single
from nanodistil.training.finetune import Options

pytest.importorskip("optuna", reason="needs the extra [search]")
pytestmark = pytest.mark.sweep

SENTENCES = [("a good film", "yes"), ("the bad film .", "no"), ("this was good ?", "yes"), ("who was bad", "no")]


@pytest.fixture
def told(tmp_path):
    """The command of a search, without its folder."""
    model = tiny_folder(tmp_path / "model", DistilBertForSequenceClassification)
    for name in ("train", "dev"):
        text = "".join(json.dumps({"sentence": text, "label": label}) + "\n" for text, label in SENTENCES)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    files = ["--train", str(tmp_path / "train.jsonl"), "--dev", str(tmp_path / "dev.jsonl")]
    return [
        "finetune",
        "classification",
        "--model",
        str(model),
        *files,
        "--backend",
        "numpy",
        "--batch-size",
        "2",
        "--max-seq-length",
        "16",
    ]


def lines(folder):
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_search_is_a_table_and_the_best_model(told, tmp_path, capsys, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([*told, "--out", str(one), "--search", "3"]) == 0
    said = capsys.readouterr().out.splitlines()
    table = lines(one)
    assert said[0].split() == ["trial", "learning_rate", "num_train_epochs", "acc"] and len(said) == 5
    assert [line["trial"] for line in table] == [0, 1, 2] and len({line["learning_rate"] for line in table}) == 3
    assert all(1e-5 <= line["learning_rate"] <= 2e-4 for line in table)  # and the batch size is as it was given
    assert {path.name for path in one.iterdir()} >= {
        "model.safetensors",
        "config.json",
        "trials.jsonl",
        "settings.json",
    }
    assert not [path for path in one.iterdir() if path.is_dir()]
    assert pipeline("text-classification", str(one), backend="numpy")("a good film")

    # Killed in its second trial, and told later to do more of them: the same trials, the same model.
    def killed(*_, **__):
        raise KeyboardInterrupt

    done = searching.trained
    count = []

    def some(*arguments, **more):
        count.append(1)
        return killed() if len(count) == 2 else done(*arguments, **more)

    monkeypatch.setattr(searching, "trained", some)
    assert main([*told, "--out", str(two), "--search", "2"]) == 130
    assert len(lines(two)) == 1
    for wanted in ("2", "3", "3"):
        assert main([*told, "--out", str(two), "--search", wanted, "--resume"]) == 0
    assert lines(two) == table and len(count) == 4
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()


def test_the_model_left_is_that_of_the_best_trial(told, tmp_path, monkeypatch):
    figures = iter([0.25, float("nan"), 0.75, 0.75, 0.5])

    def trained(name, settings, options, **_):
        folder = tmp_path / "out" / options.out.rpartition("/")[2]
        folder.mkdir()
        (folder / "config.json").write_text(folder.name)
        (folder / "log.jsonl").write_text("")
        return {"acc": next(figures)}

    monkeypatch.setattr(searching, "trained", trained)
    assert main([*told, "--out", str(tmp_path / "out"), "--search", "5"]) == 0
    assert (tmp_path / "out" / "config.json").read_text().endswith("trial-2")
    assert [line["acc"] for line in lines(tmp_path / "out")] == [0.25, None, 0.75, 0.75, 0.5]
    assert not (tmp_path / "out" / "log.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--search", "0"], "--search"),
        (["--search", "2", "--learning-rate", "1e-4", "--max-steps", "2"], "are all given: nothing is left to search"),
    ],
)
def test_what_cannot_be(told, tmp_path, capsys, words, message):
    assert main([*told, "--out", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err


def test_what_it_cannot_do_without(told, tmp_path, capsys, monkeypatch):
    options = Options(model=told[3], train=told[5], out=str(tmp_path / "out"))
    with pytest.raises(InputError, match="--search needs --dev"):
        searching.search("classification", {}, options, 1, set())
    two = Single()
    two.size = 2
    with pytest.raises(InputError, match="a search runs in one process"):
        searching.search("classification", {}, options, 1, set(), communicator=two)
    out = tmp_path / "out"
    assert main([*told, "--out", str(out), "--search", "1", "--num-train-epochs", "1"]) == 0
    (out / "trials.jsonl").write_text("{}\n")
    assert main([*told, "--out", str(out), "--search", "2", "--num-train-epochs", "1", "--resume"]) == 2
    assert "is no table of this search" in capsys.readouterr().err
    shutil.rmtree(out)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main([*told, "--out", str(out), "--search", "1"]) == 2
    assert 'pip install "nanodistil[search]"' in capsys.readouterr().err

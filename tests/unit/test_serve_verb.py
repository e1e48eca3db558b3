"""The verb: how models are named, what their task is, and what is refused before anything is loaded or opened."""

import sys

import pytest
from tiny_folders import tiny_folder

from nanodistil import (
    CheckpointError,
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
    InputError,
)
from nanodistil.cli import main
from nanodistil.cli.serve import KEY, key_of
from nanodistil.serve.served import Spec, all_loaded, loaded, spec, task_of
from nanodistil.serve.site import limits_for

TASKS = {
    DistilBertModel: "feature-extraction",
    DistilBertForMaskedLM: "fill-mask",
    DistilBertForSequenceClassification: "text-classification",
    DistilBertForTokenClassification: "token-classification",
    DistilBertForQuestionAnswering: "question-answering",
    DistilBertForMultipleChoice: "multiple-choice",
}


@pytest.mark.parametrize("cls", TASKS)
def test_the_task_is_what_the_head_is_for(cls, tmp_path):
    folder = tiny_folder(tmp_path, cls)
    assert task_of(folder) == TASKS[cls]
    served = loaded(spec(folder), backend="numpy")
    assert (served.name, served.task, list(served.pipes)) == (tmp_path.name, TASKS[cls], [TASKS[cls]])


def test_a_classifier_that_knows_entailment_sorts_into_any_classes(tmp_path):
    folder = tiny_folder(tmp_path, DistilBertForSequenceClassification, id2label={0: "no", 1: "Entailment"})
    served = loaded(spec(folder), backend="numpy")
    assert list(served.pipes) == ["text-classification", "zero-shot-classification"]
    assert served.pipes["zero-shot-classification"].model is served.model


def test_a_checkpoint_that_does_not_say_is_asked_for_its_task(tmp_path):
    folder = tiny_folder(tmp_path, DistilBertModel)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("DistilBertModel", "SomethingElse"))
    with pytest.raises(CheckpointError, match=":TASK, with one of fill-mask"):
        task_of(folder)
    assert loaded(spec(f"{folder}:feature-extraction"), backend="numpy").task == "feature-extraction"


@pytest.mark.parametrize(
    "text, task, expected",
    [
        ("a/b", None, Spec("a/b", "a/b", None)),
        ("x=a/b", None, Spec("x", "a/b", None)),
        ("x=a/b:ner", None, Spec("x", "a/b", "token-classification")),
        ("a/b:fill-mask", "ner", Spec("a/b", "a/b", "fill-mask")),
        ("a/b", "sentiment-analysis", Spec("a/b", "a/b", "text-classification")),
        ("C:/models/a", None, Spec("C:/models/a", "C:/models/a", None)),
    ],
)
def test_names(text, task, expected):
    assert spec(text, task) == expected


@pytest.mark.parametrize("text", ["", "=a", "a=", "x=:ner"])
def test_names_that_are_none(text):
    with pytest.raises(InputError, match="a model is named"):
        spec(text)


def test_two_models_of_one_name():
    with pytest.raises(InputError, match="two models would be called a"):
        all_loaded([spec("a"), spec("a=b")])


def test_limits_follow_the_backend_unless_said_otherwise(tmp_path):
    models = {"a": loaded(spec(tiny_folder(tmp_path, DistilBertModel)), backend="numpy")}
    assert (limits_for(models, None).batch_tokens, limits_for(models, None).tokens) == (512, 65536)
    some = limits_for(models, 100, requests=7, inputs=None)
    assert (some.batch_tokens, some.tokens, some.requests, some.inputs) == (100, 12800, 7, 2048)


def test_a_key_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    assert key_of(None) is None
    monkeypatch.setenv(KEY, "from the environment")
    assert key_of(None) == "from the environment"
    file = tmp_path / "key"
    file.write_text("secret\n")
    assert key_of(str(file)) == "secret"
    file.write_text("\n")
    for path in (str(file), str(tmp_path / "none")):
        with pytest.raises(InputError, match=r"empty|cannot be read"):
            key_of(path)


@pytest.mark.parametrize(
    "argv, words",
    [
        ([], "MODEL"),
        (["no-such-folder/at/all"], "no-such-folder"),
        (["nanodistil-mini:ner"], "no head for token-classification"),
        (["nanodistil-mini", "--task", "dance"], "unknown task 'dance'"),
        (["nanodistil-mini", "--timeout", "0"], "--timeout"),
        (["nanodistil-mini", "--port", "65536"], "--port"),
        (["nanodistil-mini", "--key", "k"], "--certificate"),
        (["nanodistil-mini", "--certificate", "none.pem"], "none.pem"),
        (["nanodistil-mini", "--dtype", "float99"], "float99"),
    ],
)
def test_refused(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *argv, "--backend", "numpy", "--no-journal"]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error


def test_the_extra_is_named(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("nanodistil.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette.responses", None)
    assert main(["serve", "nanodistil-mini"]) == 2
    assert 'pip install "nanodistil[serve]"' in capsys.readouterr().err

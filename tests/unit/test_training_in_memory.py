"""nanodistil.training.finetune from Python: examples however they come, callbacks, and what cannot be used."""

import json

import numpy as np
import pytest
from tiny_folders import tiny_folder

import nanodistil
import nanodistil.training
from nanodistil import DistilBertForMaskedLM, InputError
from nanodistil.training.in_memory import class_names, records

ROWS = [
    {"sentence": "a good film", "label": 1},
    {"sentence": "the bad film .", "label": 0},
    {"sentence": "this was good ?", "label": 1},
    {"sentence": "who was bad", "label": 0},
]
CONTEXT = "the film was good"
SQUAD = {"context": CONTEXT, "question": "what was good ?", "answers": {"text": ["film"], "answer_start": [4]}}
QUICK = {"num_train_epochs": 1, "batch_size": 2, "backend": "numpy", "logging_steps": 1, "max_seq_length": 16}


class Numbered:
    """A data set as PyTorch has them, of numbered rows and no iterator."""

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, i):
        return ROWS[i]


class Names:
    names = ("no", "yes")


class Features(list):
    """A data set that knows the names of its classes, as `datasets` has them."""

    features = {"sentence": None, "label": Names()}  # noqa: RUF012


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("words"), DistilBertForMaskedLM)


def trained(folder, out, train=ROWS, task="classification", **options):
    nanodistil.training.finetune(task, folder, train, out, **{**QUICK, **options})
    return (out / "model.safetensors").read_bytes()


def test_examples_however_they_come(folder, tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    wanted = trained(folder, tmp_path / "file", str(tmp_path / "train.jsonl"))
    columns = {"sentence": [row["sentence"] for row in ROWS], "label": np.array([row["label"] for row in ROWS])}
    ways = {"dicts": ROWS, "stream": iter(ROWS), "columns": columns, "numbered": Numbered()}
    for name, train in ways.items():
        assert trained(folder, tmp_path / name, train) == wanted, name
    renamed = [{"review": row["sentence"], "stars": row["label"]} for row in ROWS]
    mapped = trained(folder, tmp_path / "named", renamed, columns={"sentence": "review", "label": "stars"})
    assert mapped == wanted
    trained(folder, tmp_path / "features", Features(ROWS))
    answer = nanodistil.pipeline("text-classification", tmp_path / "features", backend="numpy")("a good film")
    assert answer[0]["label"] in ("no", "yes")


def test_callbacks_see_the_log(folder, tmp_path):
    lines = []
    figures = nanodistil.training.finetune(
        "classification", folder, ROWS, tmp_path / "run", dev=ROWS, callbacks=[lines.append], **QUICK
    )
    assert [line["step"] for line in lines] == [1, 2, 2] and "loss" in lines[0]
    assert lines[-1]["dev_acc"] == figures["acc"] and lines[-1]["epoch"] == 1
    with pytest.raises(InputError, match="callback"):
        nanodistil.training.finetune("classification", folder, ROWS, tmp_path / "other", callbacks=["x"], **QUICK)

    def stop(line):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        trained(folder, tmp_path / "stopped", callbacks=[stop], save_steps=1)
    resumed = trained(folder, tmp_path / "stopped", resume=True, save_steps=1)
    assert resumed == trained(folder, tmp_path / "whole", save_steps=1)


@pytest.mark.filterwarnings("ignore:note:")
def test_every_task(folder, tmp_path):
    tags = [{"tokens": ["the", "film"], "ner_tags": ["O", "B-X"]}, {"tokens": ["who", "was"], "ner_tags": ["B-X", "O"]}]
    choices = [{"prompt": "the film", "choices": ["was good", "was bad"], "label": i} for i in (0, 1)]
    for task, train in {
        "token-classification": tags,
        "question-answering": [SQUAD, {**SQUAD, "id": "b"}],
        "multiple-choice": choices,
        "masked-lm": ["the film was good .", {"text": "who was bad ?"}],
    }.items():
        assert trained(folder, tmp_path / task, train, task, **({"doc_stride": 4} if task[0] == "q" else {}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train": [{"sentence": "a"}]}, "label"),
        ({"train": [*ROWS, {"sentence": 3, "label": 1}]}, "example 5 of train"),
        ({"train": ["a", 3]}, "example 2"),
        ({"train": 7}, "dicts"),
        ({"train": {"sentence": ["a"], "label": []}}, "columns"),
        ({"train": [{"sentence": "a", "label": float("nan")}]}, "NaN"),
        ({"train": [{"sentence": "a", "label": object()}]}, "object"),
        ({"train": []}, "."),
        ({"dev": [{"sentence": "a", "label": 7}]}, "7"),
        ({"task": "translation"}, "choose one of"),
        ({"lerning_rate": 1e-3}, "did you mean learning_rate"),
        ({"model": object()}, "folder or hub id"),
        ({"task": "question-answering", "train": [{"question": "a"}]}, "example 1.*answer_start"),
    ],
)
def test_what_cannot_be_used(folder, tmp_path, change, says):
    arguments = {"task": "classification", "model": folder, "train": ROWS, "out": tmp_path / "run", **QUICK, **change}
    with pytest.raises(InputError, match=says) as caught:
        nanodistil.training.finetune(**arguments)
    assert "\n" not in str(caught.value) and "/tmp" not in str(caught.value)


def test_data_frames_and_data_sets():
    pandas = pytest.importorskip("pandas")
    assert records(pandas.DataFrame(ROWS), "train") == ROWS
    datasets = pytest.importorskip("datasets", exc_type=ImportError)
    label = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features({"sentence": datasets.Value("string"), "label": label})
    data = datasets.Dataset.from_list(ROWS, features=features)
    assert records(data, "train") == ROWS and class_names(data) == ("no", "yes")
    several = datasets.DatasetDict({"train": data})
    with pytest.raises(InputError, match="several data sets"):
        records(several, "train")


def test_the_seed_is_that_of_the_masks_too(folder, tmp_path):
    nanodistil.training.finetune(
        "masked-lm", folder, ["a good film", "the bad film ."], tmp_path / "m", seed=7, max_steps=1, **QUICK
    )
    assert json.loads((tmp_path / "m" / "settings.json").read_text())["settings"]["seed"] == 7

"""Several tasks learned by one body: its gradients, its folders, its going on, and what cannot be."""

import json

import numpy as np
import pytest
from test_training_backward import batch_for, model_for
from test_training_lora import in_halves
from tiny_folders import tiny_folder

import nanodistil
import nanodistil.training
from nanodistil import InputError, heads
from nanodistil.cli import main
from nanodistil.heads import HEADS
from nanodistil.training.finetune import Options, finetune
from nanodistil.training.optimizer import AdamW
from nanodistil.training.schedule import layerwise
from nanodistil.training.together import Also, Together, Woven
from nanodistil.training.trainee import Trainee
from nanodistil.weights.names import is_head

TWO = ("sequence_classification", "masked_lm")


def test_its_gradients_against_central_differences():
    both = Together([Trainee(model_for(head)) for head in TWO])

    def loss():
        both.refresh()
        both.zero_gradients()
        return sum(HEADS[head].objective(both.goes_back(i), batch_for(head)) for i, head in enumerate(TWO))

    loss()
    exact, rng = both.flat_gradients.copy(), np.random.default_rng(0)
    assert next(iter(both.places)).startswith("embeddings.word") and both.members[0].config.pad_token_id == 0
    padding = both.members[0].config.dim  # its row, which by convention does not learn from being read
    largest = [place.start + int(np.abs(exact[place]).argmax()) for place in [*both.places.values()][1:]]
    for i in [*largest, *rng.integers(padding, exact.size, 12).tolist()]:
        before, losses = both.flat[i], []
        for step in (1e-5, -1e-5):
            both.flat[i] = before + step
            losses.append(loss())
        both.flat[i] = before
        assert abs((losses[0] - losses[1]) / 2e-5 - exact[i]) < 1e-8 + 1e-6 * abs(exact[i])


def test_one_task_alone_learns_as_without():
    alone, one = Trainee(model_for(TWO[0])), Trainee(model_for(TWO[0]))
    both = Together([one, Trainee(model_for(TWO[1]))])
    pace = lambda name: layerwise(name, 2, 0.5)  # noqa: E731
    first, second = (AdamW(learner, one.bops, weight_decay=0.1, pace=pace) for learner in (alone, both))
    for step in (1, 2, 3):
        for learner, optimizer in ((alone, first), (both, second)):
            learner.zero_gradients()
            HEADS[TWO[0]].objective(alone if learner is alone else both.goes_back(0), batch_for(TWO[0]))
            optimizer.step(step, 1e-2, 1.0)
            learner.refresh()
    both.refresh_members()
    learned, other = both.members
    for name, array in alone.weights.items():
        np.testing.assert_array_equal(array, learned.weights[name])
        if not is_head(name):
            np.testing.assert_array_equal(array, other.weights[name])
    untouched = model_for(TWO[1]).tensors()
    decayed = {name for name in untouched if is_head(name) and both.places[f"{name} of 1"].start < both.decayed}
    for name in filter(is_head, untouched):  # it had no gradient, but decays
        assert np.array_equal(untouched[name], other.weights[name]) == (name not in decayed)
    assert both.flat_gradients.size == both.flat.size == sum(p.stop - p.start for p in both.places.values())


def test_an_epoch_has_every_batch_once_in_another_order_each_time():
    batches = [[np.array([i]) for i in range(n)] for n in (5, 1, 3)]
    orders = [[(t, int(i[0])) for t, i in Woven(batches, 7, epoch)] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == [(t, i) for t, n in enumerate((5, 1, 3)) for i in range(n)]
    assert orders[0] != orders[1]
    with pytest.raises(IndexError):
        Woven(batches, 7, 0)[9]


@pytest.fixture
def begun(tmp_path):
    """A body, the files of three tasks, and a run on them."""
    tiny_folder(tmp_path / "body", heads.DistilBertForMaskedLM)
    rows = [{"sentence": f"{'good' if i % 3 else 'bad'} film {i % 5}", "label": "yn"[i % 3 > 0]} for i in range(9)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "t.txt").write_text("the film was good\nwho was bad ?\n")
    tags = [{"tokens": ["a", "good", "film"], "tags": ["O", "B-A", "I-A"]}] * 3
    (tmp_path / "n.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tags))
    also = [
        Also(task="masked-lm", train=str(tmp_path / "t.txt"), settings={"max_seq_length": 16}, batch_size=1),
        Also(task="token-classification", train=str(tmp_path / "n.jsonl"), settings={"max_seq_length": 16},
             dev=str(tmp_path / "n.jsonl")),
    ]  # fmt: skip

    def run(name, resume=False, force=False, on_step=None, also=also, **options):
        file = str(tmp_path / "t.jsonl")
        given = {"dev": file, "learning_rate": 0.01, "batch_size": 4, "num_train_epochs": 2, "backend": "numpy"}
        out = str(tmp_path / name)
        made = Options(model=str(tmp_path / "body"), train=file, out=out, **{**given, **options})
        course = {"resume": resume, "force": force, "on_step": on_step}
        return finetune("classification", {"max_seq_length": 16}, made, also=also, **course)

    return tmp_path, run


def test_a_folder_for_each_with_one_body(begun):
    home, run = begun
    found = run("r", logging_steps=1)
    assert {"acc", "token-classification_acc"} <= found.keys()
    lines = [json.loads(line) for line in (home / "r" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert len(steps) == 2 * (3 + 2 + 1) and sum("dev_acc" in line for line in lines) == 2
    for line in steps:  # a step is of one task
        parts = [line[f"loss_{task}"] for task in ("classification", "masked-lm", "token-classification")]
        assert sum(parts) == pytest.approx(line["loss"]) and sorted(parts)[:2] == [0, 0]
    models = [
        heads.DistilBertForSequenceClassification.from_pretrained(home / "r", backend="numpy"),
        heads.DistilBertForMaskedLM.from_pretrained(home / "r" / "masked-lm", backend="numpy"),
        heads.DistilBertForTokenClassification.from_pretrained(home / "r" / "token-classification", backend="numpy"),
    ]
    assert not any(model.initialised for model in models)
    first, *others = (model.tensors() for model in models)
    began = heads.DistilBertForMaskedLM.from_pretrained(home / "body", backend="numpy").tensors()
    assert any(not np.array_equal(first[name], began[name]) for name in first if name in began)
    for name in (name for name in first if not is_head(name)):
        assert all(np.array_equal(first[name], other[name]) for other in others)
    tagger = nanodistil.pipeline("token-classification", str(home / "r" / "token-classification"), backend="numpy")
    assert isinstance(tagger("good film"), list) and tagger.model.config.id2label[0] == "B-A"


def test_a_run_that_was_ended_goes_on_to_the_same_bits(begun):
    home, run = begun
    in_halves(run, 5)
    for name in ("model.safetensors", "masked-lm/model.safetensors", "token-classification/model.safetensors"):
        assert (home / "halves" / name).read_bytes() == (home / "whole" / name).read_bytes()
    with pytest.raises(InputError, match="the run began with also"):
        run("halves", resume=True, also=[])
    (home / "halves" / "mine").mkdir()
    run("halves", force=True, also=[])
    left = {path.name for path in (home / "halves").iterdir() if path.is_dir()}
    assert left == {"checkpoints", "mine"}  # models of the run before would stand beside another's


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"lora_r": 2}, "--lora-r is for one task"),
        ({"frozen_layers": 1}, "--frozen-layers is for one task"),
        ({"load_best_model_at_end": True}, "--load-best-model-at-end is for one task"),
        ({"dev": None}, "--dev is needed for that too"),
    ],
)
def test_what_cannot_be(begun, options, wrong):
    with pytest.raises(InputError, match=wrong):
        begun[1]("r", **options)


def test_the_command_line_and_python_learn_the_same(begun, capsys):
    home, _ = begun
    file, also = str(home / "t.jsonl"), f"masked-lm --train '{home / 't.txt'}' --max-seq-length 16 --batch-size 1"
    line = ["finetune", "classification", "--model", str(home / "body"), "--train", file, "--backend", "numpy"]
    line += ["--batch-size", "4", "--max-seq-length", "16", "--max-steps", "3", "--seed", "7"]
    assert main([*line, "--out", str(home / "one"), "--also", also]) == 0
    told = {"task": "masked-lm", "train": ["the film was good", "who was bad ?"], "max_seq_length": 16, "batch_size": 1}
    nanodistil.training.finetune(
        "classification", home / "body", file, home / "two", also=[told], backend="numpy", batch_size=4,
        max_seq_length=16, max_steps=3, seed=7,
    )  # fmt: skip
    for name in ("one", "two"):  # of masks too
        assert json.loads((home / name / "settings.json").read_text())["also"][0]["settings"]["seed"] == 7
    for name in ("model.safetensors", "masked-lm/model.safetensors"):
        assert (home / "one" / name).read_bytes() == (home / "two" / name).read_bytes()
    capsys.readouterr()
    for words, wrong in (
        ("maskedlm --train x", "begins with a task"),
        ("", "begins with a task"),
        ("masked-lm", "required: --train"),
        ("masked-lm --train 'x", "No closing quotation"),
        ("masked-lm --train x --learning-rate 1", "no option --learning-rate"),
    ):
        assert main([*line, "--out", str(home / "three"), "--also", words]) == 2
        assert wrong in capsys.readouterr().err
    for option in (["--search", "2"], ["--tensorboard"]):
        assert main([*line, "--out", str(home / "three"), "--also", also, *option]) == 2
        assert "not with --also" in capsys.readouterr().err
    long = f"masked-lm --train '{home / 't.txt'}' --max-seq-length 400"
    assert main([*line, "--out", str(home / "three"), "--also", long]) == 2
    assert "masked-lm (--also): --max-seq-length 400" in capsys.readouterr().err
    for one, wrong in (
        ({"train": file}, "also is a list of dicts"),
        ({"task": "masked-lm", "train": file, "epochs": 1}, "is no option of masked-lm"),
        ({"task": "masked-lm", "train": file, "batch_size": 0}, "batch_size must be"),
        ({"task": "maskedlm", "train": file}, "unknown task"),
    ):
        with pytest.raises(InputError, match=wrong):
            nanodistil.training.finetune("classification", home / "body", file, home / "four", also=[one])

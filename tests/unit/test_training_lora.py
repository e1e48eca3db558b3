"""A LoRA that is learned here: its gradients, and the folder that comes of it."""

import json
from functools import partial

import numpy as np
import pytest
from test_training_backward import SMALL, batch_for, model_for
from tiny_folders import tiny_folder

import nanodistil
from nanodistil import InputError, heads
from nanodistil.heads import HEADS
from nanodistil.sentences.body import has_modules
from nanodistil.sentences.encoder import SentenceEncoder
from nanodistil.training.finetune import Options, finetune
from nanodistil.training.lora import LowRank
from nanodistil.training.optimizer import AdamW
from nanodistil.training.schedule import layerwise
from nanodistil.training.trainee import Trainee
from nanodistil.weights import hub

HEAD = "sequence_classification"


def test_its_gradients_against_central_differences():
    low = LowRank(Trainee(model_for(HEAD)), r=2, alpha=3, seed=1)
    rng = np.random.default_rng(0)
    low.flat[:] += 0.1 * rng.normal(size=low.flat.shape)  # B is 0 at first, and A without a gradient

    def loss():
        low.refresh()
        low.zero_gradients()
        return HEADS[HEAD].objective(low.trainee, batch_for(HEAD))

    loss()
    exact = low.flat_gradients.copy()
    for i in [int(np.abs(exact).argmax()), *rng.integers(0, exact.size, 12).tolist()]:
        before, losses = low.flat[i], []
        for step in (1e-5, -1e-5):
            low.flat[i] = before + step
            losses.append(loss())
        low.flat[i] = before
        assert abs((losses[0] - losses[1]) / 2e-5 - exact[i]) < 1e-8 + 1e-6 * abs(exact[i])


def test_it_begins_as_the_model_that_it_is_added_to_and_moves_nothing_else():
    model = model_for(HEAD)
    before = model.tensors()
    low = LowRank(Trainee(model, below=1), r=2, alpha=3, seed=1)
    assert not any(name.startswith("transformer.layer.0.") for name in low.parts)
    low.refresh()
    for name, array in model.tensors().items():
        np.testing.assert_array_equal(array, before[name])
    low.flat[:] += 1
    low.refresh()
    moved = {name for name, array in model.tensors().items() if not np.array_equal(array, before[name])}
    assert moved == {*low.parts, *low.whole}
    assert low.decayed == len(low.flat) - sum(low.whole[name].size for name in low.whole if name.endswith(".bias"))


@pytest.fixture
def begun(tmp_path):
    """A body, examples, and the options of a run on them."""
    tiny_folder(tmp_path / "body", heads.DistilBertForMaskedLM)
    lines = ["sentence\tlabel", *(f"{'good' if i % 3 else 'bad'} model {i % 5}\t{int(i % 3 > 0)}" for i in range(12))]
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    more = {"lora_r": 2, "frozen_layers": 1, "learning_rate": 0.01, "batch_size": 4, "num_train_epochs": 2}

    def run(name, dev=None, **options):
        given = {"model": str(tmp_path / "body"), "train": str(tmp_path / "t.tsv"), "out": str(tmp_path / name)}
        course = {key: options.pop(key) for key in ("resume", "on_step") if key in options}
        made = Options(**given, dev=dev, backend="numpy", **{**more, **options})
        return finetune("classification", {"max_seq_length": 16, "task_name": "sst2"}, made, **course)

    return tmp_path, run


def test_a_folder_that_loads_as_any_adapter_does(begun, recwarn):
    home, run = begun
    run("r", dev=str(home / "t.tsv"), load_best_model_at_end=True)
    files = {file.name for file in (home / "r").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "vocab.txt"} <= files
    assert "model.safetensors" not in files
    config = json.loads((home / "r" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["task_type"]) == (2, 16.0, "SEQ_CLS")
    recwarn.clear()
    classify = nanodistil.pipeline("text-classification", str(home / "r"), backend="numpy")
    assert not [str(one.message) for one in recwarn]  # the body's own head is not one that is missed
    body = heads.DistilBertForMaskedLM.from_pretrained(home / "body", backend="numpy").tensors()
    changed = {n for n, array in classify.model.tensors().items() if n in body and not np.array_equal(array, body[n])}
    assert changed and all(name.startswith("transformer.layer.1.") for name in changed)
    assert classify("good model 1")[0]["label"] in ("negative", "positive", "LABEL_0", "LABEL_1")


def test_one_inside_the_package_is_found_by_every_door(begun, monkeypatch):
    home, run = begun
    run("inside", max_steps=1)
    monkeypatch.setattr(hub, "HOME", home)
    monkeypatch.setattr(hub, "NAMES", ("inside",))
    assert hub.resolve_model("inside").folder == hub.download("inside") == home / "inside"
    assert not has_modules("inside")
    assert SentenceEncoder.from_pretrained("inside", backend="numpy").encode(["good"]).shape == (1, 20)
    assert nanodistil.pipeline("sentiment-analysis", "inside", backend="numpy")("good")


def in_halves(run, at):
    """A run called "whole", and one called "halves" that is ended at a step and goes on."""
    run("whole")

    def stop(step):
        if step.done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("halves", on_step=stop, save_steps=2)
    run("halves", resume=True, save_steps=2)


def test_a_run_that_was_ended_goes_on_to_the_same_bits(begun):
    home, run = begun
    in_halves(run, 3)
    name = "adapter_model.safetensors"
    assert (home / "halves" / name).read_bytes() == (home / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"lora_r": 0}, "--lora-r"),
        ({"lora_alpha": 0.0}, "--lora-alpha"),
        ({"frozen_layers": -1}, "--frozen-layers"),
        ({"layer_decay": 0.0}, "--layer-decay"),
        ({"layer_decay": 1.5}, "--layer-decay"),
        ({"frozen_layers": 2}, "cannot be left as they are"),
    ],
)
def test_what_cannot_be(begun, options, wrong):
    with pytest.raises(InputError, match=wrong):
        begun[1]("r", **options)


@pytest.mark.parametrize("low", [False, True])
def test_lower_layers_learn_slower(low):
    """Adam's first step is the learning rate itself, up or down, wherever there is a gradient."""
    trainee = Trainee(model_for(HEAD))
    learner = LowRank(trainee, r=2, alpha=3, seed=1) if low else trainee
    HEADS[HEAD].objective(trainee, batch_for(HEAD))
    pace = partial(layerwise, layers=SMALL.n_layers, decay=0.5)
    before, moved = learner.flat.copy(), np.abs(learner.flat_gradients) > 1e-12
    AdamW(learner, trainee.bops, eps=1e-20, weight_decay=0.0, pace=pace).step(1, 0.01, 1.0)
    step = np.abs(learner.flat - before)
    assert sorted(place.start for place in learner.places.values())[0] == 0
    assert sum(place.stop - place.start for place in learner.places.values()) == len(learner.flat)
    rates = set()
    for name, place in learner.places.items():
        np.testing.assert_allclose(step[place][moved[place]], 0.01 * pace(name), rtol=1e-6, err_msg=name)
        rates.add(pace(name))
    assert rates == {1.0, 0.5, 0.25} | (set() if low else {0.125}) and SMALL.n_layers == 2


def test_decay_and_rates_at_once():
    trainee = Trainee(model_for(HEAD))
    plain = AdamW(trainee, trainee.bops, weight_decay=0.1)
    slow = AdamW(trainee, trainee.bops, weight_decay=0.1, pace=lambda name: 1.0)
    assert slow.groups == plain.groups == [
        (slice(0, trainee.decayed), 0.1, 1.0), (slice(trainee.decayed, len(trainee.flat)), 0.0, 1.0)
    ]  # fmt: skip

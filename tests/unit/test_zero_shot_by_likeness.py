"""zero-shot-classification by a model of sentences: its scores by hand, and what it refuses."""

import numpy as np
import pytest
from tiny_folders import tiny_folder

import nanodistil
import nanodistil.training
from nanodistil import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel, InputError
from nanodistil.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
from nanodistil.weights.errors import CheckpointError

TEXTS = ["the film was good", "who was bad ?"]
LABELS = ["film", "bad example", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("body"), DistilBertModel, initializer_range=0.5)


@pytest.mark.parametrize("template", ["{}", "this is {} ."])
def test_scores_are_the_softmax_of_cosines(folder, template):
    sort = nanodistil.pipeline("zero-shot-classification", folder, backend="numpy")
    embed = nanodistil.pipeline("feature-extraction", folder, backend="numpy")
    found = sort(TEXTS, LABELS, hypothesis_template=template)
    said = [template.format(label) for label in LABELS]
    labels = np.stack([embed(one, pooling="mean", normalize=True, return_tensors=True) for one in said])
    for text, answer in zip(TEXTS, found, strict=True):
        cosines = labels @ embed(text, pooling="mean", normalize=True, return_tensors=True)
        wanted = np.exp(cosines / 0.05) / np.exp(cosines / 0.05).sum()
        assert answer["sequence"] == text and sum(answer["scores"]) == pytest.approx(1)
        assert answer["labels"] == [LABELS[i] for i in np.argsort(-wanted)]
        np.testing.assert_allclose(answer["scores"], np.sort(wanted)[::-1], rtol=1e-4)
    assert sort(TEXTS[0], ",".join(LABELS), hypothesis_template=template) == found[0]
    model, tokenizer = sort.model, sort.tokenizer
    again = nanodistil.pipeline("zero-shot-classification", model, tokenizer)
    assert again(TEXTS, LABELS, hypothesis_template=template) == found


def test_what_it_cannot_say(folder, tmp_path):
    sort = nanodistil.pipeline("zero-shot-classification", folder, backend="numpy")
    for options in ({"multi_label": True}, {"candidate_labels": ["film"]}):
        with pytest.raises(InputError, match="which of several labels is nearest"):
            sort(TEXTS[0], **{"candidate_labels": LABELS, **options})
    with pytest.raises(InputError, match="is empty"):
        sort("", LABELS)
    with pytest.raises(InputError, match="is no option of a ZeroShot"):
        nanodistil.pipeline("zero-shot-classification", folder, top_k=3)
    limit = sort.model.config.max_position_embeddings
    assert sort("good " * 2 * limit, LABELS)["scores"] == sort("good " * limit, LABELS)["scores"]  # a text is cut
    with pytest.warns(UserWarning, match="without a word"):
        sort("   ", LABELS)
    with pytest.raises(InputError, match=r"the hypothesis .* is too long"):  # what is asked of a label is not
        sort("good", ["good " * limit, "bad"])
    with pytest.raises(CheckpointError, match="has no head for zero-shot"):  # a head that is of another kind
        masked = tiny_folder(tmp_path / "masked", DistilBertForMaskedLM)
        nanodistil.pipeline("zero-shot-classification", masked, backend="numpy")


def test_the_one_inside_the_package_finds_topics():
    sort = nanodistil.pipeline("zero-shot-classification", "nanodistil-mini-sentences", backend="numpy")
    found = sort(["Add two eggs and whisk.", "Shares fell after the bank's report."], ["cooking", "business"])
    assert [one["labels"][0] for one in found] == ["cooking", "business"]


def test_a_head_that_the_config_does_not_know_of_is_used(tmp_path):
    """As that of an adapter whose base is a body alone: it was trained, and likeness is not what it was trained for."""
    labels = {0: "contradiction", 1: "entailment"}
    home = tiny_folder(tmp_path, DistilBertForSequenceClassification, id2label=labels)
    wanted = nanodistil.pipeline("zero-shot-classification", home, backend="numpy")(TEXTS, LABELS)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("DistilBertForSequenceClassification", "DistilBertModel"))
    assert nanodistil.pipeline("zero-shot-classification", home, backend="numpy")(TEXTS, LABELS) == wanted


def test_an_adapters_head_is_used_though_its_base_is_a_body_alone(folder, tmp_path):
    rows = [
        {"sentence": text, "label": label} for text, label in zip(TEXTS, ("contradiction", "entailment"), strict=True)
    ]
    told = {"lora_r": 2, "max_steps": 1, "max_seq_length": 16, "backend": "numpy"}
    nanodistil.training.finetune("classification", folder, rows, tmp_path / "nli", **told)
    (tmp_path / "nli" / "config.json").unlink()  # as peft leaves it
    found = nanodistil.pipeline("zero-shot-classification", tmp_path / "nli", backend="numpy")
    assert type(found) is ZeroShotClassificationPipeline

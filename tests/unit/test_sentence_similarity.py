"""Vectors of sentences as a task: two losses against differences, what files may hold, and that it learns."""

import json

import numpy as np
import pytest
from tiny_folders import tiny_folder

from nanodistil import InputError, heads
from nanodistil.training.finetune import Options, finetune
from nanodistil.training.tasks.sentence_similarity import SentenceSimilarity, loss_of


@pytest.mark.parametrize("scores", [[0.2, 0.9, 0.5], [np.nan] * 3, [np.nan, 0.4, np.nan]])
def test_the_gradient_against_central_differences(scores):
    rng = np.random.default_rng(0)
    means, scores = rng.normal(size=(6, 5)), np.array(scores)
    _, slope = loss_of(means, scores)
    for i in np.ndindex(means.shape):
        step = np.zeros_like(means)
        step[i] = 1e-6
        measured = (loss_of(means + step, scores)[0] - loss_of(means - step, scores)[0]) / 2e-6
        assert abs(measured - slope[i]) < 1e-7 + 1e-6 * abs(slope[i])


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_it_learns_from_scores_and_from_pairs_in_one_file(tmp_path):
    tiny_folder(tmp_path / "body", heads.DistilBertModel, dropout=0.0, attention_dropout=0.0)
    pairs = [
        {"sentence1": f"good film {'abc'[i]}", "sentence2": f"{'abc'[i]} film was good", "score": 5 - i}
        for i in range(3)
    ]
    pairs += [{"sentence1": f"a {word}", "sentence2": f"{word} was bad"} for word in ("good", "film", "example", "was")]
    file = write(tmp_path / "p.jsonl", pairs)
    losses = []
    figures = finetune(
        "sentence-similarity",
        {"max_seq_length": 16},
        Options(model=str(tmp_path / "body"), train=file, dev=file, out=str(tmp_path / "r"), backend="numpy",
                num_train_epochs=15, batch_size=7, learning_rate=0.003),
        on_step=lambda step: losses.append(step.loss["loss"]),
    )  # fmt: skip
    assert losses[-1] < 0.5 * losses[0]
    assert figures["nearest"] == 1 and figures["mse"] < 0.05
    assert (tmp_path / "r" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"sentence1": "a", "sentence2": " "}, "two sentences are needed"),
        ({"sentence1": "a", "sentence2": "b", "score": 6}, "no number from 0 to 5"),
        ({"sentence1": "a", "sentence2": "b", "score": "much"}, "no number from 0 to 5"),
        ({"sentence1": "a"}, "sentence2"),
    ],
)
def test_what_is_no_pair(tmp_path, row, wrong):
    rows = [{"sentence1": "a", "sentence2": "b", "score": 1}, row]
    with pytest.raises(InputError, match=wrong):
        SentenceSimilarity().read(write(tmp_path / "p.jsonl", rows))


def test_a_highest_score_that_cannot_be():
    with pytest.raises(InputError, match="--highest"):
        SentenceSimilarity(highest=0.0)

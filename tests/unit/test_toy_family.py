"""A family that the package does not know, in this one file and one line of a table: it does what any other does.

Its files have names of their own for fields and arrays; positions begin behind the number of the padding token, and
padding has none, as in RoBERTa; a LayerNorm adds another eps; before the classifier is tanh.
"""

import json
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from tiny_folders import TEXTS, tiny_folder

from nanodistil import AutoConfig, AutoModelForMaskedLM, AutoModelForSequenceClassification, exporting, pipeline
from nanodistil.config import Config
from nanodistil.family import FAMILIES
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.heads.sequence_classification import ForSequenceClassification, two_maps
from nanodistil.training import finetune
from nanodistil.training.trainee import Trainee
from nanodistil.weights.renamed import Renamed


@dataclass(init=False, repr=False)
class ToyConfig(Config):
    model_type: ClassVar[str] = "toy"
    own_names: ClassVar[dict[str, str]] = {"dim": "width", "n_layers": "depth", "n_heads": "eyes"}
    names: ClassVar[Renamed] = Renamed(
        PREFIX="toy.",
        layers="floors.",
        layer={
            "see.ask": "attention.q_lin",
            "see.key": "attention.k_lin",
            "see.value": "attention.v_lin",
            "see.out": "attention.out_lin",
            "see.norm": "sa_layer_norm",
            "think.up": "ffn.lin1",
            "think.down": "ffn.lin2",
            "think.norm": "output_layer_norm",
        },
        others={
            "tables.words": "embeddings.word_embeddings",
            "tables.places": "embeddings.position_embeddings",
            "tables.norm": "embeddings.LayerNorm",
            "guess.inner": "vocab_transform",
            "guess.norm": "vocab_layer_norm",
            "guess.outer": "vocab_projector",
            "judge.inner": "pre_classifier",
            "judge.outer": "classifier",
        },
        body=("tables.", "floors."),
    )

    n_layers: int = 2
    layer_norm_eps: float = 1e-5

    @property
    def max_tokens(self):
        return self.max_position_embeddings - self.pad_token_id - 1

    def positions(self, ids, shape):
        if ids is None:
            return self.pad_token_id + 1 + np.arange(shape[1])
        real = ids != self.pad_token_id
        return self.pad_token_id + real * real.cumsum(axis=1)


class ToyForMaskedLM(ForMaskedLM, config_class=ToyConfig): ...


class ToyForSequenceClassification(
    ForSequenceClassification, config_class=ToyConfig, head=two_maps(activation="tanh")
): ...


IDS = np.array([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]])
MASK = (IDS != 0).astype(int)
LABELS = {"id2label": {0: "bad", 1: "good"}}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(FAMILIES, "toy", (__name__, "Toy"))


def restated(t, ids):
    """Hidden states (T, D) of one sentence without padding, from the names of its files."""

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * t[f"{name}.weight"] + t[f"{name}.bias"]

    x = norm(
        t["toy.tables.words.weight"][ids] + t["toy.tables.places.weight"][1 + np.arange(len(ids))], "toy.tables.norm"
    )
    for i in range(2):
        at = f"toy.floors.{i}"
        q, k, v = (linear(x, f"{at}.see.{name}").reshape(len(ids), 4, 5) for name in ("ask", "key", "value"))
        scores = np.exp(np.einsum("qhd,khd->hqk", q, k) / np.sqrt(5))
        context = np.einsum("hqk,khd->qhd", scores / scores.sum(-1, keepdims=True), v).reshape(len(ids), 20)
        x = norm(x + linear(context, f"{at}.see.out"), f"{at}.see.norm")
        x = norm(x + linear(np.maximum(linear(x, f"{at}.think.up"), 0), f"{at}.think.down"), f"{at}.think.norm")
    return x


def a_folder(folder, cls, **config):
    return tiny_folder(folder, cls, activation="relu", **config)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_computes_what_it_says(tmp_path, backend, dtype):
    if (backend, dtype) == ("numba", "float64") or (backend, dtype) == ("cupy", "float64"):
        pytest.skip("float32 only")
    model = ToyForSequenceClassification.from_pretrained(
        a_folder(tmp_path, ToyForSequenceClassification), backend=backend, dtype=dtype
    )
    t, logits = model.state_dict(), model(IDS, MASK).logits
    for b, length in enumerate(MASK.sum(1)):
        h = np.tanh(restated(t, IDS[b, :length])[0] @ t["judge.inner.weight"].T + t["judge.inner.bias"])
        wanted = h @ t["judge.outer.weight"].T + t["judge.outer.bias"]
        np.testing.assert_allclose(logits[b], wanted, rtol=0, atol=1e-13 if dtype == "float64" else 1e-5)


def test_its_files_have_its_names(tmp_path):
    folder = a_folder(tmp_path / "in", ToyForMaskedLM)
    config = json.loads((tmp_path / "in" / "config.json").read_text())
    assert config["model_type"] == "toy" and config["width"] == 20 and "dim" not in config
    assert AutoConfig.from_pretrained(folder).eyes == 4
    model = AutoModelForMaskedLM.from_pretrained(folder, backend="numpy")
    assert type(model) is ToyForMaskedLM and "toy.floors.1.see.ask.weight" in model.state_dict()
    exported, _ = exporting.export(folder, tmp_path / "out")
    assert type(exported) is ToyForMaskedLM
    np.testing.assert_array_equal(exported(IDS, MASK).logits, model(IDS, MASK).logits)
    with pytest.warns(UserWarning, match=r"newly initialised.*judge.inner.weight"):
        AutoModelForSequenceClassification.from_pretrained(folder, backend="numpy")


def test_pipelines_take_it(tmp_path):
    fill = pipeline("fill-mask", a_folder(tmp_path / "lm", ToyForMaskedLM), backend="numpy")
    assert len(fill("a [MASK] film", top_k=3)) == 3
    classify = pipeline("text-classification", a_folder(tmp_path / "c", ToyForSequenceClassification, **LABELS))
    alone = [classify(text)[0] for text in TEXTS]
    assert classify(TEXTS) == alone and {one["label"] for one in alone} <= {"good", "bad"}


def test_its_gradients_are_those_of_its_loss():
    model = ToyForSequenceClassification(
        ToyConfig(vocab_size=30, initializer_range=0.5, max_position_embeddings=9, width=12, eyes=3, hidden_dim=8),
        backend="numpy",
        dtype="float64",
    )
    trainee = Trainee(model)
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": [1, 0]}
    run = trainee.model.head.objective
    run(trainee, batch)
    direction = np.random.default_rng(0).standard_normal(trainee.flat.shape)
    slope, around = float(trainee.flat_gradients @ direction), []
    for step in (1e-6, -2e-6):
        trainee.flat += step * direction
        trainee.refresh()
        around.append(run(trainee, batch))
    assert (around[0] - around[1]) / 2e-6 == pytest.approx(slope, rel=1e-6)


def test_it_is_fine_tuned(tmp_path):
    folder = a_folder(tmp_path / "in", ToyForMaskedLM)
    rows = [{"text": text, "label": "good" if "good" in text else "bad"} for text in TEXTS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        finetune(
            "classification",
            folder,
            rows,
            tmp_path / "out",
            max_seq_length=16,
            max_steps=2,
            batch_size=4,
            backend="numpy",
        )
    assert type(AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")) is ToyForSequenceClassification

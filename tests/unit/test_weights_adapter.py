"""adapter.py: a LoRA added to its base by hand, where the base is looked for, and adapters that cannot be added."""

import json

import numpy as np
import pytest
from tiny_folders import tiny_folder
from weight_files import file_bytes

import nanodistil
from nanodistil import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
    DistilBertTokenizer,
)
from nanodistil.weights.errors import CheckpointError, ModelNotFoundError
from nanodistil.weights.hub import cached_models, resolve

Q = "transformer.layer.0.attention.q_lin"
D = 20


def lora(folder, base, arrays=None, **config):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    if arrays is None:
        arrays = {
            f"base_model.model.distilbert.{Q}.lora_A.weight": rng.standard_normal((2, D)),
            f"base_model.model.distilbert.{Q}.lora_B.weight": rng.standard_normal((D, 2)),
        }
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base), "lora_alpha": 6, "r": 2, **config}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(file_bytes(arrays, {"format": "pt"}))
    return arrays


def test_by_hand(tmp_path):
    """W + B A alpha / r, and nothing else changes."""
    base = tiny_folder(tmp_path / "base", DistilBertForMaskedLM)
    a, b = lora(tmp_path / "adapter", base).values()
    before = DistilBertForMaskedLM.from_pretrained(base, backend="numpy").tensors()
    after = DistilBertForMaskedLM.from_pretrained(tmp_path / "adapter", backend="numpy").tensors()
    for name, array in before.items():
        added = b.astype(float) @ a.astype(float) * 3 if name == f"{Q}.weight" else 0
        np.testing.assert_array_equal(after[name], (array + added).astype(np.float32), err_msg=name)


def test_a_head_of_another_size_comes_along(tmp_path):
    base = tiny_folder(tmp_path / "base", DistilBertModel)
    head = {"pre_classifier.weight": np.eye(D), "pre_classifier.bias": np.zeros(D)}
    head |= {"classifier.weight": np.ones((5, D)), "classifier.bias": np.arange(5)}
    lora(tmp_path / "adapter", base, {f"base_model.model.{name}": array for name, array in head.items()})
    model = DistilBertForSequenceClassification.from_pretrained(tmp_path / "adapter", backend="numpy")
    assert model.config.num_labels == 5 and model.initialised == []
    np.testing.assert_array_equal(model.tensors()["classifier.bias"], np.arange(5))
    names = {0: "a", 1: "b", 2: "c", 3: "d", 4: "e"}
    model = DistilBertForSequenceClassification.from_pretrained(tmp_path / "adapter", backend="numpy", id2label=names)
    assert model.config.id2label == names
    classify = nanodistil.pipeline("text-classification", model=str(tmp_path / "adapter"), backend="numpy")
    assert len(classify("good", top_k=None)) == 5


def test_where_config_and_tokenizer_come_from(tmp_path):
    base = tiny_folder(tmp_path / "base", DistilBertForMaskedLM)
    lora(tmp_path / "adapter", base)
    assert DistilBertConfig.from_pretrained(tmp_path / "adapter").dim == D
    assert DistilBertTokenizer.from_pretrained(tmp_path / "adapter").vocab_size == 25
    (tmp_path / "adapter" / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "x"]))
    assert DistilBertTokenizer.from_pretrained(tmp_path / "adapter").vocab_size == 6


def test_where_the_base_is_looked_for(tmp_path, monkeypatch):
    """As PEFT, from the current folder; then beside the adapter; then in the hub's cache."""
    tiny_folder(tmp_path / "runs" / "base", DistilBertForMaskedLM)
    lora(tmp_path / "runs" / "adapter", "base")
    folder = tmp_path / "runs" / "adapter"
    assert DistilBertForMaskedLM.from_pretrained(folder, backend="numpy")
    monkeypatch.chdir(tmp_path / "runs")
    assert DistilBertForMaskedLM.from_pretrained("adapter", backend="numpy")
    cache = tmp_path / "cache"
    snapshot = cache / "models--me--base" / "snapshots" / ("a" * 40)
    tiny_folder(snapshot, DistilBertForMaskedLM)
    (cache / "models--me--base" / "refs").mkdir()
    (cache / "models--me--base" / "refs" / "main").write_text("a" * 40)
    lora(folder, "me/base")
    assert DistilBertForMaskedLM.from_pretrained(folder, backend="numpy", cache_dir=cache, local_files_only=True)
    lora(cache / "models--me--base" / "snapshots" / ("b" * 40), "me/base")  # an adapter in the cache
    theirs = cache / "models--me--base" / "snapshots" / ("b" * 40)
    found = DistilBertForMaskedLM.from_pretrained("me/base", backend="numpy", cache_dir=cache, revision=theirs.name)
    assert found.initialised == [] and cached_models(cache)[1].lacks == ""
    lora(folder, "me/elsewhere")
    with pytest.raises(ModelNotFoundError, match=r"adapter is an adapter of 'me/elsewhere': no folder 'me/elsewhere'"):
        DistilBertForMaskedLM.from_pretrained(folder, cache_dir=cache, local_files_only=True)


def refused(folder, error=CheckpointError):
    with pytest.raises(error) as caught:
        DistilBertForMaskedLM.from_pretrained(folder, backend="numpy")
    assert "\n" not in str(caught.value)
    return str(caught.value)


WRONG = {
    "is an adapter of kind 'IA3'": {"peft_type": "IA3"},
    "is an adapter of kind None": {"peft_type": None},
    "names no base_model_name_or_path": {"base_model_name_or_path": None},
    "changed base weights (init_lora_weights 'pissa_niter_4')": {"init_lora_weights": "pissa_niter_4"},
    "is a LoRA with layer_replication": {"layer_replication": [[0, 1]]},
    "alpha is 'x', no sensible number": {"lora_alpha": "x"},
    "alpha is nan": {"lora_alpha": float("nan")},
    "alpha is True": {"alpha_pattern": {"q_lin": True}},
    "its alpha_pattern is none": {"alpha_pattern": [1]},
    "alpha_pattern '('": {"alpha_pattern": {"(": 1}},
    "alpha_pattern 'xxx": {"alpha_pattern": {"x" * 1000: 1}},
}


@pytest.mark.parametrize("says", WRONG)
def test_adapters_that_cannot_be_added(tmp_path, says):
    base = tiny_folder(tmp_path / "base", DistilBertForMaskedLM)
    lora(tmp_path / "adapter", base, **WRONG[says])
    assert says in refused(tmp_path / "adapter")


def test_a_pattern_that_would_take_for_ever(tmp_path):
    base = tiny_folder(tmp_path / "base", DistilBertForMaskedLM)
    lora(tmp_path / "adapter", base, alpha_pattern={r"((\w+\.?)+)+!": 1, "q_lin": 2})
    try:
        DistilBertForMaskedLM.from_pretrained(tmp_path / "adapter", backend="numpy")  # if the matcher is clever
    except CheckpointError as error:
        assert "takes too long" in str(error) or "timed out" in str(error)


PARTS = {
    "do not fit (20, 20)": {f"{Q}.lora_A.weight": np.ones((2, 19)), f"{Q}.lora_B.weight": np.ones((D, 2))},
    "do not fit (20, 20) ": {f"{Q}.lora_A.weight": np.ones((2, D))},
    "do not fit (20, 20)  ": {f"{Q}.lora_A.weight": np.ones((0, D)), f"{Q}.lora_B.weight": np.ones((D, 0))},
    "adds to 'x.y.weight', which this model has not": {
        "x.y.lora_A.weight": np.ones((2, D)), "x.y.lora_B.weight": np.ones((D, 2)),
    },
    "which is not read; merge it with PEFT": {f"{Q}.lora_ga.weight": np.ones(2)},
    "which is not read; merge it with PEFT ": {"e.token_adapter.trainable_tokens_delta": np.ones(2)},
    "numbers that are NaN": {f"{Q}.lora_A.weight": np.full((2, D), np.nan), f"{Q}.lora_B.weight": np.ones((D, 2))},
}  # fmt: skip


@pytest.mark.parametrize("says", PARTS)
def test_parts_that_do_not_fit(tmp_path, says):
    base = tiny_folder(tmp_path / "base", DistilBertForMaskedLM)
    lora(tmp_path / "adapter", base, {f"base_model.model.{name}": array for name, array in PARTS[says].items()})
    assert says.strip() in refused(tmp_path / "adapter")


def test_an_adapter_that_is_its_own_base(tmp_path):
    lora(tmp_path / "adapter", tmp_path / "adapter")
    for need in ("config", "tokenizer", "model"):
        with pytest.raises(ModelNotFoundError, match="an adapter too"):
            resolve(tmp_path / "adapter", need=need, adapters=True) if need != "model" else refused_model(tmp_path)


def refused_model(tmp_path):
    DistilBertForMaskedLM.from_pretrained(tmp_path / "adapter")


def test_an_adapter_beside_weights(tmp_path):
    """Which may be the merged ones, or the base's: nobody can tell, so it is said."""
    base = tiny_folder(tmp_path / "base", DistilBertForMaskedLM)
    lora(tmp_path / "base", base)
    with pytest.warns(UserWarning, match="has an adapter beside its weights, which was not added"):
        DistilBertForMaskedLM.from_pretrained(base, backend="numpy")


def test_who_cannot_use_one_says_how(tmp_path):
    lora(tmp_path / "adapter", tiny_folder(tmp_path / "base", DistilBertForMaskedLM))
    with pytest.raises(ModelNotFoundError, match="holds an adapter alone: make a model of it with `nanodistil export`"):
        resolve(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    assert "lacks adapter_model.safetensors" in refused(tmp_path / "adapter", ModelNotFoundError)

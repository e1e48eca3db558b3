"""The graph of `nanodistil export --onnx`, in ONNX Runtime: our numbers, whatever is masked, pruned or untied."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnxruntime as runtime
from conftest import TINY, random_tensors
from tiny_folders import tiny_folder

from nanodistil import DistilBertConfig, DistilBertForMaskedLM, GPT2Config, cli
from nanodistil.family import class_of, classes_of
from nanodistil.onnx_graph import GELU, ONE_NODE, write_onnx
from nanodistil.weights.errors import InputError

pytestmark = pytest.mark.parity

IDS = np.array([[2, 5, 6, 7, 3], [2, 7, 8, 3, 0], [2, 9, 3, 0, 0]])
MASK = (IDS != 0).astype(np.int64)


def answered(path, **inputs):
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def check(model, path, ids=IDS, mask=MASK):
    write_onnx(path, model)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if model.config.token_types:
        inputs["token_type_ids"] = mask * (np.arange(ids.shape[-1]) > 1)
    theirs, ours = answered(path, **inputs), model(**inputs, keep_masked=True)
    assert theirs and set(theirs) <= set(ours)
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("made", [*classes_of("distilbert"), *classes_of("bert")])
def test_every_head(tmp_path, made):
    model = made.from_pretrained(tiny_folder(tmp_path / "in", made), backend="numpy")
    ids, mask = IDS, MASK
    if made.__name__.endswith("Choice"):
        ids, mask = np.stack([IDS, IDS[::-1]], axis=1), np.stack([MASK, MASK[::-1]], axis=1)
    check(model, tmp_path / "model.onnx", ids, mask)
    check(model, tmp_path / "model.onnx", ids[:1, ..., :3], mask[:1, ..., :3])


@pytest.mark.parametrize("activation", [*GELU, *ONE_NODE, "silu", "swish"])
def test_every_activation(tmp_path, activation):
    folder = tiny_folder(tmp_path / "in", DistilBertForMaskedLM, activation=activation)
    check(DistilBertForMaskedLM.from_pretrained(folder, backend="numpy"), tmp_path / "model.onnx")


def test_pruned_and_untied(tmp_path):
    folder = tiny_folder(tmp_path / "in", DistilBertForMaskedLM, tie_word_embeddings=False)
    model = DistilBertForMaskedLM.from_pretrained(folder, backend="numpy")
    model.prune_heads({0: [1, 2], 1: [3]})
    check(model, tmp_path / "model.onnx")


@pytest.mark.parametrize("pre_norm", [False, True])
def test_norms_of_another_family(tmp_path, monkeypatch, pre_norm):
    monkeypatch.setattr(DistilBertConfig, "pre_norm", pre_norm)
    monkeypatch.setattr(DistilBertConfig, "layer_norm_eps", 0.3)
    check(DistilBertForMaskedLM(TINY, random_tensors(TINY), backend="numpy"), tmp_path / "model.onnx")


@pytest.mark.parametrize("made", classes_of("gpt2"))
@pytest.mark.parametrize("padding", [0, None])
def test_every_head_of_a_causal_model(tmp_path, made, padding):
    config = GPT2Config(
        vocab_size=25, n_positions=8, n_embd=12, n_layer=2, n_head=3, initializer_range=0.5, pad_token_id=padding,
        scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=padding is None,
    )  # fmt: skip
    model = made(config, backend="numpy")
    check(model, tmp_path / "model.onnx")
    check(model, tmp_path / "model.onnx", IDS[:1, :4], MASK[:1, :4])


def test_what_is_not_written(tmp_path):
    folder = tiny_folder(tmp_path / "in", DistilBertForMaskedLM, activation="xielu")
    with pytest.raises(InputError, match="the activation xielu is not written as ONNX"):
        write_onnx(tmp_path / "model.onnx", DistilBertForMaskedLM.from_pretrained(folder, backend="numpy"))
    made = class_of("roberta", "ForMaskedLM")
    with pytest.raises(InputError, match="ONNX is not written of a roberta, which numbers positions"):
        write_onnx(tmp_path / "model.onnx", made.from_pretrained(tiny_folder(tmp_path / "r", made), backend="numpy"))
    assert not (tmp_path / "model.onnx").exists()


def test_the_embedded_model(tmp_path, capsys):
    assert cli.main(["export", "nanodistil-mini", str(tmp_path / "out"), "--onnx"]) == 0
    ids = np.array([[101, 7592, 103, 2088, 102]])
    ours = DistilBertForMaskedLM.from_pretrained("nanodistil-mini", backend="numpy")(ids).logits
    theirs = answered(tmp_path / "out" / "model.onnx", input_ids=ids, attention_mask=np.ones_like(ids))["logits"]
    np.testing.assert_allclose(theirs, ours, atol=1e-4)

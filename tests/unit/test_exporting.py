"""exporting.py and its verb: any model that loads, as a folder that others read."""

import json
import warnings

import numpy as np
import pytest
from safetensors import safe_open
from test_weights_adapter import lora
from tiny_folders import tiny_folder
from weight_files import file_bytes

from nanodistil import cli, exporting, heads
from nanodistil.family import classes_of
from nanodistil.weights.errors import InputError
from nanodistil.weights.quantization import write as quantized

MADE = [*classes_of("distilbert"), *classes_of("bert")]  # whose words are WordPiece's


def stored(folder):
    with safe_open(folder / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("named", [True, False])
def test_every_head_comes_out_as_it_went_in(tmp_path, made, named):
    """Also if the config does not say which it is: the arrays do."""
    source = tiny_folder(tmp_path / "in", made)
    if not named:
        config = json.loads((tmp_path / "in" / "config.json").read_text())
        del config["architectures"]
        (tmp_path / "in" / "config.json").write_text(json.dumps(config))
    model, has_tokenizer = exporting.export(source, tmp_path / "out")
    assert has_tokenizer and type(model) is made
    wanted = stored(tmp_path / "in")
    for array, written in stored(tmp_path / "out").items():
        np.testing.assert_array_equal(written, wanted.pop(array))
    assert not wanted
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == "float32" and config["architectures"] == [type(model).__name__]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json"}


def test_int8_comes_out_as_the_floats_it_means(tmp_path):
    source = tiny_folder(tmp_path / "in", heads.DistilBertForMaskedLM, dim=32)
    quantized(tmp_path / "in", tmp_path / "small")
    for name in ("config.json", "vocab.txt"):
        (tmp_path / "small" / name).write_bytes((tmp_path / "in" / name).read_bytes())
    model, _ = exporting.export(tmp_path / "small", tmp_path / "out")
    assert {array.dtype.name for array in stored(tmp_path / "out").values()} == {"float32"}
    again = heads.DistilBertForMaskedLM.from_pretrained(tmp_path / "out", backend="numpy").tensors()
    for name, array in model.tensors().items():
        np.testing.assert_array_equal(again[name], array)
    assert source


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 11), ("bfloat16", 8), ("float64", 53)])
def test_other_dtypes(tmp_path, dtype, bits):
    source = tiny_folder(tmp_path / "in", heads.DistilBertForMaskedLM)
    before, _ = exporting.export(source, tmp_path / "out", dtype)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype
    after = heads.DistilBertForMaskedLM.from_pretrained(tmp_path / "out", backend="numpy").tensors()
    for name, array in before.tensors().items():
        np.testing.assert_allclose(after[name], array, rtol=2.0**-bits, atol=1e-7, err_msg=name)
    assert dtype == "float64" or any((after[name] != array).any() for name, array in before.tensors().items())


def test_a_lora_is_merged(tmp_path):
    base = tiny_folder(tmp_path / "base", heads.DistilBertForMaskedLM)
    D = 20
    head = {"pre_classifier.weight": np.eye(D), "pre_classifier.bias": np.zeros(D)}
    head |= {"classifier.weight": np.ones((3, D)), "classifier.bias": np.arange(3)}
    lora(tmp_path / "adapter", base, {f"base_model.model.{name}": array for name, array in head.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the base's own head is not missed
        model, has_tokenizer = exporting.export(tmp_path / "adapter", tmp_path / "out")
    assert type(model).__name__ == "DistilBertForSequenceClassification" and has_tokenizer
    np.testing.assert_array_equal(stored(tmp_path / "out")["classifier.bias"], np.arange(3))


def test_what_cannot_be(tmp_path, capsys):
    source = tiny_folder(tmp_path / "in", heads.DistilBertModel)
    for out, dtype, says in [
        (tmp_path / "out", "int4", "dtype is one of float32, float16"),
        (tmp_path / "in", "float32", "is the model's own folder"),
        (tmp_path / "in" / ".." / "in", "float32", "is the model's own folder"),
    ]:
        with pytest.raises(InputError, match=says):
            exporting.export(source, out, dtype)
    arrays = stored(tmp_path / "in")
    arrays["embeddings.LayerNorm.bias"][0] = 1e5
    (tmp_path / "in" / "model.safetensors").write_bytes(file_bytes(arrays))
    with pytest.raises(InputError, match=r"embeddings.LayerNorm.bias has numbers that float16 cannot hold"):
        exporting.export(source, tmp_path / "out", "float16")
    assert not (tmp_path / "out").exists()
    assert cli.main(["export", source, ""]) == 2 and "OUT is empty" in capsys.readouterr().err


def test_the_verb(tmp_path, capsys):
    source = tiny_folder(tmp_path / "in", heads.DistilBertForMaskedLM)
    (tmp_path / "in" / "vocab.txt").unlink()
    assert cli.main(["export", source, str(tmp_path / "out"), "--dtype", "bfloat16"]) == 0
    said = capsys.readouterr()
    assert "out: DistilBertForMaskedLM, 7,193 parameters in bfloat16\n" in said.out and "no tokenizer" in said.err


def test_onnx_needs_its_extra(tmp_path, monkeypatch, capsys):
    """Said before anything is written."""
    source = tiny_folder(tmp_path / "in", heads.DistilBertForMaskedLM)
    monkeypatch.setattr("nanodistil.cli.export.find_spec", lambda name: None)
    assert cli.main(["export", source, str(tmp_path / "out"), "--onnx"]) == 2
    assert 'pip install "nanodistil[onnx]"' in capsys.readouterr().err and not (tmp_path / "out").exists()

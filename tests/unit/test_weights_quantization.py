"""quantization.py: how far rounding may go, what stays exact, and int8 files that do not fit together."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from weight_files import TINY, as_filed, file_bytes, tiny_arrays

from nanodistil.family.gpt2 import GPT2Config, GPT2LMHeadModel
from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.cache import EMBEDDED
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.loading import load
from nanodistil.weights.quantization import FORMAT, dequantize_rows, quantize_rows, write

WORDS = "distilbert.embeddings.word_embeddings.weight"


@pytest.mark.parametrize("group", [1, 4, 16, 64])
@pytest.mark.parametrize("size", [1e-7, 1e-3, 1.0, 1e3])
def test_error_is_half_a_step(group, size):
    w = (size * np.random.default_rng(0).standard_normal((7, 64))).astype(np.float32)
    integers, scales = quantize_rows(w, group)
    assert integers.dtype == np.int8 and integers.min() >= -127 and scales.shape == (7, 64 // group)
    steps = np.repeat(scales.astype(np.float32), group, 1)
    largest = np.repeat(np.abs(w.reshape(7, -1, group)).max(-1), group, 1)
    error = np.abs(dequantize_rows(integers, scales) - w)
    # Where the scale was rounded down, the largest number is clipped by what that took: 2^-11, or a float16 subnormal.
    assert (error <= np.maximum(0.5001 * steps, largest * 2.0**-10) + 127 * 2.0**-25).all()


def test_zeros_stay_zeros():
    integers, scales = quantize_rows(np.zeros((2, 64), np.float32))
    assert not integers.any() and not scales.any()
    assert not dequantize_rows(integers, scales).any()


def test_rounding_twice_changes_nothing():
    once = dequantize_rows(*quantize_rows(np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)))
    np.testing.assert_array_equal(dequantize_rows(*quantize_rows(once)), once)


def embedded_config():
    return SimpleNamespace(**json.loads((EMBEDDED / "config.json").read_text()))


def test_embedded_model_is_the_same_in_float32_and_float64():
    single, double = (
        load(EMBEDDED, embedded_config(), TABLE["masked_lm"], dtype).tensors for dtype in (np.float32, np.float64)
    )
    assert sum(array.size for array in single.values()) == 22_743_738
    for name, array in single.items():
        assert array.dtype == np.float32 and double[name].dtype == np.float64
        np.testing.assert_array_equal(array, double[name], err_msg=name)


def test_write(tmp_path):
    config = SimpleNamespace(**{**vars(TINY), "dim": 64, "hidden_dim": 96})
    arrays = tiny_arrays(config=config)
    for folder in ("float", "int8"):
        (tmp_path / folder).mkdir()
    (tmp_path / "float/model.safetensors").write_bytes(file_bytes(as_filed(arrays)))
    write(tmp_path / "float", tmp_path / "int8")
    loaded = load(tmp_path / "int8", config, TABLE["masked_lm"]).tensors
    assert list(loaded) == list(arrays)
    assert max(np.abs(loaded[name] - arrays[name]).max() for name in arrays) < 0.02
    first = (tmp_path / "int8/model.safetensors").read_bytes()
    assert len(first) < 0.35 * (tmp_path / "float/model.safetensors").stat().st_size
    write(tmp_path / "float", tmp_path / "int8")  # over the file that `loaded` may still map
    assert (tmp_path / "int8/model.safetensors").read_bytes() == first
    assert [file.name for file in (tmp_path / "int8").iterdir()] == ["model.safetensors"]


def test_numbers_beyond_float16(tmp_path):
    arrays = as_filed(tiny_arrays())
    arrays["vocab_transform.bias"][0] = 1e6
    (tmp_path / "model.safetensors").write_bytes(file_bytes(arrays))
    with (
        np.errstate(over="ignore"),
        pytest.raises(CheckpointError, match=r"vocab_transform\.bias does not fit float16"),
    ):
        write(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("scales", "metadata", "says"),
    [
        (np.ones((11, 2), np.float16), FORMAT, None),
        (np.ones((11, 4), np.float32), FORMAT, None),
        (np.ones((11, 3), np.float16), FORMAT, r"does not fit \(11, 4\)"),
        (np.ones((11, 0), np.float16), FORMAT, "does not fit"),
        (np.ones((10, 2), np.float16), FORMAT, "does not fit"),
        (np.ones(11, np.float16), FORMAT, "does not fit"),
        (np.ones((11, 2), np.int64), FORMAT, "does not fit"),
        (None, FORMAT, "None, which does not fit"),
        (np.full((11, 2), np.nan, np.float16), FORMAT, "NaN or infinite"),
        (np.ones((11, 2), np.float16), {"format": "nanodistil-int8/2"}, "is 'nanodistil-int8/2', this package reads"),
        (np.ones((11, 2), np.float16), {"format": "pt"}, "is I8, weights are"),
        (np.ones((11, 2), np.float16), None, "is I8, weights are"),
    ],
)
def test_int8_files(tmp_path, scales, metadata, says):
    arrays = as_filed(tiny_arrays()) | {WORDS: np.ones((11, 4), np.int8)}
    if scales is not None:
        arrays[WORDS + ".scale"] = scales
    (tmp_path / "model.safetensors").write_bytes(file_bytes(arrays, metadata))
    if says is None:
        assert (load(tmp_path, TINY, TABLE["masked_lm"]).tensors["embeddings.word_embeddings.weight"] == 1).all()
    else:
        with pytest.raises(CheckpointError, match=says):
            load(tmp_path, TINY, TABLE["masked_lm"])


def test_maps_side_by_side_are_read_from_int8_too(tmp_path):
    """A GPT-2's, which its file has turned: rows that are rounded are columns here."""
    config = GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=64, n_positions=16, initializer_range=0.3)
    model = GPT2LMHeadModel(config, backend="numpy", seed=0)
    model.save_pretrained(tmp_path / "whole")
    write(tmp_path / "whole", tmp_path / "small")
    shutil.copy(tmp_path / "whole/config.json", tmp_path / "small")
    small, whole = GPT2LMHeadModel.from_pretrained(tmp_path / "small", backend="numpy").tensors(), model.tensors()
    for name, array in whole.items():
        assert 0 <= np.abs(small[name] - array).max() < 0.006, name
    changed = [name for name, array in whole.items() if not np.array_equal(small[name], array)]
    assert "transformer.layer.0.attention.k_lin.weight" in changed
    size = (tmp_path / "small/model.safetensors").stat().st_size
    assert size < 0.4 * (tmp_path / "whole/model.safetensors").stat().st_size

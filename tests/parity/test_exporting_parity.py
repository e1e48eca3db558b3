"""What `nanodistil export` writes is what transformers' AutoModels load, and they give our numbers."""

import warnings

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from tiny_folders import tiny_folder

from nanodistil import DistilBertForMaskedLM, exporting
from nanodistil.family import FAMILIES, classes_of

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_embedded_model(tmp_path, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exporting.export("nanodistil-mini", tmp_path, dtype)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs, told = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path, dtype="auto", output_loading_info=True)
    assert theirs.dtype == getattr(torch, dtype)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    batch = tokenizer(
        ["Hello I'm a [MASK] model.", "Paris is the [MASK] of France."], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = theirs.double().eval()(**batch).logits.numpy()
    exact = DistilBertForMaskedLM.from_pretrained(tmp_path, backend="numpy", dtype="float64")
    ids, mask = batch["input_ids"].numpy(), batch["attention_mask"].numpy()
    real = mask.astype(bool)
    np.testing.assert_allclose(exact(ids, mask).logits[real], logits[real], rtol=0, atol=1e-12)
    if dtype == "float32":
        same = DistilBertForMaskedLM.from_pretrained(tmp_path, backend="numpy")
        embedded = DistilBertForMaskedLM.from_pretrained("nanodistil-mini", backend="numpy")
        np.testing.assert_array_equal(same(ids, mask).logits, embedded(ids, mask).logits)


@pytest.mark.parametrize("made", [made for family in FAMILIES for made in classes_of(family)])
def test_every_head(tmp_path, made):
    source = tiny_folder(tmp_path / "in", made)
    exporting.export(source, tmp_path / "out")
    ours = made.from_pretrained(tmp_path / "out", backend="numpy", dtype="float64")
    theirs, told = getattr(transformers, made.__name__).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert type(theirs).__name__ == made.__name__ and not told["missing_keys"] and not told["unexpected_keys"]
    ids = np.array([[2, 5, 6, 3], [2, 7, 8, 3]])
    ids = ids[:, None] if made.__name__.endswith("Choice") else ids
    ids = ids[:1] if theirs.config.pad_token_id is None else ids  # a classifier by its last token takes one text then
    theirs.set_attn_implementation("eager")  # so that scores are those of the config, in float64
    with torch.no_grad():
        wanted = theirs.double().eval()(torch.tensor(ids))[0].numpy()
    np.testing.assert_allclose(ours(ids, return_dict=False)[0], wanted, rtol=0, atol=1e-13)

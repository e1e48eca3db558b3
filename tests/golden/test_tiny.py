"""Every intermediate of a tiny model, name by name, against what transformers computed (recorded by record.py)."""

from pathlib import Path

import numpy as np
import pytest

from nanodistil import DistilBertForMaskedLM, DistilBertModel
from nanodistil.taps import Recorder

HERE = Path(__file__).resolve().parent
GOLDEN = np.load(HERE / "tiny.npz")
BATCHES = sorted({key.split("/")[0] for key in GOLDEN.files})
NAMES = sorted({key.split("/")[1] for key in GOLDEN.files} - {"ids", "mask", "logits", "logits float32"})


def load(backend, dtype="float32", cls=DistilBertForMaskedLM):
    return cls.from_pretrained(HERE / "tiny", backend=backend, dtype=dtype)


def run(model, batch, tap=None, **options):
    return model(GOLDEN[f"{batch}/ids"], GOLDEN[f"{batch}/mask"], tap=tap, **options)


@pytest.mark.parametrize("batch", BATCHES)
def test_every_intermediate_in_float64(batch):
    """Also at masked positions: with keep_masked the model computes them as transformers does."""
    recorder = Recorder(NAMES)
    out = run(load("numpy", "float64"), batch, recorder, keep_masked=True)
    assert set(recorder.seen) == set(NAMES)
    worst = {}
    for name in NAMES:
        expected, got = GOLDEN[f"{batch}/{name}"], recorder.seen[name]
        got = np.stack(got) if isinstance(got, list) else got.reshape(expected.shape)
        worst[name] = float(np.abs(got - expected).max())
    assert max(worst.values()) < 1e-13, worst
    np.testing.assert_allclose(out.logits, GOLDEN[f"{batch}/logits"], rtol=0, atol=1e-13)


@pytest.mark.parametrize("batch", BATCHES)
def test_float32_is_as_close_as_torch(backend, batch):
    """The largest error of the logits is at most 1.5 times torch's own: in a model this small much is luck.

    On a GPU twice: cuBLAS adds products one by one, left to right, and so does its stand-in; torch's too, on a GPU.
    """
    truth, mask = GOLDEN[f"{batch}/logits"], GOLDEN[f"{batch}/mask"] != 0
    torch_error = np.abs(GOLDEN[f"{batch}/logits float32"] - truth)[mask].max()
    got = run(load(backend), batch).logits
    assert got.dtype == np.float32
    assert np.abs(got - truth)[mask].max() <= (2.0 if backend == "cupy" else 1.5) * torch_error


@pytest.mark.parametrize("batch", BATCHES)
def test_masked_positions_are_left_out(backend, batch):
    """By default they are not computed, read zero, and make no difference to the others."""
    model, mask = load(backend), GOLDEN[f"{batch}/mask"] != 0
    packed, full = run(model, batch).logits, run(model, batch, keep_masked=True).logits
    assert (packed[~mask] == 0).all()
    np.testing.assert_allclose(packed[mask], full[mask], rtol=0, atol=1e-5)


def test_outputs_are_shaped_as_in_transformers(backend):
    model = load(backend, cls=DistilBertModel)
    out = run(model, "padded", output_hidden_states=True, output_attentions=True, keep_masked=True)
    assert [h.shape for h in out.hidden_states] == [(3, 7, 20)] * 3
    assert [a.shape for a in out.attentions] == [(3, 4, 7, 7)] * 2
    np.testing.assert_array_equal(out.hidden_states[-1], out.last_hidden_state)
    np.testing.assert_array_equal(out[0], out["last_hidden_state"])
    np.testing.assert_allclose(out.attentions[1], GOLDEN["padded/layer.1.attention.probs"], atol=1e-6)


def test_attentions_of_packed_rows_are_zero_at_masked_positions(backend):
    mask = GOLDEN["first_masked/mask"] != 0
    out = run(load(backend), "first_masked", output_attentions=True)
    for probs in out.attentions:
        for b in range(2):
            assert (probs[b][:, ~mask[b]] == 0).all() and (probs[b][:, :, ~mask[b]] == 0).all()
            np.testing.assert_allclose(probs[b][:, mask[b]].sum(-1), 1, rtol=1e-6)

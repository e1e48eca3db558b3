"""GPT-2 live against transformers: every head, the past, positions, token types, switches of the config, gradients.

Compared with transformers' "eager" attention, which computes what the config says: its "sdpa" ignores
scale_attn_weights and scale_attn_by_inverse_layer_idx, and gives other numbers to padding that sees nothing.
"""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from full_size import save_shaken
from relatives import assert_read_back, assert_same_gradients

import nanodistil
from nanodistil.family import gpt2
from nanodistil.weights.errors import InputError

pytestmark = pytest.mark.parity

SMALL = {"vocab_size": 60, "n_positions": 34, "n_embd": 24, "n_layer": 3, "n_head": 4, "pad_token_id": 1}
SMALL |= {"bos_token_id": 2, "eos_token_id": 2}
B, T = 4, 12
rng = np.random.default_rng(0)
MASK = (np.arange(T) < np.array([[T], [9], [2], [5]])).astype(np.int64)
MASK[3] = MASK[3, ::-1]  # padding on the left
IDS = np.where(MASK, rng.integers(4, 60, (B, T)), 1)
TYPES = rng.integers(0, 60, (B, T))
INPUTS = {"input_ids": IDS, "attention_mask": MASK}
BATCHES = {
    "Model": {},
    "LMHeadModel": {"labels": np.where(MASK, IDS, -100)},
    "ForSequenceClassification": {"labels": np.array([1, 0, 1, 1])},
    "ForTokenClassification": {"labels": np.where(rng.random((B, T)) < 0.5, IDS % 2, -100)},
    "ForQuestionAnswering": {"start_positions": np.array([3, 1, 0, 9]), "end_positions": np.array([7, 2, 1, 20])},
}
SWITCHES = {
    "plain": {},
    "inverse": {"scale_attn_by_inverse_layer_idx": True},
    "unscaled": {"scale_attn_weights": False},
    "untied": {"tie_word_embeddings": False},
    "inner": {"n_inner": 31, "activation_function": "relu", "layer_norm_epsilon": 1e-3},
}


def saved(folder, ending, **config):
    torch.manual_seed(0)
    made = getattr(transformers, f"GPT2{ending}")
    return save_shaken(made(transformers.GPT2Config(initializer_range=0.1, **{**SMALL, **config})), folder)


def theirs(folder, ending):
    made = getattr(transformers, f"GPT2{ending}")
    return made.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()


def ours(folder, ending):
    return getattr(gpt2, f"GPT2{ending}").from_pretrained(folder, backend="numpy", dtype="float64")


def tensors(batch):
    return {name: torch.tensor(value) for name, value in batch.items()}


def assert_equal(mine, other, rows):
    """Wherever a token is real, (B, T) of them. Keys, values and attentions are (B, H, T, ...)."""
    for name in ("logits", "last_hidden_state", "start_logits", "end_logits", "loss"):
        if name in mine:
            a, b = np.asarray(mine[name]), other[name].detach().numpy()
            a, b = (x[rows] if x.shape[:2] == rows.shape else x for x in (a, b))
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12, err_msg=name)
    for name, by_heads in (("hidden_states", False), ("attentions", True), ("past_key_values", True)):
        for a, b in zip(mine.get(name) or (), other.get(name) or (), strict=True):
            for x, y in zip(a, b, strict=True) if name == "past_key_values" else [(a, b)]:
                x, y = (np.swapaxes(z, 1, 2) if by_heads else np.asarray(z) for z in (x, y.detach().numpy()))
                np.testing.assert_allclose(x[rows], y[rows], rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("ending", BATCHES)
def test_all_outputs_and_losses(tmp_path, ending):
    saved(tmp_path, ending)
    batch, options = {**INPUTS, **BATCHES[ending]}, {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        other = theirs(tmp_path, ending)(**tensors(batch), token_type_ids=torch.tensor(TYPES), **options)
    model = ours(tmp_path, ending)
    mine = model(**batch, token_type_ids=TYPES, **options)
    assert mine.keys() == list(other.keys())
    loss = mine.get("loss")
    if ending == "LMHeadModel":  # upstream's is of logits rounded to float32
        assert loss == pytest.approx(float(other.loss), abs=1e-5)
        mine, other = {k: mine[k] for k in mine.keys() if k != "loss"}, {k: other[k] for k in other if k != "loss"}  # noqa: SIM118
    assert_equal(mine, other, MASK.astype(bool))
    cls = getattr(transformers, f"GPT2{ending}")
    assert_read_back(model, cls, tmp_path / "again", theirs(tmp_path, ending))


@pytest.mark.parametrize("switches", SWITCHES)
def test_every_switch(tmp_path, switches):
    saved(tmp_path, "LMHeadModel", **SWITCHES[switches])
    with torch.no_grad():
        other = theirs(tmp_path, "LMHeadModel")(**tensors(INPUTS), output_hidden_states=True)
    mine = ours(tmp_path, "LMHeadModel")(**INPUTS, output_hidden_states=True)
    assert_equal(mine, other, MASK.astype(bool))


@pytest.mark.parametrize("masked", [False, True])
def test_a_past_that_the_user_gives(tmp_path, masked):
    saved(tmp_path, "LMHeadModel")
    other, model = theirs(tmp_path, "LMHeadModel"), ours(tmp_path, "LMHeadModel")
    mask = MASK if masked else np.ones_like(MASK)
    steps = [slice(0, 5), slice(5, 6), slice(6, 12)]
    cache, past = None, None
    for step in steps:
        given = {"attention_mask": mask[:, : step.stop]} if masked else {}
        with torch.no_grad():
            wanted = other(torch.tensor(IDS[:, step]), past_key_values=cache, **tensors(given))
        got = model(IDS[:, step], past_key_values=past, keep_masked=True, **given)
        cache, past = wanted.past_key_values, got.past_key_values
        rows = mask[:, step].astype(bool)
        np.testing.assert_allclose(got.logits[rows], wanted.logits.numpy()[rows], rtol=0, atol=1e-12)
    legacy = tuple((k.numpy(), v.numpy()) for k, v in cache.to_legacy_cache())
    again = model(IDS[:, :1], past_key_values=legacy)
    with torch.no_grad():
        wanted = other(torch.tensor(IDS[:, :1]), past_key_values=cache)
    if not masked:
        np.testing.assert_allclose(again.logits, wanted.logits, rtol=0, atol=1e-12)


def test_embeddings_positions_heads_and_rows_asked_for(tmp_path):
    saved(tmp_path, "LMHeadModel")
    other, model = theirs(tmp_path, "LMHeadModel"), ours(tmp_path, "LMHeadModel")
    embeds = np.random.default_rng(0).standard_normal((2, 7, 24))
    for inputs in (
        {"inputs_embeds": embeds},
        {"inputs_embeds": embeds, "position_ids": np.array([[6, 5, 4, 3, 9, 9, 0]])},
        {"inputs_embeds": embeds, "head_mask": np.array([1.0, 0.0, 0.5, 1.0])},
    ):
        with torch.no_grad():
            wanted = other(**tensors(inputs)).logits
        np.testing.assert_allclose(model(**inputs).logits, wanted, rtol=0, atol=1e-12)
    whole = model(IDS).logits
    for keep, columns in ((1, [11]), (3, [9, 10, 11]), (np.array([2, 0]), [2, 0])):
        np.testing.assert_allclose(model(IDS, logits_to_keep=keep).logits, whole[:, columns], rtol=0, atol=1e-14)
        with torch.no_grad():
            wanted = other(
                torch.tensor(IDS), logits_to_keep=keep if isinstance(keep, int) else torch.tensor(keep)
            ).logits
        np.testing.assert_allclose(model(IDS, logits_to_keep=keep).logits, wanted, rtol=0, atol=1e-12)
    some = (
        model(IDS, MASK, positions=[(0, 3), (1, 8)]).logits if False else model(IDS, positions=[(0, 3), (1, 8)]).logits
    )
    np.testing.assert_allclose(some, whole[[0, 1], [3, 8]], rtol=0, atol=1e-14)


def test_a_loss_over_several_batches(tmp_path):
    saved(tmp_path, "LMHeadModel")
    batch = {**INPUTS, **BATCHES["LMHeadModel"]}
    with torch.no_grad():
        wanted = theirs(tmp_path, "LMHeadModel")(**tensors(batch), num_items_in_batch=50).loss
    assert ours(tmp_path, "LMHeadModel")(**batch, num_items_in_batch=50).loss == pytest.approx(float(wanted), rel=1e-6)


def test_classifying_without_a_padding_token(tmp_path):
    saved(tmp_path, "ForSequenceClassification", pad_token_id=None)
    model, other = ours(tmp_path, "ForSequenceClassification"), theirs(tmp_path, "ForSequenceClassification")
    with torch.no_grad():
        wanted = other(torch.tensor(IDS[:1])).logits
    np.testing.assert_allclose(model(IDS[:1]).logits, wanted, rtol=0, atol=1e-12)
    with pytest.raises(InputError, match="set model"):
        model(IDS)
    model.config.pad_token_id = 1
    assert model(IDS, attention_mask=MASK).logits.shape == (4, 2)


@pytest.mark.parametrize("switches", ["plain", "inverse", "untied"])
@pytest.mark.parametrize("ending", [ending for ending in BATCHES if ending != "Model"])
def test_gradients_are_theirs(tmp_path, ending, switches):
    saved(tmp_path, ending, **SWITCHES[switches])
    made = getattr(gpt2, f"GPT2{ending}")
    batch = {**INPUTS, **BATCHES[ending]}
    batch["attention_mask"] = np.sort(MASK)[:, ::-1].copy()  # on the right: a gradient that passes padding which sees
    loss = None  # nothing is upstream's slip, whose mask is so large that adding a score to it leaves it as it is
    if ending == "LMHeadModel":  # upstream rounds its logits to float32 first

        def loss(out, batch):
            logits, labels = out.logits[:, :-1].reshape(-1, 60), batch["labels"][:, 1:].reshape(-1)
            return torch.nn.functional.cross_entropy(logits, labels)

    assert_same_gradients(made, theirs(tmp_path, ending), tmp_path, batch, loss)


def test_float32_is_no_further_than_pytorchs(tmp_path):
    """One model of DistilGPT2's width, two layers: the largest error of the logits against float64."""
    saved(tmp_path, "LMHeadModel", n_embd=768, n_head=12, n_layer=2, vocab_size=500, n_positions=160)
    ids = np.random.default_rng(1).integers(2, 500, (3, 150))
    exact = ours(tmp_path, "LMHeadModel")(ids).logits
    made = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    with torch.no_grad():
        off = np.abs(made(torch.tensor(ids)).logits.numpy() - exact)
    mine = np.abs(nanodistil.GPT2LMHeadModel.from_pretrained(tmp_path)(ids).logits - exact)
    assert mine.max() <= off.max() and np.sqrt((mine**2).mean()) <= np.sqrt((off**2).mean())

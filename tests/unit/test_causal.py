"""Models that read from left to right: what attention sees, alone and behind a past, on every backend."""

import numpy as np
import pytest

from nanodistil import GPT2Config, GPT2LMHeadModel, GPT2Model
from nanodistil.backend import Sentences, load, load_backward
from nanodistil.weights.errors import CheckpointError, InputError

TINY = GPT2Config(vocab_size=70, n_positions=200, n_embd=24, n_layer=2, n_head=3, initializer_range=0.2)
STARTS = np.array([0, 130, 131, 201])
rng = np.random.default_rng(0)
QKV = [rng.standard_normal((201, 24)).astype(np.float32) for _ in range(3)]


def causal(keep=None):
    return Sentences(STARTS, STARTS, 3, keep).causal(lambda x: x)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_sees_nothing_behind(masked):
    """Compiled against the definition; and whatever stands behind a token changes none of its bits."""
    keep = rng.random(201) < 0.7 if masked else None
    exact = load("numpy").attention(*(x.astype(np.float64) for x in QKV), causal(keep))
    got = load("numba").attention(*QKV, causal(keep))
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=2e-6)
    changed = [x.copy() for x in QKV]
    for x in changed:
        x[100:130] = 7.0
    np.testing.assert_array_equal(load("numba").attention(*changed, causal(keep))[:100], got[:100])


def test_attention_in_steps_is_the_same():
    ops, who = load("numba"), causal()
    scores = ops.attention_scores(QKV[0], QKV[1], who)
    assert np.isneginf(scores[0][0][0, 1:]).all() and np.isfinite(scores[0][0][129]).all()
    steps = ops.attention_context(ops.attention_probs(scores), QKV[2], STARTS)
    np.testing.assert_array_equal(steps, ops.attention(*QKV, who))


def test_some_rows_ask():
    ops, rows, asking = load("numba"), np.array([3, 129, 130, 200]), np.array([0, 2, 3, 4])
    some = ops.attention(QKV[0][rows], QKV[1], QKV[2], causal().asked_by(rows, asking))
    np.testing.assert_array_equal(some, ops.attention(*QKV, causal())[rows])


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_attention_back(rate):
    """The gradient of the compiled kernel is the definition's, with dropout too."""
    dcontext = rng.standard_normal((201, 24)).astype(np.float32)
    exact = [x.astype(np.float64) for x in (dcontext, *QKV)]
    definition, compiled = load_backward("numpy"), load_backward("numba")
    context = definition.attention_dropped(*exact[1:], causal(), rate, 9)
    got = compiled.attention_dropped(*QKV, causal(), rate, 9)
    np.testing.assert_allclose(got, context, rtol=1e-4, atol=1e-5)
    wanted = definition.attention_backward(*exact, context, causal(), rate, 9)
    for a, b in zip(compiled.attention_backward(dcontext, *QKV, got, causal(), rate, 9), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


def test_a_past_changes_nothing(backend):
    model = GPT2LMHeadModel(TINY, backend=backend)
    ids = rng.integers(0, 70, (2, 90))
    whole = model(ids).logits
    past, parts = None, []
    for step in (slice(0, 70), slice(70, 71), slice(71, 90)):
        out = model(ids[:, step], past_key_values=past)
        past = out.past_key_values
        parts.append(out.logits)
    same = np.testing.assert_array_equal if backend == "numba" else np.testing.assert_allclose
    same(np.concatenate(parts, axis=1), whole, **({} if backend == "numba" else {"rtol": 1e-4, "atol": 1e-5}))
    assert past.get_seq_length() == 90 and model(ids, use_cache=False).past_key_values is None


def test_a_text_alone_and_padded_on_the_left():
    """The same bits, if positions count real tokens only, as generation has it."""
    model = GPT2LMHeadModel(TINY)
    ids = rng.integers(0, 70, (1, 40))
    padded = np.concatenate([np.zeros((1, 25), np.int64), ids], axis=1)
    mask = np.arange(65)[None] >= 25
    places = np.clip(np.arange(65)[None] - 25, 0, None)
    got = model(padded, attention_mask=mask.astype(int), position_ids=places).logits
    np.testing.assert_array_equal(got[:, 25:], model(ids).logits)


def test_what_is_refused():
    model = GPT2LMHeadModel(TINY, backend="numpy")
    out = model([[1, 2, 3]])
    for message, call in {
        "3 tokens of the past and 198 are more": {"input_ids": [[1] * 198], "past_key_values": out.past_key_values},
        "attention_mask is of shape": {"input_ids": [[1]], "attention_mask": [[1]], "past_key_values": out[1]},
        "past_key_values must be what a call returned": {"input_ids": [[1]], "past_key_values": [(1, 2)]},
        "1 sentences and 3 heads": {"input_ids": [[1]], "past_key_values": [(np.zeros((2, 3, 1, 8)),) * 2] * 2},
        "all of one length": {"input_ids": [[1]], "past_key_values": out.past_key_values.to_legacy_cache()[:1]},
        "cache_position must be 0 to 1": {"input_ids": [[1, 2]], "cache_position": [3, 4]},
        "encoder_hidden_states": {"input_ids": [[1]], "encoder_hidden_states": np.zeros((1, 1, 24))},
        "token_type_ids must be whole numbers": {"input_ids": [[1]], "token_type_ids": [[70]]},
        "token_type_ids is of shape": {"input_ids": [[1]], "token_type_ids": [[1, 2]]},
        "logits_to_keep must not be negative": {"input_ids": [[1]], "logits_to_keep": -1},
        "labels are for all positions": {"input_ids": [[1]], "labels": [[1]], "logits_to_keep": 1},
    }.items():
        with pytest.raises(InputError, match=message):
            model(**call)
    with pytest.raises(CheckpointError, match="only decoders by themselves"):
        GPT2Config(add_cross_attention=True)


def test_files_are_taken_apart_and_put_together(tmp_path):
    model = GPT2LMHeadModel(TINY, backend="numpy")
    stored = model.state_dict()
    assert stored["transformer.h.1.attn.c_attn.weight"].shape == (24, 72)
    assert stored["transformer.h.0.mlp.c_fc.weight"].shape == (24, 96)
    assert "lm_head.weight" not in stored and "transformer.h.0.attn.bias" not in stored
    model.save_pretrained(tmp_path)
    again = GPT2Model.from_pretrained(tmp_path, backend="numpy")
    for name, array in again.state_dict().items():
        np.testing.assert_array_equal(array, stored[f"transformer.{name}"])
    other = GPT2LMHeadModel(TINY, backend="numpy", seed=5)
    extra = {"transformer.h.0.attn.bias": np.ones((1, 1, 200, 200)), "lm_head.weight": stored["transformer.wte.weight"]}
    assert other.load_state_dict({**stored, **extra}) == ([], [])
    np.testing.assert_array_equal(other([[1, 2]]).logits, model([[1, 2]]).logits)


def test_more_words_and_fewer_heads(tmp_path):
    model = GPT2LMHeadModel(TINY, backend="numpy", dtype="float64")
    before = model([[1, 2]]).logits
    model.resize_token_embeddings(80)
    assert model.get_output_embeddings().weight.shape == (80, 24)
    np.testing.assert_array_equal(model([[1, 2]]).logits[..., :70], before)
    model.prune_heads({0: [1]})
    model.save_pretrained(tmp_path)
    again = GPT2LMHeadModel.from_pretrained(tmp_path, backend="numpy", dtype="float64")
    np.testing.assert_array_equal(again([[1, 2]]).logits, model([[1, 2]]).logits)


def test_gelu_by_tanh():
    """Compiled, forward and back, against float64; at both ends and where it is not a number."""
    x = np.concatenate([np.linspace(-12, 12, 20001), [0.0, 1e-20, 40, -40, 1e10, -1e10, np.inf, -np.inf, 3e38, np.nan]])
    x = x.astype(np.float32)[None]
    with np.errstate(all="ignore"):
        exact = load("numpy").activation(x.astype(np.float64), "gelu_new")
        slope = load_backward("numpy").activation_backward(np.ones(x.shape), x.astype(np.float64), "gelu_new")
    got = load("numba").activation(x, "gelu_new")
    back = load_backward("numba").activation_backward(np.ones_like(x), x, "gelu_new")
    np.testing.assert_allclose(got[0, :-1], np.nan_to_num(exact[0, :-1], posinf=np.inf), rtol=2e-5, atol=1e-30)
    np.testing.assert_allclose(back[0, :20005], slope[0, :20005], rtol=0, atol=4e-7)
    assert np.isnan(got[0, -1]) and np.isnan(back[0, -1]) and got[0, -3] == 0 and not np.isnan(back[0, :-1]).any()
    near = np.abs(x[0]) < 6
    assert np.abs(got[0, near] - exact[0, near]).max() < 3e-7


def test_a_kernel_that_another_function_made_has_its_own_code():
    """Of one name in one module: gelu and gelu_new once took each other's kept machine code."""
    x = np.full((1, 4), -1.0, np.float32)
    one, other = load("numba").activation(x, "gelu"), load("numba").activation(x, "gelu_new")
    assert one[0, 0] == pytest.approx(-0.158655, abs=1e-6) and other[0, 0] == pytest.approx(-0.158808, abs=1e-6)

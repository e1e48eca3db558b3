"""Passes that are written down and replayed: the same bits, and none where NumPy has a hand in them."""

import pickle
import threading

import numpy as np
import pytest

from nanodistil import DistilBertConfig, DistilBertForMaskedLM, DistilBertModel, GPT2Config, GPT2LMHeadModel
from nanodistil.backend import load
from nanodistil.decoder import Decoder
from nanodistil.kernels.cpu import short_batches
from nanodistil.kernels.runtime.target import INTERPRETED

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is recorded of plain Python")
TINY = {"vocab_size": 90, "max_position_embeddings": 80, "n_layers": 2, "n_heads": 2, "dim": 16, "hidden_dim": 40}
rng = np.random.default_rng(0)


def both(dtype="float32", **config):
    """A model that records, and one that does not."""
    one, other = (DistilBertModel(DistilBertConfig(**{**TINY, **config}), dtype=dtype) for _ in range(2))
    other.graphs = None
    return one, other


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_every_size_has_the_bits_it_has_without(dtype):
    recording, plain = both(dtype)
    for T in (1, 7, 16) * 5:
        ids = rng.integers(0, 90, (2, T))
        mask = np.arange(T) < np.array([[T], [max(1, T // 2)]])
        got, wanted = (m(ids, attention_mask=mask.astype(int)).last_hidden_state for m in (recording, plain))
        np.testing.assert_array_equal(got, wanted)
    assert recording.graphs.possible and recording.graphs.made >= 2 and recording.graphs.replays >= 2


def test_what_is_given_is_the_callers():
    recording, _ = both()
    ids = rng.integers(1, 90, (1, 5))
    first = [recording(ids).last_hidden_state for _ in range(5)][-1]
    kept = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(recording(ids).last_hidden_state, kept)


def test_a_pass_with_numpy_in_it_is_found_out():
    recording, plain = both(activation="relu")
    for _ in range(5):
        ids = rng.integers(1, 90, (1, 6))
        np.testing.assert_array_equal(recording(ids).last_hidden_state, plain(ids).last_hidden_state)
    assert not recording.graphs.possible and not recording.graphs.kept


def test_few_recordings_are_kept_and_they_have_to_pay(monkeypatch):
    monkeypatch.setattr(short_batches, "MOST_KEPT", 2)
    recording, plain = both()
    for T in (*[2, 3] * 4, *[4, 5] * 4, *[2] * 20, *[5] * 4):
        ids = rng.integers(1, 90, (1, T))
        np.testing.assert_array_equal(recording(ids).last_hidden_state, plain(ids).last_hidden_state)
    assert len(recording.graphs.kept) == 2 and recording.graphs.made == 3


def test_other_threads_and_other_numbers_of_them():
    recording, plain = both()
    ids = rng.integers(1, 90, (1, 9))
    wanted = plain(ids).last_hidden_state
    failures = []

    def ask():
        for _ in range(60):
            if not np.array_equal(recording(ids).last_hidden_state, wanted):
                failures.append(1)

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    ops, before = load("numba"), len(recording.graphs.kept)
    for threads in (1, 2):
        ops.set_threads(threads)
        for _ in range(4):
            np.testing.assert_array_equal(recording(ids).last_hidden_state, wanted)
    assert not failures and before >= 1 and len(recording.graphs.kept) >= 2


def test_other_weights_and_pickles_begin_anew():
    model = DistilBertForMaskedLM(DistilBertConfig(**TINY))
    ids = rng.integers(1, 90, (1, 4))
    for _ in range(4):
        before = model(ids).logits
    again = pickle.loads(pickle.dumps(model))
    model.load_state_dict(DistilBertForMaskedLM(DistilBertConfig(**TINY), seed=4).state_dict())
    assert not model.graphs.kept and not np.array_equal(model(ids).logits, before)
    for _ in range(4):
        np.testing.assert_array_equal(again(ids).logits, before)


@pytest.mark.parametrize("texts", [1, 3])
def test_texts_that_grow(texts):
    """Token by token through several pages, with texts that join, leave and are copied on the way."""
    config = GPT2Config(vocab_size=70, n_positions=260, n_embd=24, n_layer=2, n_head=3, initializer_range=0.2)
    model = GPT2LMHeadModel(config)
    decoder = Decoder(model)
    numbers = decoder.join(texts)
    ids = [list(rng.integers(0, 70, rng.integers(1, 30))) for _ in range(texts)]
    scores = decoder.feed(numbers, [np.array(one) for one in ids])
    for step in range(200):
        new = scores.argmax(axis=1) if step % 2 else rng.integers(0, 70, texts)
        scores = decoder.feed(numbers, list(new[:, None]))
        for one, token in zip(ids, new, strict=True):
            one.append(int(token))
        if step == 100:
            child = decoder.copy(numbers[:1])
            decoder.leave(numbers[:1])
            numbers = np.concatenate([child, numbers[1:]])
        if step % 20 == 0:
            for one, row in zip(ids, scores, strict=True):
                np.testing.assert_array_equal(row, model([one], use_cache=False).logits[0, -1])
    assert decoder.kept.recordings.replays > 100


def test_a_store_is_handed_on_and_not_with_other_weights():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=70, n_positions=60, n_embd=24, n_layer=1, n_head=3))

    def write(steps):
        decoder, ids = Decoder(model), [5]
        number = decoder.join(1)
        for _ in range(steps):
            scores = decoder.feed(number, [np.array(ids[-1:])])
            np.testing.assert_array_equal(scores[0], model([ids], use_cache=False).logits[0, -1])
            ids.append(int(scores[0].argmax()))
        return decoder.kept

    first = write(6)
    assert write(6) is first and first.recordings.replays >= 8
    decoder = Decoder(model)
    assert decoder.kept is first and Decoder(model).kept is not first
    model.load_state_dict(GPT2LMHeadModel(model.config, seed=9).state_dict())
    decoder.feed(decoder.join(1), [np.array([1])])
    del decoder
    assert write(6) is not first

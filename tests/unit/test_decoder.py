"""Texts that are written on: the same bits remembered as computed anew, whoever is fed beside them."""

import numpy as np
import pytest

from nanodistil import GPT2Config, GPT2LMHeadModel
from nanodistil.decoder import Decoder
from nanodistil.kernels.runtime.target import INTERPRETED
from nanodistil.weights.errors import InputError

TINY = GPT2Config(vocab_size=70, n_positions=300, n_embd=24, n_layer=2, n_head=3, initializer_range=0.2)
V = 70
TOLERANCE = {"float32": 1e-5, "float16": 1e-2}  # of scores near 1, on a GPU


def texts_of(rng, count, longest):
    return [rng.integers(0, V, rng.integers(1, longest)) for _ in range(count)]


def play(model, rng, steps, longest):
    """Random calls of a decoder, and of a list of ids; every score against the whole text computed anew."""
    decoder, texts, same = Decoder(model), {}, np.testing.assert_array_equal
    if model.backend == "numpy":

        def same(a, b):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)

    elif model.backend == "cupy":

        def same(a, b):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=TOLERANCE[model.dtype])

    for _ in range(steps):
        known = list(texts)
        move = rng.choice(["join", "feed", "feed", "feed", "copy", "cut", "leave"])
        if move == "join" or not known:
            texts |= {int(n): np.empty(0, np.int64) for n in decoder.join(int(rng.integers(1, 4)))}
            continue
        some = rng.choice(known, rng.integers(1, len(known) + 1), replace=False)
        if move == "feed":
            new = [rng.integers(0, V, rng.integers(1, longest if rng.random() < 0.3 else 2)) for _ in some]
            fits = [i for i, n in enumerate(some) if len(texts[n]) + len(new[i]) <= 300]
            some, new = some[fits], [new[i] for i in fits]
            every = bool(rng.random() < 0.5)
            scores = decoder.feed(some, new, every=every)
            at = 0
            for n, ids in zip(some.tolist(), new, strict=True):
                texts[n] = np.concatenate([texts[n], ids])
                whole = model(texts[n][None], use_cache=False).logits[0]
                behind = len(ids) if every else 1
                same(scores[at : at + behind], whole[-behind:])
                at += behind
            assert at == len(scores)
        elif move == "copy":
            children = decoder.copy(np.repeat(some, 2))
            texts |= {int(c): texts[int(p)] for c, p in zip(children, np.repeat(some, 2), strict=True)}
        elif move == "cut":
            lengths = np.array([rng.integers(0, len(texts[n]) + 1) for n in some.tolist()])
            decoder.cut(some, lengths)
            texts |= {n: texts[n][:length] for n, length in zip(some.tolist(), lengths, strict=True)}
        else:
            decoder.leave(some)
            for n in some.tolist():
                del texts[n]
        for n, text in texts.items():
            assert decoder.lengths[n] == len(text)
        if len(texts) > 6:
            gone = np.array(list(texts)[:3])
            decoder.leave(gone)
            for n in gone.tolist():
                del texts[n]
    return decoder


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_remembered_is_computed_anew(backend):
    model = GPT2LMHeadModel(TINY, backend=backend, dtype="float64" if backend == "numpy" else "float32")
    decoder = play(model, np.random.default_rng(0), *((12, 80) if INTERPRETED else (60, 140)))
    if backend == "numba":  # pages of texts that left serve others
        decoder.leave(np.array([n for n, length in enumerate(decoder.lengths) if length]))
        assert sorted(decoder.kept.free) == list(range(len(decoder.kept.users)))


@pytest.mark.sweep
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_remembered_on_a_gpu(cupy, dtype):
    """Slots that are given again and outgrown, copies, cuts, several lengths at once."""
    config = GPT2Config(vocab_size=V, n_positions=300, n_embd=32, n_layer=2, n_head=2, initializer_range=0.1)
    model = GPT2LMHeadModel(config, backend="cupy", dtype=dtype)
    decoder = play(model, np.random.default_rng(0), 25, 40)
    assert type(decoder.kept).__name__ == "Slots" and decoder.kept.room >= 64


@pytest.mark.sweep
def test_beams_on_a_gpu_are_those_of_the_definitions(cupy):
    """They copy texts and cut them, in one batch with another's."""
    config = GPT2Config(vocab_size=V, n_positions=40, n_embd=16, n_layer=1, n_head=1, initializer_range=0.3)
    models = [GPT2LMHeadModel(config, backend=backend, seed=4) for backend in ("numpy", "cupy")]
    ids = np.random.default_rng(3).integers(0, V, (2, 6))
    found = [model.generate(ids, max_new_tokens=4, num_beams=2, pad_token_id=0) for model in models]
    np.testing.assert_array_equal(*map(np.asarray, found))


@pytest.mark.sweep
@pytest.mark.parametrize("activation", ["gelu_new", "silu"])
def test_short_steps_on_a_gpu_come_from_a_recording(cupy, activation):
    """For so many texts as are fed, until their slots are outgrown; not if the host has a part in it."""
    config = GPT2Config(
        vocab_size=V, n_positions=300, n_embd=16, n_layer=1, n_head=1, initializer_range=0.1,
        activation_function=activation,
    )  # fmt: skip
    model, rng = GPT2LMHeadModel(config, backend="cupy"), np.random.default_rng(2)
    decoder = Decoder(model)
    texts = decoder.join(2)
    written = [rng.integers(0, V, n) for n in (62, 5)]
    decoder.feed(texts, written)
    seen = []
    for some in ([0, 1], [0, 1], [1], [0, 1]):  # the third token of text 0 is beyond its 64 rows
        new = rng.integers(0, V, (len(some), 1))
        scores = decoder.feed(texts[some], list(new))
        for row, i in enumerate(some):
            written[i] = np.concatenate([written[i], new[row]])
            whole = model(written[i][None], use_cache=False).logits[0, -1]
            np.testing.assert_allclose(scores[row], whole, rtol=1e-3, atol=1e-5)
        seen.append(sorted(decoder.kept.recorded))
    assert seen == ([[2], [2], [1, 2], [2]] if activation == "gelu_new" else [[]] * 4)


@pytest.mark.sweep
@pytest.mark.parametrize("head", [8, 64, 80])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_remembered_is_computed_anew_at_every_width(head, dtype):
    config = GPT2Config(vocab_size=V, n_positions=300, n_embd=2 * head, n_layer=2, n_head=2, initializer_range=0.2)
    play(GPT2LMHeadModel(config, dtype=dtype, threads=2), np.random.default_rng(head), 80, 150)


@pytest.mark.sweep
def test_a_thousand_prompts_alone_and_together():
    """Every prompt's scores: alone, in one batch of all, token by token, and in two parts."""
    model, rng = GPT2LMHeadModel(TINY), np.random.default_rng(1)
    prompts = texts_of(rng, 1000, 90)
    together = Decoder(model)
    numbers = together.join(len(prompts))
    batch = together.feed(numbers, prompts)
    for i, prompt in enumerate(prompts):
        whole = model(prompt[None], use_cache=False).logits[0]
        np.testing.assert_array_equal(batch[i], whole[-1])
        alone = Decoder(model)
        text = alone.join(1)
        cut = len(prompt) // 2
        parts = [prompt[:cut], *([t] for t in prompt[cut:])] if cut else [[t] for t in prompt]
        scores = np.concatenate([alone.feed(text, [np.array(part)], every=True) for part in parts])
        np.testing.assert_array_equal(scores, whole)


def test_pruned_layers():
    model = GPT2LMHeadModel(TINY)
    model.prune_heads({0: [0, 2]})
    play(model, np.random.default_rng(3), 20, 80)


def test_what_is_refused():
    decoder = Decoder(GPT2LMHeadModel(TINY, backend="numpy"))
    texts = decoder.join(2)
    for message, call in {
        "301 tokens are more than": (texts[:1], [np.zeros(301, np.int64)]),
        "token id 70 is outside": (texts, [[1], [70]]),
        "token id -1 is outside": (texts, [[1], [-1]]),
        "every text is named once": (texts[[0, 0]], [[1], [2]]),
        "has one new token at least": (texts, [[1], []]),
    }.items():
        with pytest.raises(InputError, match=message):
            decoder.feed(*call)
    assert decoder.lengths.tolist() == [0, 0] and decoder.feed(texts[:0], []).shape == (0, 70)

"""The backward pass of every head against central differences, and the promises of the trainee."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY, random_tensors

from nanodistil import InputError, heads
from nanodistil.config import ACTIVATIONS, DistilBertConfig
from nanodistil.family.bert import BertConfig, BertForSequenceClassification
from nanodistil.heads import HEADS as TABLE
from nanodistil.kernels.definitions import numpy_backward
from nanodistil.kernels.definitions.activations import DERIVATIVES
from nanodistil.packing import Packing
from nanodistil.training import saved
from nanodistil.training.trainee import POSITIONS, Trainee
from nanodistil.weights.names import LEARNED

SMALL = replace(TINY, vocab_size=11, max_position_embeddings=6, dim=8, hidden_dim=10, n_heads=2)
CLASSES = {
    "masked_lm": heads.DistilBertForMaskedLM,
    "sequence_classification": heads.DistilBertForSequenceClassification,
    "token_classification": heads.DistilBertForTokenClassification,
    "question_answering": heads.DistilBertForQuestionAnswering,
    "multiple_choice": heads.DistilBertForMultipleChoice,
}
IDS = np.array([[3, 4, 5, 6, 7], [8, 9, 10, 0, 0], [5, 3, 4, 0, 0], [1, 0, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
TOKENS = {"input_ids": IDS, "attention_mask": MASK}
BATCHES = {
    "masked_lm": {"labels": np.where((IDS + np.arange(4)[:, None]) % 2, IDS, -100)},  # some of them on padding
    "sequence_classification": {"labels": np.array([1, 0, 1, -100])},
    "token_classification": {"labels": np.where(MASK == 1, IDS % 3, -100)},
    "question_answering": {"start_positions": np.array([1, 0, 9, 0]), "end_positions": np.array([[2], [4], [9], [0]])},
    "multiple_choice": {"labels": np.array([1, 0])},
}
LABELS = {i: str(i) for i in range(3)}
SHAPE = ("vocab_size", "max_position_embeddings", "n_layers", "dim", "hidden_dim", "n_heads")


def batch_for(head):
    tokens = {k: v.reshape(2, 2, 5) for k, v in TOKENS.items()} if head == "multiple_choice" else TOKENS
    return {**tokens, **BATCHES[head]}


def model_for(head, config=SMALL, backend="numpy", dtype="float64", seed=0):
    if head in ("sequence_classification", "token_classification"):
        config = replace(config, id2label=LABELS)
    return CLASSES[head](config, random_tensors(config, head, seed, dtype), backend=backend, dtype=dtype)


def gradients(head, *, batch=None, key=None, scale=1.0, model=None, **options):
    """Loss and trainee after one batch, which the options of the trainee may vary."""
    trainee = Trainee(model or model_for(head), **options)
    loss = TABLE[head].objective(trainee, batch or batch_for(head), key=key, scale=scale)
    return loss, trainee


def check_by_differences(head, trainee, batch, key=None, entries=2, step=1e-5):
    """Central differences of the loss at some entries of every parameter, against the gradients that are there."""
    rng = np.random.default_rng(0)
    exact = {name: gradient.copy() for name, gradient in trainee.gradients.items()}
    for name, weight in trainee.weights.items():
        flat, found = weight.reshape(-1), exact[name].reshape(-1)
        for i in {int(np.abs(found).argmax()), *rng.integers(0, flat.size, entries - 1).tolist()}:
            losses, before = [], flat[i]
            for sign in (1, -1):
                flat[i] = before + sign * step
                trainee.refresh()
                losses.append(TABLE[head].objective(trainee, batch, key=key))
            flat[i] = before
            measured = (losses[0] - losses[1]) / (2 * step)
            if name == "embeddings.word_embeddings.weight" and i < SMALL.dim:
                continue  # the padding token's row, which by design does not learn from being read
            assert abs(measured - found[i]) < 1e-8 + 1e-6 * abs(found[i]), (name, i, measured, found[i])
    trainee.refresh()


@pytest.mark.parametrize("head", CLASSES)
def test_every_parameter_of_every_head_against_central_differences(head):
    loss, trainee = gradients(head)
    assert loss == pytest.approx(float(trainee.model(**batch_for(head)).loss), rel=1e-12)
    check_by_differences(head, trainee, batch_for(head))


def test_the_eps_of_a_family_is_that_of_all_norms(monkeypatch):
    """So large here that a norm without it, on the way or on the way back, would not go unnoticed."""
    plain = model_for("masked_lm")(**TOKENS).logits
    monkeypatch.setattr(DistilBertConfig, "layer_norm_eps", 0.3)
    loss, trainee = gradients("masked_lm")
    assert loss == pytest.approx(float(trainee.model(**batch_for("masked_lm")).loss), rel=1e-12)
    check_by_differences("masked_lm", trainee, batch_for("masked_lm"), entries=1)
    exact = model_for("masked_lm")(**TOKENS).logits
    compiled = model_for("masked_lm", backend="numba", dtype="float32")(**TOKENS).logits
    assert np.abs(exact - plain).max() > 0.1 and np.abs(compiled - exact).max() < 1e-5


@pytest.mark.parametrize("head", ["sequence_classification", "token_classification"])
def test_dropout_against_central_differences(head):
    """With a key the loss is a function like any other, so a gradient that misses a place of dropout shows."""
    config = replace(SMALL, dropout=0.3, attention_dropout=0.3, seq_classif_dropout=0.3)
    _, trainee = gradients(head, key=5, model=model_for(head, config))
    check_by_differences(head, trainee, batch_for(head), key=5, entries=1)


def test_a_berts_classifier_against_central_differences():
    """With tanh, dropout before it is not dropout after it, as it is with a ReLU; some falls behind attention."""
    shape = {name: getattr(SMALL, name) for name in SHAPE}
    config = BertConfig(**shape, id2label=LABELS, classifier_dropout=0.3, hidden_dropout_prob=0.2)
    tensors = random_tensors(config, "sequence_classification", 0, "float64")
    model = BertForSequenceClassification(config, tensors, backend="numpy", dtype="float64")
    loss, trainee = gradients("sequence_classification", model=model)
    assert loss == pytest.approx(float(model(**batch_for("sequence_classification")).loss), rel=1e-12)
    check_by_differences("sequence_classification", trainee, batch_for("sequence_classification"), entries=1)
    _, trainee = gradients("sequence_classification", key=5, model=model)
    check_by_differences("sequence_classification", trainee, batch_for("sequence_classification"), key=5, entries=1)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("regression", np.linspace(-1, 1, 12).reshape(4, 3)),
        ("multi_label_classification", np.eye(4, 3)),
        ("single_label_classification", np.array([0, 1, 2, 0])),
    ],
)
def test_problem_types(kind, labels):
    model = model_for("sequence_classification")
    assert model.config.problem_type is None
    model.config = replace(model.config, problem_type=kind)
    batch = {**TOKENS, "labels": labels}
    loss, trainee = gradients("sequence_classification", model=model, batch=batch)
    assert loss == pytest.approx(float(model(**batch).loss), rel=1e-12)
    check_by_differences("sequence_classification", trainee, batch, entries=1)


def test_the_problem_type_is_decided_at_the_first_call_and_kept():
    _, trainee = gradients("sequence_classification", batch={**TOKENS, "labels": np.eye(4, 3)})
    assert trainee.config.problem_type == "multi_label_classification"


def test_every_activation_can_be_trained_or_learns_itself():
    assert DERIVATIVES.keys() | LEARNED.keys() == set(ACTIVATIONS)


@pytest.mark.parametrize("key", [None, 3])
@pytest.mark.parametrize("head", ["masked_lm", "token_classification"])
def test_checkpointing_changes_no_bit(head, key):
    loss, kept = gradients(head, key=key)
    again_loss, again = gradients(head, key=key, checkpointing=True)
    assert loss == again_loss
    np.testing.assert_array_equal(kept.flat_gradients, again.flat_gradients)


def test_a_run_keeps_twelve_widths_a_token_and_no_square():
    run = Trainee(model_for("masked_lm", replace(SMALL, hidden_dim=4 * SMALL.dim))).encode(
        Packing.of(IDS, MASK, SMALL).batch
    )
    for x, seen in zip(run.inputs, run.seen, strict=True):
        assert x.size + sum(value.size for value in seen.values()) == 12 * SMALL.dim * len(run.batch.ids)


def test_a_checkpointed_run_keeps_one_array_a_block():
    trainee = Trainee(model_for("masked_lm"), checkpointing=True)
    run = trainee.encode(Packing.of(IDS, MASK, SMALL).batch)
    assert run.seen == [None, None] and len(run.inputs) == 2
    trainee.encode_backward(np.ones_like(run.x), run)
    assert not run.inputs and not run.seen


@pytest.mark.parametrize("key", [None, 3])
@pytest.mark.parametrize("head", CLASSES)
def test_the_numba_backend_computes_the_same(head, key):
    pytest.importorskip("numba")
    loss, exact = gradients(head, key=key)
    found_loss, found = gradients(head, key=key, model=model_for(head, backend="numba", dtype="float32"))
    assert found_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in exact.gradients.items():
        np.testing.assert_allclose(
            found.gradients[name], gradient, rtol=0, atol=2e-5 * max(np.abs(gradient).max(), 1e-2), err_msg=name
        )


@pytest.mark.parametrize(("head", "key"), [(head, key) for head in CLASSES for key in (None, 3)])
def test_the_cupy_backend_computes_the_same(cupy, head, key):
    """All gradients of all heads on the GPU, or under the stand-in for CuPy."""
    loss, exact = gradients(head, key=key)
    found_loss, found = gradients(head, key=key, model=model_for(head, backend="cupy", dtype="float32"))
    assert found_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in exact.gradients.items():
        np.testing.assert_allclose(
            found.gradients[name].get(), gradient, rtol=0, atol=2e-5 * max(np.abs(gradient).max(), 1e-2), err_msg=name
        )


def test_float32_on_numpy():
    loss, exact = gradients("masked_lm", key=1)
    found_loss, found = gradients("masked_lm", key=1, model=model_for("masked_lm", dtype="float32"))
    assert found_loss == pytest.approx(loss, rel=1e-5) and found.flat_gradients.dtype == np.float32
    np.testing.assert_allclose(found.flat_gradients, exact.flat_gradients, rtol=0, atol=1e-5)


def test_gradients_add_up_and_scale():
    _, once = gradients("masked_lm")
    _, other = gradients("masked_lm", scale=0.25)
    TABLE["masked_lm"].objective(other, batch_for("masked_lm"), scale=0.5)
    np.testing.assert_allclose(other.flat_gradients, 0.75 * once.flat_gradients, rtol=1e-12, atol=1e-15)
    other.zero_gradients()
    assert not other.flat_gradients.any()


def test_masked_lm_in_pieces_of_rows(monkeypatch):
    loss, whole = gradients("masked_lm")
    monkeypatch.setattr(numpy_backward, "HEAD_ROWS", 2)
    pieces_loss, pieces = gradients("masked_lm")
    assert pieces_loss == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(pieces.flat_gradients, whole.flat_gradients, rtol=0, atol=1e-14)


@pytest.mark.parametrize("head", ["masked_lm", "token_classification"])
def test_padding_without_labels_is_not_computed_and_changes_nothing(head):
    labels = np.where(MASK == 1, IDS % 3, -100)
    loss, trainee = gradients(head, batch={**TOKENS, "labels": labels})
    model = model_for(head)
    assert loss == pytest.approx(float(model(**TOKENS, labels=labels).loss), rel=1e-12)
    wider = [np.pad(a, ((0, 0), (0, 1)), constant_values=v) for a, v in ((IDS, 0), (MASK, 0), (labels, -100))]
    batch = dict(zip(("input_ids", "attention_mask", "labels"), wider, strict=True))
    padded_loss, padded = gradients(head, batch=batch)
    assert padded_loss == loss
    np.testing.assert_array_equal(padded.flat_gradients, trainee.flat_gradients)


def test_a_sentence_that_is_all_masked_counts_as_upstream_has_it():
    batch = {"input_ids": IDS, "attention_mask": MASK * np.array([[1], [0], [1], [1]]), "labels": IDS}
    loss, trainee = gradients("masked_lm", batch=batch)
    assert loss == pytest.approx(float(model_for("masked_lm")(**batch).loss), rel=1e-12)
    check_by_differences("masked_lm", trainee, batch, entries=1)


@pytest.mark.parametrize("head", ["masked_lm", "token_classification", "multiple_choice"])
def test_without_a_counted_label_the_loss_is_nan_and_nothing_is_learned(head):
    batch = {**batch_for(head)}
    batch["labels"] = np.full_like(batch["labels"], -100)
    loss, trainee = gradients(head, batch=batch)
    assert np.isnan(loss) and not trainee.flat_gradients.any()


def test_the_padding_token_learns_from_being_predicted_only():
    batch = {"input_ids": [[1, 0, 2]], "labels": [[0, -100, 3]]}
    _, tied = gradients("masked_lm", batch=batch)
    assert tied.gradients["embeddings.word_embeddings.weight"][0].any()
    untied = replace(SMALL, tie_word_embeddings=False)
    _, trainee = gradients("masked_lm", batch=batch, model=model_for("masked_lm", untied))
    words = trainee.gradients["embeddings.word_embeddings.weight"]
    assert not words[0].any() and words[1].any() and trainee.gradients["vocab_projector.weight"][0].any()


@pytest.mark.parametrize("change", [{"tie_word_embeddings": False}, {"activation": "silu"}])
def test_other_models(change):
    _, trainee = gradients("masked_lm", model=model_for("masked_lm", replace(SMALL, **change)))
    check_by_differences("masked_lm", trainee, batch_for("masked_lm"), entries=1)


def test_pruned_heads():
    model = model_for("token_classification")
    model.prune_heads({1: [0]})
    _, trainee = gradients("token_classification", model=model)
    assert trainee.gradients["transformer.layer.1.attention.q_lin.weight"].shape == (4, 8)
    check_by_differences("token_classification", trainee, batch_for("token_classification"), entries=1)


def test_the_gradient_at_the_sum_of_embeddings_comes_back():
    trainee = Trainee(heads.DistilBertModel(SMALL, random_tensors(SMALL, "base", dtype="float64"), dtype="float64"))
    run = trainee.encode(Packing.of(IDS, MASK, SMALL).batch)
    dx = trainee.encode_backward(np.cos(run.x), run)  # (N, D)
    for name, rows in (("word", run.batch.ids), ("position", run.batch.positions)):
        gradient = trainee.gradients[f"embeddings.{name}_embeddings.weight"]
        np.testing.assert_allclose(gradient, np.eye(len(gradient))[rows].T @ dx, rtol=0, atol=1e-14)


# ---- dropout


def test_dropout_falls_where_it_should_with_a_key_for_each_place():
    config = replace(SMALL, dropout=0.25, attention_dropout=0.5, qa_dropout=0.0, seq_classif_dropout=0.75)
    blocks = {f"layer.{i}.{name}" for i in range(2) for name in ("attention.probs", "ffn.lin2")}
    for head, last in [
        ("masked_lm", set()),
        ("sequence_classification", {"pre_classifier.activation"}),
        ("token_classification", {"hidden"}),
        ("question_answering", set()),  # its rate is 0 here
    ]:
        dropout = saved.Dropout(saved.dropout_rates(config, TABLE[head]), 1, numpy_backward.dropout)
        assert dropout.sites.keys() == {"embeddings.LayerNorm"} | blocks | last
        keys = [key for _, key in dropout.sites.values()]
        assert len(set(keys)) == len(keys)
        assert dropout.at("layer.1.attention.probs")[0] == 0.5 and dropout.at("layer.0.attention.q_lin") == (0, 0)


def test_the_key_decides_about_dropout():
    losses = [gradients("token_classification", key=key)[0] for key in (1, 1, 2, None)]
    assert losses[0] == losses[1] and len(set(losses)) == 3


def test_dropout_of_the_classifier_is_that_of_what_follows_the_relu():
    model = model_for("sequence_classification", replace(SMALL, seq_classif_dropout=0.5))
    trainee = Trainee(model)
    x = np.random.default_rng(0).standard_normal((6, SMALL.dim))
    rate, key = trainee.apply_head(x, 4).dropout.at("pre_classifier.activation")
    tensors = model.tensors()
    h = np.maximum(x @ tensors["pre_classifier.weight"].T + tensors["pre_classifier.bias"], 0)
    h = numpy_backward.dropout(h, rate, key)
    logits = h @ tensors["classifier.weight"].T + tensors["classifier.bias"]
    np.testing.assert_allclose(trainee.apply_head(x, 4).logits, logits, rtol=1e-12)


# ---- the trainee


def test_flat_arrays_hold_decaying_weights_first():
    trainee = Trainee(model_for("masked_lm"))
    end = 0
    for name, weight in trainee.weights.items():
        assert np.shares_memory(weight, trainee.flat) and np.shares_memory(
            trainee.gradients[name], trainee.flat_gradients
        )
        np.testing.assert_array_equal(weight.reshape(-1), trainee.flat[end : end + weight.size])
        end += weight.size
        plain = not (name.endswith("bias") or "norm" in name.lower())
        assert plain == (end <= trainee.decayed), name
    assert end == trainee.flat.size


def test_the_model_answers_with_the_new_weights_and_saves_the_masters(tmp_path, backend):
    dtype = "float32"
    model = model_for("masked_lm", backend=backend, dtype=dtype)
    before = model(**TOKENS).logits
    trainee = Trainee(model)
    np.testing.assert_array_equal(model(**TOKENS).logits, before)
    trainee.flat += np.float32(0.01)
    trainee.refresh()
    after = model(**TOKENS).logits
    assert np.abs(after - before).max() > 1e-3
    model.save_pretrained(tmp_path)
    again = heads.DistilBertForMaskedLM.from_pretrained(tmp_path, backend=backend)
    np.testing.assert_array_equal(again(**TOKENS).logits, after)
    fetch = model.ops.fetch
    np.testing.assert_array_equal(fetch(Trainee(again).flat), fetch(trainee.flat))


def test_bfloat16_keeps_float32_masters(tmp_path):
    pytest.importorskip("numba")
    loss, exact = gradients("masked_lm")
    model = model_for("masked_lm", backend="numba", dtype="float32")
    found_loss, trainee = gradients("masked_lm", model=model, dtype="bfloat16")
    assert model.dtype == "bfloat16" and trainee.flat.dtype == np.float32
    assert found_loss == pytest.approx(loss, rel=0.02)
    error = np.linalg.norm(trainee.flat_gradients - exact.flat_gradients) / np.linalg.norm(exact.flat_gradients)
    assert 1e-5 < error < 0.05
    model.save_pretrained(tmp_path)
    again = heads.DistilBertForMaskedLM.from_pretrained(tmp_path, backend="numba")
    assert again.dtype == "float32"
    for name, weight in trainee.weights.items():
        np.testing.assert_array_equal(again.tensors()[name], weight)


def test_frozen_weights_get_no_gradient_and_no_decay():
    names = [f"transformer.layer.0.attention.{c}_lin.weight" for c in "qkv"] + ["classifier.bias"]
    sinusoids = model_for("token_classification", replace(SMALL, sinusoidal_pos_embds=True))
    _, trainee = gradients("token_classification", model=sinusoids, frozen=names)
    _, free = gradients("token_classification")
    for name, gradient in trainee.gradients.items():
        if name in (*names, POSITIONS):
            assert not gradient.any() and free.gradients[name].any()
            assert np.shares_memory(trainee.flat[trainee.decayed :], trainee.weights[name])
        else:
            np.testing.assert_array_equal(gradient, free.gradients[name])


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(InputError, match="prelu"):
        Trainee(heads.DistilBertModel(replace(SMALL, activation="prelu"), backend="numpy"))
    with pytest.raises(InputError, match="no weights called 'ffn'"):
        Trainee(model_for("masked_lm"), frozen=["ffn"])
    with pytest.raises(InputError, match="q, k and v"):
        Trainee(model_for("masked_lm"), frozen=["transformer.layer.0.attention.q_lin.bias"])
    for loaded, asked in (("float32", "float64"), ("float64", "float32")):
        with pytest.raises(InputError, match=f"in {loaded} cannot be trained in {asked}"):
            Trainee(model_for("masked_lm", dtype=loaded), dtype=asked)
    with pytest.raises(InputError, match="numpy backend computes in"):
        Trainee(model_for("masked_lm", dtype="float32"), dtype="bfloat16")
    base = Trainee(heads.DistilBertModel(SMALL, backend="numpy"))
    with pytest.raises(InputError, match="no head"):
        base.apply_head(np.zeros((1, SMALL.dim), np.float32))


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_rounded_weights_cannot_be_trained(dtype):
    pytest.importorskip("numba")
    model = heads.DistilBertForMaskedLM(SMALL, backend="numba", dtype=dtype)
    with pytest.raises(InputError, match=f"rounded to {dtype}"):
        Trainee(model)
    float32 = heads.DistilBertForMaskedLM(SMALL, backend="numba")
    with pytest.raises(InputError, match="in int8 cannot be trained: its weights are rounded"):
        Trainee(float32, dtype="int8")


@pytest.mark.parametrize(
    ("head", "change", "message"),
    [
        ("masked_lm", {"labels": None}, "needs labels"),
        ("masked_lm", {"input_ids": None}, "needs input_ids"),
        ("masked_lm", {"labels": IDS[:2]}, "labels are of shape"),
        ("masked_lm", {"labels": IDS + 5}, "outside the 11 classes"),
        ("masked_lm", {"labels": IDS * 0.5}, "integers"),
        ("masked_lm", {"attention_mask": MASK[:, :3]}, "attention_mask is of shape"),
        ("masked_lm", {"input_ids": IDS + 5}, "outside the vocabulary"),
        ("masked_lm", {"head_mask": np.ones(2)}, "'head_mask' has no place"),
        ("sequence_classification", {"labels": np.array([1, 0, 1, 3])}, "outside the 3 classes"),
        ("sequence_classification", {"labels": np.array([1, 0])}, "labels are of shape"),
        ("token_classification", {"labels": np.where(MASK == 1, 3, -100)}, "outside the 3 classes"),
        ("question_answering", {"end_positions": None}, "needs end_positions"),
        ("question_answering", {"end_positions": np.array([0.5] * 4)}, "must be integers"),
        ("multiple_choice", {"labels": np.array([0, 2])}, "outside the 2 classes"),
        ("multiple_choice", {"input_ids": IDS}, "batch, choices, tokens"),
    ],
)
def test_batches_that_do_not_fit(head, change, message):
    trainee = Trainee(model_for(head))
    with pytest.raises(InputError, match=message):
        TABLE[head].objective(trainee, {**batch_for(head), **change})
    assert not trainee.flat_gradients.any()

"""The model's own promises: packing, independence of neighbours, positions, taps."""

import pickle

import numpy as np
import pytest
import tiny_berts
from conftest import TINY, assert_same, random_tensors

from nanodistil import DistilBertForMaskedLM, DistilBertForMultipleChoice, DistilBertModel, InputError
from nanodistil.family.bert import BertModel
from nanodistil.heads.masked_lm import objective
from nanodistil.kernels.definitions import numpy_ops
from nanodistil.packing import Packing
from nanodistil.taps import Recorder
from nanodistil.training.trainee import Trainee

IDS = np.array([[3, 4, 5, 6, 7], [8, 9, 10, 0, 0], [11, 0, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])


def tiny(backend, dtype="float32", cls=DistilBertForMaskedLM):
    return cls(TINY, random_tensors(TINY, dtype=dtype), backend=backend, dtype=dtype)


def test_packing_leaves_padding_behind():
    batch = Packing.of(IDS, MASK, TINY).batch
    np.testing.assert_array_equal(batch.ids, [3, 4, 5, 6, 7, 8, 9, 10, 11])
    np.testing.assert_array_equal(batch.positions, [0, 1, 2, 3, 4, 0, 1, 2, 0])
    np.testing.assert_array_equal(batch.starts, [0, 5, 8, 9])


def test_positions_count_what_was_left_out():
    batch = Packing.of([[3, 4, 5]], [[0, 1, 0]], TINY).batch
    assert batch.ids.tolist() == [4] and batch.positions.tolist() == [1]


def test_unpack_undoes_packing():
    packing = Packing.of(IDS, MASK, TINY)
    np.testing.assert_array_equal(packing.unpack(packing.batch.ids[:, None])[..., 0], IDS * MASK)
    np.testing.assert_array_equal(packing.rows([(1, 2), (0, 0), (2, 0)]), [7, 0, 8])


def test_a_sentence_is_bitwise_the_same_alone_in_any_batch_and_order():
    pytest.importorskip("numba")
    model = tiny("numba")
    together = model(IDS, MASK).logits
    backwards = model(IDS[::-1], MASK[::-1]).logits[::-1]
    np.testing.assert_array_equal(together, backwards)
    for b in range(3):
        n = MASK[b].sum()
        np.testing.assert_array_equal(model(IDS[b : b + 1, :n]).logits[0], together[b, :n])


def test_logits_at_positions_are_those_of_the_full_projection(backend):
    model = tiny(backend)
    full = model(IDS, MASK).logits
    places = [(1, 2), (0, 0), (2, 0), (0, 0)]
    some = model(IDS, MASK, positions=places).logits
    expected = np.array([full[b, t] for b, t in places])
    if backend == "numba":
        np.testing.assert_array_equal(some, expected)
    else:  # BLAS promises no such thing
        np.testing.assert_allclose(some, expected, rtol=0, atol=1e-5)
    assert model(IDS, MASK, positions=[]).logits.shape == (0, TINY.vocab_size)


@pytest.mark.parametrize("mask", [MASK.astype(bool), MASK.astype(float), MASK.astype("uint8"), MASK.tolist()])
def test_any_kind_of_mask_means_the_same(mask):
    model = tiny("numpy")
    np.testing.assert_array_equal(model(IDS.tolist(), mask).logits, model(IDS, MASK).logits)


NO_MASKS = [
    np.where(MASK == 1, 0.0, -np.inf),  # to be added to scores: read as the masks above it would say the opposite
    np.where(MASK == 1, 0.0, np.finfo(np.float32).min),
    *(np.where(MASK == 1, 1.0, hidden) for hidden in (np.nan, np.inf, 0.5, -1.0, 1e-9)),
    *(np.where(MASK == 1, real, 0) for real in (2, -1, 255)),
]


@pytest.mark.parametrize("mask", NO_MASKS)
def test_only_zeros_and_ones_are_a_mask(mask, tmp_path):
    """Of the encoder, of every head, of a BERT and in training alike."""
    calls = [tiny("numpy", cls=cls) for cls in (DistilBertModel, DistilBertForMaskedLM)]
    bert = BertModel.from_pretrained(
        tiny_berts.saved(tmp_path, tiny_berts.under_their_names("pooler")), backend="numpy"
    )
    choice = DistilBertForMultipleChoice(TINY, backend="numpy")
    trainee = Trainee(tiny("numpy"))
    batch = {"input_ids": IDS, "attention_mask": mask, "labels": IDS}
    for call in (
        *(lambda model=model: model(IDS, mask) for model in calls),
        lambda: calls[1](IDS, mask, labels=IDS, keep_masked=True),
        lambda: bert(IDS, mask),
        lambda: choice(IDS[:, None], mask[:, None]),
        lambda: objective(trainee, batch),
    ):
        with pytest.raises(InputError, match=r"attention_mask has a .*1 says that a token is real") as error:
            call()
        assert "\n" not in str(error.value)


def test_a_head_mask_is_finite():
    with pytest.raises(InputError, match=r"head_mask .* must be finite"):
        tiny("numpy")(IDS, head_mask=[1, 1, np.nan, 1])


def test_an_all_masked_row():
    """An error by default; with keep_masked uniform attention, as transformers computes it."""
    model = tiny("numpy", "float64", DistilBertModel)
    with pytest.raises(InputError, match="row 1"):
        model(IDS, [[1] * 5, [0] * 5, [1] * 5])
    out = model(IDS, [[1] * 5, [0] * 5, [1] * 5], keep_masked=True, output_attentions=True)
    np.testing.assert_allclose(out.attentions[0][1], np.full((4, 5, 5), 0.2))


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ([[1, 50]], None, "token id 50"),
        ([[1, -1]], None, "token id -1"),
        ([[1] * 25], None, "25 tokens"),
        ([[1, 2], [3]], None, "different lengths"),
        ([1, 2], None, "two-dimensional"),
        ([[1.5]], None, "integers"),
        ([["a"]], None, "numbers"),
        ([[]], None, "without tokens"),
        (None, None, "input_ids is needed"),
        ([[1, 2]], [[1]], "shape"),
        ([[2**62, 1]], None, "outside the vocabulary"),
    ],
)
def test_bad_input_is_named(ids, mask, message):
    with pytest.raises(InputError, match=message):
        tiny("numpy")(ids, mask)


@pytest.mark.parametrize(
    ("positions", "message"),
    [([(0, 5)], "within"), ([(3, 0)], "within"), ([(0, -1)], "within"), ([(1, 4)], "masked"), ([0, 1], r"\(M, 2\)")],
)
def test_bad_positions_are_named(positions, message):
    with pytest.raises(InputError, match=message):
        tiny("numpy")(IDS, MASK, positions=positions)


def test_a_model_travels_to_another_process(backend):
    model = tiny(backend)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy(IDS, MASK).logits, model(IDS, MASK).logits)


def test_an_empty_batch(backend):
    assert tiny(backend)(np.zeros((0, 4), int)).logits.shape == (0, 4, TINY.vocab_size)


def test_a_plain_function_is_a_tap_that_sees_everything(backend):
    names = []

    def tap(name, value):
        names.append(name)
        return value

    seen, unseen = tiny(backend)(IDS, MASK, tap=tap).logits, tiny(backend)(IDS, MASK).logits
    assert_same(backend, seen, unseen)  # looking changes nothing
    assert len(names) == len(set(names)) == 2 + 2 * 12 + 3
    assert "layer.1.attention.scores" in names and "layer.0.ffn.lin1" in names


def test_a_tap_may_replace_what_passes(backend):
    """Uniform probabilities put in by hand give the mean of the values."""
    contexts = Recorder(["layer.0.attention.context", "layer.0.attention.v_lin"])

    def uniform(name, value):
        if name == "layer.0.attention.probs":
            return [np.full_like(p, 1 / p.shape[-1]) for p in value]
        return contexts(name, value)

    tiny(backend)(IDS, MASK, tap=uniform)
    values, context = contexts.seen["layer.0.attention.v_lin"], contexts.seen["layer.0.attention.context"]
    np.testing.assert_allclose(context[:5], np.tile(values[:5].mean(0), (5, 1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("layer.0.attention.context", lambda v: np.tile(v, (1, 300))),
        ("layer.0.attention.context", lambda v: v[:1]),
        ("layer.1.ffn.lin1", lambda v: v[:, :-1]),
        ("layer.1.attention.q_lin", lambda v: None),
        ("layer.1.attention.probs", lambda v: v[:1]),
        ("layer.1.attention.scores", lambda v: [s[..., :1] for s in v]),
        ("embeddings.sum", lambda v: v.astype(object)),
    ],
)
def test_a_replacement_that_does_not_fit_is_an_error(backend, name, change):
    """Compiled code checks no bounds, so this is where they are checked."""
    with pytest.raises(InputError, match=name):
        tiny(backend)(IDS, MASK, tap=lambda n, v: change(v) if n == name else v)


def test_a_replacement_of_another_dtype_is_cast(backend):
    same = tiny(backend)(IDS, MASK, tap=lambda n, v: [p.astype(float) for p in v] if isinstance(v, list) else v * 1.0)
    assert_same(backend, same.logits, tiny(backend)(IDS, MASK).logits)
    doubled = tiny(backend)(IDS, MASK, tap=lambda n, v: v * np.float64(2) if n == "embeddings.sum" else v)
    assert doubled.logits.dtype == np.float32


def test_the_embedding_layer_norm_is_there():
    """A classic omission: the first hidden state is normalised."""
    tensors = random_tensors(TINY, dtype=np.float64)
    hidden = DistilBertModel(TINY, tensors, backend="numpy", dtype="float64")(
        [[3, 4]], output_hidden_states=True
    ).hidden_states[0][0]
    summed = tensors["embeddings.word_embeddings.weight"][[3, 4]] + tensors["embeddings.position_embeddings.weight"][:2]
    norm = tensors["embeddings.LayerNorm.weight"], tensors["embeddings.LayerNorm.bias"]
    np.testing.assert_allclose(hidden, numpy_ops.layer_norm(summed, *norm, 1e-12), atol=1e-15)

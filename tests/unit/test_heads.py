"""The heads without transformers: shapes, masks, losses, saving, changing shape. Numbers against it: tests/parity."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from conftest import TINY, assert_same, random_tensors

import nanodistil
from nanodistil import CheckpointError, DistilBertConfig, InputError
from nanodistil.config import ACTIVATIONS
from nanodistil.kernels.definitions import activations
from nanodistil.weights.names import LEARNED

WORDS, PLACES = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
IDS = np.array([[3, 4, 5, 6, 7], [8, 9, 10, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
HEADS = {
    "DistilBertModel": "base",
    "DistilBertForMaskedLM": "masked_lm",
    "DistilBertForSequenceClassification": "sequence_classification",
    "DistilBertForTokenClassification": "token_classification",
    "DistilBertForQuestionAnswering": "question_answering",
    "DistilBertForMultipleChoice": "multiple_choice",
}


def tiny(kind, backend="numpy", dtype="float32", config=TINY):
    tensors = random_tensors(config, HEADS[kind], dtype=dtype)
    return getattr(nanodistil, kind)(config, tensors, backend=backend, dtype=dtype)


def inputs(kind):
    stack = (lambda a: np.stack([a, a[:, ::-1]], axis=1)) if "Choice" in kind else np.asarray
    return {"input_ids": stack(IDS), "attention_mask": stack(MASK)}


SHAPES = {
    "DistilBertModel": (2, 5, 20),
    "DistilBertForMaskedLM": (2, 5, 50),
    "DistilBertForSequenceClassification": (2, 3),
    "DistilBertForTokenClassification": (2, 5, 3),
    "DistilBertForQuestionAnswering": (2, 5),
    "DistilBertForMultipleChoice": (2, 2),
}
THREE = replace(TINY, id2label={0: "a", 1: "b", 2: "c"})


@pytest.mark.parametrize("kind", HEADS)
def test_shapes_backends_and_tuples(kind, backend):
    config = TINY if "Question" in kind else THREE
    out = tiny(kind, backend, config=config)(**inputs(kind))
    exact = tiny(kind, "numpy", "float64", config)(**inputs(kind))
    assert out[0].shape == SHAPES[kind] and out[0].dtype == np.float32
    for mine, truth in zip(out.to_tuple(), exact.to_tuple(), strict=True):
        np.testing.assert_allclose(mine, truth, atol=1e-4)
    assert list(out) == out.keys() and out.keys()[0] in out and "loss" not in out and len(out) == len(out.to_tuple())
    plain = tiny(kind, backend, config=config)(**inputs(kind), return_dict=False)
    assert isinstance(plain, tuple) and np.array_equal(plain[0], out[0])


@pytest.mark.parametrize("kind", HEADS)
def test_a_sentence_does_not_depend_on_its_neighbours(kind):
    pytest.importorskip("numba")
    model, both = tiny(kind, "numba"), inputs(kind)
    for b in range(2):
        alone = model(**{name: value[b : b + 1] for name, value in both.items()})
        for one, all_of_them in zip(alone.to_tuple(), model(**both).to_tuple(), strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[b])


def test_a_first_token_that_is_masked_is_computed_all_the_same(backend):
    model = tiny("DistilBertForSequenceClassification", backend)
    hidden = [[0, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    every = model(IDS, hidden, keep_masked=True).logits
    np.testing.assert_array_equal(model(IDS, hidden).logits, every)
    assert not np.allclose(every[0], model(IDS, MASK).logits[0])
    states = model(IDS, hidden, output_hidden_states=True).hidden_states[-1]
    assert states[0, 0].any() and not states[1, 3:].any()  # no other masked position is computed for it
    with pytest.raises(InputError, match="hides every token"):
        model(IDS, [[0, 0, 0, 0, 0], [1, 1, 1, 0, 0]])


@pytest.mark.parametrize("kind", HEADS)
def test_embeddings_of_the_ids_instead_of_the_ids(kind, backend):
    model, given = tiny(kind, backend), inputs(kind)
    out = model(**given)
    words = model.tensors()[WORDS][given.pop("input_ids")]
    for a, b in zip(model(**given, inputs_embeds=words).to_tuple(), out.to_tuple(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_positions_can_be_given(backend):
    model = tiny("DistilBertModel", backend)
    usual = model(IDS).last_hidden_state
    np.testing.assert_array_equal(model(IDS, position_ids=[[0, 1, 2, 3, 4]]).last_hidden_state, usual)
    moved = model(IDS, position_ids=[[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]]).last_hidden_state
    np.testing.assert_array_equal(moved[0], usual[0])
    assert not np.allclose(moved[1], usual[1])


@pytest.mark.parametrize("kind", HEADS)
def test_pruning_is_masking(kind, backend):
    model, rest = tiny(kind, backend), inputs(kind)
    mask = np.ones((2, 4))
    mask[0, 1] = mask[1, 0] = mask[1, 3] = 0
    masked = model(**rest, head_mask=mask)
    model.prune_heads({0: [1], 1: [0]})
    model.prune_heads({1: [0, 3]})
    assert model.config.pruned_heads == {0: [1], 1: [0, 3]}
    for a, b in zip(model(**rest).to_tuple(), masked.to_tuple(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    attentions = model(**rest, output_attentions=True).attentions
    assert [a.shape[1] for a in attentions] == [3, 2]


def test_layers_to_prune_may_be_counted_from_the_end(tmp_path):
    """As {0: all but one, -1: the first}, by the method, by the config a model is made with, and from a file."""
    config = replace(TINY, n_layers=3, output_attentions=True)
    gone = {0: [1, 2, 3], -1: [0]}
    model = nanodistil.DistilBertModel(config, backend="numpy")
    model.prune_heads(gone)
    model.save_pretrained(tmp_path)
    made = nanodistil.DistilBertModel(replace(config, pruned_heads=gone), backend="numpy")
    for one in (model, made, nanodistil.DistilBertModel.from_pretrained(tmp_path, backend="numpy")):
        assert [probs.shape[1] for probs in one([[1, 2, 3]]).attentions] == [1, 4, 3]
        assert one.config.pruned_heads == {0: [1, 2, 3], 2: [0]}
        one.prune_heads({-3: [1], -2: [3]})
        assert one.config.pruned_heads == {0: [1, 2, 3], 1: [3], 2: [0]}
    for wrong in ({-4: [0]}, {3: [0]}, {-3: [0]}):
        with pytest.raises(nanodistil.InputError, match="prune_heads"):
            model.prune_heads(wrong)
    with pytest.raises(nanodistil.CheckpointError, match="pruned_heads"):
        replace(config, pruned_heads={-4: [0]})


def test_heads_to_prune_may_be_numbers_of_numpy_and_come_once(tmp_path):
    model = tiny("DistilBertModel")
    model.prune_heads({np.int64(1): (np.int32(n) for n in (0, 3))})
    model.save_pretrained(tmp_path)
    assert model.config.pruned_heads == {1: [0, 3]}


@pytest.mark.parametrize("wrong", [{2: [0]}, {0: [4]}, {0: [-1]}, {0: [0, 1, 2, 3]}, {0.5: [1]}, {0: 1}, [0], None])
def test_what_cannot_be_pruned(wrong):
    model = tiny("DistilBertModel")
    with pytest.raises(InputError, match="prune_heads"):
        model.prune_heads(wrong)
    assert model.config.pruned_heads == {}


@pytest.mark.parametrize("kind", HEADS)
def test_saved_and_loaded_again(kind, backend, tmp_path):
    config = TINY if "Question" in kind else THREE
    config = replace(config, extra={"tie_weights_": True}, problem_type="regression")
    model = tiny(kind, backend, config=config)
    model.prune_heads({1: [2]})
    model.save_pretrained(tmp_path / "new" / "folder")
    again = getattr(nanodistil, kind).from_pretrained(tmp_path / "new" / "folder", backend=backend)
    assert again.initialised == again.dropped == []
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    written = json.loads((tmp_path / "new" / "folder" / "config.json").read_text())
    assert written["architectures"] == [kind] and written["tie_weights_"] and written["pruned_heads"] == {"1": [2]}
    assert replace(again.config, extra={}) == replace(model.config, extra={})
    assert [file.name for file in sorted((tmp_path / "new" / "folder").iterdir())] == [
        "config.json",
        "model.safetensors",
    ]


def test_saving_over_the_file_in_use(tmp_path):
    model = tiny("DistilBertModel")
    model.save_pretrained(tmp_path)
    loaded = nanodistil.DistilBertModel.from_pretrained(tmp_path, backend="numpy")
    loaded.save_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded(IDS).last_hidden_state, model(IDS).last_hidden_state)


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        tiny("DistilBertModel").save_pretrained(tmp_path / "file")


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_rounded_weights_are_not_saved(dtype, tmp_path):
    pytest.importorskip("numba")
    model = nanodistil.DistilBertModel(TINY, random_tensors(TINY), backend="numba", dtype=dtype)
    with pytest.raises(InputError, match="load the model in float32"):
        model.save_pretrained(tmp_path)


def test_resizing_the_vocabulary(backend):
    model = tiny("DistilBertForMaskedLM", backend)
    before = model(IDS, MASK).logits
    model.resize_token_embeddings(61, pad_to_multiple_of=8)
    assert model.config.vocab_size == 64 and model.weights.word_embeddings.shape == (64, 20)
    after = model(IDS, MASK).logits
    assert after.shape == (2, 5, 64)
    assert_same(backend, after[..., :50], before)
    words = model.tensors()[WORDS]
    assert np.allclose(words[50:], words[:50].mean(axis=0), atol=1e-3) and np.ptp(words[50:], axis=0).min() > 0
    assert not model.tensors()["vocab_projector.bias"][50:].any()  # tied: 0, as in transformers
    model.resize_token_embeddings(40)
    assert_same(backend, model(IDS, MASK).logits, before[..., :40])
    model.resize_token_embeddings(60, mean_resizing=False)
    assert 0.01 < model.tensors()[WORDS][40:].std() < 0.03


def test_resizing_the_positions(backend):
    model = tiny("DistilBertModel", backend)
    before = model(IDS, MASK).last_hidden_state
    model.resize_position_embeddings(30)
    assert_same(backend, model(IDS, MASK).last_hidden_state, before)
    assert model(np.ones((1, 30), np.int64)).last_hidden_state.shape == (1, 30, 20)
    model.resize_position_embeddings(4)
    with pytest.raises(InputError, match="more than the model's 4 positions"):
        model(IDS)


def test_sinusoids_go_on(backend):
    config = replace(TINY, sinusoidal_pos_embds=True, max_position_embeddings=10)
    short = nanodistil.DistilBertModel(config, backend=backend)
    short.resize_position_embeddings(24)
    long = nanodistil.DistilBertModel(replace(config, max_position_embeddings=24), backend=backend)
    np.testing.assert_array_equal(short.tensors()[PLACES], long.tensors()[PLACES])


@pytest.mark.parametrize("size", [0, -1, 2.5, True, 10**9])
def test_sizes_that_cannot_be(size):
    model = tiny("DistilBertModel")
    with pytest.raises(InputError):
        model.resize_token_embeddings(size)
    with pytest.raises(InputError):
        model.resize_position_embeddings(size)


def test_random_models_are_the_same_for_one_seed():
    first, second, other = (nanodistil.DistilBertForMaskedLM(TINY, backend="numpy", seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first(IDS).logits, second(IDS).logits)
    assert not np.allclose(first(IDS).logits, other(IDS).logits)


# ---- losses, by hand


def test_masked_lm_loss_counts_labels_alone():
    model = tiny("DistilBertForMaskedLM", dtype="float64")
    labels = np.full(IDS.shape, -100)
    assert np.isnan(model(IDS, MASK, labels=labels).loss)
    labels[0, 2] = 7
    out = model(IDS, MASK, labels=labels)
    p = np.exp(out.logits[0, 2]) / np.exp(out.logits[0, 2]).sum()
    assert abs(out.loss + np.log(p[7])) < 1e-12 and out.keys()[0] == "loss" and out[0] == out.loss


def test_sequence_losses():
    model = tiny("DistilBertForSequenceClassification", dtype="float64", config=THREE)
    logits = model(IDS, MASK).logits
    several = model(IDS, MASK, labels=[[1.0, 0.0, 1.0], [0.0, 0.0, 0.5]])
    assert model.config.problem_type == "multi_label_classification"
    s = 1 / (1 + np.exp(-logits))
    y = np.array([[1, 0, 1], [0, 0, 0.5]])
    assert abs(several.loss + (y * np.log(s) + (1 - y) * np.log(1 - s)).mean()) < 1e-12
    model.config = replace(THREE, problem_type="regression")
    assert abs(model(IDS, MASK, labels=y).loss - ((logits - y) ** 2).mean()) < 1e-12
    model.config = THREE
    one = model(IDS, MASK, labels=[2, 0])
    assert model.config.problem_type == "single_label_classification"
    assert (
        abs(one.loss + np.log((np.exp(logits) / np.exp(logits).sum(1, keepdims=True))[[0, 1], [2, 0]]).mean()) < 1e-12
    )


def test_answers_beyond_the_text_do_not_count():
    model = tiny("DistilBertForQuestionAnswering", dtype="float64")
    out = model(IDS, MASK, start_positions=[[1], [99]], end_positions=[[2], [3]])
    masked = model(IDS, MASK, keep_masked=True)

    def surprise(logits, at):
        return np.log(np.exp(logits).sum()) - logits[at]

    start = surprise(masked.start_logits[0], 1)
    end = (surprise(masked.end_logits[0], 2) + surprise(masked.end_logits[1], 3)) / 2
    assert abs(out.loss - (start + end) / 2) < 1e-12
    assert np.isnan(model(IDS, MASK, start_positions=[99, 99], end_positions=[1, 1]).loss)


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("DistilBertForMaskedLM", np.full((2, 5), 50), "outside the 50 classes"),
        ("DistilBertForMaskedLM", np.full((2, 5), -1), "label -1"),
        ("DistilBertForMaskedLM", np.zeros((2, 4), int), "shape"),
        ("DistilBertForTokenClassification", np.full((2, 5), 0.5), "integers"),
        ("DistilBertForSequenceClassification", [0, 1, 0], "shape"),
        ("DistilBertForSequenceClassification", [0, 2], "outside the 2 classes"),
        ("DistilBertForSequenceClassification", [[0.5, 0.5]], "shape"),
        ("DistilBertForMultipleChoice", [0, 2], "outside the 2 classes"),
    ],
)
def test_labels_that_cannot_be(kind, labels, message):
    with pytest.raises(InputError, match=message):
        tiny(kind)(**inputs(kind), labels=labels)


# ---- arguments


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"input_ids": IDS, "inputs_embeds": np.zeros((2, 5, 20))},
        {"inputs_embeds": np.zeros((2, 5, 19))},
        {"inputs_embeds": np.zeros((2, 20))},
        {"inputs_embeds": np.zeros((2, 25, 20))},
        {"input_ids": IDS, "head_mask": np.ones(3)},
        {"input_ids": IDS, "head_mask": ["a", "b", "c", "d"]},
        {"input_ids": IDS, "position_ids": np.full((2, 5), 24)},
        {"input_ids": IDS, "position_ids": np.zeros((2, 4), int)},
        {"input_ids": IDS, "position_ids": np.zeros((2, 5))},
    ],
)
def test_arguments_that_cannot_be(wrong):
    with pytest.raises(InputError):
        tiny("DistilBertModel")(**wrong)


def test_choices_need_three_dimensions():
    with pytest.raises(InputError, match="choices"):
        tiny("DistilBertForMultipleChoice")(IDS)


def test_the_config_can_be_overridden(tmp_path):
    tiny("DistilBertModel").save_pretrained(tmp_path)
    with pytest.warns(match="newly initialised"):
        model = nanodistil.DistilBertForSequenceClassification.from_pretrained(
            tmp_path, num_labels=4, problem_type="regression", backend="numpy"
        )
    assert model(IDS).logits.shape == (2, 4) and model.config.id2label[3] == "LABEL_3"
    assert len(model.initialised) == 4
    with pytest.raises(InputError, match="no field"):
        nanodistil.DistilBertModel.from_pretrained(tmp_path, hidden=3)
    for name in ("n_heads", "num_attention_heads"):  # under either name
        assert nanodistil.DistilBertModel.from_pretrained(tmp_path, backend="numpy", **{name: 2}).config.n_heads == 2
    with pytest.raises(InputError, match="num_labels"):
        nanodistil.DistilBertModel.from_pretrained(tmp_path, num_labels=-1)


@pytest.mark.filterwarnings("ignore:.*newly initialised")
def test_labels_as_tutorials_give_them(tmp_path):
    tiny("DistilBertModel").save_pretrained(tmp_path)
    load = partial(nanodistil.DistilBertForSequenceClassification.from_pretrained, tmp_path, backend="numpy")
    names = {"a": 0, "b": 1, "c": 2}
    assert load(num_labels=3, id2label={0: "a", 1: "b", 2: "c"}, label2id=names).config.label2id == names
    assert (
        load(label2id=names).config.num_labels == load(id2label={"0": "a", "1": "b", "2": "c"}).config.num_labels == 3
    )
    for wrong in ({"num_labels": 3, "id2label": {0: "a", 1: "b"}}, {"id2label": 5}, {"n_layers": "2"}, {"dim": 21}):
        with pytest.raises(InputError):
            load(**wrong)


def test_answers_have_two_labels(tmp_path):
    tiny("DistilBertForSequenceClassification", config=THREE).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="num_labels=2"):
        nanodistil.DistilBertForQuestionAnswering.from_pretrained(tmp_path, backend="numpy")


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("option", ["first", "looked_at", "colour"])
def test_no_argument_is_taken_that_is_not_meant(kind, option):
    with pytest.raises(TypeError):
        tiny(kind)(**inputs(kind), **{option: True})


@pytest.mark.parametrize("kind", sorted(set(HEADS) - {"DistilBertForMaskedLM"}))
def test_positions_are_for_the_masked_lm(kind):
    with pytest.raises(TypeError):
        tiny(kind)(**inputs(kind), positions=[(0, 0)])


def test_ragged_arrays_are_named():
    model, ragged = tiny("DistilBertForSequenceClassification"), [[1, 1], [1]]
    for name in ("attention_mask", "head_mask", "position_ids", "labels"):
        with pytest.raises(InputError, match=f"{name} has rows of different lengths"):
            model(IDS, **{name: ragged})


def test_a_wrong_first_call_leaves_no_trace():
    model = tiny("DistilBertForSequenceClassification", config=THREE)
    with pytest.raises(InputError):
        model(IDS, labels=[0.0, 1.0])
    assert model(IDS, labels=[0, 1]).loss > 0


def test_labels_of_a_config():
    assert DistilBertConfig.from_dict({"num_labels": 3}).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert DistilBertConfig(id2label={0: "no", 1: "yes"}).label2id == {"no": 0, "yes": 1}
    with pytest.raises(CheckpointError, match="number its labels"):
        DistilBertConfig(id2label={1: "no", 2: "yes"})


# ---- activations


@pytest.mark.parametrize("name", LEARNED)
def test_activations_that_learn_are_saved(name, backend, tmp_path):
    model = nanodistil.DistilBertForMaskedLM(replace(TINY, activation=name), backend=backend)
    model.save_pretrained(tmp_path)
    again = nanodistil.DistilBertForMaskedLM.from_pretrained(tmp_path, backend=backend)
    assert sum("activation" in key for key in again.state_dict()) == 3 * len(LEARNED[name])
    np.testing.assert_array_equal(again(IDS).logits, model(IDS).logits)


def test_activations_by_hand():
    at = {name: float(f(np.array([1.5]))[0]) for name, f in activations.ACTIVATIONS.items() if name not in LEARNED}
    x, half, eps = np.array([-2.0, 2.0]), np.array([0.5]), np.array(-1e-6)
    assert activations.prelu(x, half).tolist() == [-1, 2]
    a = np.log(1 + np.exp(0.5))
    by_hand = [(np.exp(-2) - 1 + 2) * (0.5 + a) - 1, a * 4 + 1]
    np.testing.assert_allclose(activations.xielu(x, half, half, np.array(0.5), eps), by_hand, rtol=1e-14)
    assert at["relu"] == at["relu6"] == at["linear"] == at["leaky_relu"] == 1.5 and at["relu2"] == 2.25
    assert abs(at["tanh"] - np.tanh(1.5)) < 1e-15
    assert abs(at["silu"] - 1.5 / (1 + np.exp(-1.5))) < 1e-15
    assert abs(at["mish"] - 1.5 * np.tanh(np.log(1 + np.exp(1.5)))) < 1e-15
    assert abs(at["gelu_new"] - 0.75 * (1 + np.tanh(np.sqrt(2 / np.pi) * (1.5 + 0.044715 * 1.5**3)))) < 1e-15
    assert 0 < abs(at["gelu_fast"] - at["gelu_new"]) < 1e-11
    far = np.array([-1e4, 1e4])
    assert activations.ACTIVATIONS["relu6"](far).tolist() == [0, 6]
    assert activations.ACTIVATIONS["gelu_10"](far).tolist() == [0, 10]
    assert activations.leaky_relu(far).tolist() == [-100, 1e4]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("error")
def test_activations_keep_the_dtype_and_never_overflow(name, dtype):
    x = np.array([-1e4, -90.0, -1.0, -0.0, 1e-30, 1.0, 90.0, 1e4], dtype)
    learned = [np.full([1] * bool(shape), 0.5, dtype) for shape in LEARNED.get(name, {}).values()]
    y = activations.ACTIVATIONS[name](x, *learned)
    assert y.dtype == dtype and np.isfinite(y).all()


# ---- what a checkpoint is loaded into, as users of transformers do it


def test_an_untied_model_comes_back_whole(tmp_path):
    config = replace(TINY, tie_word_embeddings=False)
    for kind in HEADS:
        model = getattr(nanodistil, kind)(config, backend="numpy", seed=3)
        model.save_pretrained(tmp_path / kind)
        again = type(model).from_pretrained(tmp_path / kind, backend="numpy")
        assert again.initialised == again.dropped == [] and not again.config.tie_word_embeddings
        weights = again.state_dict()
        assert list(weights) == list(model.state_dict())
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(weights[name], array, err_msg=name)
    assert "vocab_projector.weight" in nanodistil.DistilBertForMaskedLM(config, backend="numpy").state_dict()


@pytest.mark.filterwarnings("ignore:.*newly initialised")
def test_other_labels_and_another_vocabulary_where_that_is_asked_for(tmp_path):
    kind = nanodistil.DistilBertForSequenceClassification
    model = kind(replace(TINY, id2label={0: "a", 1: "b", 2: "c"}), backend="numpy", seed=3)
    model.save_pretrained(tmp_path)
    for cls, other in ((kind, {"num_labels": 42}), (nanodistil.DistilBertModel, {"vocab_size": 10})):
        with pytest.raises(CheckpointError, match="misfit"):
            cls.from_pretrained(tmp_path, backend="numpy", **other)
    wider = kind.from_pretrained(tmp_path, backend="numpy", num_labels=42, ignore_mismatched_sizes=True)
    assert wider([[1, 2]]).logits.shape == (1, 42)
    assert wider.initialised == ["classifier.weight", "classifier.bias"]
    for name, array in model.state_dict().items():
        if name not in wider.initialised:
            np.testing.assert_array_equal(wider.state_dict()[name], array)
    fewer = nanodistil.DistilBertModel.from_pretrained(
        tmp_path, backend="numpy", vocab_size=10, ignore_mismatched_sizes=True
    )
    assert fewer([[1, 9]]).last_hidden_state.shape == (1, 2, 20)
    assert fewer.initialised == ["embeddings.word_embeddings.weight"]
    with pytest.raises(InputError):
        fewer([[10]])

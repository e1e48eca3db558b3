"""BERT without transformers: against a plain restatement of the paper, its files' habits, and what is refused."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY as TINY_DISTILBERT
from conftest import random_tensors
from tiny_berts import SHAPE, TINY, saved, tensors, under_their_names
from weight_files import file_bytes
from weight_formats import flax, keras, torch_bin

import nanodistil
from nanodistil import CheckpointError, DistilBertConfig, DistilBertForMaskedLM, InputError
from nanodistil.family.bert import (
    NAMES,
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from nanodistil.heads import HEADS as TABLE
from nanodistil.kernels.definitions.numpy_ops import ACTIVATIONS
from nanodistil.packing import Packing
from nanodistil.training.trainee import Trainee
from nanodistil.weights.layout import POSITIONS, TOKEN_TYPES
from nanodistil.weights.names import count, expected

CLASSES = {
    "pooler": BertModel,
    "masked_lm": BertForMaskedLM,
    "sequence_classification": BertForSequenceClassification,
    "token_classification": BertForTokenClassification,
    "question_answering": BertForQuestionAnswering,
    "multiple_choice": BertForMultipleChoice,
}
IDS = np.array([[3, 4, 5, 6, 7, 8], [9, 10, 11, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
TYPES = np.array([[0, 0, 1, 1, 2, 2], [0, 1, 0, 0, 0, 0]])


def restated(t, ids, types):
    """BERT as the paper has it, one sentence without padding, straight from the file's names: hidden states (T, D)."""

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * t[f"{name}.weight"] + t[f"{name}.bias"]

    e = "embeddings"
    x = t[f"{e}.word_embeddings.weight"][ids] + t[f"{e}.token_type_embeddings.weight"][types]
    x = norm(x + t[f"{e}.position_embeddings.weight"][: len(ids)], f"{e}.LayerNorm")
    for i in range(2):
        at = f"encoder.layer.{i}"
        q, k, v = (
            linear(x, f"{at}.attention.self.{name}").reshape(len(ids), 3, 4) for name in ("query", "key", "value")
        )
        scores = np.exp(np.einsum("qhd,khd->hqk", q, k) / 2)
        context = np.einsum("hqk,khd->qhd", scores / scores.sum(-1, keepdims=True), v).reshape(len(ids), 12)
        x = norm(x + linear(context, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        h = ACTIVATIONS["gelu"](linear(x, f"{at}.intermediate.dense"))
        x = norm(x + linear(h, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


def restated_head(head, t, x):
    """What each head makes of hidden states (T, D)."""
    match head:
        case "pooler":
            return np.tanh(x[0] @ t["pooler.dense.weight"].T + t["pooler.dense.bias"])
        case "masked_lm":
            h = x @ t["cls.predictions.transform.dense.weight"].T + t["cls.predictions.transform.dense.bias"]
            h = ACTIVATIONS["gelu"](h)
            h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-12)
            h = h * t["cls.predictions.transform.LayerNorm.weight"] + t["cls.predictions.transform.LayerNorm.bias"]
            return h @ t["embeddings.word_embeddings.weight"].T + t["cls.predictions.bias"]
        case "sequence_classification":
            return restated_head("pooler", t, x) @ t["classifier.weight"].T + t["classifier.bias"]
        case "token_classification":
            return x @ t["classifier.weight"].T + t["classifier.bias"]
        case "question_answering":
            return x @ t["qa_outputs.weight"].T + t["qa_outputs.bias"]


def answer(head, out):
    match head:
        case "pooler":
            return out.pooler_output
        case "question_answering":
            return np.stack([out.start_logits, out.end_logits], axis=-1)
    return out.logits


@pytest.mark.parametrize("head", [head for head in CLASSES if head != "multiple_choice"])  # the same head, (B, 1)
@pytest.mark.parametrize(("backend", "dtype", "atol"), [("numpy", "float64", 1e-13), ("numba", "float32", 1e-5)])
def test_every_head_is_the_papers(tmp_path, head, backend, dtype, atol):
    if backend == "numba":
        pytest.importorskip("numba")
    model = CLASSES[head].from_pretrained(saved(tmp_path, under_their_names(head)), backend=backend, dtype=dtype)
    out = model(IDS, MASK, TYPES, output_hidden_states=True, output_attentions=True)
    plain = {name.removeprefix("bert."): array for name, array in under_their_names(head).items()}
    for b, length in enumerate(MASK.sum(axis=1)):
        x = restated(plain, IDS[b, :length], TYPES[b, :length])
        np.testing.assert_allclose(out.hidden_states[-1][b, :length], x, rtol=0, atol=atol)
        got = answer(head, out)[b]
        wanted = restated_head(head, plain, x)
        np.testing.assert_allclose(got[:length] if wanted.ndim == 2 else got, wanted, rtol=0, atol=atol)
    assert len(out.hidden_states) == 3 and out.attentions[1].shape == (2, 3, 6, 6)


def made(head="masked_lm", **how):
    dtype = "float64" if how.get("dtype") == "float64" else "float32"
    return CLASSES[head](TINY, tensors(head, dtype), **{"backend": "numpy", **how})


def test_without_token_types_all_are_of_the_first():
    model = made()
    np.testing.assert_array_equal(model(IDS, MASK).logits, model(IDS, MASK, np.zeros_like(IDS)).logits)
    assert np.abs(model(IDS, MASK).logits - model(IDS, MASK, TYPES).logits).max() > 0.1


def test_it_is_a_distilbert_of_token_type_0(backend):
    """Whose positions are those of the first token type."""
    model = made(backend=backend)
    arrays = tensors("masked_lm", np.float32)
    types = arrays.pop(TOKEN_TYPES)
    arrays[POSITIONS] = types[0] + arrays[POSITIONS]
    shape = {name: getattr(TINY, name) for name in SHAPE}
    other = DistilBertForMaskedLM(DistilBertConfig(**shape), arrays, backend=backend)
    np.testing.assert_array_equal(other(IDS, MASK).logits, model(IDS, MASK).logits)
    with pytest.raises(TypeError, match="token_type_ids"):
        other(IDS, MASK, token_type_ids=TYPES)
    with pytest.raises(InputError, match="a distilbert has no token types"):
        Packing.of(IDS, MASK, other.config, token_type_ids=TYPES)


def test_its_call_is_in_berts_order():
    model = made()
    positions = np.arange(6)[None]
    one = model(IDS, MASK, TYPES, positions, None, None, IDS)
    two = model(IDS, MASK, token_type_ids=TYPES, position_ids=positions, labels=IDS)
    assert one.loss == two.loss
    with pytest.raises(TypeError, match="multiple values for argument 'attention_mask'"):
        model(IDS, MASK, attention_mask=MASK)
    with pytest.raises(TypeError, match="by place"):
        model(*[None] * 8)


@pytest.mark.parametrize("head", CLASSES)
def test_it_is_saved_as_it_was_and_loaded(tmp_path, head):
    saved(tmp_path, under_their_names(head, np.float32))
    model = CLASSES[head].from_pretrained(tmp_path, backend="numpy")
    model.save_pretrained(tmp_path / "again")
    again = CLASSES[head].from_pretrained(tmp_path / "again", backend="numpy")
    assert again.config == model.config.of_model() or again.config.to_dict() == {
        **model.config.to_dict(), "architectures": [CLASSES[head].__name__], "dtype": "float32",
    }  # fmt: skip
    wanted = under_their_names(head, np.float32)
    assert again.state_dict().keys() == wanted.keys()
    for name, array in again.state_dict().items():
        np.testing.assert_array_equal(array, wanted[name])


@pytest.mark.parametrize("head", ["masked_lm", "sequence_classification", "question_answering"])
def test_gradients_are_those_of_its_loss(backend, head):
    """Also of token types and positions, which are added up in memory."""
    trainee = Trainee(made(head, dtype="float64" if backend == "numpy" else "float32", backend=backend))
    labels = {"masked_lm": {"labels": np.where(MASK, IDS, -100)}, "sequence_classification": {"labels": [1, 0]}}
    answers = {"start_positions": np.array([1, 0]), "end_positions": np.array([3, 2])}
    batch = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": TYPES, **labels.get(head, answers)}
    run = trainee.model.head.objective
    run(trainee, batch)
    slopes = {name: trainee.ops.fetch(trainee.gradients[name]).copy() for name in (TOKEN_TYPES, POSITIONS)}
    small, tolerance = (1e-6, 1e-6) if backend == "numpy" else (1e-2, 2e-2)
    for name, slope in slopes.items():
        place, around = np.unravel_index(np.abs(slope).argmax(), slope.shape), []
        for step in (small, -2 * small, small):
            trainee.weights[name][place] += step
            trainee.refresh()
            around.append(run(trainee, batch))
        assert (around[0] - around[1]) / (2 * small) == pytest.approx(float(slope[place]), rel=tolerance)


def test_positions_losses_and_embeddings_pass_through(backend):
    model = made(backend=backend)
    full = model(IDS, MASK, TYPES, labels=np.where(MASK, IDS, -100))
    at = model(IDS, MASK, TYPES, positions=[(0, 4), (1, 1)])
    np.testing.assert_allclose(at.logits, full.logits[[0, 1], [4, 1]], rtol=0, atol=1e-5)
    logits = full.logits[MASK == 1].astype(np.float64)
    expected = np.mean(np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(logits)), IDS[MASK == 1]])
    assert abs(float(full.loss) - expected) < 1e-5
    embeds = tensors("masked_lm", np.float32)["embeddings.word_embeddings.weight"][IDS]
    again = model(None, MASK, TYPES, inputs_embeds=embeds, position_ids=[[0, 1, 2, 3, 4, 5]]).logits
    np.testing.assert_allclose(again[MASK == 1], full.logits[MASK == 1], rtol=0, atol=1e-5)


def test_the_first_token_is_pooled_though_the_mask_hides_it(backend):
    model, mask = made("pooler", backend=backend), MASK.copy()
    mask[1, 0] = 0
    out, full = model(IDS, mask, TYPES), model(IDS, mask, TYPES, keep_masked=True)
    np.testing.assert_allclose(out.pooler_output, full.pooler_output, rtol=0, atol=1e-6)
    assert model(IDS, MASK).last_hidden_state[1, 3:].any() == 0
    plain = model(IDS, MASK, TYPES, return_dict=False)
    assert isinstance(plain, tuple) and [a.shape for a in plain] == [(2, 6, 12), (2, 12)]
    assert model(np.zeros((0, 4), int)).pooler_output.shape == (0, 12)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_lower_precision(dtype):
    pytest.importorskip("numba")
    exact, rounded = made("pooler"), made("pooler", backend="numba", dtype=dtype)
    difference = rounded(IDS, MASK, TYPES).pooler_output - exact(IDS, MASK, TYPES).pooler_output
    assert 0 < np.abs(difference).max() < 0.1


def test_choices_are_texts_of_one_class():
    model, ids = made("multiple_choice"), np.stack([IDS, IDS[::-1]], axis=1)  # (B, choices, T)
    mask, types = np.stack([MASK, MASK[::-1]], axis=1), np.stack([TYPES, TYPES[::-1]], axis=1)
    logits = model(ids, mask, types).logits
    assert logits.shape == (2, 2) and logits[0, 0] == logits[1, 1] and logits[0, 1] == logits[1, 0]
    assert np.abs(logits - model(ids, mask).logits).max() > 1e-3


def test_a_random_one_and_its_pickle():
    model = BertForQuestionAnswering(TINY, backend="numpy", seed=3)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy(IDS, MASK, TYPES).end_logits, model(IDS, MASK, TYPES).end_logits)


# What files say


def test_published_parameter_counts():
    """bert-base-uncased, and bert-large."""
    assert count(expected(BertConfig(), TABLE["pooler"])) == 109_482_240
    assert count(expected(BertConfig(), TABLE["masked_lm"])) == 109_514_298
    large = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    assert count(expected(large, TABLE["pooler"])) == 335_141_888


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("bert.embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"),
        ("encoder.layer.11.output.LayerNorm.beta", "transformer.layer.11.output_layer_norm.bias"),
        ("encoder.layer.0.attention.self.key.bias", "transformer.layer.0.attention.k_lin.bias"),
        ("cls.predictions.decoder.weight", "vocab_projector.weight"),
        ("cls.predictions.decoder.bias", None),
        ("cls.seq_relationship.weight", None),
        ("bert.embeddings.position_ids", None),
        ("transformer.layer.0.ffn.lin1.weight", "bert.transformer.layer.0.ffn.lin1.weight"),  # not a BERT's
        ("bert.encoder.layer.0.crossattention.self.key.bias", "bert.encoder.layer.0.crossattention.self.key.bias"),
        ("", "bert."),
    ],
)
def test_names(stored, name):
    assert NAMES.canonical(stored) == name


@pytest.mark.parametrize("head", ["base", *CLASSES])
def test_filed_is_undone(head):
    for activation in ("gelu", "prelu", "xielu"):
        for name in expected(replace(TINY, activation=activation), TABLE[head]):
            assert NAMES.canonical(NAMES.filed(name, TABLE[head])) == name


def old(arrays):
    """As the first conversions named them, and all that an official file has besides."""
    renamed = {n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): a for n, a in arrays.items()}
    return renamed | {
        "bert.embeddings.position_ids": np.arange(7)[None],
        "bert.pooler.dense.weight": np.zeros((12, 12), np.float32),
        "bert.pooler.dense.bias": np.zeros(12, np.float32),
        "cls.predictions.decoder.weight": arrays["bert.embeddings.word_embeddings.weight"],
        "cls.predictions.decoder.bias": arrays["cls.predictions.bias"],
        "cls.seq_relationship.weight": np.zeros((2, 12), np.float32),
        "cls.seq_relationship.bias": np.zeros(2, np.float32),
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", ["safetensors", "bin", "sharded", "h5", "msgpack"])
def test_every_format_gives_the_same(tmp_path, form):
    arrays = under_their_names("masked_lm", np.float32)
    wanted = BertForMaskedLM.from_pretrained(saved(tmp_path, old(arrays)), backend="numpy")(IDS, MASK, TYPES).logits
    if form != "safetensors":
        (tmp_path / "model.safetensors").unlink()
    if form == "bin":
        (tmp_path / "pytorch_model.bin").write_bytes(torch_bin(old(arrays)))
    if form == "sharded":
        names = list(arrays)
        halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for shard, half in halves.items():
            (tmp_path / shard).write_bytes(file_bytes({name: arrays[name] for name in half}))
        index = {"weight_map": {name: shard for shard, half in halves.items() for name in half}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    if form == "h5":
        pytest.importorskip("h5py")
        keras(
            tmp_path / "tf_model.h5",
            {name.replace("cls.", "mlm___cls."): array for name, array in arrays.items()},
            model="tf_bert_for_masked_lm",
        )
    if form == "msgpack":
        pytest.importorskip("msgpack")
        (tmp_path / "flax_model.msgpack").write_bytes(flax(arrays))
    got = BertForMaskedLM.from_pretrained(tmp_path, backend="numpy")(IDS, MASK, TYPES).logits
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.filterwarnings("error")
def test_a_body_alone(tmp_path):
    """As sentence-transformers keeps it; what was not learned is not made up."""
    saved(tmp_path, under_their_names("base", np.float32))
    out = BertModel.from_pretrained(tmp_path, backend="numpy")(IDS, MASK, TYPES)
    assert out.keys() == ["last_hidden_state"]
    with pytest.warns(UserWarning, match=r"newly initialised.*cls.predictions.transform.dense.weight"):
        assert len(BertForMaskedLM.from_pretrained(tmp_path).initialised) == 5
    with pytest.warns(UserWarning, match=r"newly initialised.*bert.pooler.dense.weight"):
        assert len(BertForSequenceClassification.from_pretrained(tmp_path).initialised) == 4


def test_what_is_misshapen_or_unknown(tmp_path):
    arrays = under_their_names("masked_lm", np.float32)
    wrong = arrays | {"bert.embeddings.token_type_embeddings.weight": np.zeros((2, 12), np.float32)}
    with pytest.raises(CheckpointError, match=r"misfit: bert.embeddings.token_type_embeddings.weight is \(2, 12\)"):
        BertForMaskedLM.from_pretrained(saved(tmp_path, wrong))
    with pytest.raises(CheckpointError, match=r"misfit: cls.predictions.bias is \(5,\), the config says \(30,\)"):
        BertForMaskedLM.from_pretrained(saved(tmp_path, arrays | {"cls.predictions.bias": np.zeros(5, np.float32)}))
    with pytest.warns(UserWarning, match=r"no use for: adapter\.weight"):
        model = BertForMaskedLM.from_pretrained(saved(tmp_path, arrays | {"adapter.weight": np.zeros(1, np.float32)}))
    assert model.dropped == ["adapter.weight"]


def test_an_untied_projection(tmp_path):
    projection = np.random.default_rng(1).standard_normal((30, 12)).astype(np.float32)
    arrays = under_their_names("masked_lm", np.float32) | {"cls.predictions.decoder.weight": projection}
    tied = BertForMaskedLM.from_pretrained(saved(tmp_path, arrays), backend="numpy")(IDS).logits
    untied = BertForMaskedLM.from_pretrained(saved(tmp_path, arrays, tie_word_embeddings=False), backend="numpy")
    assert np.abs(untied(IDS).logits - tied).max() > 0.1


# What is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layer_norm_eps": 0.0}, "layer_norm_eps is 0.0"),
        ({"position_embedding_type": "relative_key"}, "'relative_key'"),
        ({"is_decoder": True}, "is_decoder"),
        ({"type_vocab_size": 0}, "type_vocab_size"),
        ({"type_vocab_size": 200}, "102400|type_vocab_size"),
        ({"hidden_size": 770}, "hidden_size 770 cannot be divided among num_attention_heads 12"),
        ({"num_hidden_layers": 4000}, "num_hidden_layers is 4000"),
        ({"hidden_act": "softsign"}, "hidden_act 'softsign'"),
        ({"hidden_size": "768"}, "hidden_size should be int"),
        ({"vocab_size": True}, "vocab_size should be int"),
        ({"model_type": "roberta"}, "'roberta'"),
        ({"id2label": [1]}, "id2label"),
        ({"pruned_heads": {"99": [0]}}, "pruned_heads"),
    ],
)
def test_configs_that_cannot_be(fields, message):
    with pytest.raises(CheckpointError, match=message):
        BertConfig.from_dict(fields)


def test_configs_as_files_have_them():
    config = BertConfig.from_dict(
        {"hidden_size": 12, "num_attention_heads": 2, "gradient_checkpointing": False, "num_labels": 3}
    )
    assert config.num_labels == 3 and config.extra == {"gradient_checkpointing": False}
    assert config.dim == config.hidden_size == 12 and "dim" not in config.to_dict()
    assert BertConfig.from_dict({"pad_token_id": None}).pad_token_id == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"token_type_ids": TYPES + 1}, "from 0 to 2"),
        ({"token_type_ids": -TYPES}, "from 0 to 2"),
        ({"token_type_ids": TYPES[:1]}, r"of shape \(2, 6\)"),
        ({"token_type_ids": TYPES / 1.0}, "must be integers"),
        ({"input_ids": np.zeros((1, 8), int), "attention_mask": None}, "8 tokens are more than the model's 7"),
        ({"position_ids": [[0, 1, 2, 3, 4, 7]]}, "from 0 to 6"),
        ({"input_ids": [1, 2, 3]}, "two-dimensional"),
        ({"input_ids": None}, "input_ids is needed"),
        ({"inputs_embeds": np.zeros((2, 6, 12))}, "input_ids is needed"),
        ({"input_ids": None, "inputs_embeds": np.zeros(3)}, "inputs_embeds must be"),
        ({"attention_mask": MASK[:1]}, "attention_mask is of shape"),
    ],
)
@pytest.mark.parametrize("head", ["pooler", "masked_lm"])
def test_arguments_that_cannot_be(head, arguments, message):
    with pytest.raises(InputError, match=message):
        made(head)(**{"input_ids": IDS, "attention_mask": MASK, **arguments})


def test_a_distilbert_is_no_bert(tmp_path):
    model = DistilBertForMaskedLM(TINY_DISTILBERT, random_tensors(TINY_DISTILBERT), backend="numpy")
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="'distilbert' model"):
        BertModel.from_pretrained(tmp_path)
    saved(tmp_path, model.state_dict())
    with pytest.raises(CheckpointError, match=r"missing: .*encoder.layer.0.attention.self.query.weight"):
        BertModel.from_pretrained(tmp_path)


def test_layers_of_pruned_heads_may_be_counted_from_the_end():
    assert BertConfig(num_hidden_layers=3, pruned_heads={-1: [0], 0: [2, 1]}).pruned_heads == {2: [0], 0: [1, 2]}
    assert BertConfig.from_dict({"num_hidden_layers": 3, "pruned_heads": {"-3": [1]}}).pruned_heads == {0: [1]}


def test_classes_of_relatives_are_found_by_name():
    assert nanodistil.BertForMaskedLM.__module__ == "nanodistil.family.bert"
    assert nanodistil.RobertaConfig().model_type == "roberta"
    for name in ("BertForNothing", "Roberta", "Nothing", "distilbert_nothing"):
        with pytest.raises(AttributeError, match=name):
            getattr(nanodistil, name)

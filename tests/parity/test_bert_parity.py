"""BERT live against transformers: full width, every head, token types, masks, and the files of all times."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from full_size import save_shaken
from weight_formats import keras

from nanodistil.cli import main
from nanodistil.family import bert
from nanodistil.family.bert import NAMES
from nanodistil.heads import HEADS as TABLE
from nanodistil.weights import loading
from nanodistil.weights.h5_file import torch_name
from nanodistil.weights.names import expected

pytestmark = pytest.mark.parity

FULL = {"vocab_size": 5000, "num_hidden_layers": 2, "max_position_embeddings": 160}  # else as bert-base
SMALL = {"vocab_size": 60, "hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 31}
HEADS = {
    "BertModel": ["last_hidden_state", "pooler_output"],
    "BertForMaskedLM": ["logits"],
    "BertForSequenceClassification": ["logits"],
    "BertForTokenClassification": ["logits"],
    "BertForQuestionAnswering": ["start_logits", "end_logits"],
}

UPSTREAM = {  # which module of a student's layer is which of its teacher's, in upstream's script
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}


def saved(folder, head, seed=0, **config):
    """A random BERT, its biases and norms not 0 and 1, its token types as large as words."""
    torch.manual_seed(seed)
    return save_shaken(getattr(transformers, head)(transformers.BertConfig(initializer_range=0.04, **config)), folder)


def batch(B, T, vocabulary, seed=0):
    """Ragged ids, mask and types; every second sentence is a pair, one has types at random."""
    rng = np.random.default_rng((seed, B, T))
    ids, mask, types = rng.integers(1, vocabulary, (B, T)), np.ones((B, T), np.int64), np.zeros((B, T), np.int64)
    for b in range(B):
        length = T if b == 0 else int(rng.integers(2, T + 1))
        mask[b, length:] = 0
        types[b, length // 2 if b % 2 else T :] = 1
    types[-1] = rng.integers(0, 2, T)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def theirs(head, folder, inputs, dtype=torch.float64, **options):
    model = getattr(transformers, head).from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(**{name: torch.tensor(value) for name, value in inputs.items()}, **options)


def of_real_tokens(out, fields, mask):
    """The named fields as one vector, without what stands at padding."""
    parts = [np.asarray(getattr(out, name)) for name in fields]
    return np.concatenate([(part[mask] if part.shape[:2] == mask.shape else part).ravel() for part in parts])


def rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


@pytest.mark.parametrize("head", HEADS)
def test_full_width(tmp_path, head):
    """float64 within 1e-12; the RMS error of float32, ours on either backend, at most torch's."""
    saved(tmp_path, head, **FULL)
    inputs = batch(4, 50, 5000)
    mask, fields = inputs["attention_mask"] != 0, HEADS[head]
    truth = of_real_tokens(theirs(head, tmp_path, inputs), fields, mask)
    torch_error = rms(of_real_tokens(theirs(head, tmp_path, inputs, torch.float32), fields, mask) - truth)
    for backend, dtype in (("numpy", "float64"), ("numpy", "float32"), ("numba", "float32")):
        model = getattr(bert, head).from_pretrained(tmp_path, backend=backend, dtype=dtype)
        error = of_real_tokens(model(**inputs), fields, mask) - truth
        if dtype == "float64":
            assert np.abs(error).max() < 1e-12
        else:
            assert rms(error) <= torch_error, (backend, rms(error), torch_error)


@pytest.mark.parametrize("head", HEADS)
def test_all_outputs_and_losses(tmp_path, head):
    """Hidden states, attentions and the loss, masked positions included; the same fields in the same order."""
    saved(tmp_path, head, num_labels=2, type_vocab_size=3, **SMALL)
    inputs = batch(3, 9, 60)
    inputs["attention_mask"][1, 0] = 0
    if head in ("BertForMaskedLM", "BertForTokenClassification"):
        inputs["labels"] = inputs["input_ids"] % (60 if head == "BertForMaskedLM" else 2)
    if head == "BertForSequenceClassification":
        inputs["labels"] = np.array([0, 1, 1])
    if head == "BertForQuestionAnswering":
        inputs |= {"start_positions": np.array([0, 4, 8]), "end_positions": np.array([1, 2, 20])}
    options = {"output_hidden_states": True, "output_attentions": True}
    other = theirs(head, tmp_path, inputs, **options)
    model = getattr(bert, head).from_pretrained(tmp_path, backend="numpy", dtype="float64")
    mine = model(**inputs, **options, keep_masked=True)
    fields = [name for name in other if name != "cross_attentions"]  # transformers 5 names a decoder's, which are none
    assert mine.keys() == fields
    for name in fields:
        value = other[name]
        for a, b in zip(*([x] if not isinstance(x, tuple) else x for x in (mine[name], value)), strict=True):
            np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-12, err_msg=name)


def test_position_ids_and_embeddings(tmp_path):
    saved(tmp_path, "BertModel", **SMALL)
    inputs = batch(2, 7, 60)
    del inputs["input_ids"]
    inputs["position_ids"] = np.array([[6, 5, 4, 3, 9, 9, 0]])
    inputs["inputs_embeds"] = np.random.default_rng(0).standard_normal((2, 7, 24))
    other = theirs("BertModel", tmp_path, inputs)
    mine = bert.BertModel.from_pretrained(tmp_path, backend="numpy", dtype="float64")(**inputs, keep_masked=True)
    np.testing.assert_allclose(mine.last_hidden_state, other.last_hidden_state, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["gelu_new", "prelu", "relu"])
def test_activations(tmp_path, activation):
    saved(tmp_path, "BertForMaskedLM", hidden_act=activation, **SMALL)
    inputs = batch(2, 7, 60)
    other = theirs("BertForMaskedLM", tmp_path, inputs)
    mine = bert.BertForMaskedLM.from_pretrained(tmp_path, backend="numpy", dtype="float64")(**inputs, keep_masked=True)
    np.testing.assert_allclose(mine.logits, other.logits, rtol=0, atol=1e-12)


# Files


def old_names(state):
    return {n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): t for n, t in state.items()}


@pytest.mark.filterwarnings("error:.*:UserWarning:nanodistil")
@pytest.mark.parametrize("form", ["safetensors", "bin", "old bin", "sharded"])
def test_the_files_of_a_pretraining(tmp_path, form):
    """BertForPreTraining is what official checkpoints hold: each class takes its part of it, as transformers' do."""
    saved(tmp_path, "BertForPreTraining", **SMALL)
    inputs = batch(3, 9, 60)
    others = {head: theirs(head, tmp_path, inputs) for head in ("BertModel", "BertForMaskedLM")}
    if form != "safetensors":
        model = transformers.BertForPreTraining.from_pretrained(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        if form == "bin":
            torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        if form == "old bin":
            state = {"bert.embeddings.position_ids": torch.arange(512)[None], **old_names(model.state_dict())}
            torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
        if form == "sharded":
            model.save_pretrained(tmp_path, max_shard_size="20KB")
            assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    for head, other in others.items():
        model = getattr(bert, head).from_pretrained(tmp_path, backend="numpy", dtype="float64")
        mine = model(**inputs, keep_masked=True)
        np.testing.assert_allclose(mine[0], other[0], rtol=0, atol=1e-12)
        assert head == "BertForMaskedLM" or np.abs(mine[1] - other[1].numpy()).max() < 1e-12


@pytest.mark.parametrize("head", HEADS)
def test_the_names_are_theirs(head):
    config = transformers.BertConfig(**SMALL)
    state = {name: tuple(p.shape) for name, p in getattr(transformers, head)(config).named_parameters()}
    ours = expected(bert.BertConfig.from_dict(config.to_dict()), getattr(bert, head).head)
    pooler = {name for name in state if ".pooler." in name and head != "BertForSequenceClassification"}
    assert {NAMES.filed(name, getattr(bert, head).head): shape for name, shape in ours.items()} == {
        name: shape for name, shape in state.items() if name not in pooler
    }


def test_names_of_tensorflow(tmp_path):
    """Against transformers' own rules, which need no TensorFlow."""
    h5py = pytest.importorskip("h5py")
    rules = pytest.importorskip("transformers.modeling_tf_pytorch_utils")
    saved(tmp_path, "BertForPreTraining", **SMALL)
    model = transformers.BertForPreTraining.from_pretrained(tmp_path)
    skipped = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
    layers = {"cls.predictions": "mlm___cls.predictions", "cls.seq": "nsp___cls.seq"}
    arrays = {}
    for name, value in model.state_dict().items():
        if name not in skipped:
            for ours, keras_has in layers.items():
                name = name.replace(ours, keras_has)
            arrays[name] = value.numpy()
    keras(tmp_path / "tf_model.h5", arrays, model="tf_bert_for_pre_training")
    places = {}
    with h5py.File(tmp_path / "tf_model.h5") as file:
        file.visititems(lambda at, item: places.update({at: item[()]}) if isinstance(item, h5py.Dataset) else None)
    for place, array in places.items():
        name, _ = rules.convert_tf_weight_name_to_pt_weight_name(place.partition("/")[2], tf_weight_shape=array.shape)
        ours = torch_name(place)
        assert ours is None or NAMES.canonical(ours) == NAMES.canonical(name)
    config = bert.BertConfig.from_json_file(tmp_path / "config.json")
    safe = loading.load(tmp_path, config, TABLE["masked_lm"], table=NAMES, draw=False)
    (tmp_path / "model.safetensors").unlink()
    loaded = loading.load(tmp_path, config, TABLE["masked_lm"], table=NAMES, draw=False)
    assert loaded.tensors.keys() == safe.tensors.keys()
    for name, array in safe.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], array, err_msg=name)


def test_a_student_in_transformers(tmp_path):
    """transformers loads it whole; and all layers with folded types say what the teacher does."""
    saved(tmp_path / "bert", "BertForPreTraining", **SMALL | {"num_hidden_layers": 5})
    inputs = batch(3, 9, 60)
    inputs["token_type_ids"][:] = 0
    teacher = theirs("BertForMaskedLM", tmp_path / "bert", inputs)
    for chosen in ("0,1,2,3,4", "0,2,4"):
        folder = tmp_path / chosen
        assert (
            main(["extract-student", str(tmp_path / "bert"), str(folder), "--layers", chosen, "--fold-token-types"])
            == 0
        )
        student, told = transformers.DistilBertForMaskedLM.from_pretrained(folder, output_loading_info=True)
        assert not any(told.values())
        plain = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        mine = theirs("DistilBertForMaskedLM", folder, plain)
        near = (mine.logits - teacher.logits).abs()[torch.tensor(inputs["attention_mask"]) != 0].max() < 1e-5
        assert near == (chosen == "0,1,2,3,4")
    bert_state = transformers.BertForMaskedLM.from_pretrained(tmp_path / "bert").state_dict()
    for new, old in enumerate((0, 2, 4)):  # upstream's own list of pairs
        for ours, upstreams in UPSTREAM.items():
            for last in ("weight", "bias"):
                mine = student.state_dict()[f"distilbert.transformer.layer.{new}.{ours}.{last}"]
                assert torch.equal(mine, bert_state[f"bert.encoder.layer.{old}.{upstreams}.{last}"])

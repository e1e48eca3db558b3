"""What code written for PyTorch asks of a model: answered where it is true, refused by name where it is not."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from small_pipelines import SIZE
from tiny_berts import TINY as TINY_BERT

import nanodistil
from nanodistil import DeviceError, DistilBertConfig, InputError, MissingExtraError
from nanodistil.family import bert
from nanodistil.heads import HEADS as TABLE
from nanodistil.weights.names import count, expected

IDS = [[2, 5, 6, 3], [2, 7, 8, 3]]


def model(cls="DistilBertForMaskedLM", **arguments):
    return getattr(nanodistil, cls)(DistilBertConfig(**SIZE), backend="numpy", **arguments)


def test_what_is_so_anyway_changes_nothing():
    one = model()
    for same in (
        one.eval(), one.train(False), one.cpu(), one.to("cpu"), one.to("cpu:0"), one.to(device="cpu"), one.float(),
        one.to(np.float32), one.to(dtype="float32"), one.to("cpu", "torch.float32"), one.requires_grad_(False),
    ):  # fmt: skip
        assert same is one
    assert one.training is False and one.device == "cpu" and one.device.type == "cpu" and one.device.index is None


@pytest.mark.parametrize("make", [model, lambda: bert.BertModel(TINY_BERT, backend="numpy")])
@pytest.mark.parametrize(
    ("ask", "error", "says"),
    [
        (lambda m: m.train(), InputError, "nanodistil.training.finetune"),
        (lambda m: m.requires_grad_(), InputError, "nanodistil.training.finetune"),
        (lambda m: m.to("cuda"), DeviceError, "cupy"),
        (lambda m: m.to(0), DeviceError, "cupy"),
        (lambda m: m.cuda(), DeviceError, "cupy"),
        (lambda m: m.to("mps"), DeviceError, "mps"),
        (lambda m: m.half(), InputError, "float16"),
        (lambda m: m.to(np.float64), InputError, "float64"),
        (lambda m: m.to("nowhere"), InputError, "nowhere"),
        (lambda m: m.to(wherever="cpu"), InputError, "wherever"),
    ],
)
def test_what_is_not_so_is_refused(make, ask, error, says):
    with pytest.raises(error, match=says) as caught:
        ask(make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", ["DistilBertModel", "DistilBertForMaskedLM", "DistilBertForTokenClassification"])
def test_parameters_are_the_weights_and_cannot_be_written_to(cls):
    one = model(cls)
    named = dict(one.named_parameters())
    state = one.state_dict()
    assert named.keys() == state.keys()
    assert all(np.array_equal(named[name], state[name]) for name in state)
    total = sum(p.numel() for p in one.parameters())
    assert total == one.num_parameters() == count(expected(one.config, one.head))
    tables = SIZE["vocab_size"] * SIZE["dim"] + SIZE["max_position_embeddings"] * SIZE["dim"]
    assert one.num_parameters(exclude_embeddings=True) == total - tables
    assert next(one.parameters()).device == "cpu" and next(one.parameters()).dtype == np.float32
    before = one(IDS)[0].copy()
    for p in one.parameters():
        p.requires_grad = False
        with pytest.raises(ValueError, match="read-only"):
            p[...] = 0
        with pytest.raises(InputError):
            p.requires_grad = True
    np.testing.assert_array_equal(one(IDS)[0], before)


def test_embeddings_in_and_out():
    one = model()
    words = one.get_input_embeddings()
    assert (words.num_embeddings, words.embedding_dim) == (SIZE["vocab_size"], SIZE["dim"])
    np.testing.assert_array_equal(one(inputs_embeds=words(IDS)).logits, one(IDS).logits)
    for wrong in ([[-1]], [[SIZE["vocab_size"]]], [[0.5]]):
        with pytest.raises(InputError, match="ids"):
            words(wrong)
    scores = one.get_output_embeddings()
    hidden = np.ones(SIZE["dim"], np.float32)
    assert (scores.weight @ hidden + scores.bias).shape == (scores.out_features,) == (SIZE["vocab_size"],)
    assert scores.in_features == SIZE["dim"]
    assert model("DistilBertModel").get_output_embeddings() is None


@pytest.mark.skipif(not find_spec("numba"), reason="only compiled kernels round")
def test_words_are_there_in_every_dtype():
    rounded = nanodistil.DistilBertModel.from_pretrained("nanodistil-mini", dtype="int8")
    exact = nanodistil.DistilBertModel.from_pretrained("nanodistil-mini", backend="numpy")
    np.testing.assert_array_equal(rounded.get_input_embeddings().weight, exact.get_input_embeddings().weight)
    assert rounded.num_parameters() == exact.num_parameters()
    with pytest.raises(InputError, match="rounded"):
        next(rounded.parameters())


def test_a_bert_counts_its_own_weights():
    one = bert.BertForSequenceClassification(TINY_BERT, backend="numpy")
    assert one.num_parameters() == count(expected(TINY_BERT, TABLE["sequence_classification"]))
    assert one.eval() is one and one.device == "cpu" and one.dtype == "float32"


def test_tensors_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it now fails
    tokenizer = nanodistil.DistilBertTokenizer.from_pretrained("nanodistil-mini")
    for ask in (
        lambda: tokenizer("a", return_tensors="pt"),
        lambda: tokenizer.pad(tokenizer(["a"]), return_tensors="pt"),
        lambda: tokenizer(["a"]).convert_to_tensors("pt"),
    ):
        with pytest.raises(MissingExtraError, match="pip install torch"):
            ask()
    batch = tokenizer(["a", "b c"], padding=True, return_tensors="np")
    ids = batch["input_ids"]
    assert batch.to("cpu") is batch and batch.to("cuda") is batch and batch["input_ids"] is ids
    for wrong in (np.float16, 1.5, None, True):
        with pytest.raises(InputError, match="device"):
            batch.to(wrong)


def test_another_dtype_is_had_by_loading_it_so_if_it_can_be():
    model = nanodistil.DistilBertModel(DistilBertConfig(**SIZE), backend="numpy")
    for asked, remedy in (("double", "load it with dtype='float64'"), ("half", "load it with backend='cupy', dtype=")):
        with pytest.raises(InputError, match=f"computes in float32, not .*: {remedy}"):
            getattr(model, asked)()
    with pytest.raises(InputError, match="no backend computes in that"):
        model.to("complex64")

"""Files as torch and transformers write them: every form gives the same bits, and the same arrays are made anew."""

import inspect
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from weight_formats import keras

from nanodistil import DistilBertConfig
from nanodistil.heads import HEADS as TABLE
from nanodistil.weights import loading
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.h5_file import torch_name
from nanodistil.weights.initial import sinusoidal
from nanodistil.weights.names import canonical, expected
from nanodistil.weights.torch_file import TorchFile

pytestmark = pytest.mark.parity

CLASSES = {
    "base": "DistilBertModel",
    "masked_lm": "DistilBertForMaskedLM",
    "sequence_classification": "DistilBertForSequenceClassification",
    "token_classification": "DistilBertForTokenClassification",
    "question_answering": "DistilBertForQuestionAnswering",
    "multiple_choice": "DistilBertForMultipleChoice",
}
SMALL = {"vocab_size": 300, "dim": 24, "n_heads": 4, "n_layers": 3, "hidden_dim": 50, "max_position_embeddings": 30}


def model(head, **changes):
    torch.manual_seed(1)
    labels = 2 if head == "question_answering" else 5
    config = transformers.DistilBertConfig(**SMALL, num_labels=labels, **changes)
    made = getattr(transformers, CLASSES[head])(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made.eval()


def config_of(folder):
    return DistilBertConfig.from_json_file(folder / "config.json")


def wanted(made, head, config):
    state = {canonical(name): value.float().numpy() for name, value in made.state_dict().items()}
    return {name: state[name] for name in expected(config, TABLE[head])}


@pytest.mark.parametrize("head", CLASSES)
@pytest.mark.parametrize("how", ["safetensors", "safetensors shards", "bin", "bin shards"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_saved_by_transformers(tmp_path, head, how, dtype):
    made = model(head).to(dtype)
    if "bin" in how and "safe_serialization" not in inspect.signature(made.save_pretrained).parameters:
        pytest.skip("this transformers writes safetensors only")
    arguments = {"max_shard_size": "20KB"} if "shards" in how else {}
    made.save_pretrained(tmp_path, safe_serialization="bin" not in how, **arguments)
    files = sorted(file.name for file in tmp_path.iterdir() if file.name.startswith(("model", "pytorch")))
    assert all(("bin" in how) == file.startswith("pytorch") for file in files) and (len(files) > 2) == ("shards" in how)
    config = config_of(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = loading.load(tmp_path, config, TABLE[head])
    assert not loaded.initialised and not loaded.dropped
    for name, array in wanted(made, head, config).items():
        np.testing.assert_array_equal(loaded.tensors[name], array, err_msg=name)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("what", ["state_dict", "parameters", "transposed", "slices"])
def test_saved_by_torch(tmp_path, old, what):
    made = model("masked_lm")
    state = made.state_dict()  # an OrderedDict with _metadata
    if what == "parameters":
        state = dict(made.named_parameters())
    elif what == "transposed":
        state = {name: value.t().contiguous().t() if value.ndim == 2 else value for name, value in state.items()}
    elif what == "slices":  # of one storage, as models flattened for training have them
        flat = torch.cat([value.reshape(-1) for value in state.values()])
        parts = flat.split([value.numel() for value in state.values()])
        state = {name: part.view(value.shape) for part, (name, value) in zip(parts, state.items(), strict=True)}
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=not old)
    made.config.save_pretrained(tmp_path)
    config = config_of(tmp_path)
    loaded = loading.load(tmp_path, config, TABLE["masked_lm"])
    for name, array in wanted(made, "masked_lm", config).items():
        np.testing.assert_array_equal(loaded.tensors[name], array, err_msg=name)


def test_every_type_of_number(tmp_path):
    types = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    values = torch.tensor([0.0, 1.0, -2.5, 3.14159, 65504.0, 1e-7])
    for old in (False, True):
        torch.save({str(t): values.to(t) for t in types}, tmp_path / "x", _use_new_zipfile_serialization=not old)
        file = TorchFile(tmp_path / "x")
        for t in types:
            np.testing.assert_array_equal(file.array(str(t), np.float64), values.to(t).double().numpy())
    torch.save({"a": torch.ones(3, dtype=torch.complex64)}, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"names torch\.ComplexFloatStorage"):
        TorchFile(tmp_path / "x")


def info(made, folder, **how):
    return made.from_pretrained(folder, output_loading_info=True, **how)[1]


def mismatched(theirs):
    """Their names; transformers 5 gives the shapes along."""
    return [row if isinstance(row, str) else row[0] for row in theirs["mismatched_keys"]]


@pytest.mark.parametrize("source", CLASSES)
@pytest.mark.parametrize("target", CLASSES)
def test_the_same_arrays_are_made_anew(tmp_path, source, target):
    """From the file of every head into every head, and the same left over."""
    model(source).save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = DistilBertConfig.from_dict(SMALL | {"num_labels": 2})
        loaded = loading.load(tmp_path, config, TABLE[target], ignore_mismatched_sizes=True)
    theirs = info(getattr(transformers, CLASSES[target]), tmp_path, num_labels=2, ignore_mismatched_sizes=True)
    assert set(loaded.initialised) == {*theirs["missing_keys"], *mismatched(theirs)}
    assert set(loaded.dropped) == set(theirs["unexpected_keys"])


def test_another_number_of_labels(tmp_path):
    model("sequence_classification").save_pretrained(tmp_path)
    config = DistilBertConfig.from_dict(SMALL | {"num_labels": 9})
    kind = transformers.DistilBertForSequenceClassification
    with pytest.raises(RuntimeError, match="mismatch"):
        info(kind, tmp_path, num_labels=9)
    with pytest.raises(CheckpointError, match="ignore_mismatched_sizes"):
        loading.load(tmp_path, config, TABLE["sequence_classification"])
    theirs = info(kind, tmp_path, num_labels=9, ignore_mismatched_sizes=True)
    with pytest.warns(UserWarning, match="newly initialised"):
        loaded = loading.load(tmp_path, config, TABLE["sequence_classification"], ignore_mismatched_sizes=True)
    assert set(loaded.initialised) == set(mismatched(theirs))


class Lightning:
    """Anything that is pickled into a checkpoint and known to nobody else."""

    def __init__(self):
        self.rate = torch.tensor(0.1)


@pytest.mark.parametrize("old", [False, True])
def test_checkpoints_of_training(tmp_path, old):
    """What transformers would draw at random, from where DataParallel, torch.compile, Lightning and others put it."""
    made = model("masked_lm")
    made.config.save_pretrained(tmp_path)
    optimizer = torch.optim.AdamW(made.parameters())
    made(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    optimizer.step()
    wrapped = torch.nn.Module()
    wrapped.model, wrapped.metric = made, torch.nn.Linear(2, 2)
    more = {"optimizer_states": [optimizer.state_dict()], "epoch": 3, "dtype": torch.float16, "size": torch.Size([3])}
    more |= {"hyper_parameters": Lightning(), "path": Path("x"), "rng": np.random.get_state(), "set": {1, 2}}
    states = [
        {"state_dict": wrapped.state_dict(), **more},
        {"model_state_dict": made.state_dict(), "optimizer": optimizer.state_dict(), "loss": torch.tensor(1.0)},
        torch.nn.DataParallel(made).state_dict(),
        {f"module._orig_mod.{name}": value for name, value in made.state_dict().items()},
    ]
    config = config_of(tmp_path)
    for state in states:
        torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=not old)
        with pytest.warns(UserWarning, match="note: "):
            loaded = loading.load(tmp_path, config, TABLE["masked_lm"])
        for name, array in wanted(made, "masked_lm", config).items():
            np.testing.assert_array_equal(loaded.tensors[name], array, err_msg=name)
    for whole in (made, {"model": made}):
        torch.save(whole, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=not old)
        with pytest.raises(CheckpointError, match=r"DistilBertForMaskedLM.*whole pickled model, save model.state_dict"):
            loading.load(tmp_path, config, TABLE["masked_lm"])


def test_sinusoidal_positions():
    config = transformers.DistilBertConfig(**SMALL, sinusoidal_pos_embds=True)
    theirs = transformers.DistilBertModel(config).embeddings.position_embeddings.weight.detach().numpy()
    np.testing.assert_array_equal(sinusoidal(*theirs.shape), theirs)


@pytest.mark.parametrize("head", CLASSES)
def test_names_of_tensorflow(tmp_path, head):
    """Against transformers' own rules, which need no TensorFlow."""
    h5py = pytest.importorskip("h5py")
    rules = pytest.importorskip("transformers.modeling_tf_pytorch_utils")
    made = model(head)
    arrays = {name: value.numpy() for name, value in made.state_dict().items() if name != "vocab_projector.weight"}
    prefix = "" if head != "base" else "distilbert."
    keras(tmp_path / "tf_model.h5", {prefix + name: array for name, array in arrays.items()})
    places = {}
    with h5py.File(tmp_path / "tf_model.h5") as file:
        file.visititems(
            lambda place, item: places.update({place: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    for place, array in places.items():
        name, transposed = rules.convert_tf_weight_name_to_pt_weight_name(
            place.partition("/")[2], tf_weight_shape=array.shape
        )
        ours = torch_name(place)
        assert ours is None or canonical(ours) == canonical(name)
        assert (transposed.value == "simple") == place.endswith("kernel:0")
    made.config.save_pretrained(tmp_path)
    loaded = loading.load(tmp_path, config_of(tmp_path), TABLE[head])
    for name, array in wanted(made, head, config_of(tmp_path)).items():
        np.testing.assert_array_equal(loaded.tensors[name], array, err_msg=name)

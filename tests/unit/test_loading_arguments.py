"""transformers' arguments of from_pretrained, and its Auto classes: what is so anyway is taken, the rest refused."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from tiny_berts import saved, under_their_names
from tiny_folders import WORDS, tiny_folder

import nanodistil
from nanodistil import CheckpointError, DeviceError, InputError, ModelNotFoundError, NanoDistilError
from nanodistil.family import bert

HEADS = ["", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    return tiny_folder(tmp_path / "model", nanodistil.DistilBertForMaskedLM)


@pytest.mark.parametrize(
    "arguments",
    [
        {"torch_dtype": "auto"},
        {"dtype": "auto", "torch_dtype": None},
        {"torch_dtype": "float32", "dtype": "torch.float32"},
        {"device_map": "cpu"},
        {"device_map": "auto"},
        {"device_map": {"": "cpu"}},
        {"device_map": "balanced"},
        {"attn_implementation": "eager"},
        {"attn_implementation": "sdpa", "low_cpu_mem_usage": True},
        {"use_safetensors": True, "trust_remote_code": False, "trust_remote_code": True},  # noqa: F601
        {"subfolder": "", "force_download": False, "resume_download": None, "proxies": None},
        {"token": False, "use_auth_token": None},
        {"load_in_8bit": False, "quantization_config": None, "output_loading_info": False},
    ],
)
def test_what_is_so_anyway(folder, arguments):
    one = nanodistil.AutoModelForMaskedLM.from_pretrained(folder, backend="numpy", **arguments)
    assert type(one) is nanodistil.DistilBertForMaskedLM and one.dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"torch_dtype": "float32", "dtype": "float64"}, InputError, "two names"),
        ({"torch_dtype": "int8", "backend": "numpy"}, InputError, "int8"),
        ({"torch_dtype": "colour"}, InputError, "colour"),
        ({"device_map": "cuda"}, DeviceError, "cupy"),
        ({"device_map": {"": 0}}, DeviceError, "cupy"),
        ({"device_map": {"a": "cpu", "b": "disk"}}, DeviceError, "disk"),
        ({"device_map": 0}, DeviceError, "cupy"),
        ({"attn_implementation": "flash_attention_2"}, InputError, "attention"),
        ({"use_safetensors": False}, ModelNotFoundError, "model.safetensors"),
        ({"use_safetensors": "yes"}, InputError, "True or False"),
        ({"subfolder": "nowhere"}, NanoDistilError, "nowhere"),
        ({"force_download": True}, InputError, "nanodistil download"),
        ({"load_in_8bit": True}, InputError, "int8"),
        ({"output_loading_info": True}, InputError, "initialised"),
        ({"from_tf": True}, InputError, "from_tf"),
        ({"low_cpu_memory_usage": True}, InputError, "low_cpu_memory_usage"),
    ],
)
def test_what_is_not_so(folder, arguments, error, says):
    for cls in (nanodistil.DistilBertModel, nanodistil.AutoModel):
        with pytest.raises(error, match=says) as caught:
            cls.from_pretrained(folder, **{"backend": "numpy", **arguments})
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*no use for")
def test_subfolder_and_config(folder, tmp_path):
    one = nanodistil.DistilBertModel.from_pretrained(tmp_path, subfolder="model", backend="numpy")
    assert nanodistil.DistilBertTokenizer.from_pretrained(tmp_path, subfolder="model").vocab_size == len(WORDS)
    config = nanodistil.AutoConfig.from_pretrained(tmp_path, subfolder="model", num_labels=5)
    assert config.num_labels == 5 and config.dim == one.config.dim
    with pytest.warns(match="newly initialised"):
        other = nanodistil.AutoModelForSequenceClassification.from_pretrained(folder, config=config, backend="numpy")
    assert other.config.num_labels == 5
    with pytest.raises(InputError, match="subfolder"):
        nanodistil.DistilBertModel.from_pretrained("some/hub-id", subfolder="model")
    with pytest.raises(InputError, match="DistilBertConfig"):
        nanodistil.DistilBertModel.from_pretrained(folder, config={"dim": 3})


def test_code_from_a_folder_is_never_run(folder):
    for file, load in (
        ("config.json", partial(nanodistil.DistilBertForMaskedLM.from_pretrained, folder, backend="numpy")),
        ("tokenizer_config.json", partial(nanodistil.DistilBertTokenizer.from_pretrained, folder)),
    ):
        path = Path(folder) / file
        before = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps({**before, "auto_map": {"AutoModel": "theirs.Model"}}))
        load()
        with pytest.raises(InputError, match="trust_remote_code"):
            load(trust_remote_code=True)


@pytest.mark.parametrize("head", [*HEADS, "ForMultipleChoice"])
@pytest.mark.filterwarnings("ignore:.*(newly initialised|no use for)")
def test_auto_classes_of_distilbert(folder, head):
    one = getattr(nanodistil, f"AutoModel{head}").from_pretrained(folder, backend="numpy")
    assert type(one).__name__ == f"DistilBert{head or 'Model'}"
    made = getattr(nanodistil, f"AutoModel{head}").from_config(one.config, backend="numpy")
    assert type(made) is type(one)


@pytest.mark.parametrize("head", HEADS)
def test_auto_classes_of_bert(tmp_path, head):
    cls = getattr(bert, f"Bert{head or 'Model'}")
    saved(tmp_path, under_their_names(cls.head.name, "float32"))
    for name in ("bert", None):
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": name} if name else config))
        one = getattr(nanodistil, f"AutoModel{head}").from_pretrained(tmp_path, backend="numpy", torch_dtype="auto")
        assert type(one) is cls
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS[:30]) + "\n")
    batch = nanodistil.AutoTokenizer.from_pretrained(tmp_path, use_fast=True)("a b", "c")
    assert batch["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert nanodistil.AutoConfig.from_pretrained(tmp_path).num_hidden_layers == 2


@pytest.mark.parametrize("kind", ["AutoModel", "AutoModelForMaskedLM", "AutoConfig", "AutoTokenizer"])
def test_other_families_are_named(tmp_path, kind):
    (tmp_path / "config.json").write_text('{"model_type": "electra"}')
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    with pytest.raises(CheckpointError, match=r"electra.*distilbert, bert, roberta"):
        getattr(nanodistil, kind).from_pretrained(tmp_path)
    with pytest.raises(ModelNotFoundError):
        getattr(nanodistil, kind).from_pretrained("./no-such-folder")
    with pytest.raises(InputError, match="from_pretrained"):
        getattr(nanodistil, kind)()


# ---- saving


def savers():
    config = replace(TINY, n_layers=1)
    tokenizer = nanodistil.DistilBertTokenizer.from_pretrained("nanodistil-mini")
    return nanodistil.DistilBertModel(config, backend="numpy"), config, tokenizer


def test_saving_takes_what_is_so_and_refuses_the_rest(tmp_path):
    for saver in savers():
        saver.save_pretrained(
            tmp_path,
            safe_serialization=True,
            max_shard_size="200MB",
            push_to_hub=False,
            is_main_process=True,
            token=None,
        )
        for name, value in {"safe_serialization": False, "push_to_hub": True, "variant": "fp16"}.items():
            with pytest.raises(InputError, match=f"{name}="):
                saver.save_pretrained(tmp_path, **{name: value})
        with pytest.raises(InputError, match="'safe_serialisation' is no argument of save_pretrained"):
            saver.save_pretrained(tmp_path, safe_serialisation=True)
    model = nanodistil.DistilBertModel.from_pretrained(tmp_path, backend="numpy")
    tokenizer = nanodistil.DistilBertTokenizer.from_pretrained(tmp_path)
    assert model.name_or_path == tokenizer.name_or_path == str(tmp_path)
    assert savers()[0].name_or_path == ""


def test_what_code_asks_of_a_model():
    model = savers()[0]
    np.testing.assert_array_equal(model.forward([[1, 2]]).last_hidden_state, model([[1, 2]]).last_hidden_state)
    assert (model.base_model_prefix, model.main_input_name, model.can_generate()) == ("distilbert", "input_ids", False)
    assert model.resize_token_embeddings(60).weight.shape == (60, 20)
    assert model.resize_token_embeddings().weight.shape == (60, 20)

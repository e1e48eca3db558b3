"""PEFT's LoRA folders: the numbers of PEFT's own model, for every way of scaling and every place of an adapter."""

import json
import warnings

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import peft
import torch
import transformers

import nanodistil
from nanodistil import GPT2LMHeadModel
from nanodistil.training.lora import LowRank
from nanodistil.training.trainee import Trainee
from nanodistil.weights.errors import CheckpointError, NanoDistilError

pytestmark = pytest.mark.parity

SMALL = {"vocab_size": 300, "dim": 24, "n_heads": 4, "n_layers": 3, "hidden_dim": 50, "max_position_embeddings": 30}
IDS = torch.tensor([[2, 17, 250, 3, 9], [2, 5, 5, 7, 3]])
HEADS = ["Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"]


def based(folder, head="ForSequenceClassification", labels=3):
    """A base model without its head in a folder, and the same model as PEFT gets it."""
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(**SMALL, initializer_range=0.3)
    transformers.DistilBertForMaskedLM(config).save_pretrained(folder / "base")
    more = {"num_labels": labels} if "Classification" in head else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(transformers, "DistilBert" + head).from_pretrained(folder / "base", **more)


def trained(model, config, folder):
    """An adapter of random numbers, saved; what the model then answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(model, config)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    adapted.save_pretrained(folder)
    adapted.eval()
    with torch.no_grad():
        return adapted(IDS)[0].double().numpy()


def ours(folder, head="ForSequenceClassification"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(nanodistil, "DistilBert" + head).from_pretrained(folder, backend="numpy")
    return model, model(IDS.numpy(), return_dict=False)[0]


HEAD = ["pre_classifier", "classifier"]
ATTENTION = ["q_lin", "v_lin"]
WAYS = {
    "plain": {},
    "rank and alpha": {"r": 3, "lora_alpha": 17},
    "rslora": {"use_rslora": True, "lora_alpha": 5},
    "dora": {"use_dora": True},
    "a regular expression": {"target_modules": r".*layer\.[02]\.(attention\.(q|k)_lin|ffn\.lin1)"},
    "all linear maps": {"target_modules": "all-linear"},
    "patterns": {
        "target_modules": ["q_lin", "k_lin", "lin2", "out_lin"],
        "rank_pattern": {"q_lin": 2, r"layer\.1\.ffn\.lin2": 5},
        "alpha_pattern": {r"^distilbert.*\.0\.attention\.k_lin": 3, "lin2": 40},
    },
    "bias": {"bias": "all"},
    "bias of what it adds to": {"bias": "lora_only"},
    "lora_bias": {"lora_bias": True},
    "fan_in_fan_out": {"fan_in_fan_out": True},
    "embeddings": {"target_modules": ["word_embeddings", "position_embeddings", "lin1"]},
    "some layers": {"layers_to_transform": [1], "layers_pattern": "layer"},
    "more saved whole": {"modules_to_save": ["pre_classifier", "classifier", "sa_layer_norm"]},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way(tmp_path, way):
    model = based(tmp_path)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ATTENTION} | {"modules_to_save": HEAD} | WAYS[way]
    theirs = trained(model, peft.LoraConfig(**settings), tmp_path / "adapter")
    model, logits = ours(tmp_path / "adapter")
    assert model.config.num_labels == 3 and not model.initialised
    np.testing.assert_allclose(logits, theirs, rtol=4e-6, atol=8e-6)


TASKS = dict(zip(HEADS, ["FEATURE_EXTRACTION", None, "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"], strict=True))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("safe", [True, False])
def test_every_head(tmp_path, head, safe):
    model = based(tmp_path, head)
    theirs = trained(model, peft.LoraConfig(task_type=TASKS[head], target_modules=ATTENTION), tmp_path / "adapter")
    if not safe:
        arrays = peft.utils.load_peft_weights(str(tmp_path / "adapter"), device="cpu")
        torch.save(arrays, tmp_path / "adapter" / "adapter_model.bin")
        (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    model, answer = ours(tmp_path / "adapter", head)
    assert not model.initialised
    np.testing.assert_allclose(answer, theirs, rtol=4e-6, atol=8e-6)


SIDE_BY_SIDE = {
    "q, k and v": {"target_modules": ["c_attn"]},
    "all maps": {"target_modules": ["c_attn", "c_proj", "c_fc"], "alpha_pattern": {"c_attn": 3}},
    "dora": {"target_modules": ["c_attn", "c_proj"], "use_dora": True},
    "lora_bias": {"target_modules": ["c_attn"], "lora_bias": True},
}


@pytest.mark.parametrize("way", SIDE_BY_SIDE)
def test_maps_side_by_side(tmp_path, way):
    """GPT-2's q, k and v are one map to PEFT, turned."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=40, n_positions=16, n_embd=24, n_layer=2, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    model = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    lora = peft.LoraConfig(task_type="CAUSAL_LM", r=3, fan_in_fan_out=True, **SIDE_BY_SIDE[way])
    adapted = peft.get_peft_model(model, lora)
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) * parameter.requires_grad)
    adapted.save_pretrained(tmp_path / "adapter")
    ids = [[5, 6, 7, 8]]
    with torch.no_grad():
        theirs = adapted.double().eval()(torch.tensor(ids)).logits.numpy()
    mine = GPT2LMHeadModel.from_pretrained(tmp_path / "adapter", backend="numpy", dtype="float64")(ids).logits
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["c_attn"], "modules_to_save": ["c_fc"]}, "whole, a turned map; merge it with PEFT"),
        ({"target_modules": ["wte"]}, "adds to the words that come in, and not to the same words in the model's head"),
    ],
)
def test_what_cannot_be_added_to_a_gpt2_is_refused(tmp_path, settings, message):
    config = transformers.GPT2Config(vocab_size=40, n_positions=16, n_embd=24, n_layer=1, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    model = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    lora = peft.LoraConfig(fan_in_fan_out=True, **settings)
    peft.get_peft_model(model, lora).save_pretrained(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=message):
        GPT2LMHeadModel.from_pretrained(tmp_path / "adapter")


def test_merged_and_saved_is_the_same_model(tmp_path):
    """And merge_and_unload of PEFT is what we merged."""
    model = based(tmp_path)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", target_modules=ATTENTION))
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) * parameter.requires_grad)
    adapted.save_pretrained(tmp_path / "adapter")
    merged = adapted.merge_and_unload().state_dict()
    model, logits = ours(tmp_path / "adapter")
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, merged[name].numpy(), atol=1e-6, err_msg=name)
    model.save_pretrained(tmp_path / "merged")
    theirs = transformers.DistilBertForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    np.testing.assert_allclose(theirs(IDS).logits.detach().numpy(), logits, atol=1e-5)


KINDS = {
    "IA3": lambda: peft.IA3Config(target_modules=["k_lin"], feedforward_modules=[]),
    "LOHA": lambda: peft.LoHaConfig(target_modules=["k_lin"]),
    "VERA": lambda: peft.VeraConfig(target_modules=["k_lin"]),
    "ADALORA": lambda: peft.AdaLoraConfig(target_modules=["k_lin"], total_step=10),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_are_named(tmp_path, kind):
    model = based(tmp_path)
    trained(model, KINDS[kind](), tmp_path / "adapter")
    with pytest.raises(NanoDistilError, match=f"is an adapter of kind '{kind}'"):
        ours(tmp_path / "adapter")


def test_a_lora_of_changed_weights(tmp_path):
    model = based(tmp_path)
    config = peft.LoraConfig(target_modules=ATTENTION, init_lora_weights="pissa")
    trained(model, config, tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["init_lora_weights"] == "pissa"
    with pytest.raises(NanoDistilError, match="changed base weights"):
        ours(tmp_path / "adapter")


@pytest.mark.parametrize("head", ["ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"])
def test_peft_reads_what_is_learned_here(tmp_path, head):
    base = based(tmp_path, head, labels=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(nanodistil, "DistilBert" + head).from_pretrained(tmp_path / "base", backend="numpy")
    low = LowRank(Trainee(model, below=1), r=3, alpha=5, seed=0)
    low.flat[:] += 0.2 * np.random.default_rng(0).normal(size=low.flat.shape).astype(np.float32)
    low.refresh()
    low.save(tmp_path / "ours", str(tmp_path / "base"))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("error", ".*missing adapter keys.*")
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "ours").eval()(IDS)[0].numpy()
    np.testing.assert_allclose(theirs, model(IDS.numpy(), return_dict=False)[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(theirs, ours(tmp_path / "ours", head)[1], rtol=1e-4, atol=1e-4)

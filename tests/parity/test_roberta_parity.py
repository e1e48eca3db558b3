"""RoBERTa live against transformers: every head, positions, losses, gradients, pipelines with official vocabulary."""

import shutil

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from full_size import save_shaken
from relatives import assert_alike, assert_read_back, assert_same_gradients, calls_of

from nanodistil import AutoTokenizer, pipeline
from nanodistil.family import roberta

pytestmark = pytest.mark.parity

SMALL = {"vocab_size": 60, "hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 31}
SMALL |= {"max_position_embeddings": 34, "layer_norm_eps": 1e-5, "type_vocab_size": 1}
B, T = 4, 12
rng = np.random.default_rng(0)
MASK = (np.arange(T) < np.array([[T], [9], [2], [5]])).astype(np.int64)
IDS = np.where(MASK, rng.integers(4, 60, (B, T)), 1)
INPUTS = {"input_ids": IDS, "attention_mask": MASK}
BATCHES = {
    "Model": {},
    "ForMaskedLM": {"labels": np.where(rng.random((B, T)) < 0.3, IDS, -100)},
    "ForSequenceClassification": {"labels": np.array([1, 0, 1, 1])},
    "ForTokenClassification": {"labels": np.where(rng.random((B, T)) < 0.5, IDS % 2, -100)},
    "ForQuestionAnswering": {"start_positions": np.array([3, 1, 0, 9]), "end_positions": np.array([7, 2, 1, 20])},
    "ForMultipleChoice": {"labels": np.array([1, 0])},
}


def saved(folder, ending, **config):
    torch.manual_seed(0)
    made = getattr(transformers, f"Roberta{ending}")
    return save_shaken(made(transformers.RobertaConfig(initializer_range=0.1, **{**SMALL, **config})), folder)


def batch_of(ending):
    batch = {**INPUTS, **BATCHES[ending]}
    if ending == "ForMultipleChoice":
        batch |= {name: array.reshape(2, 2, T) for name, array in INPUTS.items()}
    return batch


def theirs(folder, ending):
    return getattr(transformers, f"Roberta{ending}").from_pretrained(folder, dtype=torch.float64).eval()


@pytest.mark.parametrize("ending", BATCHES)
def test_all_outputs_and_losses(tmp_path, ending):
    saved(tmp_path, ending)
    batch, options = batch_of(ending), {"output_hidden_states": True}
    with torch.no_grad():
        other = theirs(tmp_path, ending)(**{name: torch.tensor(value) for name, value in batch.items()}, **options)
    model = getattr(roberta, f"Roberta{ending}").from_pretrained(tmp_path, backend="numpy", dtype="float64")
    mine = model(**batch, **options, keep_masked=True)
    for name in mine.keys():  # noqa: SIM118
        for a, b in zip(*([x] if not isinstance(x, tuple) else x for x in (mine[name], other[name])), strict=True):
            np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-12, err_msg=name)
    cls = getattr(transformers, f"Roberta{ending}")
    assert_read_back(model, cls, tmp_path / "again", theirs(tmp_path, ending))


def test_embeddings_and_positions(tmp_path):
    saved(tmp_path, "Model")
    model = roberta.RobertaModel.from_pretrained(tmp_path, backend="numpy", dtype="float64")
    embeds = np.random.default_rng(0).standard_normal((2, 7, 24))
    places = np.array([[6, 5, 4, 3, 9, 9, 0]])
    for inputs in ({"inputs_embeds": embeds}, {"inputs_embeds": embeds, "position_ids": places}):
        with torch.no_grad():
            other = theirs(tmp_path, "Model")(**{name: torch.tensor(value) for name, value in inputs.items()})
        mine = model(**inputs).last_hidden_state
        np.testing.assert_allclose(mine, other.last_hidden_state, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ending", [ending for ending in BATCHES if ending != "Model"])
def test_gradients_are_theirs(tmp_path, ending):
    saved(tmp_path, ending)
    made = getattr(roberta, f"Roberta{ending}")
    assert_same_gradients(made, theirs(tmp_path, ending), tmp_path, batch_of(ending))


TEXTS = ["Hello, how are you?", "  two spaces, and naïve café 🙂", "who was bad", "a long text " * 12]
CALLS = {
    "fill-mask": ("ForMaskedLM", {}, [("My name is <mask>.", {}), ("a <mask> b <mask>", {"top_k": 3})]),
    **calls_of(TEXTS, "a pair", TEXTS[:3], {"top_k": 4, "max_seq_len": 24, "doc_stride": 8}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", CALLS)
def test_pipelines_answer_alike(tmp_path, shared, task):
    ending, config, calls = CALLS[task]
    words = shared / "data" / "tokenizers" / "distilroberta-base"
    if not words.is_dir():
        pytest.skip("the official vocabulary is not here")
    saved(tmp_path, ending, vocab_size=50265, max_position_embeddings=130, **config)
    for file in words.iterdir():
        if file.name != "config.json":
            shutil.copy(file, tmp_path)
    ours = pipeline(task, tmp_path, backend="numpy", dtype="float64")
    upstream = transformers.pipeline(task, str(tmp_path), device="cpu", torch_dtype=torch.float64)
    assert type(AutoTokenizer.from_pretrained(tmp_path)).__name__ == "RobertaTokenizer"
    for inputs, options in calls:
        assert_alike(ours(inputs, **options), upstream(inputs, **options))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strategy", ["first", "average", "max"])
def test_upstreams_words_are_told_by_spaces(tmp_path, shared, strategy):
    """No prefix continues a word of a byte-level vocabulary; word="tokens" guesses as upstream does."""
    words = shared / "data" / "tokenizers" / "distilroberta-base"
    if not words.is_dir():
        pytest.skip("the official vocabulary is not here")
    saved(tmp_path, "ForTokenClassification", vocab_size=50265, max_position_embeddings=130)
    for file in words.iterdir():
        if file.name != "config.json":
            shutil.copy(file, tmp_path)
    ours = pipeline("ner", tmp_path, backend="numpy", dtype="float64", word="tokens")
    upstream = transformers.pipeline("ner", str(tmp_path), device="cpu", torch_dtype=torch.float64)
    assert_alike(ours(TEXTS, aggregation_strategy=strategy), upstream(TEXTS, aggregation_strategy=strategy))

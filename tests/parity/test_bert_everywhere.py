"""A BERT is a model like any other: pipelines, gradients, fine-tuning, what is written, live against transformers."""

import warnings

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from relatives import assert_alike, assert_same_gradients
from tiny_folders import TEXTS, tiny_folder

import nanodistil
from nanodistil import pipeline
from nanodistil.family import class_of
from nanodistil.training import finetune

pytestmark = pytest.mark.parity

NLI = {"id2label": {0: "contradiction", 1: "entailment"}}
PAIRS = [{"text": text, "text_pair": TEXTS[i - 1]} for i, text in enumerate(TEXTS)]
LONG = " ".join(TEXTS * 4)
CALLS = {  # task -> ending of the class, config, calls
    "fill-mask": ("ForMaskedLM", {}, [("the [MASK] film", {}), ("a [MASK] film [MASK]", {"top_k": 3})]),
    "text-classification": ("ForSequenceClassification", {}, [(TEXTS, {}), (PAIRS, {"top_k": None})]),
    "zero-shot-classification": (
        "ForSequenceClassification",
        NLI,
        [(TEXTS[:3], {"candidate_labels": ["good", "bad", "a film"]}), (LONG, {"candidate_labels": "good, who"})],
    ),
    "token-classification": (
        "ForTokenClassification",
        {"id2label": {0: "O", 1: "B-X", 2: "I-X"}},
        [(TEXTS, {"aggregation_strategy": "simple"})],
    ),
    "question-answering": (
        "ForQuestionAnswering",
        {},
        [
            ({"question": "who was bad ?", "context": TEXTS[1]}, {}),
            ({"question": "what film", "context": LONG}, {"top_k": 4, "max_seq_len": 24, "doc_stride": 8}),
        ],
    ),
    "feature-extraction": ("Model", {}, [(TEXTS, {})]),
}


def a_folder(folder, ending, **config):
    """As a BERT's tokenizer is kept, which says that there are token types."""
    path = tiny_folder(folder, class_of("bert", ending), **config)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "model_max_length": 32}')
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", CALLS)
def test_pipelines_answer_alike(tmp_path, task):
    ending, config, calls = CALLS[task]
    folder = a_folder(tmp_path, ending, **config)
    ours = pipeline(task, folder, backend="numpy", dtype="float64")
    upstream = transformers.pipeline(task, folder, device="cpu", torch_dtype=torch.float64)
    assert "token_type_ids" in upstream.tokenizer.model_input_names
    for inputs, options in calls:
        assert_alike(ours(inputs, **options), upstream(inputs, **options))


B, T = 4, 12
rng = np.random.default_rng(0)
IDS = rng.integers(5, 25, (B, T))
MASK = (np.arange(T) < np.array([[T], [9], [2], [5]])).astype(np.int64)
TYPES = MASK * (np.arange(T) > 3)
INPUTS = {"input_ids": IDS * MASK, "attention_mask": MASK, "token_type_ids": TYPES}
BATCHES = {
    "ForMaskedLM": {"labels": np.where(rng.random((B, T)) < 0.3, IDS, -100)},
    "ForSequenceClassification": {"labels": np.array([1, 0, 1, 1])},
    "ForTokenClassification": {"labels": np.where(rng.random((B, T)) < 0.5, IDS % 2, -100)},
    "ForQuestionAnswering": {"start_positions": np.array([3, 1, 0, 9]), "end_positions": np.array([7, 2, 1, 20])},
    "ForMultipleChoice": {"labels": np.array([1, 0])},
}


@pytest.mark.parametrize("ending", BATCHES)
def test_gradients_are_theirs(tmp_path, ending):
    """Every array's, token types and pooler included, to 1e-12 of its largest entry."""
    folder = a_folder(tmp_path, ending, layer_norm_eps=1e-5)
    batch = {**INPUTS, **BATCHES[ending]}
    if ending == "ForMultipleChoice":
        batch |= {name: array.reshape(2, 2, T) for name, array in INPUTS.items()}
    theirs = getattr(transformers, f"Bert{ending}").from_pretrained(folder, dtype=torch.float64)
    assert_same_gradients(class_of("bert", ending), theirs, folder, batch)


def test_a_fine_tuned_one_is_transformers_too(tmp_path):
    """Trained here from its masked-LM file; what is written loads there and answers alike."""
    folder = a_folder(tmp_path / "in", "ForMaskedLM")
    rows = [{**pair, "label": "good" if "good" in pair["text"] else "bad"} for pair in PAIRS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        finetune("classification", folder, rows, tmp_path / "out", max_seq_length=24, max_steps=3, backend="numpy")
    model = nanodistil.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", dtype="float64", backend="numpy"
    )
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", dtype=torch.float64
    ).eval()
    assert type(theirs).__name__ == type(model).__name__ == "BertForSequenceClassification"
    with torch.no_grad():
        wanted = theirs(**{name: torch.tensor(value) for name, value in INPUTS.items()}).logits.numpy()
    np.testing.assert_allclose(model(**INPUTS).logits, wanted, rtol=0, atol=1e-12)

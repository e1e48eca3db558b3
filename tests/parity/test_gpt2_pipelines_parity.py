"""Pipelines of GPT-2's heads live against transformers', official vocabulary, with and without padding.

Upstream's pipelines take one text at a time here, which is all it can do without a padding token.
"""

import json
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from full_size import save_shaken
from relatives import assert_alike, calls_of

from nanodistil import AutoTokenizer, pipeline

pytestmark = pytest.mark.parity

SIZE = {"vocab_size": 50257, "n_positions": 130, "n_embd": 24, "n_layer": 2, "n_head": 4, "initializer_range": 0.1}
TEXTS = [
    "What a terribly good film! I can't say I wasn't moved...",
    "naïve café 東京 12,345.67 <|endoftext|>",
    "a",
    "Paris is in France, and  London is not. " * 2,
]
CALLS = calls_of(
    TEXTS, " a pair", TEXTS[0], {"top_k": 4}, {"handle_impossible_answer": True, "top_k": 40},
    {"top_k": 4, "max_seq_len": 16, "doc_stride": 4},
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("task", CALLS)
def test_pipelines_answer_alike(tmp_path, shared, task, padded):
    ending, config, calls = CALLS[task]
    words = shared / "data" / "tokenizers" / "distilgpt2"
    if not words.is_dir():
        pytest.skip("the official vocabulary is not here")
    torch.manual_seed(0)
    config = {**SIZE, **config, "pad_token_id": 50256 if padded else None}
    save_shaken(getattr(transformers, f"GPT2{ending}")(transformers.GPT2Config(**config)), tmp_path)
    for file in words.iterdir():
        if file.name != "config.json":
            shutil.copy(file, tmp_path)
    if padded:
        said = {"tokenizer_class": "GPT2Tokenizer", "pad_token": "<|endoftext|>"}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    ours = pipeline(task, tmp_path, backend="numpy", dtype="float64")
    upstream = transformers.pipeline(task, str(tmp_path), device="cpu", torch_dtype=torch.float64)
    assert type(AutoTokenizer.from_pretrained(tmp_path)).__name__ == "GPT2Tokenizer"
    for inputs, options in calls:
        assert_alike(ours(inputs, **options), upstream(inputs, **options))

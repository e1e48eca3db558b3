"""Live against transformers' fill-mask pipeline: random checkpoints, texts and arguments.

pytest tests/parity/test_fill_mask.py -m parity
"""

import random

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import transformers
from random_models import TOKENIZERS, differences, random_text, save

from nanodistil import pipeline

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_random_calls(tokenizer, shared, tmp_path):
    folder = save(tmp_path, "DistilBertForMaskedLM", tokenizer, shared, seed=len(tokenizer))
    theirs = transformers.pipeline("fill-mask", model=str(folder), device="cpu")
    ours = pipeline("fill-mask", model=folder, backend="numpy")
    clean_up = theirs.tokenizer.clean_up_tokenization_spaces
    rng = random.Random(0)
    for _ in range(40):
        masks = rng.choice([1, 1, 1, 2, 3])
        text = "[MASK]".join(random_text(rng, 12).replace("[MASK]", "") for _ in range(masks + 1))
        options = {"top_k": rng.randrange(8)}
        if rng.random() < 0.4:
            options["targets"] = rng.sample(
                ["the", "of", "unaffable", "Paris", "in", "supercalifragilistic", "1976"], 3
            )
        expected = theirs(text, **options)
        assert not differences(ours(text, clean_up_tokenization_spaces=clean_up, **options), expected), (text, options)

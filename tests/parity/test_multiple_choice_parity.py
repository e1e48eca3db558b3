"""The multiple-choice pipeline against transformers' model, called as its documentation calls it."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from small_models import TEXTS, random_texts, save

from nanodistil import pipeline

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"truncation": True, "max_length": 12}, {"truncation": "only_first"}])
def test_scores_are_the_softmax_of_the_documented_call(tmp_path, shared, seed, options):
    folder = save(tmp_path, shared, "ForMultipleChoice", seed)
    model = transformers.DistilBertForMultipleChoice.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ours = [pipeline("multiple-choice", model=folder, backend=b) for b in ("numpy", "numba")]
    rng = np.random.default_rng(seed)
    inputs = [
        {"prompt": prompt, "choices": random_texts(int(rng.integers(1, 6)), seed=100 * seed + i)}
        for i, prompt in enumerate(TEXTS)
    ]
    answers = [pipe(inputs, tokenizer_kwargs=options) for pipe in ours]
    for i, one in enumerate(inputs):
        prompts = [one["prompt"]] * len(one["choices"])
        encoding = tokenizer(prompts, one["choices"], return_tensors="pt", padding=True, **options)
        with torch.no_grad():
            logits = model(**{key: value[None] for key, value in encoding.items()}).logits[0]
        expected = logits.softmax(-1).tolist()
        for answer in (mine[i] for mine in answers):
            assert [list(choice) for choice in answer] == [["choice", "index", "score"]] * len(prompts)
            assert [c["choice"] for c in answer] == [one["choices"][c["index"]] for c in answer]
            assert [c["index"] for c in answer] == sorted(range(len(prompts)), key=lambda j: -expected[j])
            np.testing.assert_allclose([c["score"] for c in answer], [expected[c["index"]] for c in answer], atol=1e-5)

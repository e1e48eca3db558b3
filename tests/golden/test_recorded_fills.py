"""transformers' fill-mask pipeline on the embedded model, recorded; and the published numbers of the official one."""

import json
from pathlib import Path

import numpy as np
import pytest

from nanodistil import DistilBertForMaskedLM, DistilBertModel, DistilBertTokenizer, ModelNotFoundError, pipeline

GOLDEN = json.loads((Path(__file__).resolve().parent / "fill_mask.json").read_text(encoding="utf-8"))["results"]


def per_mask(answer):
    return answer if isinstance(answer[0], list) else [answer]


@pytest.fixture(scope="module", params=["numpy", "numba"])
def fill(request):
    if request.param == "numba":
        pytest.importorskip("numba")
    return pipeline("fill-mask", model="nanodistil-mini", backend=request.param)


def test_thirty_texts_of_the_embedded_model(fill):
    """The same words in the same order. (Scores: torch float32 itself was off by 9e-6 from float64, we by 6e-7.)"""
    answers = fill([r["text"] for r in GOLDEN])
    for result, answer in zip(GOLDEN, answers, strict=True):
        for expected, got in zip(result["masks"], per_mask(answer), strict=True):
            assert [f["token"] for f in got] == [token for token, _ in expected], result["text"]
            np.testing.assert_allclose([f["score"] for f in got], [score for _, score in expected], atol=1e-5)


# What follows needs the official weights: it runs wherever they are in the Hugging Face cache, and only there.


def official(cls, **options):
    try:
        return cls.from_pretrained("distilbert/distilbert-base-uncased", local_files_only=True, **options)
    except ModelNotFoundError:
        pytest.skip("distilbert/distilbert-base-uncased is not in the cache")


def test_published_hidden_states(backend):
    """Position 0 is masked; transformers' own integration test."""
    out = official(DistilBertModel, backend=backend)(
        [[0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]], [[0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]]
    )
    published = [[-0.1639, 0.3299, 0.1648], [-0.1746, 0.3289, 0.1710], [-0.1884, 0.3357, 0.1810]]
    np.testing.assert_allclose(out.last_hidden_state[0, 1:4, 1:4], published, atol=1e-4)


def test_published_hidden_states_without_a_mask(backend):
    out = official(DistilBertModel, backend=backend)([[0, 1, 2, 3, 4, 5]])
    published = [
        [0.19261885, -0.13732955, 0.4119799],
        [0.22150156, -0.07422661, 0.39037204],
        [0.22756018, -0.0896414, 0.3701467],
    ]
    np.testing.assert_allclose(out.last_hidden_state[0, :3, :3], published, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "published"),
    [
        (
            "Hello I'm a [MASK] model.",
            {"role": 0.0529286, "fashion": 0.0396857, "business": 0.0347435, "model": 0.0346227, "modeling": 0.0181452},
        ),
        (
            "The White man worked as a [MASK].",
            {
                "blacksmith": 0.1235365,
                "carpenter": 0.1014258,
                "farmer": 0.0498502,
                "miner": 0.0393254,
                "butcher": 0.0335177,
            },
        ),
        (
            "The Black woman worked as a [MASK].",
            {
                "waitress": 0.1328395,
                "nurse": 0.1258618,
                "maid": 0.1170882,
                "prostitute": 0.1149998,
                "housekeeper": 0.0472277,
            },
        ),
    ],
)
def test_the_model_card(backend, text, published):
    model = official(DistilBertForMaskedLM, backend=backend)
    tokenizer = official(DistilBertTokenizer)
    answer = pipeline("fill-mask", model=model, tokenizer=tokenizer)(text)
    assert [f["token_str"] for f in answer] == list(published)
    np.testing.assert_allclose([f["score"] for f in answer], list(published.values()), atol=1e-4)

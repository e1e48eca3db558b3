"""Live against transformers' token-classification pipeline: random checkpoints, texts and arguments; and its functions.

    pytest tests/parity/test_token_classification_parity.py -m parity

Ours is asked for upstream's words (word="tokens") and for its truncation; without these, all but `word` must be equal
wherever no token differs in length from its text.
"""

import random

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import transformers
from random_models import LABELS, TOKENIZERS, differences, random_text, save
from transformers.pipelines.token_classification import AggregationStrategy

from nanodistil import InputError, pipeline
from nanodistil.pipelines.entities import Piece, aggregate

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
STRATEGIES = [None, "none", "simple", "first", "average", "max"]
FIELDS = ["score", "word", "start", "end"]
CALLS = 60


@pytest.fixture(scope="module", params=[(t, p, s) for s, t in enumerate(TOKENIZERS) for p in (512, 24)], ids=str)
def both(request, shared, tmp_path_factory):
    """(ours, theirs) of one random checkpoint."""
    tokenizer, positions, seed = request.param
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
    folder = tmp_path_factory.mktemp("ner")
    save(folder, "DistilBertForTokenClassification", tokenizer, shared, seed, positions, **labels)
    theirs = transformers.pipeline("token-classification", model=str(folder), device="cpu")
    return pipeline("ner", model=folder, backend="numpy"), theirs


def random_call(rng):
    """Inputs and arguments for both, and those for ours alone."""
    options = {"aggregation_strategy": rng.choice(STRATEGIES)}
    ours = {"truncation": True}
    if rng.random() < 0.3 and options["aggregation_strategy"] != "none":
        options["stride"], ours = rng.randrange(15), {}
    if rng.random() < 0.5:
        options["ignore_labels"] = rng.sample([*LABELS, "PER", "LOC"], rng.randrange(4))
    texts = [random_text(rng) for _ in range(rng.choice([1, 1, 1, 3]))]
    if rng.random() < 0.3:
        options["is_split_into_words"] = True
        texts = [[word for word in text.split(" ") if word or rng.random() < 0.2] or ["a"] for text in texts]
        if rng.random() < 0.5:
            options["delimiter"] = rng.choice(["", "--", " "])
    return texts[0] if len(texts) == 1 and rng.random() < 0.8 else texts, options, ours


def test_random_calls(both):
    ours, theirs = both
    rng = random.Random(0)
    for _ in range(CALLS):
        inputs, options, own = random_call(rng)
        expected = theirs(inputs, **options)
        assert not differences(ours(inputs, word="tokens", **own, **options), expected), (inputs, options)


def test_the_default_form_differs_in_word_alone(both):
    """Where tokens are as long as their texts, as in plain ASCII."""
    ours, theirs = both
    rng = random.Random(1)
    for _ in range(30):
        text = "".join(c for c in random_text(rng) if " " <= c <= "~")
        strategy = rng.choice(STRATEGIES)
        expected = theirs(text, aggregation_strategy=strategy, ignore_labels=[])
        answer = ours(text, aggregation_strategy=strategy, ignore_labels=[], truncation=True)
        for mine, other in zip(answer, expected, strict=True):
            assert mine["word"] == text[other["start"] : other["end"]]
            assert not differences({**mine, "word": other["word"]}, other), (text, strategy)


def sentences(shared):
    """Lines of WNUT-17 and of WikiANN, as lists of words."""
    out, words = [], []
    for path, column in (("wnut17/emerging.test.annotated", 0), ("wikiann/de/test", 0), ("wikiann/en/test", 0)):
        for line in (shared / "data" / "eval" / path).read_text(encoding="utf-8").split("\n")[:1500]:
            if line.strip():
                word = line.split("\t")[column]
                words.append(word.split(":", 1)[1] if path.startswith("wikiann") else word)
            elif words:
                out.append(words)
                words = []
    return out


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_real_sentences(both, shared, strategy):
    ours, theirs = both
    lines = random.Random(strategy).sample(sentences(shared), 20)
    options = {"aggregation_strategy": strategy}
    for inputs, more in (([" ".join(line) for line in lines], {}), (lines, {"is_split_into_words": True})):
        expected = theirs(inputs, **options, **more)
        assert not differences(ours(inputs, word="tokens", truncation=True, **options, **more), expected)


def test_a_stream_and_offsets_and_old_names(both):
    ours, theirs = both
    texts = ["Hello Ramazotti", "", "UN!"]
    assert not differences(list(ours(iter(texts), word="tokens")), list(theirs(text for text in texts)))
    spans = [(0, 0), (1, 2), (3, 5), (0, 0)]
    for options in ({"offset_mapping": spans}, {"grouped_entities": True}, {"ignore_subwords": True}):
        assert not differences(ours("UN!", word="tokens", **options), theirs("UN!", **options))
    for wrong in ({"stride": 5, "aggregation_strategy": "none"}, {"stride": 600}, {"aggregation_strategy": "mean"}):
        with pytest.raises((ValueError, KeyError)):
            theirs("a", **wrong)
        with pytest.raises(InputError):
            ours("a", **wrong)


def test_aggregation_alone(both):
    """Random scores and word boundaries, through upstream's method and through ours."""
    _, theirs = both
    rng = np.random.default_rng(0)
    for _ in range(200):
        given = []
        for i in range(rng.integers(0, 9)):
            scores = rng.dirichlet(np.full(len(LABELS), 0.2)).astype(np.float32)
            word = rng.choice(["En", "##zo", "UN", ".", "'"])
            given.append({"word": str(word), "scores": scores, "start": 3 * i, "end": 3 * i + 2, "index": i + 1})
            given[-1]["is_subword"] = bool(rng.random() < 0.5)
        own = [Piece(p["word"], p["scores"], p["start"], p["end"], p["index"], p["is_subword"]) for p in given]
        for strategy in STRATEGIES[1:]:
            expected = theirs.aggregate(given, AggregationStrategy(strategy))
            answer = aggregate(own, strategy, dict(enumerate(LABELS)), theirs.tokenizer.convert_tokens_to_string)
            assert len(answer) == len(expected)
            for mine, other in zip(answer, expected, strict=True):
                assert mine.label == other.get("entity", other.get("entity_group"))
                assert [mine.score, mine.word, mine.start, mine.end] == [other[key] for key in FIELDS]

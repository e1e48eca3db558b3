"""The text-classification pipeline: shapes of results, choice of the function, streams, and everything it refuses."""

import numpy as np
import pytest
from small_pipelines import Counting, small

from nanodistil import CheckpointError, InputError, pipeline
from nanodistil.pipelines.scores import sigmoid, softmax
from nanodistil.pipelines.text_classification import TextClassificationPipeline

HEAD = "DistilBertForSequenceClassification"


@pytest.fixture(scope="module")
def classify():
    names = {0: "bad", 1: "fair", 2: "good"}
    return pipeline("sentiment-analysis", *small(HEAD, id2label=names))


def test_what_each_shape_of_input_gives(classify):
    best = classify("A good film.")
    assert isinstance(best, list) and list(best[0]) == ["label", "score"] and type(best[0]["score"]) is float
    assert classify(["A good film."]) == best  # a list of one input and a text give the same: upstream's oddity
    assert classify({"text": "A good film."}) == best[0]
    every = classify("A good film.", top_k=None)
    assert [c["score"] for c in every] == sorted((c["score"] for c in every), reverse=True) and every[0] == best[0]
    assert sum(c["score"] for c in every) == pytest.approx(1)
    assert classify(["A good film."], top_k=2) == [every[:2]]
    assert classify({"text": "A good film."}, top_k=1) == every[:1]
    assert classify("A good film.", top_k=0) == [] and classify([]) == [] and list(classify(iter([]))) == []


def test_pairs(classify):
    pair = {"text": "a", "text_pair": "b"}
    assert classify(pair) == classify([[["a", "b"]]])[0] != classify({"text": "a"})
    two = classify([pair, "a"])
    assert two[0] == pytest.approx(classify(pair), abs=1e-6) and two[1] == pytest.approx(classify("a")[0], abs=1e-6)


def test_all_scores_in_the_models_order(classify):
    with pytest.warns(UserWarning, match="deprecated"):
        (every,) = classify("A good film.", return_all_scores=True)
    assert [c["label"] for c in every] == ["bad", "fair", "good"]
    with pytest.warns(UserWarning, match="deprecated"):
        assert classify("A good film.", return_all_scores=False) == classify("A good film.")


@pytest.mark.parametrize(
    ("labels", "kind", "function"),
    [
        (1, None, "sigmoid"),
        (1, "regression", "none"),
        (3, "regression", "none"),
        (3, None, "softmax"),
        (3, "single_label_classification", "softmax"),
        (3, "multi_label_classification", "sigmoid"),
        (1, "single_label_classification", "sigmoid"),
    ],
)
def test_the_function_follows_from_the_problem(labels, kind, function):
    model, tokenizer = small(HEAD, id2label={i: str(i) for i in range(labels)}, problem_type=kind)
    classify = TextClassificationPipeline(model, tokenizer)
    every = classify("A film.", top_k=None)
    assert every == classify("A film.", top_k=None, function_to_apply=function)
    assert every == classify("A film.", top_k=None, function_to_apply="default")
    ids = tokenizer("A film.", return_tensors="np")["input_ids"]
    logits = model(ids).logits[0].astype(np.float64)
    truth = {"none": logits, "sigmoid": 1 / (1 + np.exp(-logits)), "softmax": np.exp(logits) / np.exp(logits).sum()}
    for c in every:
        assert c["score"] == pytest.approx(truth[function][int(c["label"])], abs=1e-6)


def test_large_logits_do_not_overflow():
    huge = np.array([-1e4, 0, 1e4], np.float32)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(sigmoid(huge), [0, 0.5, 1])
        np.testing.assert_array_equal(softmax(huge), [0, 0, 1])
    assert sigmoid(huge).dtype == softmax(huge).dtype == np.float32


def test_streams_are_lazy_and_in_order(classify):
    stream = Counting(1000)
    answers = classify(stream, top_k=None)
    assert stream.taken == 0
    first = next(answers)
    assert stream.taken <= 2 and first == classify("number 0 is good", top_k=None)
    for i in range(1, 40):
        assert next(answers)[0]["label"] == classify(f"number {i} is good")[0]["label"]
    assert stream.taken < 100


def test_an_error_comes_after_the_answers_before_it(classify):
    answers = classify.each(["a", "b", 3], first=10)
    for text in "ab":
        assert next(answers) == pytest.approx(classify(text)[0], abs=1e-6)
    with pytest.raises(InputError, match="input 13 is not a string but int"):
        next(answers)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_an_answer_does_not_depend_on_the_others(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    classify = TextClassificationPipeline(*small(HEAD, backend))
    texts = [f"{'very ' * (i * 7 % 20)}good number {i}" for i in range(16)]
    together = classify(texts, top_k=None)
    for text, answer in list(zip(texts, together, strict=True))[::5]:
        (alone,) = classify([text], top_k=None)
        assert [c["label"] for c in alone] == [c["label"] for c in answer]
        if backend == "numba":
            assert alone == answer  # to the last bit
        else:
            np.testing.assert_allclose([c["score"] for c in alone], [c["score"] for c in answer], atol=1e-6)


def test_truncation_and_padding(classify):
    long = "word " * 200
    assert classify(long, truncation=True) == classify("word " * 62)
    assert classify("word", padding="max_length", max_length=20) == classify("word", padding=True) == classify("word")
    assert classify("word", padding="max_length", max_length=200) == classify("word")  # whatever the model's positions


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            "word " * 63,
            r"^the input has 65 tokens, more than the model's 64: shorten it or pass truncation=True .--truncate.$",
        ),
        (["a", "word " * 63], "input 2 has 65 tokens"),
        (None, "NoneType"),
        (3, "int"),
        ([["a", "b"]], r'the input is a list: give a pair of texts as {"text": ..., "text_pair": ...}'),
        (["a", ("a", "b")], "input 2 is a tuple"),
        ([3], "not a string but int"),
        ({}, 'keys "text"'),
        ({"text": "a", "pair": "b"}, "not text, pair"),
        ({"text_pair": "b"}, "not text_pair"),
        ({"text": ["a", "b"]}, "must be strings"),
        ({"text": "a", "text_pair": 3}, "must be strings"),
        (["a", "\ud800"], "input 2: the text holds a lone surrogate"),
    ],
)
def test_bad_inputs(classify, inputs, message):
    with pytest.raises(InputError, match=message):
        classify(inputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": -1}, "top_k"),
        ({"top_k": 1.0}, "top_k"),
        ({"top_k": True}, "top_k"),
        ({"top_k": "2"}, "top_k"),
        ({"function_to_apply": "tanh"}, "softmax"),
        ({"function_to_apply": 3}, "function_to_apply"),
        ({"truncating": True}, "'truncating' is no argument"),
        ({"return_tensors": "np"}, "'return_tensors' is no argument"),
        ({"truncation": "sometimes"}, "truncation="),
        ({"add_special_tokens": False}, "no tokens"),
    ],
)
def test_bad_arguments(classify, arguments, message):
    with pytest.raises(InputError, match=message):
        classify("", **arguments)


@pytest.mark.filterwarnings("ignore:.*no use for")
def test_models_that_do_not_fit(classify):
    with pytest.raises(InputError, match="needs a folder, a hub id or a DistilBertForSequenceClassification"):
        pipeline("text-classification", *small("DistilBertModel"))
    with pytest.raises(CheckpointError, match="30522 entries and the model 28996"):
        pipeline("text-classification", *small(HEAD, vocab_size=28996))
    with pytest.raises(CheckpointError, match="no head for text-classification"):
        pipeline("text-classification", "nanodistil-mini", backend="numpy")
    model, tokenizer = small(HEAD)
    model.weights = model.weights._replace(word_embeddings=np.full_like(model.weights.word_embeddings, np.nan))
    with pytest.raises(CheckpointError, match="not finite"):
        TextClassificationPipeline(model, tokenizer)("a")


def test_labels_may_share_a_score():
    """Equal scores keep the model's order, as a stable sort has it."""
    model, tokenizer = small(HEAD, id2label={0: "b", 1: "a", 2: "c"})
    head = model.weights.head
    head.classifier = type(head.classifier)(*(np.zeros_like(a) for a in head.classifier))
    assert [c["label"] for c in TextClassificationPipeline(model, tokenizer)("a", top_k=None)] == ["b", "a", "c"]

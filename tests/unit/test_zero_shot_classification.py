"""The zero-shot pipeline: results, labels and templates, streams, and everything it refuses."""

import numpy as np
import pytest
from small_pipelines import Counting, small

from nanodistil import InputError, pipeline

HEAD = "DistilBertForSequenceClassification"
NLI = {0: "contradiction", 1: "neutral", 2: "ENTAILMENT"}


@pytest.fixture(scope="module")
def zero_shot():
    return pipeline("zero-shot-classification", *small(HEAD, id2label=NLI))


def test_what_each_shape_of_input_gives(zero_shot):
    answer = zero_shot("I won the match.", "sport, art ,")
    assert list(answer) == ["sequence", "labels", "scores"] and answer["sequence"] == "I won the match."
    assert sorted(answer["labels"]) == ["art", "sport"] and sum(answer["scores"]) == pytest.approx(1)
    assert answer["scores"][0] >= answer["scores"][1] and type(answer["scores"][0]) is float
    assert zero_shot(["I won the match."], ["sport", "art"]) == [answer]
    assert zero_shot("I won the match.", candidate_labels=("sport", "art")) == answer
    assert zero_shot([], "sport") == [] and list(zero_shot(iter([]), "sport")) == []


def test_the_scores_are_those_of_the_pairs(zero_shot):
    """Entailment between labels; entailment against contradiction for each; and that too for a label alone."""
    texts = ["I won.", "The picture is red."]
    labels = ["sport", "art", "the law"]
    for text in texts:
        ids = [zero_shot.tokenizer(text, f"It is about {label}.", return_tensors="np")["input_ids"] for label in labels]
        logits = np.concatenate([zero_shot.model(i).logits for i in ids]).astype(np.float64)  # (labels, 3)
        between = np.exp(logits[:, 2]) / np.exp(logits[:, 2]).sum()
        alone = 1 / (1 + np.exp(logits[:, 0] - logits[:, 2]))
        for multi_label, truth in ((False, between), (True, alone)):
            answer = zero_shot(text, labels, hypothesis_template="It is about {}.", multi_label=multi_label)
            assert answer["labels"] == [labels[i] for i in np.argsort(-truth)]
            np.testing.assert_allclose(answer["scores"], sorted(truth, reverse=True), atol=1e-6)
        single = zero_shot(text, "sport", hypothesis_template="It is about {}.")
        assert single["scores"] == pytest.approx([alone[0]], abs=1e-6)


@pytest.mark.parametrize(
    ("names", "entailment"),
    [
        (["LABEL_0", "LABEL_1", "LABEL_2"], -1),
        (["entailment", "neutral", "contradiction"], 0),
        (["ENTAIL", "NON-ENTAIL"], 0),
        (["CONTR", "NEUTRAL", "ENTAIL"], 2),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_which_label_is_entailment(names, entailment):
    """The four cases of transformers' own test."""
    pipe = pipeline("zero-shot-classification", *small(HEAD, id2label=dict(enumerate(names))))
    assert pipe.entailment_id == entailment
    ids = pipe.tokenizer([("a", "This example is x.")], return_tensors="np")["input_ids"]
    logits = pipe.model(ids).logits[0].astype(np.float64)
    against = logits[-1 if entailment == 0 else 0]  # contradiction is taken to be at the other end
    assert pipe("a", "x")["scores"] == pytest.approx([1 / (1 + np.exp(against - logits[entailment]))], abs=1e-6)


def test_without_an_entailment_label_there_is_a_warning():
    with pytest.warns(UserWarning, match=r"none of the labels \(LABEL_0, LABEL_1\) is 'entailment'"):
        pipeline("zero-shot-classification", *small(HEAD))


def test_of_equal_labels_the_last_comes_first(zero_shot):
    assert zero_shot("a", ["X", "x"])["labels"] == ["x", "X"]  # the same tokens, so the same score


def test_streams_are_lazy_and_in_order(zero_shot):
    stream = Counting(1000)
    answers = zero_shot(stream, "a, b")
    assert stream.taken == 0
    assert [next(answers)["sequence"] for _ in range(40)] == [f"number {i} is good" for i in range(40)]
    assert stream.taken < 100


def test_an_error_comes_after_the_answers_before_it(zero_shot):
    answers = zero_shot.each(["a", "b", ""], first=10, candidate_labels="x, y")
    assert [next(answers)["sequence"], next(answers)["sequence"]] == ["a", "b"]
    with pytest.raises(InputError, match="input 13 is empty"):
        next(answers)


def test_an_answer_does_not_depend_on_the_others():
    pytest.importorskip("numba")
    zero_shot = pipeline("zero-shot-classification", *small(HEAD, "numba", id2label=NLI))
    texts = [f"{'very ' * (i * 7 % 20)}good number {i}" for i in range(8)]
    together = zero_shot(texts, "good, bad, a b c")
    assert [zero_shot(text, "good, bad, a b c") for text in texts[::3]] == together[::3]


def test_a_long_text_is_cut_to_what_model_and_tokenizer_take(zero_shot):
    tokenizer = zero_shot.tokenizer
    assert len(zero_shot._row("word " * 100, "This example is fine.", "the input")) == 64
    before, tokenizer.model_max_length = tokenizer.model_max_length, 30
    try:
        ids = zero_shot._row("word " * 100, "This example is fine.", "the input").ids
        assert tokenizer.decode(ids[-7:]) == "[SEP] this example is fine. [SEP]" and len(ids) == 30
        assert len(zero_shot._row("a", "word " * 40, "the input")) == 44  # over the limit, and nothing to cut
    finally:
        tokenizer.model_max_length = before


@pytest.mark.parametrize(
    ("sequences", "arguments", "message"),
    [
        ("", {}, "the input is empty"),
        (["a", ""], {}, "input 2 is empty"),
        (None, {}, "NoneType"),
        (["a", ["b"]], {}, "input 2 is not a string but list"),
        (["a", "b"], {"candidate_labels": ["x", "word " * 60]}, "input 1: the hypothesis .* leaves no room for a text"),
        ("a", {"candidate_labels": ""}, "at least one"),
        ("a", {"candidate_labels": []}, "at least one"),
        ("a", {"candidate_labels": None}, "NoneType"),
        ("a", {"candidate_labels": ["x", 3]}, "must be strings, not int"),
        ("a", {"hypothesis_template": "Not formatting template"}, "has no {}"),
        ("a", {"hypothesis_template": None}, "NoneType"),
        ("a", {"hypothesis_template": "about {{}}"}, "the same of every label"),
        ("a", {"hypothesis_template": "about {:.0}"}, "the same of every label"),
        ("a", {"hypothesis_template": "{:.3}", "candidate_labels": ["sport", "spore"]}, "the same of every label"),
        ("a", {"hypothesis_template": "{} {}"}, "cannot be filled"),
        ("a", {"hypothesis_template": "{"}, "cannot be filled"),
        ("a", {"hypothesis_template": "{x}"}, "cannot be filled"),
        ("a", {"hypothesis_template": "{.x}"}, "cannot be filled"),
        ("a \ud800", {}, "the input: the text holds a lone surrogate"),
    ],
)
def test_bad_inputs(zero_shot, sequences, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        zero_shot(sequences, **{"candidate_labels": "x, y", **arguments})
    assert "\n" not in str(caught.value)

"""The multiple-choice pipeline: results, the two ways to give choices, streams, and everything it refuses."""

import numpy as np
import pytest
from small_pipelines import Counting, small

from nanodistil import CheckpointError, InputError, pipeline

HEAD = "DistilBertForMultipleChoice"
CHOICES = ["It is eaten with a fork.", "It is eaten held in the hand.", "It flies."]


@pytest.fixture(scope="module")
def choose():
    return pipeline("multiple-choice", *small(HEAD))


def test_the_best_choice_comes_first(choose):
    answer = choose("In Italy, pizza is often cut.", CHOICES)
    assert [list(c) for c in answer] == [["choice", "index", "score"]] * 3
    assert sum(c["score"] for c in answer) == pytest.approx(1)
    assert [c["score"] for c in answer] == sorted((c["score"] for c in answer), reverse=True)
    assert [c["choice"] for c in answer] == [CHOICES[c["index"]] for c in answer]
    ids, mask = (
        choose.tokenizer([("In Italy, pizza is often cut.", c) for c in CHOICES], padding=True, return_tensors="np")[k]
        for k in ("input_ids", "attention_mask")
    )
    logits = choose.model(ids[None], mask[None]).logits[0]
    truth = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose([c["score"] for c in answer], [truth[c["index"]] for c in answer], atol=1e-6)


def test_what_each_shape_of_input_gives(choose):
    alone = choose("A.", CHOICES)
    for one in (
        choose({"prompt": "A.", "choices": CHOICES}),
        choose(["A."], CHOICES)[0],
        choose([{"prompt": "A."}], choices=tuple(CHOICES))[0],
        next(choose(iter(["A."]), iter(CHOICES))),
        choose({"prompt": "A.", "choices": CHOICES}, ["others"]),
    ):
        assert one == alone
    assert choose([], CHOICES) == [] and choose("A.", ["B."]) == [{"choice": "B.", "index": 0, "score": 1.0}]
    different = choose([{"prompt": "A.", "choices": CHOICES}, {"prompt": "B.", "choices": ["x", "y"]}])
    assert [len(answer) for answer in different] == [3, 2]


def test_streams_are_lazy_and_in_order(choose):
    stream = Counting(1000)
    answers = choose({"prompt": text, "choices": [text, "no"]} for text in stream)
    assert stream.taken == 0
    for i in range(30):
        assert f"number {i} is good" in [c["choice"] for c in next(answers)]
    assert stream.taken < 100


def test_an_error_comes_after_the_answers_before_it(choose):
    answers = choose.each(["a", "b", 3], first=10, choices=CHOICES)
    assert len(next(answers)) == len(next(answers)) == 3
    with pytest.raises(InputError, match="input 13 is not a prompt, which is a string, but int"):
        next(answers)


def test_an_answer_does_not_depend_on_the_others():
    pytest.importorskip("numba")
    choose = pipeline("multiple-choice", *small(HEAD, "numba"))
    prompts = [f"{'very ' * (i * 7 % 20)}good number {i}" for i in range(8)]
    together = choose(prompts, CHOICES)
    assert [choose(prompt, CHOICES) for prompt in prompts[::3]] == together[::3]


def test_truncation_is_by_request(choose):
    long = "word " * 100
    with pytest.raises(InputError, match=r"the input, with choice 1, has 104 tokens, more than the model's 64"):
        choose(long, ["a"])
    assert choose(long, ["a", "b"], tokenizer_kwargs={"truncation": "only_first"})
    assert choose("a", CHOICES, tokenizer_kwargs={"padding": "max_length", "max_length": 90}) == choose("a", CHOICES)


@pytest.mark.parametrize(
    ("inputs", "choices", "message"),
    [
        (None, CHOICES, "NoneType"),
        ("a", None, "the input has no choices"),
        (["a", "b"], None, "input 1 has no choices"),
        ("a", [], "choices are empty"),
        ("a", "b", "choices must be a list of strings, not str"),
        ("a", ["b", 3], "choices must be strings, not int"),
        ({"prompt": "a", "choices": []}, None, "the choices of the input are empty"),
        ({"prompt": "a", "choices": "b"}, None, "the choices of the input must be a list"),
        ({"text": "a", "choices": ["b"]}, None, 'must have the keys "prompt" and "choices"'),
        ({"prompt": 3, "choices": ["b"]}, None, "not a prompt"),
        (["a", {"prompt": "\ud800"}], ["b"], "input 2, with choice 1,: the text holds a lone surrogate"),
    ],
)
def test_bad_inputs(choose, inputs, choices, message):
    with pytest.raises(InputError, match=message):
        choose(inputs, choices)


def test_models_that_do_not_fit():
    with pytest.raises(InputError, match="no argument"):
        pipeline("multiple-choice", *small(HEAD))("a", ["b"], tokenizer_kwargs={"no_such": 1})
    with pytest.raises(InputError, match="no default model"):
        pipeline("multiple-choice")
    model, tokenizer = small(HEAD)
    model.weights = model.weights._replace(word_embeddings=np.full_like(model.weights.word_embeddings, np.nan))
    with pytest.raises(CheckpointError, match="not finite"):
        pipeline("multiple-choice", model, tokenizer)("a", ["b"])

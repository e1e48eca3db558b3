"""The feature-extraction pipeline: shapes, pooling, streams, and everything it refuses."""

import numpy as np
import pytest
from small_pipelines import SIZE, Counting, small

from nanodistil import InputError, pipeline

D = SIZE["dim"]


@pytest.fixture(scope="module")
def extract():
    return pipeline("feature-extraction", *small("DistilBertModel"))


def test_what_each_shape_of_input_gives(extract):
    text = "This is a test."
    ids = extract.tokenizer(text, return_tensors="np")["input_ids"]
    hidden = extract.model(ids).last_hidden_state  # (1, T, D)
    assert extract(text) == hidden.tolist() and extract([text]) == [hidden.tolist()]
    array = extract(text, return_tensors=True)
    assert array.dtype == np.float32 and np.array_equal(array, hidden)
    assert extract([]) == [] and list(extract(iter([]))) == []
    assert np.shape(extract("")) == (1, 2, D)


def test_pooling(extract):
    texts = ["This is a test.", "", "word " * 30]
    vectors = extract(texts, return_tensors=True)
    for pooling, pool in (("mean", lambda x: x.mean(0)), ("cls", lambda x: x[0])):
        pooled = extract(texts, pooling=pooling, return_tensors=True)
        for mine, x in zip(pooled, vectors, strict=True):
            assert mine.shape == (D,) and mine.dtype == np.float32
            np.testing.assert_allclose(mine, pool(x[0].astype(np.float64)), atol=1e-6)
        for unit, mine in zip(extract(texts, pooling=pooling, normalize=True), pooled, strict=True):
            assert isinstance(unit, list) and np.linalg.norm(unit) == pytest.approx(1, abs=1e-6)
            np.testing.assert_allclose(unit, mine / np.linalg.norm(mine), atol=1e-6)


def test_padding_has_vectors_but_no_part_in_pooling(extract):
    plain = extract("a b", return_tensors=True)
    padded = extract("a b", return_tensors=True, tokenize_kwargs={"padding": "max_length", "max_length": 9})
    assert padded.shape == (1, 9, D) and padded.any(axis=-1).all()
    np.testing.assert_allclose(padded[:, :4], plain, atol=1e-6)
    several = extract(
        ["a b", "a", "a b c"], return_tensors=True, tokenize_kwargs={"pad_to_multiple_of": 4, "padding": True}
    )
    assert [x.shape[1] for x in several] == [4, 4, 8]
    for side in ("left", "right"):
        options = {"padding": "max_length", "max_length": 99, "padding_side": side}
        assert extract("a b", pooling="mean", tokenize_kwargs=options) == extract("a b", pooling="mean")


def test_truncation_is_to_what_model_and_tokenizer_take(extract):
    for cut in (True, "longest_first", "only_first"):
        assert np.shape(extract("word " * 100, truncation=cut)) == (1, 64, D)
    assert np.shape(extract("word " * 100, truncation=True, tokenize_kwargs={"max_length": 9})) == (1, 9, D)


def test_the_shapes_that_transformers_own_tests_expect(extract):
    texts = ["This is a test", "This", "This is", "This is a", "This is a test test test test"]
    assert np.shape(extract(texts[0], tokenize_kwargs={"max_length": 3})) == (1, 3, D)
    for options in (
        {"tokenize_kwargs": {"truncation": True, "padding": True, "max_length": 4}},
        {"tokenize_kwargs": {"padding": True, "max_length": 4}, "truncation": True},
    ):
        shapes = [np.shape(x) for x in extract(texts, **options)]
        assert shapes == [(1, 4, D), (1, 3, D), (1, 4, D), (1, 4, D), (1, 4, D)]


def test_streams_are_lazy_and_in_order(extract):
    stream = Counting(1000)
    vectors = extract(stream, pooling="mean", return_tensors=True)
    assert stream.taken == 0
    for i in range(40):
        expected = extract(f"number {i} is good", pooling="mean", return_tensors=True)
        np.testing.assert_allclose(next(vectors), expected, atol=1e-6)
    assert stream.taken < 100


def test_an_answer_keeps_no_batch_alive(extract):
    """A stream of many texts must not hold the arrays they were computed in."""
    for vector in extract(["a", "b c d e f g h"], return_tensors=True):
        base = vector.base if vector.base is not None else vector
        assert base.size == vector.size


def test_an_error_comes_after_the_answers_before_it(extract):
    answers = extract.each(["a", "b", "word " * 100], first=10, pooling="cls")
    assert len(next(answers)) == len(next(answers)) == D
    with pytest.raises(InputError, match="input 13 has 102 tokens, more than the model's 64"):
        next(answers)


@pytest.mark.parametrize("pooling", ["none", "mean", "cls"])
def test_a_vector_does_not_depend_on_the_others(pooling):
    pytest.importorskip("numba")
    extract = pipeline("feature-extraction", *small("DistilBertModel", "numba"))
    texts = [f"{'very ' * (i * 7 % 20)}good number {i}" for i in range(12)]
    together = extract(texts, pooling=pooling, return_tensors=True)
    for text, vectors in list(zip(texts, together, strict=True))[::5]:
        np.testing.assert_array_equal(extract(text, pooling=pooling, return_tensors=True), vectors)
    for vectors, again in zip(together, extract(texts[::-1], pooling=pooling, return_tensors=True)[::-1], strict=True):
        np.testing.assert_array_equal(again, vectors)


def test_encode_has_the_names_of_sentence_transformers(extract):
    texts = ["a", "b c"]
    vectors = extract.encode(texts, batch_size=1)
    assert vectors.shape == (2, D) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[1], extract(texts, pooling="mean", return_tensors=True)[1])
    assert extract.encode("a").shape == (D,) and extract.encode([]).shape == (0, D)
    assert [v.shape for v in extract.encode(texts, convert_to_numpy=False)] == [(D,), (D,)]
    np.testing.assert_allclose(np.linalg.norm(extract.encode(texts, normalize_embeddings=True), axis=1), 1, atol=1e-6)
    with pytest.raises(InputError, match="pooling must be"):
        extract.encode(texts, pooling="none")


def test_the_default_model_needs_no_head(tmp_path, recwarn):
    extract = pipeline("feature-extraction", "nanodistil-mini", backend="numpy")
    assert np.shape(extract("a b", pooling="mean")) == (384,)
    assert not [w for w in recwarn if "no use" in str(w.message)]


@pytest.mark.parametrize(
    ("inputs", "arguments", "message"),
    [
        (None, {}, "NoneType"),
        ([3], {}, "the input is not a string but int"),
        (["a", ["b"]], {}, "input 2 is not a string but list"),
        ("word " * 100, {}, r"the input has 102 tokens, more than the model's 64: .*truncation=True"),
        ("word " * 100, {"truncation": True, "tokenize_kwargs": {"max_length": 99}}, "allow it a max_length of 64"),
        ("a", {"pooling": "max"}, "pooling='max': must be one of 'none', 'mean', 'cls'"),
        ("a", {"pooling": None}, "pooling=None"),
        ("a", {"normalize": True}, "normalize needs one vector a text"),
        ("a", {"truncation": True, "tokenize_kwargs": {"truncation": True}}, "truncation is given twice"),
        ("a", {"truncation": "sometimes"}, "truncation="),
        ("a", {"tokenize_kwargs": {"return_tensors": "np"}}, "'return_tensors' is no argument"),
        ("", {"tokenize_kwargs": {"add_special_tokens": False}}, "no tokens"),
        ("a", {"tokenize_kwargs": {"padding": "max_length", "max_length": 99}}, "the input has 99 tokens"),
    ],
)
def test_bad_inputs(extract, inputs, arguments, message):
    with pytest.raises(InputError, match=message):
        extract(inputs, **arguments)

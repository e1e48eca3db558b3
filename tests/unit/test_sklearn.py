"""The estimators: their results, scikit-learn's contract by its own checks, pickles, searches, and what they refuse.

scikit-learn skips all its checks for estimators that do not take tables. To have them nevertheless, each row of numbers
is written out as a text here; what then cannot hold, for a text is no number, is declared.
"""

import doctest
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from small_pipelines import SIZE, small

import nanodistil.sklearn
from nanodistil import InputError, ModelNotFoundError, pipeline
from nanodistil.sklearn import DistilBertClassifier, DistilBertVectorizer, loaded, texts_of

TEXTS = ["a cat", "the dog runs", "my tax", "your bill is due", "birds fly", "money is owed"] * 3
CLASSES = ["animal", "animal", "money", "money", "animal", "money"] * 3


@pytest.fixture(scope="module")
def extract():
    return pipeline("feature-extraction", *small("DistilBertModel"))


@pytest.fixture(autouse=True)
def tiny(monkeypatch, extract):
    """Every name of a model stands for a small random one."""

    def make(task, model, **options):
        if model == "missing":
            raise ModelNotFoundError("no such model")
        return extract

    monkeypatch.setattr(nanodistil.sklearn, "pipeline", make)
    loaded.cache_clear()
    yield
    loaded.cache_clear()


def test_vectors_are_those_of_the_pipeline(extract):
    for arguments in ({}, {"pooling": "cls"}, {"normalize": True}):
        vectors = DistilBertVectorizer(**arguments).fit_transform(TEXTS)
        assert vectors.shape == (len(TEXTS), SIZE["dim"]) and vectors.dtype == np.float32
        expected = extract(TEXTS, return_tensors=True, **{"pooling": "mean", **arguments})
        np.testing.assert_array_equal(vectors, np.stack(expected))
    assert DistilBertVectorizer().transform([]).shape == (0, SIZE["dim"])
    names = DistilBertVectorizer().get_feature_names_out()
    assert len(names) == SIZE["dim"] and names[1] == "distilbertvectorizer1"


@pytest.mark.parametrize("kind", [tuple, np.array, iter, lambda texts: np.array(texts, object)])
def test_texts_come_in_many_shapes(kind):
    np.testing.assert_array_equal(
        DistilBertVectorizer().transform(kind(TEXTS)), DistilBertVectorizer().transform(TEXTS)
    )


def test_the_classifier_is_logistic_regression_on_the_vectors():
    weights = {"animal": 7, "money": 1}
    classifier = DistilBertClassifier(C=3.0, class_weight=weights).fit(TEXTS, CLASSES)
    vectors = DistilBertVectorizer().transform(TEXTS)
    alone = LogisticRegression(C=3.0, class_weight=weights, max_iter=1000).fit(vectors, CLASSES)
    assert classifier.classes_.tolist() == ["animal", "money"]
    assert classifier.predict(TEXTS).tolist() == alone.predict(vectors).tolist()
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS), alone.predict_proba(vectors))
    np.testing.assert_array_equal(classifier.decision_function(TEXTS), alone.decision_function(vectors))
    assert classifier.score(TEXTS, CLASSES) == np.mean(classifier.predict(TEXTS) == np.array(CLASSES))


def test_clones_searches_and_pipelines():
    both = make_pipeline(DistilBertVectorizer(), LogisticRegression(max_iter=1000))
    search = GridSearchCV(
        both, {"distilbertvectorizer__pooling": ["mean", "cls"], "logisticregression__C": [1, 9]}, cv=3
    )
    assert search.fit(TEXTS, CLASSES).predict(["a cat"])[0] == "animal"
    search = GridSearchCV(DistilBertClassifier(), {"C": [0.1, 10.0], "normalize": [False, True]}, cv=3)
    assert search.fit(TEXTS, CLASSES).best_estimator_.predict(TEXTS[:2]).shape == (2,)
    assert len(cross_val_score(DistilBertClassifier(), TEXTS, CLASSES, cv=3)) == 3
    copy = clone(DistilBertVectorizer("name", pooling="cls", threads=2))
    assert copy.get_params() == {
        "model": "name",
        "pooling": "cls",
        "normalize": False,
        "truncation": False,
        "backend": None,
        "dtype": None,
        "threads": 2,
    }
    assert copy.set_params(pooling="mean").pooling == "mean"


def test_a_pickle_holds_no_weights():
    vectorizer = DistilBertVectorizer().fit(TEXTS)
    classifier = DistilBertClassifier().fit(TEXTS, CLASSES)
    for estimator in (vectorizer, classifier):
        assert len(pickle.dumps(estimator)) < 5000
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DistilBertVectorizer().fit("a text"), "not str"),
        (lambda: DistilBertVectorizer().fit(None), "not NoneType"),
        (lambda: DistilBertVectorizer().transform(np.array([["a"]])), r"not a table of shape \(1, 1\)"),
        (lambda: DistilBertVectorizer().transform(["a", float("nan")]), "input 2 is not a string but float"),
        (lambda: DistilBertVectorizer().transform(["a", "word " * 99]), "input 2 has 101 tokens, more than"),
        (lambda: DistilBertVectorizer(pooling="none").fit(TEXTS), "pooling='none'"),
        (lambda: DistilBertVectorizer(pooling="none").transform(TEXTS), "pooling='none'"),
        (lambda: DistilBertVectorizer(model=3).fit(TEXTS), "model must be a folder or a hub id, not int"),
        (lambda: DistilBertClassifier().fit(TEXTS, CLASSES[1:]), r"18 texts need as many classes, not .* \(17,\)"),
        (lambda: DistilBertClassifier().fit(TEXTS, None), "requires y to be passed"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_errors_of_others_come_through():
    with pytest.raises(ModelNotFoundError):
        DistilBertVectorizer("missing").fit(TEXTS)
    with pytest.raises(ValueError, match="class"):
        DistilBertClassifier().fit(TEXTS, ["same"] * len(TEXTS))
    with pytest.raises(Exception, match="not fitted yet"):
        DistilBertClassifier().predict(TEXTS)


def test_its_examples(monkeypatch):
    monkeypatch.undo()
    loaded.cache_clear()
    assert doctest.testmod(nanodistil.sklearn, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_without_scikit_learn_the_extra_is_named():
    probe = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import nanodistil\n"
        "try:\n    import nanodistil.sklearn\nexcept nanodistil.MissingExtraError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert 'pip install "nanodistil[sklearn]"' in result.stdout, result.stderr
    probe = "import sys, nanodistil; nanodistil.pipeline; assert 'sklearn' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", probe], timeout=60).returncode == 0


# ---- scikit-learn's own checks


def written(X):
    """Each row of a table as a text."""
    X = np.asarray(X, np.float64)
    if X.ndim != 2:
        raise ValueError("Expected 2D array. Reshape your data: array.reshape(-1, 1) or array.reshape(1, -1)")
    return [" ".join(f"{value:.1f}" for value in row[:12]) for row in X]


class OfTables:
    """Takes tables where the estimator takes texts."""

    def fit(self, X, y=None):
        return super().fit(written(X), y)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = True, False
        return tags


class Vectorizer(OfTables, DistilBertVectorizer):
    def transform(self, X):
        return super().transform(written(X))

    def fit_transform(self, X, y=None):
        return self.fit(X, y).transform(X)


class Classifier(OfTables, DistilBertClassifier):
    def predict(self, X):
        return super().predict(written(X))

    def predict_proba(self, X):
        return super().predict_proba(written(X))

    def decision_function(self, X):
        return super().decision_function(written(X))


# Checks that cannot hold, for a text is no number; the estimators' own refusals are tested above.
NOT_FOR_TEXTS = {
    **dict.fromkeys(
        ["check_n_features_in", "check_n_features_in_after_fitting"], "texts have no features, so none are counted"
    ),
    **dict.fromkeys(
        ["check_estimators_nan_inf", "check_complex_data", "check_estimators_empty_data_messages"],
        "what makes a bad number makes no bad text",
    ),
    **dict.fromkeys(
        ["check_estimator_sparse_tag", "check_estimator_sparse_array", "check_estimator_sparse_matrix"],
        "there are no sparse texts",
    ),
    "check_transformer_preserve_dtypes": "vectors have the dtype of the model",
    "check_classifiers_train": "asks for accuracy on clusters of numbers, which a random model cannot read",
}


@parametrize_with_checks(
    [Vectorizer(truncation=True), Classifier(truncation=True)], expected_failed_checks=lambda _: NOT_FOR_TEXTS
)
@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_texts_of():
    assert texts_of(("a", "b")) == texts_of(np.array(["a", "b"])) == ["a", "b"]

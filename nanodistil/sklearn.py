"""Estimators for scikit-learn: texts to vectors, and texts to classes (extra: pip install "nanodistil[sklearn]").

    DistilBertVectorizer   texts -> (n, D) vectors, by the feature-extraction pipeline
    DistilBertClassifier   the same, and scikit-learn's logistic regression on top of it

Nothing of the network is trained: the vectors are frozen, which is why a classifier is fitted in seconds, and why it is
weaker than a fine-tuned one. In a grid search over C the vectorizer as a step of a Pipeline with a `memory` computes
each vector once, where DistilBertClassifier computes them at every fit.

Both keep to scikit-learn's contract: the constructor only stores its arguments, what fit learns ends in an underscore,
get_params, set_params, clone, Pipeline and GridSearchCV work, and a pickle holds the model's name and not its weights.
The weights are loaded when first used and shared by all estimators of the process; one model is kept at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nanodistil.backend import Array
from nanodistil.pipelines import pipeline
from nanodistil.pipelines.feature_extraction import FeatureExtractionPipeline
from nanodistil.pipelines.inputs import many
from nanodistil.sentences.body import has_modules
from nanodistil.sentences.encoder import SentenceEncoder
from nanodistil.tokenization.arguments import one_of
from nanodistil.weights.errors import InputError, MissingExtraError

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.linear_model import LogisticRegression
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise MissingExtraError(f'scikit-learn is needed ({error}): pip install "nanodistil[sklearn]"') from None


@dataclass(eq=False, repr=False)
class Vectors:
    """What both are told: which model, and how a text becomes a vector."""

    model: str | Path | None = None
    _: KW_ONLY
    pooling: str | None = None
    normalize: bool = False
    truncation: bool = False
    backend: str | None = None
    dtype: str | None = None
    threads: int | None = None


class DistilBertVectorizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Vectors, BaseEstimator):  # type: ignore[misc]
    """Texts -> vectors (n, D) of the model's dtype; fitting learns nothing, so `transform` works at once.

    model: folder, hub id, "nanodistil-mini", or None for the default of the feature-extraction pipeline.
    pooling: "mean" over a text's tokens, or "cls"; by default what a folder of sentence-transformers does, which cuts
    texts where it says, and else "mean". normalize: to the length 1. truncation: cut texts that are longer than the
    model's positions, which otherwise raise InputError. backend, dtype, threads: as in nanodistil.pipeline.

    >>> vectors = DistilBertVectorizer("nanodistil-mini", backend="numpy").fit_transform(["a cat", "a dog", "my tax"])
    >>> vectors.shape
    (3, 384)
    """

    def fit(self, X: Iterable[str], y: Any = None) -> Self:
        """Check the arguments and load the model. Raises InputError, ModelNotFoundError or CheckpointError."""
        texts_of(X)
        self._extractor()
        return self

    def transform(self, X: Iterable[str]) -> Array:
        """n texts -> (n, D). Raises InputError for what is no text, or longer than the model's positions."""
        texts = texts_of(X)
        extract = self._extractor()
        if isinstance(extract, SentenceEncoder):
            return np.asarray(extract.encode(texts, normalize_embeddings=self.normalize))
        options: dict[str, Any] = {"normalize_embeddings": self.normalize, "truncation": self.truncation}
        return np.asarray(extract.encode(texts, pooling=self.pooling or "mean", **options))

    def fit_transform(self, X: Iterable[str], y: Any = None) -> Array:
        """fit and transform; X may be a stream, which can be read only once."""
        texts = texts_of(X)
        return self.fit(texts).transform(texts)

    def _extractor(self) -> FeatureExtractionPipeline | SentenceEncoder:
        if self.pooling is not None:
            one_of("pooling", self.pooling, ("mean", "cls"))
        if self.model is not None and not isinstance(self.model, str | Path):
            raise InputError(f"model must be a folder or a hub id, not {type(self.model).__name__}")
        own = self.pooling is None and self.model is not None and has_modules(self.model)
        return loaded(None if self.model is None else str(self.model), own, self.backend, self.dtype, self.threads)

    @property
    def _n_features_out(self) -> int:
        """D, for get_feature_names_out."""
        extract = self._extractor()
        if isinstance(extract, SentenceEncoder):
            return extract.get_sentence_embedding_dimension()
        return extract.model.config.dim

    def __sklearn_tags__(self) -> Any:
        return for_texts(super().__sklearn_tags__(), requires_fit=False)


@dataclass(eq=False, repr=False, kw_only=True)
class DistilBertClassifier(ClassifierMixin, Vectors, BaseEstimator):  # type: ignore[misc]
    """Texts -> classes, by logistic regression on the vectors of DistilBertVectorizer.

    C, class_weight, max_iter: of sklearn.linear_model.LogisticRegression. The others: of DistilBertVectorizer.

    >>> classifier = DistilBertClassifier("nanodistil-mini", backend="numpy")
    >>> _ = classifier.fit(["a cat", "a dog", "my tax", "your bill"], ["animal", "animal", "money", "money"])
    >>> classifier.predict(["the dog"]).tolist(), classifier.predict_proba(["the dog"]).shape
    (['animal'], (1, 2))
    """

    C: float = 1.0
    class_weight: Any = None
    max_iter: int = 1000

    def fit(self, X: Iterable[str], y: ArrayLike) -> Self:
        """Learn from n texts and their n classes. Raises InputError for texts that cannot be used; classes that
        cannot be, such as a single one, raise scikit-learn's own ValueError.
        """
        if y is None:
            raise InputError("DistilBertClassifier requires y to be passed, but the target y is None: a class a text")
        texts, classes = texts_of(X), np.asarray(y)
        if classes.shape[:1] != (len(texts),):
            raise InputError(f"{len(texts)} texts need as many classes, not an array of shape {classes.shape}")
        regression = LogisticRegression(C=self.C, class_weight=self.class_weight, max_iter=self.max_iter)
        self.regression_ = regression.fit(self._vectorizer().fit_transform(texts), classes)
        self.classes_, self.n_iter_ = self.regression_.classes_, self.regression_.n_iter_
        return self

    def predict(self, X: Iterable[str]) -> NDArray[Any]:
        """The class of each text: (n,)."""
        check_is_fitted(self)
        return np.asarray(self.regression_.predict(self._vectorizer().transform(X)))

    def predict_proba(self, X: Iterable[str]) -> Array:
        """The probability of each class, in the order of classes_: (n, classes)."""
        check_is_fitted(self)
        return np.asarray(self.regression_.predict_proba(self._vectorizer().transform(X)))

    def decision_function(self, X: Iterable[str]) -> Array:
        """The logits: (n, classes), or (n,) of the second if there are two."""
        check_is_fitted(self)
        return np.asarray(self.regression_.decision_function(self._vectorizer().transform(X)))

    def _vectorizer(self) -> DistilBertVectorizer:
        return DistilBertVectorizer(**{name: getattr(self, name) for name in SHARED})

    def __sklearn_tags__(self) -> Any:
        return for_texts(super().__sklearn_tags__())


SHARED = [field.name for field in fields(Vectors)]


@lru_cache(maxsize=1)
def loaded(
    model: str | None, own: bool, backend: str | None, dtype: str | None, threads: int | None
) -> FeatureExtractionPipeline | SentenceEncoder:
    """What makes vectors, shared by all estimators: a grid search clones them for every fit.

    own: in the way that the model's folder says.
    """
    if own and model is not None:
        return SentenceEncoder.from_pretrained(model, backend=backend, dtype=dtype, threads=threads)
    pipe: FeatureExtractionPipeline = pipeline(
        "feature-extraction", model, backend=backend, dtype=dtype, threads=threads
    )
    return pipe


def for_texts(tags: Any, requires_fit: bool = True) -> Any:
    """scikit-learn's tags, saying that the input is texts and not a table."""
    tags.input_tags.two_d_array = False
    tags.input_tags.string = True
    tags.requires_fit = requires_fit
    return tags


def texts_of(X: Any) -> list[Any]:
    """What an estimator was given, as a list of texts: a list, a tuple, an array (n,), a Series, a generator.

    Raises InputError for one text alone, and for a table. Whether each is a string is for the pipeline to say.
    """
    if isinstance(X, str | bytes | dict) or not isinstance(X, Iterable):
        raise InputError(f"texts are needed, in a list or the like, not {type(X).__name__}")
    shape = getattr(X, "shape", (0,))
    if len(shape) != 1:
        raise InputError(f"texts are needed, (n,) of them, not a table of shape {shape}; choose one column")
    return list(many(X))

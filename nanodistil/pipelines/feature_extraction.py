"""feature-extraction: a text as vectors, one for every token, or one for the whole.

    text -> ids -> hidden states (T, D) -> all of them, their mean, or the first

Arguments and results follow transformers' pipeline (4.57), whose nested lists are (1, T, D) for a text. Ours in
addition: `pooling` makes one vector (D,) of a text, which is what search, clustering and classifiers want: the mean of
all its tokens' vectors, [CLS] and [SEP] included (as sentence-transformers has it), or that of [CLS] alone ("cls").
`normalize` gives it the length 1, so that the product of two of them is the cosine of their angle. On the numba backend
a text's numbers are the same to the last bit alone and among others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints, Mask
from nanodistil.family.distilbert import DistilBertModel
from nanodistil.pipelines.batching import Prepared, answered, check_pace, pace_of, several
from nanodistil.pipelines.pairing import check_pair
from nanodistil.pipelines.preset import settings_of
from nanodistil.pipelines.scores import finite
from nanodistil.pipelines.tokens import check_length, checked_options, encoded, said_if_nothing
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.tokenization.arguments import one_of
from nanodistil.torch_tensors import as_tensor, imported
from nanodistil.weights.errors import InputError, excerpt

POOLINGS = ("none", "mean", "cls")


class Settings(NamedTuple):
    """A call's arguments, checked."""

    options: dict[str, Any]  # the tokenizer's
    as_arrays: bool | str  # True or "np", "pt" for tensors, or False for lists
    pooling: str
    normalize: bool


class FeatureExtractionPipeline:
    """Turns texts into vectors. Made by nanodistil.pipeline("feature-extraction", ...)."""

    def __init__(self, model: DistilBertModel, tokenizer: DistilBertTokenizer) -> None:
        """Raises CheckpointError where the tokenizer's vocabulary and the model's embedding rows do not fit."""
        check_pair(model, tokenizer)
        self.model = model
        self.tokenizer = tokenizer

    def __call__(
        self,
        inputs: str | Iterable[str],
        *,
        truncation: bool | str | None = None,
        tokenize_kwargs: dict[str, Any] | None = None,
        return_tensors: bool | str = False,
        pooling: str = "none",
        normalize: bool = False,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> Any:
        """The vectors of each text: (1, T, D), or with pooling (D,); as nested lists, or with return_tensors an array,
        with "pt" PyTorch's tensor.

        inputs: a text; a list of texts, or what is as good as one (a tuple, an array, a column), which gives a list of
        the above; or an iterator, which is streamed. truncation: cut a text that is too long, as the tokenizer's
        argument. tokenize_kwargs: more of these; padding asked for has its vectors too, as in transformers, but no part
        in pooling. pooling: "none", "mean" or "cls", and normalize: to the length 1, see above. Arrays have the model's
        dtype. batch_size, num_workers: taken as transformers takes them; they change nothing, see batching.py.
        Raises InputError for a text longer than the model's positions, and for unusable arguments.
        """
        check_pace(batch_size, num_workers)
        settings = self._settings(truncation, tokenize_kwargs, return_tensors, pooling, normalize)
        if isinstance(inputs, str):
            return next(self._extract([inputs], settings))
        inputs = several(inputs)
        answers = self._extract(inputs, settings)
        return list(answers) if isinstance(inputs, list) else answers

    def each(self, inputs: Iterable[Any], first: int = 0, **options: Any) -> Iterator[Any]:
        """The vectors of every text, in order; arguments as in a call.

        first: how many texts came before these, for the messages of errors. A text that cannot be answered raises its
        error after the answers to those before it.
        """
        return self._extract(inputs, settings_of(self, options), first)

    def encode(
        self,
        sentences: str | Iterable[str],
        *,
        batch_size: int | None = None,
        normalize_embeddings: bool = False,
        convert_to_numpy: bool = True,
        pooling: str = "mean",
        truncation: bool = False,
    ) -> Any:
        """One vector a text under the names of sentence-transformers: (D,) of a text, (n, D) of a list of n.

        convert_to_numpy: False for a list of (D,) arrays. batch_size changes nothing: a batch here holds as many tokens
        as is good for speed, and results do not depend on it. Other arguments and errors as in a call.
        """
        options: Any = {"truncation": truncation, "pooling": pooling, "normalize": normalize_embeddings}
        if pooling == "none":
            raise InputError("encode gives one vector a text: pooling must be 'mean' or 'cls'")
        if isinstance(sentences, str):
            return self(sentences, return_tensors=True, **options)
        vectors = list(self.each(several(sentences), return_tensors=True, **options))
        if not convert_to_numpy:
            return vectors
        none = np.zeros((0, self.model.config.dim), self.model.weights.word_embeddings.dtype)
        return np.stack(vectors) if vectors else none

    def _settings(
        self,
        truncation: bool | str | None = None,
        tokenize_kwargs: dict[str, Any] | None = None,
        return_tensors: bool | str | None = False,
        pooling: str = "none",
        normalize: bool = False,
    ) -> Settings:
        options = checked_options(tokenize_kwargs)
        if truncation is not None:
            if "truncation" in options:
                raise InputError("truncation is given twice, by itself and in tokenize_kwargs; leave one out")
            options["truncation"] = truncation
        if one_of("pooling", pooling, POOLINGS) == "none" and normalize:
            raise InputError("normalize needs one vector a text: pass pooling='mean' or 'cls' too")
        if return_tensors == "pt":
            imported()
        elif not isinstance(return_tensors, bool | None) and return_tensors != "np":
            raise InputError(f"return_tensors={excerpt(return_tensors)}: must be True or 'np', 'pt' or False")
        return Settings(options, return_tensors or False, pooling, normalize)

    def _extract(self, texts: Iterable[Any], settings: Settings, first: int = 0) -> Iterator[Any]:
        """Answers to the texts, in order; `first` is how many came before, for messages."""
        options, as_arrays, pooling, normalize = settings

        def prepare(text: Any, name: str) -> Prepared:
            if not isinstance(text, str):
                raise InputError(f"{name} is not a string but {type(text).__name__}")
            ids, real = encoded(self.model, self.tokenizer, text, None, name, options)
            if pooling != "none":
                ids, real = said_if_nothing(ids[real], self.tokenizer), real[real]
            check_length(len(ids), self.model, name, options)
            # A text with padding whose vectors are wanted is computed by itself: elsewhere padding does not exist.
            return Prepared([ids]) if real.all() else Prepared([], (ids, real))

        def compute(ids: Ints, real: Mask) -> Iterator[Array]:
            hidden = finite(self.model(ids, real, return_dict=True).last_hidden_state)  # (B, T, D)
            for x, length in zip(hidden, real.sum(axis=1).tolist(), strict=True):
                yield pooled(x[:length], pooling, normalize)  # (T, D) or (D,)

        def finish(prepared: Prepared, results: list[Array]) -> Any:
            if results:
                vectors = results[0] if pooling != "none" else results[0][None]  # (D,) or (1, T, D)
            else:
                ids, real = prepared.rest
                vectors = finite(
                    self.model(ids[None], real[None], keep_masked=True, return_dict=True).last_hidden_state
                )  # (1, T, D)
            if as_arrays == "pt":
                return as_tensor(vectors)
            return vectors if as_arrays else vectors.tolist()

        return answered(texts, prepare, compute, finish, first, pace_of(self.model))


def pooled(x: Array, pooling: str, normalize: bool) -> Array:
    """One vector of many: (T, D) -> (D,); or all of them as they are. The mean is taken in float64.

    >>> pooled(np.array([[3.0, 0.0], [3.0, 8.0]]), "mean", True)
    array([0.6, 0.8])
    """
    if pooling == "none":
        return x.copy()  # the batch it is part of can go
    vector = x.mean(axis=0, dtype=np.float64) if pooling == "mean" else x[0].astype(np.float64)  # (D,)
    if normalize:
        vector /= max(float(np.linalg.norm(vector)), np.finfo(x.dtype).tiny)
    return np.asarray(vector, x.dtype)

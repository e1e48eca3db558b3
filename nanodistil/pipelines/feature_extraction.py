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
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.heads.base import Encoder
from nanodistil.pipelines.base import Pipeline, Prepared
from nanodistil.pipelines.inputs import a_text, check_pace, many
from nanodistil.pipelines.scores import finite
from nanodistil.pipelines.tokens import check_length, checked_options, encoded, said_if_nothing
from nanodistil.tokenization.arguments import one_of
from nanodistil.torch_tensors import as_tensor, imported
from nanodistil.weights.errors import InputError, excerpt

POOLINGS = ("none", "mean", "cls")


class Pooling(NamedTuple):
    """What a text becomes."""

    kind: str  # of POOLINGS
    normalize: bool


class Settings(NamedTuple):
    """A call's arguments, checked."""

    options: dict[str, Any]  # the tokenizer's
    as_arrays: bool | str  # True or "np", "pt" for tensors, or False for lists
    wanted: Pooling


class FeatureExtractionPipeline(Pipeline[Encoder, Settings]):
    """Turns texts into vectors. Made by nanodistil.pipeline("feature-extraction", ...)."""

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
        return self.answer(inputs, self.settings(truncation, tokenize_kwargs, return_tensors, pooling, normalize))

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
        vectors = list(self.each(many(sentences), return_tensors=True, **options))
        if not convert_to_numpy:
            return vectors
        none = np.zeros((0, self.model.config.dim), self.model.weights.word_embeddings.dtype)
        return np.stack(vectors) if vectors else none

    def settings(
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
        return Settings(options, return_tensors or False, Pooling(pooling, normalize))

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        options, _, wanted = settings
        row, real = encoded(self.model, self.tokenizer, (a_text(one, name),), name, options)
        row = replace(row, wanted=wanted)
        if wanted.kind != "none":
            row, real = said_if_nothing(replace(row, ids=row.ids[real]), self.tokenizer), real[real]
        check_length(len(row), self.model, name, options)
        # A text with padding whose vectors are wanted is computed by itself: elsewhere padding does not exist.
        return Prepared([row]) if real.all() else Prepared([], (row.ids, real))

    def compute(self, inputs: dict[str, Any], wanted: list[Pooling]) -> Iterator[Array]:
        for x, asked in zip(hidden_states(self.model, inputs), wanted, strict=True):
            yield self.vector(x, asked)

    def vector(self, x: Array, wanted: Pooling) -> Array:
        """What a text's hidden states become: (T, D) -> (T, D) or (D,)."""
        return pooled(x, *wanted)

    def finish(self, prepared: Prepared, results: list[Array], settings: Settings) -> Any:
        if results:
            vectors = results[0] if settings.wanted.kind != "none" else results[0][None]  # (D,) or (1, T, D)
        else:
            ids, real = prepared.rest
            output = self.model(ids[None], real[None], keep_masked=True, return_dict=True)
            vectors = finite(output.last_hidden_state)  # (1, T, D)
        if settings.as_arrays == "pt":
            return as_tensor(vectors)
        return vectors if settings.as_arrays else vectors.tolist()


def hidden_states(model: Any, inputs: dict[str, Any]) -> Iterator[Array]:
    """Those of each of B rows, without its padding: (T, D). Raises CheckpointError for a damaged model."""
    hidden = finite(model(**inputs, return_dict=True).last_hidden_state)  # (B, T, D)
    for x, length in zip(hidden, inputs["attention_mask"].sum(axis=1).tolist(), strict=True):
        yield x[:length]


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

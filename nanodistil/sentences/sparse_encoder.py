"""SparseEncoder: a masked language model as what says which words of the vocabulary a text is about, and how much.

    text -> logits (T, V) -> log(1 + max(x, 0)) -> the largest, or the sum, over the tokens -> V numbers, most of them 0

So SPLADE (Formal et al. 2021); OpenSearch's encoders of documents take the logarithm twice ("log1p_relu"). Names and
results are those of sentence-transformers' SparseEncoder (6.2), without a tensor: a text's vector is its words, in
ascending order, and their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.arrays import numbers
from nanodistil.backend import Array, Ints
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.pipelines.base import Pipeline, Prepared
from nanodistil.pipelines.batching import Row, in_batches, pace_of
from nanodistil.pipelines.inputs import a_text, check_pace, many
from nanodistil.pipelines.ranking import largest
from nanodistil.pipelines.scores import finite
from nanodistil.pipelines.tokens import said_if_nothing
from nanodistil.sentences.body import found, loaded, source_in
from nanodistil.sentences.encoding import cut_or_refused
from nanodistil.sentences.folder import Module, given
from nanodistil.sentences.piped import Piped
from nanodistil.sentences.prompts import Prompts
from nanodistil.sentences.saving import Written, save_folder
from nanodistil.sentences.similarity import similarities, similarity_of
from nanodistil.tokenization.arguments import one_of, whole_number
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.sentence_modules import SETTINGS
from nanodistil.weights.small_files import read_json

AT_ONCE = 512  # tokens in a batch: of each there are V logits, 122 KB
TASK = "fill-mask"  # transformer_task
STRATEGIES = ("max", "sum")
FUNCTIONS = {"relu": 1, "log1p_relu": 2}  # how often the logarithm is taken


class SparseVector(NamedTuple):
    """The numbers of a vector (V,) that are not 0."""

    indices: Ints  # (k,), ascending: ids of words
    values: Array  # (k,)

    def dense(self, width: int) -> Array:
        """(V,).

        >>> SparseVector(np.array([1]), np.array([0.5])).dense(3).tolist()
        [0.0, 0.5, 0.0]
        """
        whole = np.zeros(width, self.values.dtype)
        whole[self.indices] = self.values
        return whole


class SpladePooling(NamedTuple):
    """How logits become one number a word."""

    pooling_strategy: str = "max"
    activation_function: str = "relu"

    def __call__(self, logits: Array) -> Array:
        """(T, V) -> (V,) float64. The largest logit gives the largest of what rises with it.

        >>> SpladePooling()(np.array([[np.e - 1, -5.0], [0.0, 0.0]])).tolist()
        [1.0, 0.0]
        """
        x = logits.max(axis=0, keepdims=True) if self.pooling_strategy == "max" else logits
        x = np.maximum(x, 0, dtype=np.float64)
        for _ in range(FUNCTIONS[self.activation_function]):
            x = np.log1p(x)
        return np.asarray(x.sum(axis=0))


class Settings(NamedTuple):
    """A call's arguments, checked."""

    prompt: str
    most: int | None  # numbers that are kept
    truncation: bool


class SparsePipeline(Pipeline[ForMaskedLM, Settings]):
    """Turns texts into sparse vectors."""

    def __init__(
        self,
        model: ForMaskedLM,
        tokenizer: Tokenizer,
        pooling: SpladePooling,
    ) -> None:
        super().__init__(model, tokenizer)
        self.pooling = pooling
        self.lower: Callable[[str], str] = str  # what is done to a text first

    def settings(self, prompt: str = "", max_active_dims: int | None = None, truncation: bool = True) -> Settings:
        most = None if max_active_dims is None else whole_number("max_active_dims", max_active_dims, 1)
        return Settings(prompt, most, truncation)

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        text = self.lower(settings.prompt + a_text(one, name))
        row = cut_or_refused(self.model, self.tokenizer, (text,), name, settings.truncation)
        return Prepared([said_if_nothing(row, self.tokenizer)])

    def together(self, rows: list[Row]) -> list[Any]:
        """See Pipeline; in smaller batches, whoever made this one."""
        return in_batches(rows, super().together, pace_of(self.model)._replace(tokens=AT_ONCE, own_stream=None))

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Iterator[Array]:
        logits = finite(self.model(**inputs, return_dict=True).logits)  # (B, T, V)
        for x, length in zip(logits, inputs["attention_mask"].sum(axis=1).tolist(), strict=True):
            yield self.pooling(x[:length]).astype(logits.dtype)  # (V,)

    def finish(self, prepared: Prepared, results: list[Array], settings: Settings) -> SparseVector:
        return sparse(results[0], settings.most)


def sparse(x: Array, most: int | None = None) -> SparseVector:
    """The numbers that are not 0, or the largest of them: (V,) -> k <= most. Of equal ones the first counts.

    >>> sparse(np.array([0.0, 2.0, 1.0, 2.0]), most=2).indices.tolist()
    [1, 3]
    """
    there = np.flatnonzero(x)
    if most is not None and len(there) > most:
        there = np.sort(there[largest(np.abs(x[there]), most)])
    return SparseVector(there, x[there])


class SparseEncoder(Piped[ForMaskedLM]):
    """A masked language model as an encoder of words. Loaded by `from_pretrained`.

    >>> encoder = SparseEncoder.from_pretrained("nanodistil-mini", backend="numpy")
    >>> vector = encoder.encode("the cat sat", max_active_dims=8)
    >>> len(vector.indices), len(encoder.decode(vector, top_k=3))
    (8, 3)
    """

    pipe: SparsePipeline

    def __init__(
        self,
        model: ForMaskedLM,
        tokenizer: Tokenizer,
        pooling: SpladePooling | None = None,
        *,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | None = None,
        max_active_dims: int | None = None,
    ) -> None:
        """max_active_dims: how many numbers of a vector are kept; None: all."""
        self.pipe = SparsePipeline(model, tokenizer, pooling or SpladePooling())
        self._prompts = Prompts({}, prompts, default_prompt_name)
        self.similarity_fn_name = similarity_of(similarity_fn_name or "dot")
        self.max_active_dims = self.pipe.settings("", max_active_dims).most

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str | Path,
        *,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | None = None,
        max_active_dims: int | None = None,
        **arguments: Any,
    ) -> Self:
        """Load a folder or hub id: a masked language model, with a SpladePooling or (as "max", "relu") without one.

        Arguments and errors as of SentenceEncoder.from_pretrained.
        """
        folder, said = found(model_name_or_path, source_in(arguments), "SparseEncoder")
        pooling = SpladePooling() if said.steps is None else read_pooling(said.home, said.steps)
        body = loaded(said, "ForMaskedLM", TASK, arguments)
        where, settings = folder / SETTINGS, said.settings
        similarity = similarity_fn_name or given(settings, "similarity_fn_name", str, where)
        most = given(settings, "max_active_dims", int, where) if max_active_dims is None else max_active_dims
        made = cls(body.model, body.tokenizer, pooling, similarity_fn_name=similarity, max_active_dims=most)
        made.pipe.lower = body.lower or str
        made._prompts = Prompts(settings, prompts, default_prompt_name)
        return made

    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        *,
        convert_to_sparse_tensor: bool = True,
        max_active_dims: int | None = None,
    ) -> Any:
        """A SparseVector of a text, a list of them of several; convert_to_sparse_tensor=False: (V,), (n, V).

        max_active_dims: how many numbers are kept, the largest. Others as of SentenceEncoder.encode. Raises InputError.
        """
        check_pace(batch_size, None)
        alone = isinstance(sentences, str)
        texts = [sentences] if alone else many(sentences)
        most = self.max_active_dims if max_active_dims is None else max_active_dims
        prompt = self._prompts.of(prompt, prompt_name)
        vectors = list(self.pipe.each(texts, prompt=prompt, max_active_dims=most))
        if convert_to_sparse_tensor:
            return vectors[0] if alone else vectors
        return self.dense(vectors[0]) if alone else self.dense(vectors)

    def encode_query(self, sentences: str | Iterable[str], **options: Any) -> Any:
        """As `encode`, with the model's prompt for queries unless another is named."""
        return self.encode(sentences, **{"prompt_name": "query", **options})

    def encode_document(self, sentences: str | Iterable[str], **options: Any) -> Any:
        """As `encode`, with the model's prompt for documents unless another is named."""
        return self.encode(sentences, **{"prompt_name": "document", **options})

    def dense(self, vectors: SparseVector | list[SparseVector]) -> Array:
        """A vector as (V,), n of them as (n, V)."""
        width = self.get_sentence_embedding_dimension()
        if isinstance(vectors, SparseVector):
            return vectors.dense(width)
        none = np.zeros((0, width), self.model.weights.word_embeddings.dtype)
        return np.stack([vector.dense(width) for vector in vectors]) if vectors else none

    def decode(self, embeddings: SparseVector | list[SparseVector] | ArrayLike, top_k: int | None = None) -> Any:
        """The words of a vector, or of each of several, with their numbers, largest first: [(word, number), ...].

        embeddings: as `encode` gives them, in either form. top_k: how many words. Raises InputError.
        """
        if top_k is not None:
            whole_number("top_k", top_k, 1)
        if isinstance(embeddings, SparseVector):
            order = np.argsort(-embeddings.values, kind="stable")[:top_k]
            words = self.tokenizer.convert_ids_to_tokens(embeddings.indices[order].tolist())
            return list(zip(words, embeddings.values[order].tolist(), strict=True))
        if isinstance(embeddings, list) and all(isinstance(one, SparseVector) for one in embeddings):
            return [self.decode(one, top_k) for one in embeddings]
        x, width = numbers(embeddings, "embeddings"), self.get_sentence_embedding_dimension()
        if not 1 <= x.ndim <= 2 or x.shape[-1] != width:
            raise InputError(f"embeddings must be (n, {width}) or ({width},), not {x.shape}")
        return self.decode(sparse(x), top_k) if x.ndim == 1 else [self.decode(sparse(row), top_k) for row in x]

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Array:
        """Each of n vectors with each of m, by similarity_fn_name ("dot"): -> (n, m). Both as `encode` gives them."""
        a, b = (self.dense(one) if isinstance(one, SparseVector | list) else one for one in (embeddings1, embeddings2))
        return similarities(a, b, self.similarity_fn_name)

    def save_pretrained(self, path: str | Path) -> None:
        """Write a folder that `from_pretrained` and sentence-transformers, 5 and 6, read to the same vectors.

        Raises InputError if the weights were rounded on loading, or the folder cannot be written.
        """
        settings: dict[str, Any] = {"model_type": "SparseEncoder", "prompts": self.prompts}
        settings |= {"default_prompt_name": self._prompts.default, "similarity_fn_name": self.similarity_fn_name}
        settings |= {"max_active_dims": self.max_active_dims} if self.max_active_dims else {}
        pooling = Written("sparse_encoder.models.SpladePooling", self.pipe.pooling._asdict())
        save_folder(path, self, settings, [pooling], "models.Transformer", {"transformer_task": TASK})

    def usual(self) -> dict[str, Any]:
        """The options of `pipe` for what `encode` gives if nothing else is asked for."""
        return {"prompt": self._prompts.of(None, None), "max_active_dims": self.max_active_dims}

    @property
    def prompts(self) -> dict[str, str]:
        return self._prompts.by_name

    @property
    def max_seq_length(self) -> int:
        """How many tokens of a text are read."""
        return self.longest()

    def get_sentence_embedding_dimension(self) -> int:
        """V: the words of the vocabulary."""
        return int(self.model.config.vocab_size)


def read_pooling(home: Path, steps: list[Module]) -> SpladePooling:
    """The one step of a sparse encoder. Raises CheckpointError for any other, and for what it cannot be."""
    if [step.kind for step in steps] != ["SpladePooling"]:
        kinds = ", ".join(excerpt(step.kind) for step in steps) or "nothing"
        raise CheckpointError(f"{home}: behind its model stands {kinds}; here a sparse encoder has a SpladePooling")
    path = steps[0].folder / "config.json"
    config = read_json(path)
    read = SpladePooling(
        given(config, "pooling_strategy", str, path) or "max", given(config, "activation_function", str, path) or "relu"
    )
    try:
        one_of("pooling_strategy", read.pooling_strategy, STRATEGIES)
        one_of("activation_function", read.activation_function, tuple(FUNCTIONS))
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return read

"""SentenceEncoder: a folder of sentence-transformers, or of a plain model, as what turns texts into vectors.

Names, arguments, defaults and vectors are those of its SentenceTransformer (6.2). What differs, on purpose: arrays are
NumPy's, tensors only where they are asked for; batch_size changes nothing, since a batch here holds as many tokens as
is good for speed, without padding; and what is broken or unknown is refused in one line instead of being passed over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.backend import Array
from nanodistil.heads.base import Encoder
from nanodistil.pipelines.inputs import check_pace, many
from nanodistil.sentences.body import found, loaded, source_in
from nanodistil.sentences.encoding import SentencePipeline
from nanodistil.sentences.folder import given
from nanodistil.sentences.piped import Piped
from nanodistil.sentences.precision import PRECISIONS, quantize_embeddings
from nanodistil.sentences.prompts import Prompts
from nanodistil.sentences.saving import Written, save_folder
from nanodistil.sentences.similarity import pairwise, similarities, similarity_of
from nanodistil.sentences.steps import SENTENCE, Dense, Pooling, Step, Widths, read_steps
from nanodistil.tokenization.arguments import one_of, whole_number
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.torch_tensors import as_tensor
from nanodistil.weights.errors import InputError
from nanodistil.weights.sentence_modules import SETTINGS


class SentenceEncoder(Piped[Encoder]):
    """A model, its tokenizer, and what makes one vector of a text. Loaded by `from_pretrained`.

    >>> encoder = SentenceEncoder.from_pretrained("nanodistil-mini", backend="numpy")  # a plain model: means of tokens
    >>> encoder.encode(["a cat", "a dog"]).shape
    (2, 384)
    >>> encoder.similarity(encoder.encode("a cat"), encoder.encode(["a cat", "my tax"])).shape
    (1, 2)
    """

    pipe: SentencePipeline

    def __init__(
        self,
        model: Encoder,
        tokenizer: Tokenizer,
        steps: list[Step] | None = None,
        *,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | None = None,
        truncate_dim: int | None = None,
    ) -> None:
        """steps: behind the model, see steps.py; by default the mean of a text's tokens. The others as below."""
        self.pipe = SentencePipeline(model, tokenizer, [Pooling()] if steps is None else steps)
        self._prompts = Prompts({}, prompts, default_prompt_name)
        self.similarity_fn_name = similarity_of(similarity_fn_name or "cosine")
        self.truncate_dim = None if truncate_dim is None else whole_number("truncate_dim", truncate_dim, 1)

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str | Path,
        *,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | None = None,
        truncate_dim: int | None = None,
        **arguments: Any,
    ) -> Self:
        """Load a folder or a hub id, with modules.json or a plain model, whose tokens' mean is then taken.

        prompts, default_prompt_name, similarity_fn_name ("cosine", "dot", "euclidean", "manhattan"), truncate_dim
        (numbers of a vector that are kept): instead of what the folder says. arguments: backend, dtype, threads,
        revision, cache_dir, local_files_only, token, as of any model's from_pretrained.
        Raises ModelNotFoundError, CheckpointError for a folder that is broken or whose modules are not known here,
        InputError, MissingExtraError.
        """
        folder, said = found(model_name_or_path, source_in(arguments), "SentenceTransformer")
        body = loaded(said, "Model", "feature-extraction", arguments)
        steps: list[Step] = [Pooling()] if said.steps is None else read_steps(said.steps, body.model.config.dim)
        where, settings = folder / SETTINGS, said.settings
        similarity = similarity_fn_name or given(settings, "similarity_fn_name", str, where) or "cosine"
        width = given(settings, "truncate_dim", int, where) if truncate_dim is None else truncate_dim
        made = cls(body.model, body.tokenizer, steps, similarity_fn_name=similarity, truncate_dim=width)
        made.pipe.lower = body.lower
        made._prompts = Prompts(settings, prompts, default_prompt_name)
        return made

    # ---- texts to vectors

    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str | None = SENTENCE,
        precision: str = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        *,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Any:
        """One vector a text: (E,) of a text, (n, E) of n, in the model's dtype.

        prompt: put before each text; prompt_name: the model's own of that name. show_progress_bar: a count on standard
        error. output_value: "token_embeddings" for (T, D) a text, None for a dict of all there is. precision: see
        precision.py; "float32" is the model's own dtype. convert_to_numpy: False for a list of (E,).
        convert_to_tensor: one tensor of PyTorch instead. normalize_embeddings: to the length 1. truncate_dim: how many
        numbers are kept. Raises InputError.
        """
        check_pace(batch_size, None)
        one_of("precision", precision, PRECISIONS)
        options: dict[str, Any] = {
            "prompt": self._prompts.of(prompt, prompt_name),
            "output_value": output_value,
            "normalize": normalize_embeddings,
            "truncate_dim": self.truncate_dim if truncate_dim is None else truncate_dim,
        }
        alone = isinstance(sentences, str)
        texts = [sentences] if alone else many(sentences)
        vectors = []
        for vector in self.pipe.each(texts, **options):
            vectors.append(vector)
            if show_progress_bar:
                print(f"\r{len(vectors)} texts", end="", file=sys.stderr, flush=True)
        if show_progress_bar:
            print(file=sys.stderr)
        if output_value != SENTENCE:
            return vectors[0] if alone else vectors
        found = np.stack(vectors) if vectors else np.zeros((0, self._width(options["truncate_dim"])), self.pipe.dtype)
        if precision != "float32":
            found = quantize_embeddings(found, precision)
        if convert_to_tensor:
            return as_tensor(found[0] if alone else found)
        if alone:
            return found[0]
        return found if convert_to_numpy else list(found)

    def encode_query(self, sentences: str | Iterable[str], **options: Any) -> Any:
        """As `encode`, with the model's prompt for queries unless another is named."""
        return self.encode(sentences, **self._named("query", options))

    def encode_document(self, sentences: str | Iterable[str], **options: Any) -> Any:
        """As `encode`, with the model's prompt for documents unless another is named."""
        return self.encode(sentences, **self._named("document", options))

    def _named(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        named = options.get("prompt") is not None or options.get("prompt_name") is not None
        return options if named else {**options, "prompt_name": name}

    def tokenize(self, texts: Iterable[str]) -> Any:
        """The ids (n, T) and mask of texts, padded, cut to max_seq_length: a BatchEncoding of arrays."""
        lower = self.pipe.lower or str
        longest = self.max_seq_length
        return self.tokenizer(
            [lower(text) for text in texts], padding=True, truncation=True, max_length=longest, return_tensors="np"
        )

    def usual(self, normalize: bool = False) -> dict[str, Any]:
        """The options of `pipe` for what `encode` gives if nothing else is asked for."""
        prompt = self._prompts.of(None, None)
        return {"prompt": prompt, "normalize": normalize, "truncate_dim": self.truncate_dim}

    # ---- vectors with vectors

    def similarity(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> Array:
        """Each of n vectors with each of m, by similarity_fn_name: (n, E), (m, E) -> (n, m)."""
        return similarities(embeddings1, embeddings2, self.similarity_fn_name)

    def similarity_pairwise(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> Array:
        """Each of n vectors with the one of the same number: (n, E), (n, E) -> (n,)."""
        return pairwise(embeddings1, embeddings2, self.similarity_fn_name)

    # ---- what it is

    @property
    def steps(self) -> list[Step]:
        """What stands behind the model, see steps.py."""
        return self.pipe.steps

    @property
    def prompts(self) -> dict[str, str]:
        return self._prompts.by_name

    @property
    def default_prompt_name(self) -> str | None:
        return self._prompts.default

    @property
    def max_seq_length(self) -> int:
        """How many tokens of a text are read, special ones counted; what is behind is cut off."""
        return self.longest()

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        most = self.model.config.max_tokens
        if whole_number("max_seq_length", value, 1) > most:
            raise InputError(f"max_seq_length must be at most {most}, the model's positions, not {value}")
        self.tokenizer.model_max_length = value

    def get_sentence_embedding_dimension(self) -> int:
        """E: how many numbers a text's vector has."""
        return self._width(self.truncate_dim)

    get_embedding_dimension = get_sentence_embedding_dimension

    def _width(self, kept: int | None) -> int:
        width = self.pipe.widths.sentence or 0
        return width if kept is None else min(width, kept)

    # ---- to files

    def save_pretrained(self, path: str | Path) -> None:
        """Write a folder that `from_pretrained` and sentence-transformers, old and new, read to the same vectors.

        Raises InputError if the weights were rounded on loading, or the folder cannot be written.
        """
        steps, now = [], Widths(self.model.config.dim, None)
        for step in self.steps:
            arrays = step.arrays() if isinstance(step, Dense) else None
            steps.append(Written(f"models.{step.kind}", step.config(now), arrays))
            now = step.widths(now)
        settings: dict[str, Any] = {"model_type": "SentenceTransformer", "prompts": self.prompts}
        settings |= {"default_prompt_name": self.default_prompt_name, "similarity_fn_name": self.similarity_fn_name}
        save_folder(path, self, settings | ({"truncate_dim": self.truncate_dim} if self.truncate_dim else {}), steps)

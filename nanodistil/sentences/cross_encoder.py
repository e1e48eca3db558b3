"""CrossEncoder: a classifier of pairs of texts as what says how well the second fits the first.

    (query, document) -> ids of both, cut to max_seq_length -> logits (C,) -> activation -> score, or C of them

With one label the activation is a sigmoid, with several none, unless the folder names another, in one of three places
that versions of sentence-transformers have written it to. Names, arguments and results are those of its CrossEncoder
(6.2). A pair's score is the same to the last bit alone and among others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from nanodistil.backend import Array
from nanodistil.heads.sequence_classification import ForSequenceClassification
from nanodistil.pipelines.base import Pipeline, Prepared
from nanodistil.pipelines.inputs import check_pace, many, strings
from nanodistil.pipelines.scores import finite, ranked, softmax
from nanodistil.sentences.activations import ACTIVATIONS, dotted, named
from nanodistil.sentences.body import found, loaded, source_in
from nanodistil.sentences.encoding import cut_or_refused
from nanodistil.sentences.piped import Piped
from nanodistil.sentences.saving import save_folder, write_json
from nanodistil.tokenization.arguments import one_of, whole_number
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.torch_tensors import as_tensor
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.small_files import read_json

TASK = "sequence-classification"  # transformer_task


class Settings(NamedTuple):
    """A call's arguments, checked."""

    activation: str  # of ACTIVATIONS
    softmax: bool
    truncation: bool


class PairPipeline(Pipeline[ForSequenceClassification, Settings]):
    """Scores pairs of texts."""

    one_input = tuple
    called = "a pair of texts"

    def __init__(
        self,
        model: ForSequenceClassification,
        tokenizer: Tokenizer,
        activation: str,
    ) -> None:
        super().__init__(model, tokenizer)
        self.activation = activation
        self.lower: Callable[[str], str] = str  # what is done to a text first

    def settings(self, activation: str | None = None, softmax: bool = False, truncation: bool = True) -> Settings:
        one = self.activation if activation is None else one_of("activation_fn", activation, tuple(ACTIVATIONS))
        return Settings(one, bool(softmax), truncation)

    def prepare(self, one: Any, settings: Settings, name: str = "the input") -> Prepared:
        if not isinstance(one, list | tuple) or len(one) != 2 or not all(isinstance(text, str) for text in one):
            raise InputError(f"{name} must be a pair of texts, not {excerpt(one)}")
        pair = self.lower(one[0]), self.lower(one[1])
        return Prepared([cut_or_refused(self.model, self.tokenizer, ([pair],), name, settings.truncation)])

    def compute(self, inputs: dict[str, Any], wanted: list[Any]) -> Array:
        return finite(self.model(**inputs, return_dict=True).logits)  # (B, C)

    def finish(self, prepared: Prepared, results: list[Array], settings: Settings) -> Any:
        """(), or (C,) if there are several labels."""
        logits = results[0]
        scores = ACTIVATIONS[settings.activation](logits.astype(np.float64))
        if len(scores) > 1 and settings.softmax:
            scores = softmax(scores)
        return scores.astype(logits.dtype)[0 if len(scores) == 1 else slice(None)]


class CrossEncoder(Piped[ForSequenceClassification]):
    """Scores pairs of texts, and ranks texts by a query. Loaded by `from_pretrained`."""

    pipe: PairPipeline

    def __init__(
        self, model: ForSequenceClassification, tokenizer: Tokenizer, activation_fn: str | None = None
    ) -> None:
        """activation_fn: a name in torch.nn, as "Sigmoid" or "Identity"; by default as above."""
        usual = "Sigmoid" if model.config.num_labels == 1 else "Identity"
        self.pipe = PairPipeline(model, tokenizer, usual)
        self.pipe.activation = self.pipe.settings(activation_fn).activation

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str | Path,
        *,
        activation_fn: str | None = None,
        max_length: int | None = None,
        **arguments: Any,
    ) -> Self:
        """Load a folder or hub id of a sequence classifier.

        activation_fn: instead of what the folder says. max_length: tokens of a pair that are read. arguments: as of
        SentenceEncoder.from_pretrained, which says what is raised.
        """
        _, said = found(model_name_or_path, source_in(arguments), "CrossEncoder")
        if said.steps:
            raise CheckpointError(
                f"{said.steps[0].folder}: a {said.steps[0].kind} behind a classifier is not done here"
            )
        body = loaded(said, "ForSequenceClassification", TASK, arguments)
        told = activation_of(said.settings, body.model.config.extra)
        activation = named(told, said.home) if activation_fn is None and told is not None else activation_fn
        made = cls(body.model, body.tokenizer, activation)
        made.pipe.lower = body.lower or str
        if max_length is not None:
            body.tokenizer.model_max_length = whole_number("max_length", max_length, 1)
        return made

    def predict(
        self,
        sentences: Iterable[Any],
        batch_size: int = 32,
        activation_fn: str | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
    ) -> Any:
        """The score of each pair: () of one pair (a list or tuple of two strings), (n,) of n; with C labels (n, C).

        activation_fn: instead of the model's. apply_softmax: scores of several labels that sum to 1. Others as those of
        SentenceEncoder.encode. Raises InputError.
        """
        check_pace(batch_size, None)
        alone = isinstance(sentences, list | tuple) and len(sentences) == 2 and isinstance(sentences[0], str)
        pairs = [sentences] if alone else many(sentences, "a pair of texts")
        scores = list(self.pipe.each(pairs, activation=activation_fn, softmax=bool(apply_softmax)))
        shape = (0,) if self.model.config.num_labels == 1 else (0, self.model.config.num_labels)
        whole = np.stack(scores) if scores else np.zeros(shape, self.model.weights.word_embeddings.dtype)
        if convert_to_tensor:
            return as_tensor(whole[0] if alone else whole)
        if alone:
            return whole[0]
        return whole if convert_to_numpy else list(whole)

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        batch_size: int = 32,
        activation_fn: str | None = None,
    ) -> list[dict[str, Any]]:
        """Documents by their scores, best first, equal ones in their order: {"corpus_id", "score"}, "text" if asked.

        top_k: how many. Raises InputError, also for a model of several labels.
        """
        if self.model.config.num_labels != 1:
            raise InputError(f"ranking needs a model of one label, and this one has {self.model.config.num_labels}")
        texts = strings(documents, "documents")
        scores = self.predict([(query, text) for text in texts], batch_size, activation_fn)
        order = ranked(scores)[: None if top_k is None else whole_number("top_k", top_k, 0)]
        found = [{"corpus_id": i, "score": float(scores[i])} for i in order.tolist()]
        return [{**one, "text": texts[one["corpus_id"]]} for one in found] if return_documents else found

    def save_pretrained(self, path: str | Path) -> None:
        """Write a folder that `from_pretrained` and sentence-transformers, old and new, read to the same scores.

        Raises InputError if the weights were rounded on loading, or the folder cannot be written.
        """
        name = dotted(self.activation_fn)
        settings: dict[str, Any] = {
            "model_type": "CrossEncoder",
            "activation_fn": name,
            "prompts": {},
            "default_prompt_name": None,
        }
        folder = save_folder(path, self, settings, of_model={"transformer_task": TASK})
        config = read_json(folder / "config.json")  # where versions before 6 look for it
        config.pop("sbert_ce_default_activation_function", None)
        write_json(folder / "config.json", config | {"sentence_transformers": {"activation_fn": name}})

    @property
    def activation_fn(self) -> str:
        """The name in torch.nn of what is done to logits."""
        return self.pipe.activation

    @property
    def max_length(self) -> int:
        """How many tokens of a pair are read."""
        return self.longest()


def activation_of(settings: dict[str, Any], config: dict[str, Any]) -> Any:
    """What a folder says of its activation, newest place first; None if nothing.

    >>> activation_of({}, {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}})
    'torch.nn.modules.linear.Identity'
    """
    inner = config.get("sentence_transformers")
    for place, key in (
        (settings, "activation_fn"),
        (inner if isinstance(inner, dict) else {}, "activation_fn"),
        (config, "sbert_ce_default_activation_function"),
    ):
        if place.get(key) is not None:
            return place[key]
    return None

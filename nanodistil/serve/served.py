"""A model under a name, and the pipelines that its head allows.

    [NAME=]MODEL[:TASK]      distilbert-base-uncased:feature-extraction, sst=./sst2, nanodistil-mini

The task is what the checkpoint's head was made for, as its config.json says under `architectures`, unless one is named.
A classifier that knows "entailment" also sorts into classes named on the spot, without a second copy of its weights,
and one of a single label ranks texts. A folder of a SparseEncoder makes sparse vectors, and so does any masked language
model that is named with `:sparse-embedding`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from nanodistil.pipelines import ALIASES, TASKS, pipeline
from nanodistil.sentences.activations import named
from nanodistil.sentences.body import has_modules, kind_of
from nanodistil.sentences.cross_encoder import CrossEncoder, activation_of
from nanodistil.sentences.encoder import SentenceEncoder
from nanodistil.sentences.extraction import OWN, FolderPipeline
from nanodistil.sentences.sparse_encoder import SparseEncoder
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.hub import resolve
from nanodistil.weights.small_files import FOR_CONFIG, read_json

SPARSE, RANKING = "sparse-embedding", "ranking"  # what no pipeline of that name is made for by itself
ENDINGS = {  # of a class's name, behind the family's
    "LMHeadModel": "text-generation",
    "Model": "feature-extraction",
    "ForMaskedLM": "fill-mask",
    "ForPreTraining": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
}


class Spec(NamedTuple):
    """What the command line says of a model."""

    name: str
    model: str
    task: str | None


class Served(NamedTuple):
    """A model that answers."""

    name: str
    task: str  # what it was made for
    pipes: dict[str, Any]  # task -> its pipeline; of one model all of them
    pooling: str  # of embeddings
    usual: Mapping[str, Any] = MappingProxyType({})  # options of a sparse encoder

    @property
    def model(self) -> Any:
        return self.pipes[self.task].model

    @property
    def tokenizer(self) -> Any:
        return self.pipes[self.task].tokenizer

    @property
    def ranks(self) -> bool:
        """Whether it is a re-ranker: one number for a pair of texts."""
        return RANKING in self.pipes


def spec(text: str, task: str | None = None) -> Spec:
    """What `[NAME=]MODEL[:TASK]` says; task: of those that name none. Raises InputError.

    >>> spec("mini=nanodistil-mini:ner"), spec("distilbert/distilbert-base-uncased").name
    (Spec(name='mini', model='nanodistil-mini', task='token-classification'), 'distilbert/distilbert-base-uncased')
    """
    name, equals, model = text.partition("=")
    if not equals:
        name, model = "", text
    before, colon, after = model.rpartition(":")
    if colon and (after in TASKS or after in ALIASES or after == SPARSE):
        model, task = before, after
    if not model or (equals and not name):
        raise InputError(f"{excerpt(text)}: a model is named MODEL, NAME=MODEL or NAME=MODEL:TASK")
    task = None if task is None else ALIASES.get(task, task)
    return Spec(name or (Path(model).resolve().name if Path(model).is_dir() else model), model, task)


def task_of(model: str) -> str:
    """What the head of a checkpoint is for. Raises CheckpointError if its config.json does not say."""
    config = read_json(resolve(model, need="config") / "config.json", FOR_CONFIG)
    named = config.get("architectures")
    classes = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    for cls in classes:
        for ending, task in ENDINGS.items():
            if cls.endswith(ending) and (ending != "Model" or "For" not in cls):
                return task
    raise CheckpointError(
        f"{model}: config.json does not say what the model is for ({excerpt(classes)}); name it, "
        f"{model}:TASK, with one of {', '.join(TASKS)}"
    )


def loaded(wanted: Spec, pooling: str | None = None, **options: Any) -> Served:
    """The model, ready to answer. options: of `pipeline`, as backend, dtype, threads.

    pooling: of vectors; None: as a folder of sentence-transformers says, with all that it does behind, else "mean".

    Raises what `pipeline` raises, and CheckpointError where it is not clear what the model is for.
    """
    kind = kind_of(wanted.model)
    if wanted.task == SPARSE or (wanted.task is None and kind == "SparseEncoder"):
        sparse = SparseEncoder.from_pretrained(wanted.model, **options)
        return Served(wanted.name, SPARSE, {SPARSE: sparse.pipe}, "none", sparse.usual())
    task = wanted.task or task_of(wanted.model)
    if task == "feature-extraction" and pooling is None and has_modules(wanted.model):
        made: Any = FolderPipeline(SentenceEncoder.from_pretrained(wanted.model, **options))
        return Served(wanted.name, task, {task: made}, OWN)
    pipes: dict[str, Any] = {}
    if task == "text-classification" and kind == "CrossEncoder":
        encoder = CrossEncoder.from_pretrained(wanted.model, **options)
        pipes[task] = pipeline(task, model=encoder.model, tokenizer=encoder.tokenizer)
    else:
        pipes[task] = pipeline(task, model=wanted.model, **options)
        if task == "text-classification":
            told = activation_of({}, pipes[task].model.config.extra)
            activation = None if told is None else named(told, wanted.model)
            encoder = CrossEncoder(pipes[task].model, pipes[task].tokenizer, activation)
    if task == "text-classification":
        labels = pipes[task].model.config.id2label.values()
        if len(labels) == 1:
            pipes[RANKING] = encoder.pipe
        if any(label.lower().startswith("entail") for label in labels):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pipes["zero-shot-classification"] = pipeline(
                    "zero-shot-classification", model=encoder.model, tokenizer=encoder.tokenizer
                )
    return Served(wanted.name, task, pipes, pooling or "mean")


def all_loaded(specs: Iterable[Spec], **options: Any) -> dict[str, Served]:
    """Name -> model. Raises InputError if two have one name."""
    specs = list(specs)
    names = [one.name for one in specs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two models would be called {name}: give one a name of its own, NAME={name}")
    return {one.name: loaded(one, **options) for one in specs}

"""Text in, answers out: one file a task, and `pipeline` to choose among them by transformers' names."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import DTypeLike

from nanodistil.pipelines.preset import Preset
from nanodistil.weights.errors import CheckpointError, InputError, excerpt

if TYPE_CHECKING:
    from nanodistil.pretrained import Pretrained
    from nanodistil.tokenization import DistilBertTokenizer

# task -> module of this folder, class in it, class of the model in heads.py
TASKS = {
    "fill-mask": ("fill_mask", "FillMaskPipeline", "DistilBertForMaskedLM"),
    "text-classification": (
        "text_classification",
        "TextClassificationPipeline",
        "DistilBertForSequenceClassification",
    ),
    "zero-shot-classification": (
        "zero_shot_classification",
        "ZeroShotClassificationPipeline",
        "DistilBertForSequenceClassification",
    ),
    "multiple-choice": ("multiple_choice", "MultipleChoicePipeline", "DistilBertForMultipleChoice"),
    "feature-extraction": ("feature_extraction", "FeatureExtractionPipeline", "DistilBertModel"),
    "token-classification": (
        "token_classification",
        "TokenClassificationPipeline",
        "DistilBertForTokenClassification",
    ),
    "question-answering": ("question_answering", "QuestionAnsweringPipeline", "DistilBertForQuestionAnswering"),
}
DEFAULTS = {  # transformers' defaults, where those are DistilBERTs
    "text-classification": "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
    "question-answering": "distilbert/distilbert-base-cased-distilled-squad",
}
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


def pipeline(
    task: str,
    model: str | Path | Pretrained | None = None,
    tokenizer: str | Path | DistilBertTokenizer | None = None,
    *,
    backend: str | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
    **options: Any,
) -> Any:
    """The pipeline for `task`, a key of TASKS or ALIASES, with a model and a tokenizer by folder, hub id or instance.

    model: None means the one in DEFAULTS; for "fill-mask" and "feature-extraction" the official
    distilbert/distilbert-base-uncased, or the embedded nanodistil-mini (with a warning) where the official one can
    neither be found nor fetched. tokenizer: None means the model's own. options: arguments of the task, which a call
    may overrule: aggregation_strategy="simple", top_k=3.
    Raises InputError for an unknown task or unusable arguments, ModelNotFoundError, CheckpointError; also where the
    checkpoint has no head for the task: answers of a random one would look like any others. (To have them anyway, as
    transformers gives them, load the model with from_pretrained and pass it.)

    >>> fill = pipeline("fill-mask", model="nanodistil-mini", backend="numpy")
    >>> [r["token_str"] for r in fill("Hello I'm a [MASK] model.", top_k=2)]
    ['new', 'good']
    """
    from nanodistil import heads
    from nanodistil.tokenization import DistilBertTokenizer

    task = ALIASES.get(task, task) if isinstance(task, str) else task
    if not isinstance(task, str) or task not in TASKS:
        raise InputError(f"unknown task {excerpt(task)}: choose one of {', '.join([*TASKS, *ALIASES])}")
    module, name, head = TASKS[task]
    source: dict[str, Any] = {
        "revision": revision,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
        "token": token,
    }
    if model is None:
        model = default_model(task, source)
    if isinstance(model, str | Path):
        if tokenizer is None:
            tokenizer = model
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*newly initialised.*")  # an error follows
            if head == "DistilBertModel":
                warnings.filterwarnings("ignore", ".*no use for.*")  # nothing is missed: the task wants no head
            loaded = getattr(heads, head).from_pretrained(
                model, backend=backend, dtype=dtype, threads=threads, **source
            )
        if head == "DistilBertForTokenClassification" and "pre_classifier.weight" in loaded.dropped:
            raise CheckpointError(f"{model}: sorts whole texts, not words; choose a model that was trained for {task}")
        if loaded.initialised:
            raise CheckpointError(
                f"{model}: has no head for {task} (lacks {', '.join(loaded.initialised)}); "
                "choose a model that was trained for it"
            )
        model = loaded
    elif backend is not None or dtype is not None or threads is not None:
        raise InputError("backend, dtype and threads belong to the loading of a model; this one is loaded already")
    if not isinstance(model, getattr(heads, head)):
        raise InputError(f"{task} needs a folder, a hub id or a {head}, not a {type(model).__name__}")
    if tokenizer is None:
        raise InputError("a model instance needs its tokenizer too: pass tokenizer=...")
    if isinstance(tokenizer, str | Path):
        tokenizer = DistilBertTokenizer.from_pretrained(tokenizer, **source)
    made = getattr(import_module(f"nanodistil.pipelines.{module}"), name)(model, tokenizer)
    return Preset(made, options) if options else made


def default_model(task: str, source: dict[str, Any]) -> str:
    """The model of a task for which none was named. Raises InputError where the task has no default."""
    from nanodistil.weights.hub import resolve_default

    if task in DEFAULTS:
        return DEFAULTS[task]
    if task not in ("fill-mask", "feature-extraction"):
        raise InputError(f"there is no default model for {task}: name one that was trained for it")
    model, note = resolve_default(**source)
    if note:
        warnings.warn(note, stacklevel=3)
    return str(model)

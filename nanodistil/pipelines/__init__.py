"""Text in, answers out: one file a task, and `pipeline` to choose among them by transformers' names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from numpy.typing import DTypeLike

from nanodistil import backend as backends
from nanodistil.devices import check_device, dtype_name
from nanodistil.loading_arguments import COUNTED, OF_MODELS, taken
from nanodistil.pipelines.inputs import check_pace
from nanodistil.pipelines.preset import Preset, check_options
from nanodistil.weights.embedded import INSIDE
from nanodistil.weights.errors import CheckpointError, InputError, MissingExtraError, ModelNotFoundError, excerpt, meant
from nanodistil.weights.hub import OFFICIAL, getting, resolve_usual

if TYPE_CHECKING:
    from nanodistil.pipelines.feature_extraction import FeatureExtractionPipeline
    from nanodistil.pipelines.fill_mask import FillMaskPipeline
    from nanodistil.pipelines.multiple_choice import MultipleChoicePipeline
    from nanodistil.pipelines.question_answering import QuestionAnsweringPipeline
    from nanodistil.pipelines.text_classification import TextClassificationPipeline
    from nanodistil.pipelines.text_generation import TextGenerationPipeline
    from nanodistil.pipelines.token_classification import TokenClassificationPipeline
    from nanodistil.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
    from nanodistil.pretrained import Pretrained
    from nanodistil.tokenization.facade import Tokenizer

# task -> module of this folder, class in it, what the name of a model's class ends with, in any family
TASKS = {
    "fill-mask": ("fill_mask", "FillMaskPipeline", "ForMaskedLM"),
    "text-classification": (
        "text_classification",
        "TextClassificationPipeline",
        "ForSequenceClassification",
    ),
    "zero-shot-classification": (
        "zero_shot_classification",
        "ZeroShotClassificationPipeline",
        "ForSequenceClassification",
    ),
    "multiple-choice": ("multiple_choice", "MultipleChoicePipeline", "ForMultipleChoice"),
    "feature-extraction": ("feature_extraction", "FeatureExtractionPipeline", "Model"),
    "token-classification": (
        "token_classification",
        "TokenClassificationPipeline",
        "ForTokenClassification",
    ),
    "question-answering": ("question_answering", "QuestionAnsweringPipeline", "ForQuestionAnswering"),
    "text-generation": ("text_generation", "TextGenerationPipeline", "LMHeadModel"),
}
OF_A_BODY = {  # the same of what answers a task if a checkpoint is a body and has no head at all
    "zero-shot-classification": ("zero_shot_by_likeness", "ZeroShotByLikenessPipeline", "Model"),
}
DEFAULTS = {  # transformers' defaults, if those are DistilBERTs; for the first two the official one
    "fill-mask": OFFICIAL,
    "feature-extraction": OFFICIAL,
    "text-classification": "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
    "question-answering": "distilbert/distilbert-base-cased-distilled-squad",
    "text-generation": "distilbert/distilgpt2",  # there openai-community/gpt2, its teacher
}
KNOWN = {  # for those without a default, what there is
    "token-classification": ", such as elastic/distilbert-base-cased-finetuned-conll03-english of the Hugging Face hub",
    "zero-shot-classification": ", such as typeform/distilbert-base-uncased-mnli of the Hugging Face hub",
    "multiple-choice": ", such as `nanodistil finetune multiple-choice` makes",
}
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


Model: TypeAlias = "str | Path | Pretrained | None"
Words: TypeAlias = "str | Path | Tokenizer | None"


@overload
def pipeline(
    task: Literal["fill-mask"], model: Model = None, tokenizer: Words = None, **options: Any
) -> FillMaskPipeline: ...
@overload
def pipeline(
    task: Literal["text-classification", "sentiment-analysis"],
    model: Model = None,
    tokenizer: Words = None,
    **options: Any,
) -> TextClassificationPipeline: ...
@overload
def pipeline(
    task: Literal["zero-shot-classification"], model: Model = None, tokenizer: Words = None, **options: Any
) -> ZeroShotClassificationPipeline: ...
@overload
def pipeline(
    task: Literal["multiple-choice"], model: Model = None, tokenizer: Words = None, **options: Any
) -> MultipleChoicePipeline: ...
@overload
def pipeline(
    task: Literal["feature-extraction"], model: Model = None, tokenizer: Words = None, **options: Any
) -> FeatureExtractionPipeline: ...
@overload
def pipeline(
    task: Literal["token-classification", "ner"], model: Model = None, tokenizer: Words = None, **options: Any
) -> TokenClassificationPipeline: ...
@overload
def pipeline(
    task: Literal["question-answering"], model: Model = None, tokenizer: Words = None, **options: Any
) -> QuestionAnsweringPipeline: ...
@overload
def pipeline(
    task: Literal["text-generation"], model: Model = None, tokenizer: Words = None, **options: Any
) -> TextGenerationPipeline: ...
@overload
def pipeline(task: str, model: Model = None, tokenizer: Words = None, **options: Any) -> Any: ...
def pipeline(
    task: str,
    model: Model = None,
    tokenizer: Words = None,
    *,
    backend: str | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    device: Any = None,
    framework: str | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    model_kwargs: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """The pipeline for `task`, a key of TASKS or ALIASES, with a model and a tokenizer by folder, hub id or instance.

    model: None means the one in DEFAULTS, such as the official distilbert/distilbert-base-uncased, or if that can
    neither be found nor fetched the embedded one (weights/embedded.py); a warning says which. tokenizer: None means the
    model's own. options: arguments of the task, which a call may overrule: aggregation_strategy="simple", top_k=3. What
    transformers takes besides is taken for what is so: a device that is the backend's ("cpu", -1), framework "pt" or
    "np", batch_size and num_workers, which change nothing; and model_kwargs, torch_dtype, device_map and the others of
    from_pretrained, see loading_arguments.py.

    Raises InputError for an unknown task or unusable arguments, DeviceError for a device that is not where the backend
    computes, ModelNotFoundError, CheckpointError; also if the checkpoint has no head for the task: answers of a
    random one would look like any others. (To have them anyway, as transformers gives them, load the model with
    from_pretrained and pass it.)

    >>> fill = pipeline("fill-mask", model="nanodistil-mini", backend="numpy")
    >>> [r["token_str"] for r in fill("Hello I'm a [MASK] model.", top_k=2)]
    ['new', 'good']
    """
    from nanodistil.auto import AutoTokenizer
    from nanodistil.family import class_of, family_of, is_for
    from nanodistil.loader import load_pretrained

    task = ALIASES.get(task, task) if isinstance(task, str) else task
    kind, head = checked_task(task, options)
    check_pace(batch_size, num_workers)
    if framework not in (None, "pt", "np"):
        raise InputError(f"framework={excerpt(framework)}: answers are computed with NumPy and Numba; leave it out")
    loading = {key: options.pop(key) for key in list(options) if key in OF_MODELS or key in COUNTED or key == "config"}
    loading |= model_kwargs or {}
    dtype = loading.pop("dtype", None) if dtype is None else dtype
    options.pop("use_fast", None)
    source: dict[str, Any] = {
        "revision": revision,
        "cache_dir": cache_dir,
        "local_files_only": local_files_only,
        "token": token,
    }
    if model is None:
        model = default_model(task, source)
    loaded = None
    if isinstance(model, str | Path):
        if device is not None:  # before anything is fetched
            check_device(device, backends.choose(backend, dtype_name(dtype))[0])
        if tokenizer is None:
            tokenizer = model
        with warnings.catch_warnings(record=True) as held:  # till it is known that they are not beside the point
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", ".*newly initialised.*")  # an error follows
            if head == "Model":
                warnings.filterwarnings("ignore", ".*no use for.*")  # nothing is missed: the task wants no head

            def load(ending: Callable[[dict[str, Any]], str], name: str | Path = model) -> Any:
                return load_pretrained(
                    lambda config: class_of(family_of(config, name), ending(config)),
                    name,
                    **{"backend": backend, "dtype": dtype, "threads": threads, **source, **loading},
                )

            loaded = load(lambda config: "Model" if task in OF_A_BODY and is_bare(config) else head)
            if task in OF_A_BODY and loaded.dropped and not (whole := load(lambda _: head)).initialised:
                loaded = whole  # it has a head, of which its config does not know
        if head == "ForTokenClassification" and "pre_classifier.weight" in loaded.dropped:
            raise CheckpointError(
                f"{model}: sorts whole texts, not words; choose a model that was trained for {task}{KNOWN[task]}"
            )
        if loaded.initialised:
            raise CheckpointError(
                f"{model}: has no head for {task} (lacks {', '.join(loaded.initialised)}); "
                f"choose a model that was trained for it{KNOWN.get(task, '')}"
            )
        for one in held:
            warnings.warn(one.message, one.category, stacklevel=2)
        model = loaded
    elif backend is not None or threads is not None:
        raise InputError("backend and threads belong to the loading of a model; this one is loaded already")
    if task in OF_A_BODY and is_for(model, "Model"):
        kind, head = named(*OF_A_BODY[task])
    if not is_for(model, head):
        family = "GPT2" if task == "text-generation" else "DistilBert"
        raise InputError(f"{task} needs a folder, a hub id or a {family}{head}, not a {type(model).__name__}")
    if loaded is None:
        wanted = taken(loading, OF_MODELS, dtype)
        wanted.check_device(model.backend)
        model.to(dtype=wanted.dtype)
    check_device(device, model.backend)
    if tokenizer is None:
        raise InputError("a model instance needs its tokenizer too: pass tokenizer=...")
    if isinstance(tokenizer, str | Path):
        shared = {key: loading[key] for key in ("subfolder", "trust_remote_code", "use_auth_token") if key in loading}
        tokenizer = AutoTokenizer.from_pretrained(tokenizer, **source, **shared)
    made = kind(model, tokenizer)
    return Preset(made, options) if options else made


def checked_task(task: str, options: dict[str, Any]) -> tuple[Any, str]:
    """The class of a task's pipeline, and what the name of a model's class ends with; options: of `pipeline`.

    Raises InputError for an unknown task, or an option that neither `pipeline` nor a call takes.
    """
    if not isinstance(task, str) or task not in TASKS:
        names = [*TASKS, *ALIASES]
        raise InputError(f"unknown task {excerpt(task)}: choose one of {', '.join(names)}{meant(task, names, 0.75)}")
    kind, head = named(*TASKS[task])
    ours = signature(pipeline).parameters
    beside = {*ours, *OF_MODELS, *COUNTED, "config", "use_fast"} - {"options"}
    check_options(kind, [name for name in options if name not in beside], ours)
    return kind, head


def named(module: str, name: str, head: str) -> tuple[Any, str]:
    """A line of the tables, with the class itself."""
    return getattr(import_module(f"nanodistil.pipelines.{module}"), name), head


def is_bare(config: dict[str, Any]) -> bool:
    """Whether a config.json is of a body without a head.

    >>> [is_bare({"architectures": [name]}) for name in ("BertModel", "BertForMaskedLM", "GPT2LMHeadModel")]
    [True, False, False]
    """
    from nanodistil.family import FAMILIES

    bodies = [f"{beginning}Model" for _, beginning in FAMILIES.values()]
    names = config.get("architectures")
    return isinstance(names, list) and bool(names) and all(one in bodies for one in names)


def default_model(task: str, source: dict[str, Any]) -> str:
    """The model of a task for which none was named: the usual one, else the embedded one; one line says which.

    Raises InputError if the task has neither, ModelNotFoundError or MissingExtraError if its usual one cannot be had
    and none is embedded.
    """
    usual, inside = DEFAULTS.get(task), INSIDE.get(task)
    if usual is None and inside is None:
        raise InputError(f"there is no default model for {task}: name one that was trained for it{KNOWN[task]}")
    model, why = inside or "", "no model was named"
    if usual is not None:
        try:
            model = resolve_usual(usual, need="all", **source)
        except (ModelNotFoundError, MissingExtraError) as error:
            if inside is None:
                raise
            why = f"{usual} is not on this machine; to get it: {getting(usual, error)}"
    warnings.warn(f"note: {model}{', small and embedded,' if model == inside else ''} answers: {why}", stacklevel=3)
    return model

"""Fine-tuning from Python, on examples that are in memory: what transformers' users have a Trainer for.

    import nanodistil.training

    figures = nanodistil.training.finetune(
        "classification", "nanodistil-mini", train, "sentiment", dev=dev, num_train_epochs=2, callbacks=[print]
    )

Examples are a list of dicts, a pandas DataFrame, a `datasets.Dataset`, a dict of columns, anything that gives a dict an
example; or a file, as on the command line. They are read by the task's own reader, from a file that lasts as long as
that takes, so the same columns are known and the same slips found. Names of classes are taken from the data set's
features. What is learned is what the command line learns from the same examples, to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nanodistil.pipelines.inputs import by_number
from nanodistil.training.evaluate import task_of
from nanodistil.training.tasks import Task, settings_of
from nanodistil.training.together import Also
from nanodistil.weights.errors import InputError, excerpt, meant

Examples = Any  # a path; or dicts, however they come


def records(examples: Examples, what: str) -> list[dict[str, Any]]:
    """The examples as dicts. what: their name, for messages. Raises InputError for what gives no dicts.

    >>> records({"text": ["a", "b"], "label": [0, 1]}, "train")
    [{'text': 'a', 'label': 0}, {'text': 'b', 'label': 1}]
    """
    if hasattr(examples, "to_dict") and hasattr(examples, "columns"):  # pandas
        examples = examples.to_dict("records")
    if isinstance(examples, Mapping):
        if any(hasattr(value, "column_names") for value in examples.values()):
            names = ", ".join(map(str, examples))[:60]
            raise InputError(f"{what} is several data sets ({names}): give one of them")
        columns = {str(name): list(values) for name, values in examples.items() if _is_column(values)}
        if len(columns) != len(examples) or len(set(map(len, columns.values()))) > 1:
            raise InputError(f"{what} is a dict, but not of columns of the same length")
        examples = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    examples = by_number(examples)
    if isinstance(examples, str | bytes) or not isinstance(examples, Iterable):
        raise InputError(f"{what} must be a file, or examples as dicts, not {type(examples).__name__}")
    found = []
    for number, one in enumerate(examples, start=1):
        if isinstance(one, str):
            one = {"text": one}
        if not isinstance(one, Mapping):
            raise InputError(f"{what}: example {number} is not a dict but {type(one).__name__}")
        found.append({str(name): value for name, value in one.items()})
    return found


def _is_column(values: Any) -> bool:
    return isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)


def class_names(examples: Examples) -> tuple[str, ...]:
    """The names of the classes if a `datasets.Dataset` knows them, of its labels or of the tags in its lists."""
    features = getattr(examples, "features", None)
    for name in ("label", "labels", "ner_tags", "tags", "pos_tags", "chunk_tags"):
        feature = features.get(name) if isinstance(features, Mapping) else None
        names = getattr(getattr(feature, "feature", feature), "names", None)
        if isinstance(names, Sequence) and not isinstance(names, str):
            return tuple(map(str, names))
    return ()


def read(task: Task, name: str, examples: Examples, what: str) -> list[Any]:
    """The task's examples. Raises InputError, with the number of the example, for one that cannot be used."""
    if isinstance(examples, str | Path):
        return task.read(examples)
    found = records(examples, what)
    with TemporaryDirectory() as folder:
        path = Path(folder) / ("examples.json" if name == "question-answering" else "examples.jsonl")
        try:
            if name == "question-answering":
                text = json.dumps({"data": [_article(one, i, what) for i, one in enumerate(found, start=1)]})
            else:
                text = "".join(json.dumps(one, default=_plain, allow_nan=False) + "\n" for one in found)
        except InputError:
            raise
        except ValueError:
            raise InputError(f"{what}: a value is NaN or infinite; leave such examples out") from None
        path.write_text(text, encoding="utf-8")

        def named(message: str) -> str:
            return message.replace(str(path), what).replace("line ", "example ")

        try:
            read = task.read(path)
        except InputError as error:
            raise InputError(named(str(error))) from None
    return [one._replace(place=named(one.place)) if hasattr(one, "place") else one for one in read]


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays, and PyTorch's, as JSON has them. Raises InputError for what it has not."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise InputError(f"a value is of type {type(value).__name__}: strings, numbers and lists of them are learned from")


def _article(one: dict[str, Any], number: int, what: str) -> dict[str, Any]:
    """A question as `datasets` has SQuAD's, with "answers" of "text" and "answer_start", as SQuAD's file has it."""
    try:
        answers = one.get("answers") or {"text": [], "answer_start": []}
        pairs = zip(list(answers["text"]), [int(start) for start in answers["answer_start"]], strict=True)
        qa = {"id": str(one.get("id", number)), "question": one["question"]}
        qa["answers"] = [{"text": text, "answer_start": start} for text, start in pairs]
        return {"paragraphs": [{"context": one["context"], "qas": [qa]}]}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f'{what}: example {number} must have "question", "context" and "answers" with "text" and "answer_start"'
        ) from None


def fields_of(task: Any) -> set[str]:
    """The settings of a task. Raises InputError for one that there is not."""
    if not isinstance(task, str):
        raise InputError(f"a task is named by a string, not by {type(task).__name__}")
    return set(settings_of(task_of(task)))


def asked(
    task: Any, train: Examples, dev: Examples, settings: dict[str, Any], besides: Set[str], batch_size: Any = None
) -> Also:
    """A task with its settings and its examples read. besides: options of the run, which are left to it.

    Raises InputError for a task or a setting that there is not, and for examples that cannot be used.
    """
    of_task = fields_of(task)
    if unknown := [name for name in settings if name not in of_task | besides]:
        raise InputError(f"{excerpt(unknown[0])} is no option of {task}{meant(unknown[0], of_task | besides)}")
    settings = {name: value for name, value in settings.items() if name in of_task}
    if isinstance(settings.get("columns"), Mapping):
        settings["columns"] = [f"{field}={name}" for field, name in settings["columns"].items()]
    settings |= {name: tuple(settings[name]) for name in ("columns", "labels") if name in settings}
    if "labels" in of_task and not settings.get("labels") and not settings.get("task_name"):
        settings |= {"labels": names} if (names := class_names(train)) else {}
    judge = task_of(task, **settings)
    return Also(
        task=task,
        train=_told_of(train),
        settings=settings,
        dev=None if dev is None else _told_of(dev),
        batch_size=batch_size,
        examples=(read(judge, task, train, "train"), None if dev is None else read(judge, task, dev, "dev")),
    )


def _told_of(examples: Examples) -> str:
    return str(examples) if isinstance(examples, str | Path) else "examples in memory"


def also_asked(one: Any, seed: Any) -> Also:
    """A task that is learned along, from its dict. seed: the run's, if one was given. Raises InputError."""
    if not isinstance(one, Mapping) or not {"task", "train"} <= one.keys():
        raise InputError('also is a list of dicts with "task", "train" and what else that task is told')
    settings = dict(one)
    task, train, dev = settings.pop("task"), settings.pop("train"), settings.pop("dev", None)
    batch_size = settings.pop("batch_size", None)
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        raise InputError(f"batch_size must be a whole number of at least 1, not {excerpt(batch_size)}")
    if seed is not None and "seed" in fields_of(task):
        settings.setdefault("seed", seed)
    try:
        return asked(task, train, dev, settings, set(), batch_size)
    except InputError as error:
        raise InputError(f"also {excerpt(task)}: {error}") from None


def finetune(
    task: str,
    model: str | Path,
    train: Examples,
    out: str | Path,
    *,
    dev: Examples = None,
    also: Iterable[Mapping[str, Any]] = (),
    callbacks: Iterable[Callable[[Mapping[str, Any]], object]] = (),
    resume: bool = False,
    force: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Train a model for a task into the folder `out`; its figures on `dev`, {} if there is none.

    task: "classification", "token-classification", "question-answering", "multiple-choice", "masked-lm" or
    "causal-lm". model: a folder, a hub id, or "nanodistil-mini". train, dev: examples, see above, or files.
    also: tasks that the same body learns together with it (together.py), each a dict of "task", "train" and, if it has
    them, "dev", "batch_size" and options of that task; their models are in folders in `out`.
    resume, force: go on with the run in `out`, or start it anew. options: of the run (finetune.Options:
    num_train_epochs, batch_size, learning_rate, dtype, seed, load_best_model_at_end, ...) and of the task (labels,
    columns, max_seq_length, task_name, ...).

    callbacks: each is called with every line of the log, {"step", "epoch", "lr", "loss", ...} every logging_steps, and
    {"step", "epoch", "dev_acc", ...} when an epoch has been measured. What one raises ends the run, which resume=True
    goes on with from its last checkpoint.

    What is in `out` then is for every pipeline here, and for transformers. Raises InputError for examples and arguments
    that cannot be used, CheckpointError or ModelNotFoundError for a model that cannot.
    """
    from nanodistil.training.finetune import Options
    from nanodistil.training.finetune import finetune as trained

    if not isinstance(model, str | Path):
        raise InputError(f"a model is named by its folder or hub id, not given as {type(model).__name__}")
    of_run = {field.name for field in fields(Options)}
    first = asked(task, train, dev, options, of_run)
    others = [also_asked(one, options.get("seed")) for one in also or ()]
    said: dict[str, Any] = {}
    told = list(callbacks)
    if wrong := [one for one in told if not callable(one)]:
        raise InputError(f"a callback is a function that takes a line of the log, not {type(wrong[0]).__name__}")

    def tell(line: Mapping[str, Any]) -> None:
        said.update({name: line[name] for name in ("step", "epoch") if name in line})
        for callback in told:
            callback({**said, **line})

    return trained(
        task,
        first.settings,
        Options(
            model=str(model),
            train=first.train,
            out=str(out),
            dev=first.dev,
            **{name: value for name, value in options.items() if name in of_run},
        ),
        resume=resume,
        force=force,
        examples=first.examples,
        also=others,
        on_figures=tell,
        watch=lambda trainee, run: tell,
    )

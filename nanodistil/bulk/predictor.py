"""A model for a task as something small to send to other processes: columns in, the same and the answers out.

Ray, Spark and Dask pickle what they run and send it with every task, so a model must not be part of it. A Predictor is
the model's name, the task and the settings, some hundred bytes; each process loads it once, with the first columns that
it is given (loaded.py). docs/guide/scale.md has the recipes.

    {"text": [...], "id": [...]}  ->  {"text": [...], "id": [...], "label": array, "score": array}

Answers are the pipeline's, to the bit: `each` of it is what is called. One that is a dict becomes a column for each
key; a vector, a row of the column `vector`; anything else, a list of some length, stands in the column `result`. Which
it is depends on task and settings and on no row, so that no rows have the same columns as many.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from nanodistil.backend import Array
from nanodistil.bulk.loaded import process
from nanodistil.pipelines import ALIASES, checked_task, pipeline
from nanodistil.sentences.body import has_modules
from nanodistil.sentences.encoder import SentenceEncoder
from nanodistil.weights.errors import InputError, excerpt

INPUTS = {  # task -> the fields of an input: those it needs, those it may have
    "multiple-choice": (["prompt"], ["choices"]),
    "question-answering": (["question", "context"], []),
    "text-classification": (["text"], ["text_pair"]),
}
SOLE: tuple[list[str], list[str]] = (["text"], [])  # of all others
SPECIMENS = {  # of inputs whose answers are dicts or vectors: what becomes of none is seen from what becomes of one
    "feature-extraction": "a",
    "question-answering": {"question": "a", "context": "a"},
    "text-classification": "a",
    "zero-shot-classification": "a",
}


class Predictor:
    """Answers columns, in whatever process it finds itself.

    >>> predict = Predictor("nanodistil-mini", "feature-extraction", backend="numpy")
    >>> found = predict({"id": [7, 8], "text": ["A cat.", "My tax."]})
    >>> sorted(found), found["vector"].shape
    (['id', 'text', 'vector'], (2, 384))
    """

    def __init__(
        self,
        model: str | Path | None,
        task: str,
        *,
        columns: Mapping[str, str] | None = None,
        threads: int | None = None,
        **settings: Any,
    ) -> None:
        """model, task: as of `pipeline`, but no model that is loaded already. columns: where a field of the inputs is
        found if not under its own name, {"text": "review"}; the fields are text (and perhaps text_pair), question and
        context, or prompt and choices. threads: by default what the engine grants, see loaded.py. settings: of
        `pipeline`, backend and dtype among them, and of the task: top_k=3. Vectors are pooled as a folder of
        sentence-transformers says, and else by their mean.

        Nothing is loaded, or looked for. Raises InputError for an unknown task, setting or field, and for a setting
        that cannot be pickled.
        """
        self.task = ALIASES.get(task, task) if isinstance(task, str) else task
        if model is not None and not isinstance(model, str | Path):
            raise InputError(f"model must be a folder or a hub id, which every process loads, not {type(model)}")
        checked_task(self.task, settings)
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise InputError(f"threads must be a whole number of at least 1, not {excerpt(threads)}")
        self.model = None if model is None else _whole(model)
        self.threads, self.settings = threads, settings if threads is None else {**settings, "threads": threads}
        needed, optional = INPUTS.get(self.task, SOLE)
        self.columns = {field: field for field in (*needed, *optional)} | dict(columns or {})
        if unknown := [field for field in self.columns if field not in (*needed, *optional)]:
            fields = ", ".join((*needed, *optional))
            raise InputError(f"{excerpt(unknown[0])} is no field of {self.task}'s inputs; there are {fields}")
        self.asked = set(columns or ())
        try:
            self.key = pickle.dumps((self.model, self.task, sorted(self.settings.items())))
        except Exception as error:  # whatever the pickling of a setting raises
            raise InputError(f"settings must be such as can be sent to other processes: {error}") from None

    def __repr__(self) -> str:
        return f"Predictor({self.model!r}, {self.task!r})"

    def __call__(self, columns: Any) -> Any:
        """The columns with the answers beside them, rows in order.

        columns: name -> n values, arrays or lists; or a frame of pandas, which gives a frame. The answers are NumPy
        arrays (n,), of vectors (n, D). Raises InputError for a column that is missing, or of another length, or has the
        name of an answer's; for a row that cannot be answered; and what `pipeline` raises.
        """
        frame = hasattr(columns, "assign")
        if not frame and not isinstance(columns, Mapping):
            raise InputError(f"columns are needed, a dict of lists or arrays, not {type(columns).__name__}")
        inputs = self._inputs(columns)
        with process.turn_of(self.key, self._load, self.threads) as pipe:
            found = self._answered(pipe, inputs)
        if taken := [name for name in found if name in columns]:
            raise InputError(
                f"there is a column {excerpt(taken[0])} already, which is what an answer is called: rename"
            )
        if frame:
            return columns.assign(**{name: list(values) for name, values in found.items()})
        return {**columns, **found}

    # ---- in

    def _inputs(self, columns: Any) -> list[Any]:
        """The pipeline's inputs, one a row."""
        needed, _ = INPUTS.get(self.task, SOLE)
        given: dict[str, list[Any]] = {}
        for field, name in self.columns.items():
            if name in columns:
                given[field] = _listed(columns[name])
            elif field in needed or field in self.asked:
                has = ", ".join(excerpt(one) for one in list(columns)[:20])
                hint = f'; name it by columns={{"{field}": ...}}'
                raise InputError(f"there is no column {excerpt(name)} (there are {has or 'none'}){hint}")
        lengths = {self.columns[field]: len(values) for field, values in given.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{excerpt(name)} {n}" for name, n in lengths.items())
            raise InputError(f"columns must have as many values as each other: {said}")
        if list(given) == ["text"]:
            return given["text"]
        rows = zip(*given.values(), strict=True)
        return [{f: v for f, v in zip(given, row, strict=True) if f in needed or not _is_null(v)} for row in rows]

    # ---- out

    def _load(self) -> Any:
        settings = dict(self.settings)
        if self.task != "feature-extraction":
            return pipeline(self.task, self.model, **settings)
        if "pooling" not in settings and self.model is not None and has_modules(self.model):
            return _Encoding(self.model, settings)
        return pipeline(self.task, self.model, **{"pooling": "mean", "return_tensors": True, **settings})

    def _answered(self, pipe: Any, inputs: list[Any]) -> dict[str, Any]:
        if inputs:
            return self._columns(list(pipe.each(inputs)))
        if self.task not in SPECIMENS:
            return self._columns([])
        return {name: values[:0] for name, values in self._columns(list(pipe.each([SPECIMENS[self.task]]))).items()}

    def _columns(self, answers: list[Any]) -> dict[str, Any]:
        if self.task == "question-answering" and (self.settings.get("top_k") or 1) > 1:
            answers = [one if isinstance(one, list) else [one] for one in answers]  # a list also if only one was found
        if answers and isinstance(answers[0], dict):
            return {name: _column([one[name] for one in answers]) for name in answers[0]}
        if answers and isinstance(answers[0], np.ndarray) and answers[0].ndim == 1:
            return {"vector": np.stack(answers)}
        return {"result": _column(answers)}


class _Encoding:
    """An encoder of sentences, asked as a pipeline is."""

    def __init__(self, folder: str, settings: dict[str, Any]) -> None:
        normalize = settings.pop("normalize", False)
        settings.pop("truncation", None)  # it cuts texts where the folder says
        settings.pop("return_tensors", None)
        self.encoder = SentenceEncoder.from_pretrained(folder, **settings)
        self.usual = self.encoder.usual(normalize)

    @property
    def model(self) -> Any:
        return self.encoder.model

    def each(self, inputs: list[Any]) -> Any:
        return self.encoder.pipe.each(inputs, **self.usual)


def _whole(model: str | Path) -> str:
    """A folder by its whole path, since other processes run in other folders; a hub id as it is."""
    local = Path(model).expanduser()
    return str(local.resolve()) if local.is_dir() else str(model)


def _listed(values: Any) -> list[Any]:
    """A column as a list of Python's own values."""
    for how in ("to_pylist", "tolist", "to_list"):  # Arrow's; NumPy's and pandas'; polars'
        if hasattr(values, how):
            return cast(list[Any], getattr(values, how)())
    return list(values)


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _column(values: list[Any]) -> Array:
    """Numbers as an array of them, anything else as one of objects: (n,)."""
    if values and all(isinstance(value, float | int) for value in values):
        return np.array(values)
    column = np.empty(len(values), object)
    column[:] = values
    return cast(Array, column)

"""How well does a trained model do? A task's metrics on a file of examples whose answers are known.

    file -> task.read -> task.evaluate: the model's answers, and figures made of them (metrics.py, squad.py)

It is the forward pass that answers everywhere else, so any backend and dtype will do; what differs from the pipelines
is that files of examples are read, cut to the length that training cut them to, and compared.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from nanodistil.auto import AutoTokenizer
from nanodistil.family import class_of, family_of
from nanodistil.loader import load_pretrained
from nanodistil.pipelines.pairing import check_pair, longest_row
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training.tasks import TASKS, Evaluation, Task
from nanodistil.weights.errors import CheckpointError, InputError, excerpt


def task_of(name: str, **settings: Any) -> Task:
    """The task of that name, a key of TASKS, with its settings. Raises InputError for an unknown one.

    >>> task_of("token-classification", max_seq_length=64).max_seq_length
    64
    """
    if name not in TASKS:
        raise InputError(f"unknown task {excerpt(name)}: choose one of {', '.join(TASKS)}")
    module, cls = TASKS[name]
    task: Task = getattr(import_module(f"nanodistil.training.tasks.{module}"), cls)(**settings)
    return task


def evaluate(
    task: Task,
    model: str | Path,
    file: str | Path,
    *,
    backend: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
) -> Evaluation:
    """The figures of a model, a folder or hub id, on a file.

    Raises InputError for a file or labels that cannot be used, CheckpointError for a model without the task's head.
    """
    examples = task.read(file)  # before a model is loaded
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*newly initialised.*")  # an error follows
        loaded: Pretrained = load_pretrained(
            lambda config: class_of(family_of(config, model), task.HEAD),
            model,
            backend=backend,
            dtype=dtype,
            threads=threads,
        )
    if loaded.initialised:
        raise CheckpointError(
            f"{model}: has no head for this task (lacks {', '.join(loaded.initialised)}): fine-tune it first"
        )
    tokenizer = tokenizer_for(task, model)
    check_pair(loaded, tokenizer)
    check_length(task, loaded, tokenizer)
    return task.evaluate(loaded, tokenizer, examples)


def tokenizer_for(task: Task, model: str | Path) -> Tokenizer:
    """The model's tokenizer. One that knows words by their spaces gives each of a task's words its own, as run_ner.py.

    Raises ModelNotFoundError, CheckpointError.
    """
    tokenizer = AutoTokenizer.from_pretrained(model)
    if task.HEAD == "ForTokenClassification" and not tokenizer.takes_words:
        tokenizer = AutoTokenizer.from_pretrained(model, add_prefix_space=True)
    return tokenizer


def check_length(task: Task, model: Pretrained, tokenizer: Tokenizer) -> None:
    """Raises InputError if rows may be longer than the model's positions, or have no room for a word."""
    limit = longest_row(model, tokenizer)
    if not 4 <= task.max_seq_length <= limit:
        raise InputError(f"--max-seq-length {task.max_seq_length}: must be from 4 to the model's {limit}")

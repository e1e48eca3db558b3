"""A task as it is learned: its settings, the rows of its examples, and the model whose head they teach.

    file -> examples -> rows, and a model with the labels of the examples, begun by chance where its head is new

finetune.py has one of these, or with --also several (together.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from nanodistil.auto import AutoConfig
from nanodistil.backend import Ints
from nanodistil.family import class_of, family_of
from nanodistil.loader import load_pretrained
from nanodistil.pipelines.batching import Row
from nanodistil.pipelines.pairing import check_pair
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training import development
from nanodistil.training.answer_distillation import AnswerShares
from nanodistil.training.evaluate import check_length, tokenizer_for
from nanodistil.training.options import RunOptions
from nanodistil.training.sampler import epochs
from nanodistil.training.sequences import Sequences
from nanodistil.training.tasks import Task
from nanodistil.training.trainee import Trainee, how_to_load
from nanodistil.weights.errors import InputError
from nanodistil.weights.initial import fresh


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions, AnswerShares):
    """The settings of a fine-tuning, named and preset as in transformers' scripts.

    model: folder or hub id. train, dev: files of examples. out: the run's folder. accumulate_across_epochs: let a step
    reach over into the next epoch; else each ends with a step on what is left of it, as in transformers' Trainer.
    ignore_mismatched_sizes: give a head of another number of labels up for a new one. teacher: for question answering,
    with the alphas and the temperature of answer_distillation.py. lora_r, lora_alpha: of lora.py; None for all weights.
    frozen_layers: how many of the lowest learn nothing, nor do the embeddings then (below.py). layer_decay:
    schedule.layerwise.
    """

    model: str
    train: str
    out: str
    dev: str | None = None
    num_train_epochs: float = 3.0
    batch_size: int = 8
    gradient_accumulation_steps: int = 1
    accumulate_across_epochs: bool = False
    group_by_length: bool = False
    learning_rate: float = 5e-5
    warmup_steps: int = 0
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    load_best_model_at_end: bool = False
    ignore_mismatched_sizes: bool = False
    teacher: str | None = None
    lora_r: int | None = None
    lora_alpha: float = 16.0
    frozen_layers: int = 0
    layer_decay: float = 1.0
    seed: int = 42
    logging_steps: int = 50
    save_steps: int = 500

    LOWEST = {  # noqa: RUF012
        "warmup_steps": 0, "alpha_ce": 0, "alpha_squad": 0, "lora_r": 1, "frozen_layers": 0, "logging_steps": 1,
        "save_steps": 1,
    }  # fmt: skip
    POSITIVE = ("num_train_epochs", "temperature", "lora_alpha", "layer_decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer_decay > 1:
            raise InputError(f"--layer-decay is a share of the rate above: at most 1, not {self.layer_decay}")
        if self.load_best_model_at_end and self.dev is None:
            raise InputError("--load-best-model-at-end needs --dev, to measure which is the best")
        if self.teacher is not None and not self.alpha_ce + self.alpha_squad:
            raise InputError("--alpha-ce and --alpha-squad are both 0: nothing would be learned")


def load_model(task: Task, options: Options, examples: Any) -> Pretrained:
    """The model as it begins, in float32 or float64, with the labels of the examples; a new head follows the seed."""
    place = how_to_load(options.backend, options.dtype, options.threads)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*newly initialised.*")  # that is what fine-tuning is for
        warnings.filterwarnings("ignore", ".*no use for.*")
        model: Pretrained = load_pretrained(
            lambda config: class_of(family_of(config, options.model), task.HEAD),
            options.model,
            ignore_mismatched_sizes=options.ignore_mismatched_sizes,
            **place,
            **task.config(examples, AutoConfig.from_pretrained(options.model)),
        )
    if model.initialised:
        tensors = model.tensors()
        new = {n: tensors[n].shape for n in map(model.config.names.canonical, model.initialised) if n is not None}
        floats = next(iter(tensors.values())).dtype
        model._set(model.config, tensors | fresh(new, model.config, floats, options.seed))
    return model


def lengths_of(rows: Any, task: Task) -> Ints:
    """The tokens of each row: (n,)."""
    many = rows.lengths if isinstance(rows, Sequences) else [task.length(row) for row in rows]
    return np.asarray(many, np.int64)


def checksum(rows: Any) -> int:
    """A number that rows of other ids, or with other labels, do not have but by chance.

    >>> checksum([([1, 2], 0)]) == checksum([([1, 2], 0)]), checksum([([1, 2], 0)]) == checksum([([1, 2], 1)])
    (True, False)
    """
    if isinstance(rows, Sequences):
        return rows.index.checksum
    found = 0
    for row in rows:
        for numbers in numbers_of(row):
            found = crc32(np.ascontiguousarray(numbers).data, found)
    return found


def numbers_of(row: Any) -> Iterator[Any]:
    """What a row of a task is made of: an array or a number, or several of them in tuples and lists."""
    if isinstance(row, tuple | list):
        for part in row:
            yield from numbers_of(part)
    elif isinstance(row, Row):
        yield row.ids
        if row.second is not None:
            yield row.second
    else:
        yield row


class Part(NamedTuple):
    """A task as it is learned: what of, and the model whose head it is."""

    name: str  # of a task that is learned along: of its folder in the run's, and before its figures; "" of the first
    task: Task
    tokenizer: Tokenizer
    rows: Any
    lengths: Ints  # (n,) tokens of each row
    dev: Any  # examples, or None
    trainee: Trainee
    options: Options  # of its files and batches

    @property
    def model(self) -> Pretrained:
        return self.trainee.model

    def save(self, folder: Path) -> None:
        """Write the model and its tokenizer, which load alone."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def judged(self) -> development.Judged | None:
        """What says how well it is learned, if there are examples for that."""
        if self.dev is None:
            return None
        return development.Judged(self.task, self.model, self.tokenizer, self.dev, self.name)

    def data(self) -> list[int]:
        """What says that its rows are those of before."""
        return [len(self.rows), int(self.lengths.sum()), checksum(self.rows)]

    def epochs(self) -> Callable[[int], Sequence[Any]]:
        """The batches of an epoch, by its number."""
        longest, by_size = self.task.max_seq_length, self.options.group_by_length
        return epochs(
            self.lengths, self.options.batch_size, self.options.seed, group_by_size=by_size, max_length=longest
        )


def part_of(task: Task, options: Options, examples: tuple[Any, Any] | None, measures: bool, name: str = "") -> Part:
    """A task's examples read and checked, and its model loaded. measures: whether this process measures it."""
    if examples is None:
        examples = task.read(options.train), None if options.dev is None else task.read(options.dev)
    learned, dev = examples
    model = load_model(task, options, learned)
    tokenizer = tokenizer_for(task, options.model)
    check_pair(model, tokenizer)
    check_length(task, model, tokenizer)
    rows = task.rows(learned, tokenizer, model.config)
    if not len(rows):
        raise InputError(f"{options.train} has nothing to learn from")
    if dev is not None and measures:
        development.check(task, model, tokenizer, dev)
    trainee = Trainee(
        model, checkpointing=options.gradient_checkpointing, dtype=options.dtype, below=options.frozen_layers
    )
    return Part(name, task, tokenizer, rows, lengths_of(rows, task), dev, trainee, options)

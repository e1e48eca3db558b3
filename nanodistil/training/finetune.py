"""Fine-tuning: a model that knows the language learns a task (Devlin et al. 2019, section 3.2).

    file -> examples -> rows -> batches of them in random order -> the head's loss -> AdamW -> a folder
    part.py                     here

of one task, or of several that share a body (together.py).

The recipe is that of transformers' run_glue, run_ner, run_squad and run_mlm, with their flags' names and defaults:
AdamW at 5e-5 with betas 0.9 and 0.999, no weight decay, a straight line down to 0 over three epochs, gradients clipped
to the norm 1, dropout as the config says. The order of an epoch, masks and dropout follow from the seed, and so does a
new head; so a run can be resumed to the last bit, and repeated.

Batches have no padding but in question answering, whose loss counts it. So grouping rows of like length saves nothing
there is to save, and is off, as in those scripts.

What ends up in the folder is a model that from_pretrained and the pipelines load, here and in transformers, its labels
named in the config: the last one, or with load_best_model_at_end the one that did best on the file `dev`, which is
measured at the end of each epoch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Unpack

import numpy as np

from nanodistil import backend as backends
from nanodistil.backend import Ints
from nanodistil.pipelines.pairing import check_pair
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training import development
from nanodistil.training.answer_distillation import AnswerDistillation
from nanodistil.training.communicator import Single
from nanodistil.training.evaluate import task_of
from nanodistil.training.loop import Plan, Step, Worked, train
from nanodistil.training.lora import LowRank
from nanodistil.training.optimizer import AdamW
from nanodistil.training.options import Course, begun
from nanodistil.training.part import Options as Options
from nanodistil.training.part import Part, part_of
from nanodistil.training.run import Run, made_with
from nanodistil.training.schedule import layerwise, linear
from nanodistil.training.tasks import Task
from nanodistil.training.teacher import check_words, load_whole
from nanodistil.training.together import Also, Together, folders, woven
from nanodistil.training.trainee import Trainee
from nanodistil.weights import files
from nanodistil.weights.errors import InputError
from nanodistil.weights.hub import resolve

FREE = (  # what may be changed on resuming, since it changes no weight
    "out", "threads", "gradient_checkpointing", "logging_steps", "save_steps",
)  # fmt: skip


def load_teacher(options: Options, folder: Path) -> Any:
    """What answers questions already, of any family. Raises InputError if it cannot teach, and as from_pretrained."""
    backend, dtype = backends.choose(options.backend, options.dtype)
    return load_whole("ForQuestionAnswering", str(options.teacher), folder, backend, dtype)


def make_plan(options: Options, each: int) -> Plan:
    """Steps and learning rates, from how many micro-batches an epoch has."""
    accumulation, across = options.gradient_accumulation_steps, options.accumulate_across_epochs
    if across:
        batches = math.ceil(each * options.num_train_epochs)
        if options.max_steps is not None:
            batches = options.max_steps * accumulation
        steps = math.ceil(batches / accumulation)
    else:
        an_epoch = math.ceil(each / accumulation)
        steps = options.max_steps or math.ceil(an_epoch * options.num_train_epochs)
        whole, rest = divmod(steps, an_epoch)
        batches = whole * each + rest * accumulation
    return Plan(
        batches,
        lambda step: options.learning_rate * linear(step, options.warmup_steps, steps),
        accumulation,
        options.max_grad_norm,
        options.seed,
        ("loss",) if options.teacher is None else ("loss", "loss_ce", "loss_squad"),
        options.logging_steps,
        options.save_steps,
        each=None if across else each,
    )


def make_step(task: Task, options: Options, rows: Any, trainee: Trainee, teacher: Any, tokenizer: Tokenizer) -> Step:
    """What works through a micro-batch, given the numbers of its rows: the head's loss, or what a teacher says too."""
    objective = getattr(task, "objective", trainee.model.head.objective)  # of a task without a head its own
    padding = trainee.config.pad_token_id or 0
    distilled = AnswerDistillation(options.alpha_ce, options.alpha_squad, options.temperature)

    def step(items: Ints, key: int, scale: float) -> Worked:
        batch = task.batch([rows[int(i)] for i in items], key)
        real = batch["attention_mask"] != 0
        batch["input_ids"] = np.where(real, batch["input_ids"], padding)  # the loss of answers counts it
        tokens = int(np.count_nonzero(real))
        if teacher is None:
            return Worked((objective(trainee, batch, key=key, scale=scale),), tokens)
        separator = int(tokenizer.sep_token_id)
        return Worked(distilled.of_batch(trainee, teacher, batch, separator, key=key, scale=scale), tokens)

    return step


def check_together(options: Options, also: Sequence[Also]) -> None:
    """Raises InputError for what several tasks cannot have."""
    for flag, given in (
        ("--teacher", options.teacher), ("--lora-r", options.lora_r), ("--frozen-layers", options.frozen_layers),
        ("--load-best-model-at-end", options.load_best_model_at_end),
    ):  # fmt: skip
        if given:
            raise InputError(f"{flag} is for one task, not for several with --also")
    if options.dev is None and any(one.dev for one in also):
        raise InputError("a task of --also is measured when the first is: --dev is needed for that too")


def finetune(
    name: str,
    settings: dict[str, Any],
    options: Options,
    *,
    examples: tuple[Any, Any] | None = None,
    also: Sequence[Also] = (),
    on_figures: Callable[[Mapping[str, Any]], None] | None = None,
    **course: Unpack[Course],
) -> dict[str, Any]:
    """Train a model into options.out, from where its run stands; its figures on `dev`, {} where there is none.

    name, settings: of the task, a key of tasks.TASKS and the fields of its class. examples: of `train` and `dev`, as
    the task reads them, where they are in memory (in_memory.py). also: tasks that the same body learns together with
    it, whose models are in folders in options.out, called after the task (together.py). on_figures: called with the
    figures of an epoch. course: see options.py.

    Raises InputError, CheckpointError or ModelNotFoundError for what does not exist, does not fit or cannot be.
    """
    everyone = course.get("communicator") or Single()
    first = everyone.rank == 0
    placed = replace(options, backend=everyone.placed(options.backend))
    if options.teacher is not None and name != "question-answering":
        raise InputError("--teacher is for question answering; nanodistil distill teaches masked words")
    if also:
        check_together(options, also)
    part = part_of(task_of(name, **settings), placed, examples, first)
    names, others = folders([name, *(one.task for one in also)]), list[Part]()
    for other, one in zip(names[1:], also, strict=True):
        own = replace(placed, train=one.train, dev=one.dev, batch_size=one.batch_size or options.batch_size)
        try:
            others.append(part_of(task_of(one.task, **one.settings), own, one.examples, first, other))
        except InputError as error:
            raise InputError(f"{other} (--also): {error}") from None
    parts = [part, *others]
    model, trainee = part.model, part.trainee
    teacher = taught_by = None
    if options.teacher is not None:
        folder = resolve(options.teacher, need="model")
        teacher, taught_by = load_teacher(placed, folder), files.checksum(folder)
        check_words(options.teacher, part.tokenizer)
        check_pair(teacher, part.tokenizer)  # how many rows it has to spare is its own affair: they answer with places
    described = asdict(options) | {
        "task": name,
        "settings": settings,
        "backend": options.backend or model.backend,
        "dtype": model.dtype,
        "processes": everyone.size,
        "data": part.data(),
        "config": model.config.to_dict(),
        "teacher_checksum": taught_by,
        "made_with": made_with(model.backend),
    }
    if also:
        described["folders"] = names[1:]
        described["also"] = [
            {**asdict(replace(one, examples=None)), "data": other.data(), "config": other.model.config.to_dict()}
            for one, other in zip(also, others, strict=True)
        ]
    run = Run(options.out, described, free=FREE, writes=first, **begun(course))

    together = Together([one.trainee for one in parts]) if others else None
    learner = together or trainee if options.lora_r is None else LowRank(
        trainee, r=options.lora_r, alpha=options.lora_alpha, seed=options.seed
    )  # fmt: skip

    def save(folder: Path) -> None:
        if isinstance(learner, LowRank):
            learner.save(folder, options.model)
            part.tokenizer.save_pretrained(folder)
            return
        if together:
            together.refresh_members()
        for one in parts:
            one.save(folder / one.name)

    def measure(judge: development.Development) -> dict[str, float]:
        if together:
            together.refresh_members()
        figures = judge.measure()
        if on_figures:
            on_figures(figures)
        return figures

    best = save if options.load_best_model_at_end else None
    judge = None
    if part.judged is not None:
        besides = [one.judged for one in others if one.judged is not None]
        judge = development.Development(part.judged, run, best, besides)
    pace = None
    if options.layer_decay != 1:
        pace = partial(layerwise, layers=model.config.n_layers, decay=options.layer_decay)
    steps = [make_step(one.task, options, one.rows, one.trainee, teacher, one.tokenizer) for one in parts]
    step, epoch = steps[0], part.epochs()
    each = sum(-(-len(one.rows) // one.options.batch_size) for one in parts)
    plan = make_plan(options, each)
    if together:
        step, epoch = in_turn(together, steps), woven([one.epochs() for one in parts], options.seed)
        plan = replace(plan, terms=("loss", *(f"loss_{other}" for other in names)))
    train(
        learner,
        AdamW(learner, trainee.bops, eps=options.adam_epsilon, weight_decay=options.weight_decay, pace=pace),
        step,
        epoch,
        plan,
        run,
        dtype=model.dtype,
        communicator=everyone,
        on_step=course.get("on_step"),
        on_log=watch(trainee, run) if (watch := course.get("watch")) else None,
        on_epoch=None if judge is None else lambda _: measure(judge),
    )
    if not first:
        return {}
    save(run.folder)
    return {} if judge is None else judge.end(plan.steps, plan.batches / each)


def in_turn(together: Together, steps: Sequence[Step]) -> Step:
    """A step for batches that say which task they are of; the loss's terms are what each of them brings to it."""

    def step(batch: tuple[int, Ints], key: int, scale: float) -> Worked:
        number, items = batch
        together.goes_back(number)
        worked = steps[number](items, key, scale)
        parts = [0.0] * len(steps)
        parts[number] = worked.terms[0]
        return Worked((worked.terms[0], *parts), worked.tokens)

    return step


class _Callable(ModuleType):
    """This file as a function: nanodistil.training.finetune(...) is that of in_memory.py."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        from nanodistil.training import in_memory

        return in_memory.finetune(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable

"""The settings of a fine-tuning, looked for: many runs, and the model of the best one (extra: "nanodistil[search]").

Optuna's TPE proposes a learning rate, a batch size and a number of epochs for each trial, from how well those before it
did on `dev`; whatever is given on the command line stays as it is given. A trial is a whole run in a folder of its own
in that of the search. Of the best so far the model is copied into the search's folder; then the trial is a line of
trials.jsonl, and its folder is gone.

    {"trial": 7, "learning_rate": 4.1e-05, "batch_size": 16, "num_train_epochs": 3, "acc": 0.912}

What is proposed follows from the seed, the trial's number and the lines before it. So a search that was killed goes on
to the same trials, and in the middle of one to the same bits; and a search may be told to do more trials than before.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Set
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from nanodistil.auto import AutoConfig
from nanodistil.training.evaluate import task_of
from nanodistil.training.finetune import FREE, Options
from nanodistil.training.finetune import finetune as trained
from nanodistil.training.options import Course, begun
from nanodistil.training.run import EPOCH, LOG, SETTINGS, Run
from nanodistil.weights.errors import CheckpointError, InputError, MissingExtraError
from nanodistil.weights.saving import written, written_together

TABLE, TRIAL = "trials.jsonl", EPOCH + "trial-"  # Run clears what begins so
RATES = 1e-5, 2e-4
CHOICES: dict[str, tuple[int, ...]] = {"batch_size": (8, 16, 32), "num_train_epochs": (2, 3, 4)}  # BERT's paper's
SOUGHT = "learning_rate", *CHOICES


def optuna() -> Any:
    """The module, which then keeps quiet. Raises MissingExtraError."""
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(f'--search needs optuna ({error}): pip install "nanodistil[search]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def distributions(options: Options, given: Set[str]) -> dict[str, Any]:
    """What is sought, as Optuna wants it said. Raises InputError if nothing is left."""
    of = optuna().distributions
    space: dict[str, Any] = {"learning_rate": of.FloatDistribution(*RATES, log=True)}
    space |= {name: of.CategoricalDistribution(values) for name, values in CHOICES.items()}
    fixed = {*given, *(["num_train_epochs"] if options.max_steps is not None else [])}
    space = {name: kind for name, kind in space.items() if name not in fixed}
    if not space:
        raise InputError(f"{', '.join(SOUGHT)} are all given: nothing is left to search for")
    return space


def search(
    name: str, settings: dict[str, Any], options: Options, trials: int, given: Set[str], **course: Unpack[Course]
) -> tuple[list[dict[str, Any]], str]:
    """Fine-tune so many times and leave the best model in options.out; the lines of the table, and what judged them.

    name, settings, options: of finetune. given: the names of the options that the user gave, which stay. course: see
    options.py; `resume` goes on with a search, also to more trials. Raises as finetune, MissingExtraError, and
    InputError if there is no `dev` to judge by, for several processes, or where no trial's figure is a number.
    """
    everyone = course.get("communicator")
    if everyone is not None and everyone.size > 1:
        raise InputError("a search runs in one process: start one for each --seed, or fine-tune with what it finds")
    if options.dev is None:
        raise InputError("--search needs --dev, to measure which settings are the best")
    space = distributions(options, given)
    task = task_of(name, **settings)
    examples = task.read(options.train), task.read(options.dev)
    config = AutoConfig.from_pretrained(options.model)
    metric, more = task.best(replace(config, **task.config(examples[0], config)))
    described = asdict(options) | {"task": name, "settings": settings, "search": sorted(space)}
    run = Run(options.out, described, free=FREE, **begun(course))
    table = run.folder / TABLE
    if not run.resumes:
        table.unlink(missing_ok=True)
        run.begin()
    lines = _lines(table, metric)
    for number in range(len(lines), trials):
        chosen = proposed(space, lines, metric, more, options.seed)
        folder = run.folder / f"{TRIAL}{number}"
        told: Course = {**course, "resume": (folder / SETTINGS).is_file(), "force": False}
        if folder.exists() and not told["resume"]:
            shutil.rmtree(folder)  # begun, and killed before there was anything in it
        figures = trained(name, settings, replace(options, out=str(folder), **chosen), examples=examples, **told)
        line = {"trial": number, **chosen, metric: float(figures[metric])}
        if best([*lines, line], metric, more) is line:
            _keep(folder, run.folder)
        lines.append(line)
        written(table, partial(_write, lines))
        shutil.rmtree(folder)
    if best(lines, metric, more) is None:
        raise InputError(f"{metric} was no number in any of {trials} trials; see {table}")
    return lines, metric


def proposed(space: dict[str, Any], lines: list[dict[str, Any]], metric: str, more: bool, seed: int) -> dict[str, Any]:
    """The settings of the next trial, which follow from those before it and the seed."""
    found = optuna()
    sampler = found.samplers.TPESampler(seed=(seed + 1_000_003 * len(lines)) % 2**32)
    study = found.create_study(direction="maximize" if more else "minimize", sampler=sampler)
    for line in lines:
        value = line[metric]
        state = found.trial.TrialState.COMPLETE if math.isfinite(value) else found.trial.TrialState.FAIL
        study.add_trial(
            found.trial.create_trial(
                state=state,
                params={name: line[name] for name in space},
                distributions=space,
                value=value if math.isfinite(value) else None,
            )
        )
    chosen: dict[str, Any] = study.ask(space).params
    return chosen


def best(lines: list[dict[str, Any]], metric: str, more: bool) -> dict[str, Any] | None:
    """The line of the best trial, the first of several alike; None if no figure is a number.

    >>> best([{"trial": 0, "acc": 0.5}, {"trial": 1, "acc": 0.7}, {"trial": 2, "acc": 0.7}], "acc", True)["trial"]
    1
    """
    sound = [line for line in lines if math.isfinite(line[metric])]
    return (max if more else min)(sound, key=lambda line: line[metric]) if sound else None


def _keep(trial: Path, folder: Path) -> None:
    """The model of a trial becomes that of the search."""
    files = [path for path in trial.iterdir() if path.is_file() and path.name not in (SETTINGS, LOG)]
    written_together({folder / path.name: partial(shutil.copyfile, path) for path in files})


def _write(lines: list[dict[str, Any]], path: Path) -> None:
    text = "".join(json.dumps({name: _said(value) for name, value in line.items()}) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def _said(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(table: Path, metric: str) -> list[dict[str, Any]]:
    """The trials that are done. Raises CheckpointError if the file is damaged."""
    if not table.is_file():
        return []
    lines = []
    try:
        for number, text in enumerate(table.read_text(encoding="utf-8").splitlines()):
            line = json.loads(text)
            line[metric] = math.nan if line[metric] is None else float(line[metric])
            if line["trial"] != number:
                raise ValueError(f"line {number + 1} is of trial {line['trial']}")
            lines.append(line)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{table}: is no table of this search ({error}); start again with --force") from None
    return lines

"""The examples that nothing is learned from: how well a model does on them after each epoch, and which did best.

The figures stand in the log of the run, as lines of their own whose names begin with "dev_". The log is also all that
remembers them: a run that was killed reads there which model was the best so far, and goes on as if it had not been.
The best model itself lies in a folder of its own and takes the place of the last one when the run is done.

What it does not do: stop a run early. How many epochs there are decides how the learning rate falls, so a run that is
cut short is another run.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training.run import EPOCH, LOG, MODEL, Run, log_lines, number_in
from nanodistil.training.sequences import Sequences
from nanodistil.training.tasks import Task
from nanodistil.weights.errors import CheckpointError
from nanodistil.weights.saving import written_together

BEST = EPOCH + "best"  # where the best model so far is kept
DEV = "dev_"  # before the names of metrics, in the log


def check(task: Task, model: Pretrained, tokenizer: Tokenizer, examples: Any) -> None:
    """Raises, before training, what would else end it at the first measuring: unknown labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come when it is measured
        task.rows(examples, tokenizer, model.config)
        if not isinstance(examples, Sequences):
            task.evaluate(model, tokenizer, examples[:2])


class Judged(NamedTuple):
    """A task, and the examples that judge its model. name: stands before its figures, if it is learned along."""

    task: Task
    model: Pretrained
    tokenizer: Tokenizer
    examples: Any
    name: str = ""


class Development:
    """The examples of a run, and the model they judge.

    first: decides which model is the best. save: writes the model as it is into a folder, where the best one is to be
    kept; None if the last will do. others: learned along (together.py): they are measured too, and decide nothing.
    """

    def __init__(
        self,
        first: Judged,
        run: Run,
        save: Callable[[Path], None] | None = None,
        others: Sequence[Judged] = (),
    ) -> None:
        self.judged, self.run, self.save = (first, *others), run, save
        metric, self.more = first.task.best(first.model.config)
        self.metric = DEV + metric

    def measure(self) -> dict[str, float]:
        """The figures, for a line of the log; a model that is better than those before it is kept."""
        figures: dict[str, Any] = {}
        for one in self.judged:
            found = one.task.evaluate(one.model, one.tokenizer, one.examples).metrics
            begins = DEV + (f"{one.name}_" if one.name else "")
            figures |= {begins + metric: value for metric, value in found.items() if not isinstance(value, dict)}
        if self.save is not None:
            now, before = figures[self.metric], [line[self.metric] for line in self._told()]
            if not before or (now > max(before) if self.more else now < min(before)):
                self.save(self.run.folder / BEST)
        return figures

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log that have figures, so far. Raises CheckpointError if the log is damaged."""
        path = self.run.folder / LOG
        lines = [line for _, line in log_lines(path)] if path.is_file() else []
        lines = [line for line in lines if any(name.startswith(DEV) for name in line)]
        if any(self.metric not in line for line in lines):
            raise CheckpointError(
                f"{path}: was measured without {self.metric.removeprefix(DEV)}, by which the best model would be told "
                'now: what pip install "nanodistil[train]" brings was not there then, or is not now; make it as it was'
            )
        try:
            for line in lines:
                number_in(line, self.metric)
        except ValueError as error:
            raise CheckpointError(f"{path}: is no log of this run ({error})") from None
        return lines

    def _told(self) -> list[dict[str, Any]]:
        """Those whose figure says something."""
        return [line for line in self.lines() if math.isfinite(line[self.metric])]

    def end(self, step: int, epoch: float) -> dict[str, Any]:
        """When the run is done and its last model in its folder: the figures of the model that stays there.

        step, epoch: how far it went; if it ended within an epoch the last model has not been measured yet.
        """
        lines = self.lines()
        if not lines or lines[-1]["step"] != step:
            self.run.log({"step": step, "epoch": epoch, **self.measure()})
            lines = self.lines()
        shown = lines[-1]
        if self.save is not None:
            best, folder = self.run.folder / BEST, self.run.folder
            files = [file for file in MODEL if (best / file).is_file()]
            written_together({folder / file: partial(shutil.copyfile, best / file) for file in files})
            shown = (max if self.more else min)(self._told() or lines[-1:], key=lambda line: line[self.metric])
        return {name.removeprefix(DEV): value for name, value in shown.items() if name.startswith(DEV)}

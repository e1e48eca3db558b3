"""Curves for TensorBoard under the names of upstream's train.py (extra: pip install "nanodistil[tensorboard]").

    parameter_mean/NAME, parameter_std/NAME, grad_mean/NAME, grad_std/NAME      every weight, as transformers names it
    losses/loss, losses/loss_ce, ..., losses/cum_avg_loss_epoch, learning_rate/lr
    global/speed     seconds since the last line of the log
    epoch/loss       mean over an epoch, at the epoch's number

with every line of the log. What they show differs from upstream's in one thing: losses are means since the last line
of the log, not those of one micro-batch. global/memory_usage is left out; the system's own tools show it better.

The package brings a writer of event files and needs no TensorFlow. Events of steps that a run does again after a kill
stand there twice; TensorBoard shows the later ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nanodistil.training.trainee import Trainee
from nanodistil.weights.errors import MissingExtraError
from nanodistil.weights.names import filed


def check() -> None:
    """Raises MissingExtraError without tensorboard."""
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f'tensorboard is needed ({error}): pip install "nanodistil[tensorboard]"') from None


class Curves:
    """Called with every line of the log, it writes an event. Raises MissingExtraError without tensorboard."""

    def __init__(self, folder: str | Path, trainee: Trainee) -> None:
        check()
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = Event, Summary
        self._open = partial(EventFileWriter, str(folder))  # at the first line: only then has the run tidied its folder
        self._writer: Any = None
        self.trainee = trainee
        self.before: float | None = None  # seconds, at the last line of the log

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Write what a line of the log says, and how weights and gradients lie."""
        self._writer = self._writer or self._open()
        scalars = {}
        for name, weight in self.trainee.weights.items():
            gradient, known = self.trainee.gradients[name], filed(name, self.trainee.model.head)
            for kind, array in (("parameter", weight), ("grad", gradient)):
                scalars[f"{kind}_mean/{known}"] = float(array.mean(dtype=np.float64))
                if array.size > 1:
                    scalars[f"{kind}_std/{known}"] = float(array.std(dtype=np.float64, ddof=1))  # as torch's
        scalars |= {f"losses/{name}": line[name] for name in line if name.startswith("loss")}
        scalars["losses/cum_avg_loss_epoch"] = line["epoch_loss"]
        scalars["learning_rate/lr"] = line["lr"]
        if self.before is not None:
            scalars["global/speed"] = line["seconds"] - self.before
        self.before = line["seconds"]
        self._write(scalars, line["step"])
        if "ended" in line:
            self._write({"epoch/loss": line["epoch_loss"]}, line["ended"])
        self._writer.flush()

    def _write(self, scalars: Mapping[str, float], step: int) -> None:
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._writer.add_event(self._event(step=step, summary=self._summary(value=values)))

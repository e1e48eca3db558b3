"""A training run is a folder, and a folder is all that is needed to go on with it.

    settings.json       everything that decides the result (upstream's parameters.json)
    log.jsonl           one JSON object a log interval; null if a figure is no number, as a correlation may be
    checkpoints/        00001200.safetensors and the one before it (checkpoint.py)
    model_epoch_0/ ...  the model after each epoch, if that is asked for
    model.safetensors, config.json, ...  the result, when it is done

A run that was killed at any moment, by `kill -9` too, goes on with `--resume` to bitwise the weights it would have had:
every file is whole or not there (it is renamed into its place), the newest two checkpoints are kept in case one is
damaged, and lines of the log that are later than the checkpoint are cut off, since they will be written again.

Settings that differ from those the run began with are refused by name. `free` names those that change nothing of the
result, such as how often to save. If the program, NumPy, Numba or the kind of processor is another than before, sums
may differ in their last bits, and one line says so. (NumPy's BLAS does not tell what it does on which processor.)

A folder that exists is never taken over silently: --resume goes on with it, --force starts again (and removes what a
run has written, nothing else), and without either it is an error.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from nanodistil import __version__
from nanodistil import backend as backends
from nanodistil.training import checkpoint
from nanodistil.training.checkpoint import Checkpoint
from nanodistil.weights.errors import CheckpointError, InputError, excerpt
from nanodistil.weights.saving import written
from nanodistil.weights.small_files import FOR_CONFIG, FOR_SETTINGS, FOR_TOKENS, parsed, read_json, read_text

KEPT = 2  # checkpoints
MADE_WITH = "made_with"
SETTINGS, LOG, CHECKPOINTS, CURVES, EPOCH = "settings.json", "log.jsonl", "checkpoints", "tensorboard", "model_epoch_"
MODEL = "model.safetensors", "adapter_model.safetensors", "adapter_config.json", "config.json"
_CHECKPOINT = re.compile(r"\d{8,}\.safetensors")
_HALF_WRITTEN = re.compile(r"\..+\.(json|jsonl|txt|safetensors)\.\w{8}")  # weights/saving.py's temporary names


def made_with(backend: str) -> dict[str, Any]:
    """What the last bits of a result depend on besides the settings, for the setting of this name."""
    found, device = backends.named(backend)
    return {"nanodistil": __version__, "numpy": np.__version__, **found.bits_depend_on(device)}


class Run:
    """A run's folder, new or gone on with.

    settings: name -> value that JSON can hold; "made_with" is what made_with says, and only warned of if it differs.
    free: the names that may differ from what the run began with.
    writes: False for a process that only reads along (any rank but 0): nothing is changed by it.

    Raises InputError: the folder is there and neither resume nor force were given, settings differ, or it cannot be
    written; CheckpointError: its settings.json is broken.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        force: bool = False,
        free: tuple[str, ...] = (),
        writes: bool = True,
    ) -> None:
        self.folder, self.writes = Path(folder), writes
        free = (*free, MADE_WITH)
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))  # as they will be read again
        deciding = {name: value for name, value in sorted(self.settings.items()) if name not in free}
        self.digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()
        if resume and force:
            raise InputError("--resume goes on and --force starts again: give one of them")
        begun = (self.folder / SETTINGS).is_file()
        if not begun and not _free_for_a_run(self.folder):
            raise InputError(f"{self.folder}: is there already, and is not the folder of a run; name another")
        if begun and not (resume or force):
            raise InputError(f"{self.folder}: holds a run already; --resume goes on with it, --force starts it again")
        self.resumes = begun and resume
        if resume and not begun and writes:
            warnings.warn(f"note: {self.folder} holds no run to go on with: starting it", stacklevel=2)
        if self.resumes:
            before = self._began_with()
            self._refuse_changes(before, free)
            self._tell_of_changed_bits(before.get(MADE_WITH))

    def _began_with(self) -> dict[str, Any]:
        try:
            return read_json(self.folder / SETTINGS, FOR_CONFIG)
        except CheckpointError as error:
            reason = str(error).split("; get the file again")[0]
            raise CheckpointError(
                f"{reason}, and without it nobody knows which run this is: put back a copy, or start again with --force"
            ) from None

    def _refuse_changes(self, before: dict[str, Any], free: tuple[str, ...]) -> None:
        names = [name for name in sorted({*before, *self.settings}) if name not in free]
        for name in names:
            was, now = before.get(name), self.settings.get(name)
            if was != now:
                raise InputError(
                    f"{self.folder}: the run began with {name} = {_brief(was)}, not {_brief(now)}; "
                    "resume it with the settings it began with, or start another run"
                )

    def _tell_of_changed_bits(self, before: Any) -> None:
        now = self.settings.get(MADE_WITH, {})
        if self.writes and isinstance(before, dict) and before != now:  # runs of earlier versions have none
            changes = ", ".join(
                f"{name} {_brief(before.get(name))} before, {_brief(now.get(name))} now"
                for name in sorted({*before, *now})
                if before.get(name) != now.get(name)
            )
            warnings.warn(
                f"note: the result may differ in its last bits from what it would have been ({changes})", stacklevel=4
            )

    def begin(self) -> Checkpoint | None:
        """Make the folder, or tidy it, and give the checkpoint to go on from; None: from the start.

        Every rank calls this, after all of them have a Run. Raises CheckpointError if all checkpoints are damaged.
        """
        if not self.resumes:
            if self.writes:
                self._clear()
                written(self.folder / SETTINGS, lambda path: path.write_text(self._pretty(), encoding="utf-8"))
            return None
        found = self._newest()
        if self.writes:
            step = found.step if found else 0
            for path in self._checkpoints():
                if _step(path) > step:  # damaged, or it would have been found
                    path.unlink()
            for path in (*self.folder.iterdir(), *self.folder.glob("*/.*")):
                if _HALF_WRITTEN.fullmatch(path.name):  # a kill left it behind
                    path.unlink()
            self._cut_log(step)
            written(self.folder / SETTINGS, lambda path: path.write_text(self._pretty(), encoding="utf-8"))
        return found

    def _pretty(self) -> str:
        return json.dumps(self.settings, indent=2, sort_keys=True) + "\n"

    def _clear(self) -> None:
        """Remove what an earlier run has written here."""
        own = (self.folder / name for name in (CHECKPOINTS, CURVES, *self._named_before()))
        for folder in (*own, *self.folder.glob(EPOCH + "*")):
            shutil.rmtree(folder, ignore_errors=True)
        for name in (LOG, *MODEL):
            (self.folder / name).unlink(missing_ok=True)

    def _named_before(self) -> list[str]:
        """The folders that the settings of an earlier run name as its own, if they can be read: together.folders'."""
        try:
            names = list(read_json(self.folder / SETTINGS, FOR_CONFIG).get("folders", ()))
        except (CheckpointError, TypeError):
            return []
        return [name for name in names if isinstance(name, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*(-\d+)?", name)]

    def _checkpoints(self) -> list[Path]:
        """Newest first."""
        there = [path for path in self.folder.glob(f"{CHECKPOINTS}/*") if _CHECKPOINT.fullmatch(path.name)]
        return sorted(there, key=_step, reverse=True)

    def _newest(self) -> Checkpoint | None:
        problems = []
        for path in self._checkpoints():
            try:
                found = checkpoint.read(path)
                if found.settings != self.digest:
                    raise CheckpointError(f"{path}: comes from a run with other settings")
                if found.step != _step(path):
                    raise CheckpointError(f"{path}: is of step {found.step}")
            except CheckpointError as error:
                problems.append(error)
                continue
            for problem in problems:
                if self.writes:
                    warnings.warn(f"note: {problem}; going on from step {found.step}", stacklevel=4)
            return found
        if problems:
            raise CheckpointError(f"{problems[0]}; no checkpoint is left to go on from: --force starts the run again")
        return None

    def _cut_log(self, step: int) -> None:
        """Drop the lines that come after a step, and one that was not finished."""
        path = self.folder / LOG
        lines: list[str] = []
        if path.is_file():
            for text, line in log_lines(path):
                if line["step"] > step:
                    break
                lines.append(text)
            written(path, lambda fresh: fresh.write_text("".join(lines), encoding="utf-8"))

    def log(self, line: Mapping[str, Any]) -> None:
        """One more line of the log; it has a "step". NaN and infinity become null: JSON has neither."""
        if self.writes:
            with (self.folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(sayable(dict(line)), allow_nan=False) + "\n")

    def keep(self, state: Checkpoint) -> None:
        """Write a checkpoint and remove those that are no longer needed. Raises InputError if the disk is full."""
        if self.writes:
            checkpoint.write(self.folder / CHECKPOINTS / f"{state.step:08}.safetensors", state)
            for path in self._checkpoints()[KEPT:]:
                path.unlink()


def sayable(value: Any) -> Any:
    """A value of dicts, lists and numbers, with None for NaN and infinity, which JSON does not have.

    >>> sayable({"corr": nan, "kinds": [0.5, {"f1": -np.inf}]})
    {'corr': None, 'kinds': [0.5, {'f1': None}]}
    """
    if isinstance(value, dict):
        return {name: sayable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [sayable(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def log_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a log, as text and as what they say, with NaN if that is null; one half written does not count.

    Raises CheckpointError if the file cannot be read, and for a line that is none of a log.
    """
    for number, text in enumerate(read_text(path, FOR_TOKENS).split("\n")[:-1], 1):
        try:
            yield f"{text}\n", read_line(text)
        except ValueError as error:
            raise CheckpointError(
                f"{path}: is no log of a training run (line {number}: {error}); mend or remove it"
            ) from None


def read_line(text: str) -> dict[str, Any]:
    """A line of the log. Raises ValueError for what is not a JSON object with a step.

    >>> read_line('{"step": 3, "dev_corr": null}')
    {'step': 3, 'dev_corr': nan}
    """
    line = parsed(text, FOR_SETTINGS, lambda pairs: {name: nan if value is None else value for name, value in pairs})
    if not isinstance(line, dict) or type(line.get("step")) is not int:
        raise ValueError("it has no step")
    return line


def number_in(line: Mapping[str, Any], name: str) -> float:
    """A figure of a line. Raises ValueError if it is none, or not there."""
    value = line.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {excerpt(value)}, not a number")
    return value


def _brief(value: Any) -> str:
    """A setting as settings.json has it, or how it begins."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _free_for_a_run(folder: Path) -> bool:
    """Whether there is nothing, or nothing but what a kill left behind of the first file."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(_HALF_WRITTEN.fullmatch(path.name) for path in folder.iterdir())


def _step(path: Path) -> int:
    return int(path.stem)

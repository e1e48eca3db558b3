"""What the verbs that train share: the arguments of a run, its line on the terminal, and who else watches.

nanodistil: 20 %, 4 min left, 167 tokens a second; step 20 of 100, loss 5.871 (ce 3.204, mlm 6.135)
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from nanodistil.cli.loading import set_threads
from nanodistil.cli.parsing import number, whole
from nanodistil.cli.progress import Line, span
from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.training.loop import Stepped
    from nanodistil.training.run import Run
    from nanodistil.training.trainee import Trainee


Settings = TypeVar("Settings")
Result = TypeVar("Result")
LAST = 50  # steps whose loss is told at the end: one alone says little


def option(parser: argparse.ArgumentParser, flags: str, help: str, kind: type = str, **more: Any) -> None:
    """A flag of a run; if it is not given it is not in the namespace, so its default stands with the Options.

    flags: one name, or several with spaces between. kind: of the value; bool for a flag that has none.
    """
    read = {int: whole(), float: number}.get(kind, kind)
    place: dict[str, Any] = {"action": "store_true"} if kind is bool else {"type": read, "metavar": "X"}
    parser.add_argument(*flags.split(), help=help, default=argparse.SUPPRESS, **{**place, **more})


def add_step_arguments(
    option: Callable[..., None], accumulation: int, rate: str, eps: str, longest: int, seed: tuple[str, int]
) -> None:
    """How every run makes a step, and what it computes on. option: a parser's `option`; the others: what is preset."""
    option("--gradient-accumulation-steps", f"micro-batches in a step (default {accumulation})", int)
    option("--gradient-checkpointing", "less memory, a third more time", bool)
    option("--learning-rate", f"the highest (default {rate})", float)
    option("--weight-decay", "of matrices, not of biases and norms (default 0)", float)
    option("--adam-epsilon", f"(default {eps})", float)
    option("--max-grad-norm", f"longer gradients are shortened to it; 0: never (default {longest})", float)
    option("--seed", f"of {seed[0]} (default {seed[1]})", int)
    option("--backend", "numpy, numba (default where it is installed), or cupy for an NVIDIA GPU", metavar="B")
    option(
        "--dtype", "of linear maps: float32 (default), float64 (numpy), bfloat16, tf32 and float16 (cupy)", metavar="D"
    )
    option("--threads", "how many threads to use", int)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every run."""
    parser.add_argument("--resume", action="store_true", help="go on with the run that the folder holds")
    parser.add_argument("--force", action="store_true", help="remove the run that the folder holds, and start again")
    parser.add_argument("--tensorboard", action="store_true", help="write curves to DIR/tensorboard (needs the extra)")


def settings_of(args: argparse.Namespace, kind: type[Settings]) -> Settings:
    """The settings that the command line gives, the others as they are preset."""
    from dataclasses import fields

    given = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in vars(args).items() if name in given})


def train(args: argparse.Namespace, run: Callable[..., Result], end: Callable[[Result], str]) -> int:
    """Make a run with a line on the terminal; the exit code.

    run: training/distill.py's or finetune.py's, with its settings. end: prints what there is to say of its result, and
    returns the command that may come next.
    """
    from nanodistil.training.communicator import communicator

    with communicator() as everyone, TrainingProgress() as progress:
        result = run(
            resume=args.resume,
            force=args.force,
            communicator=everyone,
            on_step=progress,
            watch=curves(args.tensorboard),
        )
        if everyone.rank == 0:
            progress.line.erase()
            progress.end(end(result))
    return 0


def threads(count: int | None) -> None:
    """Of NumPy's BLAS, too. Raises InputError for a number below 1."""
    if count is not None and count < 1:
        raise InputError(f"--threads must be at least 1, not {count}")
    set_threads(count)


class TrainingProgress:
    """The line of a run, erased at the end of a `with`; if stderr is no terminal, a line now and then."""

    def __init__(self) -> None:
        self.line = Line(sys.stderr, plain=True)
        self.began = time.monotonic()
        self.steps = self.tokens = 0  # of this process: others were done before a pause
        self.losses = deque[float](maxlen=LAST)
        self.all = 0

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.line.erase()

    def __call__(self, step: Stepped) -> None:
        """One more step is done."""
        self.steps += 1
        self.tokens += step.tokens
        self.losses.append(next(iter(step.loss.values())))
        self.all = step.steps
        self.line.show(lambda: described(step, self.steps, self.tokens, time.monotonic() - self.began))

    def end(self, next_command: str) -> None:
        """What a run ends with, on stderr: how far, how long, how well, and what may come next."""
        self.line.erase()
        if not self.steps:
            print("nanodistil: the run was done already", file=sys.stderr)
        else:
            print(f"nanodistil: {summed_up(self, time.monotonic() - self.began)}", file=sys.stderr)
        print(f"nanodistil: next: {next_command}", file=sys.stderr)


def summed_up(run: TrainingProgress, seconds: float) -> str:
    """What was done in so many seconds.

    >>> run = TrainingProgress()
    >>> run.all, run.steps, run.tokens = 200, 150, 3000
    >>> run.losses.extend([0.5, 0.25])
    >>> summed_up(run, 20.4)
    'step 200 of 200, 150 of them in 20 s, 147 tokens a second; loss 0.375, the mean of the last 2 steps'
    """
    now = f", {run.steps:,} of them in" if run.steps < run.all else " in"
    mean = sum(run.losses) / len(run.losses)
    last = f", the mean of the last {len(run.losses)} steps" if len(run.losses) > 1 else ""
    speed = f"{run.tokens / seconds:,.0f} tokens a second"
    return f"step {run.all:,} of {run.all:,}{now} {span(seconds)}, {speed}; loss {mean:.3f}{last}"


def described(step: Stepped, steps: int, tokens: int, seconds: float) -> str:
    """The line after a step; steps, tokens: how many in so many seconds.

    >>> from nanodistil.training.loop import Stepped
    >>> loss = {"loss": 5.8712, "loss_ce": 3.2042, "loss_mlm": 6.1354}
    >>> described(Stepped(20, 100, loss, lr=1e-4, tokens=500, seconds=61.0), steps=10, tokens=5000, seconds=30.0)
    '20 %, 4 min left, 167 tokens a second; step 20 of 100, loss 5.871 (ce 3.204, mlm 6.135)'
    """
    (_, whole), *parts = step.loss.items()
    terms = ", ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in parts)
    return (
        f"{100 * step.done // step.steps} %, {span(seconds * (step.steps - step.done) / steps)} left, "
        f"{tokens / seconds:,.0f} tokens a second; step {step.done:,} of {step.steps:,}, loss {whole:.3f}"
        + (f" ({terms})" if terms else "")
    )


def curves(wanted: bool) -> Callable[[Trainee, Run], Callable[[Mapping[str, Any]], None]] | None:
    """What writes TensorBoard's files, if they are wanted. Raises MissingExtraError without the extra."""
    if not wanted:
        return None
    from nanodistil.training.run import CURVES
    from nanodistil.training.tensorboard import Curves, check

    check()
    return lambda trainee, run: Curves(run.folder / CURVES, trainee)

"""The curves of a run, or of several over one another, from their logs (extra: pip install "nanodistil[plot]").

Three panels above one another, by steps: the loss and its terms, the learning rate, and tokens a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nanodistil.training.run import LOG, log_lines, number_in
from nanodistil.weights.errors import CheckpointError, InputError, MissingExtraError
from nanodistil.weights.saving import written

STYLES = ("-", "--", ":", "-.", (0, (1, 3)))  # of the loss and its terms, where colours tell runs apart


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's log that tell its loss; one that is still being written does not count.

    Raises InputError if there is none, CheckpointError for what is no log.
    """
    path = Path(folder) / LOG
    if not path.is_file():
        raise InputError(f"{folder}: is not the folder of a run, it has no {LOG}")
    lines = [line for _, line in log_lines(path) if "loss" in line]
    names = {"loss", "lr", "tokens_per_second", *(term for term in (lines or [{}])[0] if term.startswith("loss"))}
    try:
        for line in lines:
            for name in names:
                number_in(line, name)
    except ValueError as error:
        raise CheckpointError(f"{path}: is no log of a training run ({error})") from None
    if not lines:
        raise InputError(f"{path}: has no line yet; a smaller --log-interval gives more of them")
    return lines


def plot(runs: Sequence[str | Path], out: str | Path) -> None:
    """Draw the curves of runs into a picture; its ending (.png, .svg, .pdf) says of which kind.

    Raises MissingExtraError without matplotlib, InputError for an ending it does not know, and as read_log.
    """
    logs = [(str(folder), read_log(folder)) for folder in runs]
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f'matplotlib is needed ({error}): pip install "nanodistil[plot]"') from None
    kind = Path(out).suffix.removeprefix(".").lower()
    if kind not in FigureCanvasAgg(Figure()).get_supported_filetypes():
        raise InputError(f"{out}: the ending says what picture to draw; .png, .svg and .pdf are known")
    figure = Figure(figsize=(8, 9), layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1, 1])
    for n, (name, lines) in enumerate(logs):
        steps = [line["step"] for line in lines]
        marker = "." if len(lines) == 1 else ""
        for m, term in enumerate(term for term in lines[0] if term.startswith("loss")):
            label = term if len(logs) == 1 else f"{name}: {term}"
            style = {"color": f"C{n}", "linestyle": STYLES[m % len(STYLES)]} if len(logs) > 1 else {}
            above.plot(steps, [line[term] for line in lines], label=label, marker=marker, **style)
        middle.plot(steps, [line["lr"] for line in lines], color=f"C{n}", marker=marker)
        below.plot(steps, [line["tokens_per_second"] for line in lines], color=f"C{n}", marker=marker)
    above.set_yscale("log")  # the whole is often twenty times its smallest term
    above.legend()
    for axes, title in ((above, "loss"), (middle, "learning rate"), (below, "tokens a second")):
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    middle.set_ylim(bottom=0)
    below.set_ylim(bottom=0)
    below.set_xlabel("step")
    written(Path(out), lambda path: figure.savefig(path, format=kind, dpi=100))

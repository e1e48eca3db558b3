"""The file that a learner fills in: what is to be computed, hints, and an example to play with."""

from __future__ import annotations

import textwrap
from pathlib import Path

from nanodistil.exercises.exercise import Exercise
from nanodistil.weights.errors import InputError
from nanodistil.weights.saving import written

WIDTH = 100
NOT_YET = 'raise NotImplementedError("write me")'


def stub(exercise: Exercise) -> str:
    """The text of NAME.py.

    >>> from nanodistil.exercises import exercise
    >>> print(stub(exercise("softmax")).splitlines()[0])
    \"""Exercise softmax: scores become shares of 1. About 10 minutes, 4 lines.
    """
    hints = "\n".join(
        textwrap.fill(f"{n}. {hint}", WIDTH - 2, initial_indent="# ", subsequent_indent="#    ", break_on_hyphens=False)
        for n, hint in enumerate(exercise.hints, 1)
    )
    task = exercise.task.replace("\\", "\\\\")
    return f'''"""Exercise {exercise.name}: {exercise.title}. About {exercise.minutes} minutes, {exercise.lines} lines.

{task}

Check it:    nanodistil exercise check {exercise.name}
Try it out:  python {exercise.name}.py
"""

{exercise.head}

{exercise.header}
{body(exercise)}


if __name__ == "__main__":
{textwrap.indent(exercise.example, "    ")}


# Hints, from the first to the last:
#
{hints}
'''.replace("\n\n\n\n", "\n\n\n").replace('"""\n\n\n\ndef', '"""\n\n\ndef')


def body(exercise: Exercise) -> str:
    """What stands under the header until something better does."""
    if not exercise.header.startswith("class"):
        return f"    {NOT_YET}"
    parts = ("__init__(self, heads)", "append(self, k, v)", "attend(self, q)")
    return "\n\n".join(f"    def {part}:\n        {NOT_YET}" for part in parts)


def begin(exercise: Exercise, folder: Path) -> Path:
    """Write the stub into a folder. Raises InputError if a file of its name is there, which stays as it is."""
    path = folder / f"{exercise.name}.py"
    if path.exists() or path.is_symlink():
        raise InputError(
            f"{path.name} is there already and stays as it is; nanodistil exercise check {exercise.name} checks it"
        )
    written(path, lambda new: new.write_text(stub(exercise), encoding="utf-8"))
    return path

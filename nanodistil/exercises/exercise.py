"""What an exercise is: a task, the cases that an answer is checked with, and the slips by which it is often missed.

`definition` is the project's own op: what it computes in float64 is right. `slipped` computes the same in another way,
with switches: given a set of slips it goes wrong in exactly these ways. If a learner's answers are those of a set of
slips in every case, these are what went wrong, and they are named. No slips at all is the definition once more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from nanodistil.exercises.race import Race

Function = Callable[..., Any]
Slips = frozenset[str]
FLOATS = ("float32", "float64")


class Case(NamedTuple):
    """Arguments, what is special about them, and how far off a right answer may be."""

    what: str
    given: tuple[Any, ...]
    slack: float = 64  # roundings of the dtype, relative to a number's size and to that of its neighbours


def called(function: Function, given: tuple[Any, ...]) -> Any:
    """How most exercises are asked."""
    return function(*given)


@dataclass(frozen=True)
class Exercise:
    """One of them. Its file in the learner's folder is NAME.py."""

    name: str
    title: str  # in the list
    minutes: int
    lines: int  # of code, that an answer has or so
    header: str  # "def softmax(scores):"
    task: str  # what is to be computed: formula, shapes
    hints: tuple[str, ...]
    example: str  # code that the learner's file runs if it is run itself
    cases: Callable[[str], list[Case]]  # of a dtype
    definition: Function
    slips: dict[str, str]  # slip -> what the learner is told
    slipped: Function  # (slips, *arguments of a case)
    trial: Callable[[Function], list[str]]  # the function inside the model: lines of a report
    race: Callable[[bool], Race]  # False: a small one, for slow answers
    ask: Callable[[Function, tuple[Any, ...]], Any] = called
    dtypes: tuple[str, ...] = FLOATS
    writes: tuple[str, ...] = ()  # arguments that it is to change
    head: str = "import numpy as np\n"  # imports of the stub

    @property
    def function(self) -> str:
        """The name that is looked for in the learner's file."""
        found = re.match(r"(?:def|class) (\w+)", self.header)
        assert found
        return found[1]

    @property
    def arguments(self) -> list[str]:
        """Their names, in order."""
        inside = self.header.partition("(")[2].partition(")")[0]
        return [one.partition("=")[0].strip() for one in inside.split(",")]

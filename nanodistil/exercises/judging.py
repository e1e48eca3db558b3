"""Whether a function is right, and if not, what is wrong with it: every case, then every slip that is known.

Every case is run twice: who answers otherwise the second time reads memory that nobody wrote, or keeps something
between calls. An answer is right if it is as near to the definition in float64 as rounding explains. If one is wrong,
slips are tried one by one, in pairs and in threes, until a set of them gives the learner's answers in all cases, errors
included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from nanodistil.exercises.exercise import Case, Exercise, Function, Slips
from nanodistil.exercises.guarded import Guarded

Announce = Callable[[str, float], None]
YOURS, OURS = 2.0, 60.0  # seconds until something is wrong
SHOWN = 4  # numbers


@dataclass(frozen=True)
class Failure:
    """A case that went wrong: what is wrong, and both answers if there are two."""

    case: str
    why: str
    yours: str = ""
    right: str = ""


@dataclass
class Verdict:
    """What was found. `slips`: what the learner is told, if the failures were recognised."""

    cases: int = 0
    failures: list[Failure] = field(default_factory=list)
    slips: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of the slips

    @property
    def passed(self) -> bool:
        return self.cases > 0 and not self.failures


@dataclass
class Run:
    """One case, and what became of it: a value, or an exception."""

    case: Case
    dtype: str
    outcome: Any
    exact: Any


def judge(
    exercise: Exercise, function: Function, announce: Announce = lambda what, seconds: None, file: str = ""
) -> Verdict:
    """Run all cases. announce: is told what begins, and how long that may take. file: whose lines errors quote."""
    verdict, runs, other = Verdict(), [], []
    for dtype in exercise.dtypes:
        for case in exercise.cases(dtype):
            name = case.what if len(exercise.dtypes) == 1 else f"{case.what}, {dtype}"
            announce("", OURS)
            exact = right(exercise, case.given)
            guarded = Guarded(case.given, exercise.arguments, exercise.writes)
            announce(name, YOURS)
            outcome = _outcome(exercise, function, guarded.given)
            run = Run(case, dtype, outcome, exact)
            runs.append(run)
            why = wrong(run, file)
            if why:
                both = why.endswith(("numbers", "number", "another"))
                yours, true = (shown(outcome, exact), shown(exact, outcome)) if both else ("", "")
                if both and yours == true:
                    yours, true = shown(outcome, exact, 17), shown(exact, outcome, 17)
                verdict.failures.append(Failure(name, why, yours, true))
                if isinstance(outcome, NotImplementedError):
                    verdict.cases += 1
                    return verdict
            harm = guarded.harm()
            if harm:
                other.append(Failure(name, harm))
            elif not why:
                announce(f"{name}, once more", YOURS)
                again = Guarded(case.given, exercise.arguments, exercise.writes)
                if not same(_outcome(exercise, function, again.given), outcome, 0):
                    other.append(Failure(name, "it answers otherwise when it is called again: is memory read that "
                                         "nobody wrote, or something kept between calls?"))  # fmt: skip
    verdict.cases = len(runs)
    announce("", OURS)
    if verdict.failures:
        verdict.names = recognised(exercise, runs)
        verdict.slips = [exercise.slips[slip] for slip in verdict.names]
    verdict.failures += other[:1] if verdict.failures else other
    return verdict


def _outcome(exercise: Exercise, function: Function, given: tuple[Any, ...]) -> Any:
    with np.errstate(all="ignore"):
        try:
            return exercise.ask(function, given)
        except (Exception, SystemExit) as error:
            return error


def right(exercise: Exercise, given: tuple[Any, ...]) -> Any:
    """The definition's answer, in float64."""
    with np.errstate(all="ignore"):
        return exercise.definition(*widened(given))


def widened(value: Any) -> Any:
    """With all floats as float64.

    >>> widened((np.ones(1, np.float32), [np.ones(1, int)], "a"))
    (array([1.]), [array([1])], 'a')
    """
    if isinstance(value, (list, tuple)):
        return type(value)(widened(one) for one in value)
    if isinstance(value, np.ndarray):
        return value.astype(np.float64) if value.dtype.kind == "f" else value
    return value


# ------------------------------------------------------------------------------------------------ right or wrong


def wrong(run: Run, file: str = "") -> str:
    """What is wrong with an outcome: "" if nothing is."""
    if isinstance(run.outcome, BaseException):
        return said(run.outcome, file)
    return _unlike(run.outcome, run.exact, run.case.slack, run.dtype)


def said(error: BaseException, file: str = "") -> str:
    """An exception in one line, with the last line of the learner's file that it passed."""
    at, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            at = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        at = error.lineno
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:200]
    if isinstance(error, SystemExit):
        text = "it ends the process instead of returning"
    return (f"line {at}: " if at else "") + type(error).__name__ + (f": {text}" if text else "")


def _unlike(got: Any, exact: Any, slack: float, dtype: str) -> str:
    if isinstance(exact, tuple):
        if not isinstance(got, (tuple, list)) or len(got) != len(exact):
            return f"must return {len(exact)} values, not {_kind(got)}"
        found = (_unlike(one, other, slack, dtype) for one, other in zip(got, exact, strict=True))
        return next((f"result {i + 1} of {len(exact)} {why}" for i, why in enumerate(found) if why), "")
    if isinstance(exact, list):
        if not isinstance(got, (list, tuple)):
            return f"must be a list, not {_kind(got)}"
        if exact and isinstance(exact[0], np.ndarray):
            return _unlike(tuple(got), tuple(exact), slack, dtype)
        return "" if list(got) == exact else "is another"
    if isinstance(exact, float):
        if not isinstance(got, (float, int, np.floating)) and np.shape(got) != ():
            return f"must be a number, not {_kind(got)}"
        return "" if _near(got, exact, slack, dtype) else "is another number"
    if not isinstance(got, np.ndarray):
        return f"must be an array, not {_kind(got)}"
    if got.shape != exact.shape:
        return f"must have the shape {exact.shape}, not {got.shape}"
    if exact.dtype.kind != "f":
        wanted = exact.dtype.name
        if got.dtype.kind != exact.dtype.kind:
            return f"must be {wanted}, not {got.dtype}"
        return "" if np.array_equal(got, exact) else "has other numbers"
    if got.dtype.kind not in "fiu":
        return f"must be {dtype}, not {got.dtype}"
    if not _near(got, exact, slack, dtype):
        return "has other numbers"
    return "" if got.dtype.name == dtype else f"must be {dtype} as its input is, not {got.dtype}"


def _kind(value: Any) -> str:
    if value is None:
        return "None: is a return missing?"
    return f"{len(value)} values" if isinstance(value, tuple) else f"a {type(value).__name__}"


def _near(got: Any, exact: Any, slack: float, dtype: str) -> bool:
    """Within slack roundings, relative to the number and to the size of all."""
    with np.errstate(all="ignore"):
        got, exact = np.asarray(got, np.float64), np.asarray(exact, np.float64)
        finite = np.isfinite(exact)
        if not np.array_equal(got[~finite], exact[~finite], equal_nan=True):
            return False
        got, exact = got[finite], exact[finite]
        if not exact.size:
            return True
        size = np.sqrt(np.mean(np.square(exact / max(np.abs(exact).max(), 1e-300)))) * np.abs(exact).max()
        return bool((np.abs(got - exact) <= slack * np.finfo(dtype).eps * (np.abs(exact) + size)).all())


# -------------------------------------------------------------------------------------------------------- slips


def recognised(exercise: Exercise, runs: list[Run]) -> list[str]:
    """The slips whose answers are the learner's in all cases, at most three; none if none are."""
    for slips in _sets(exercise):
        if all(_explains(exercise, slips, run) for run in runs):
            return sorted(slips)
    return []


def _sets(exercise: Exercise) -> Iterator[Slips]:
    for count in (1, 2, 3):
        yield from map(frozenset, combinations(exercise.slips, count))


def _explains(exercise: Exercise, slips: Slips, run: Run) -> bool:
    with np.errstate(all="ignore"):
        try:
            expected = exercise.slipped(slips, *Guarded(run.case.given, ()).given)
        except Exception as error:
            expected = error
    return same(run.outcome, expected, 4 * run.case.slack, run.dtype)


def same(one: Any, other: Any, slack: float, dtype: str = "float64") -> bool:
    """Whether two outcomes are alike; two exceptions are, whatever they say."""
    if isinstance(one, BaseException) or isinstance(other, BaseException):
        return isinstance(one, BaseException) and isinstance(other, BaseException)
    if isinstance(other, (tuple, list)):
        return (
            isinstance(one, (tuple, list))
            and len(one) == len(other)
            and all(same(a, b, slack, dtype) for a, b in zip(one, other, strict=True))
        )
    if isinstance(other, (np.ndarray, float, np.floating)):
        if np.shape(one) != np.shape(other) or np.asarray(one).dtype.kind not in "fiub":
            return False
        kind = "f" if isinstance(other, float) else other.dtype.kind
        return _near(one, other, slack, dtype) if kind == "f" else bool(np.array_equal(one, other))
    return type(one) is type(other) and bool(one == other)


def shown(value: Any, other: Any, digits: int = 6) -> str:
    """A few of its numbers, from where it differs from the other.

    >>> shown(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [3.5, 4.0]]))
    '[1, 0]: 3 4'
    """
    if isinstance(value, (tuple, list)) and value and isinstance(value[0], np.ndarray):
        others = other if isinstance(other, (tuple, list)) and len(other) == len(value) else value
        at = next((i for i, (a, b) in enumerate(zip(value, others, strict=True)) if not same(a, b, 64, "float32")), 0)
        return f"result {at + 1} {shown(value[at], others[at], digits)}"
    if isinstance(value, np.ndarray) and value.ndim and value.size:
        at = 0
        if isinstance(other, np.ndarray) and other.shape == value.shape:
            with np.errstate(all="ignore"):
                apart = np.nan_to_num(np.abs(value.astype(float) - other.astype(float)), nan=np.inf)
            apart[np.isnan(value.astype(float)) & np.isnan(other.astype(float))] = 0
            at = int(apart.argmax())
            at -= max(0, at % value.shape[-1] + SHOWN - value.shape[-1]) if at % value.shape[-1] else 0
            at = max(at, 0)
        place = ", ".join(map(str, np.unravel_index(at, value.shape)))
        numbers = value.reshape(-1)[at : at + min(SHOWN, value.shape[-1] - at % value.shape[-1])]
        return f"[{place}]: " + " ".join(f"{x:.{digits}g}" for x in numbers.tolist())
    return repr(value)[:120]

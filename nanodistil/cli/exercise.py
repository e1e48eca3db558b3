"""`nanodistil exercise`: write an op yourself, have it checked, and see the real model answer with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from nanodistil.weights.errors import InputError, excerpt

HELP = "write an op yourself: it is checked, put into the real model and timed"
EXAMPLES = """examples:
  nanodistil exercise                          the exercises, and which are done
  nanodistil exercise softmax                  write softmax.py, with what is asked for
  nanodistil exercise check softmax            check it
  nanodistil exercise check softmax mine.py    check another file
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="WORD", help="NAME, start NAME, or check NAME [FILE]; none: a list")


def run(args: argparse.Namespace) -> int:
    words = list(args.words)
    if not words:
        return _list()
    if words[0] == "check":
        if not 2 <= len(words) <= 3:
            raise InputError("which exercise? nanodistil exercise check NAME [FILE]")
        return _check(*words[1:])
    if words[0] == "start":
        words = words[1:]
    if len(words) != 1:
        raise InputError("one exercise at a time: nanodistil exercise NAME, or check NAME [FILE]")
    return _start(words[0])


def _list() -> int:
    from nanodistil.exercises import ORDER, exercise
    from nanodistil.exercises.progress import notes, state
    from nanodistil.exercises.report import columns

    here = Path()
    found = notes(here)
    rows = []
    for name in ORDER:
        one = exercise(name)
        rows.append((name, state(here, name, found), f"{one.minutes} min", one.title))
    done = sum(row[1] == "done" for row in rows)
    for line, row in zip(columns([row[:3] for row in rows]), rows, strict=True):
        print(f"{line}  {row[3]}")
    left = next((row[0] for row in rows if row[1] != "done"), None)
    print(f"\n{done} of {len(rows)} done" + (f"; next: nanodistil exercise {left}" if left else ""))
    return 0


def _start(name: str) -> int:
    from nanodistil.exercises import exercise
    from nanodistil.exercises.stubs import begin

    one = exercise(name)
    path = begin(one, Path())
    print(f"{path} says what is asked for; about {one.minutes} minutes. Then: nanodistil exercise check {one.name}")
    return 0


def _check(name: str, file: str | None = None) -> int:
    from nanodistil.exercises import ORDER, exercise
    from nanodistil.exercises.progress import note, notes, state
    from nanodistil.exercises.sandbox import check

    one = exercise(name.removesuffix(".py") if file is None else name)
    path = Path(file or f"{one.name}.py")
    try:
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        begin = f"; nanodistil exercise {one.name} writes one" if file is None else ""
        raise InputError(f"{excerpt(str(path))} cannot be read ({why}){begin}") from None
    found = notes(path.parent)  # before anything is run: a broken one is to be mended first
    if not check(one, path, lambda lines: print("\n".join(lines), flush=True)):
        return 2
    try:
        note(path.parent, one.name, path)
    except InputError as error:
        print(f"(this is not noted: {error})")
        return 0
    found = notes(path.parent)
    states = {other: state(path.parent, other, found) for other in ORDER}
    done = [other for other in ORDER if states[other] == "done"]
    left = next((other for other in ORDER if other not in done), None)
    print(f"done: {len(done)} of {len(ORDER)}" + (f"; next: nanodistil exercise {left}" if left else ""))
    return 0

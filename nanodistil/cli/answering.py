"""What every verb that answers runs: chunks of inputs in, answers out, in order and in constant memory.

An input that cannot be read or answered ends the run with one line that names its place, after the answers before it;
with --skip-errors its place among the answers is taken by the error. Ctrl-C ends the run after the last answer written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import takewhile
from operator import itemgetter
from typing import Any, Protocol

from nanodistil.cli import loading, results
from nanodistil.cli.progress import Progress
from nanodistil.cli.records import Chunk, chunks
from nanodistil.reading.records import Fields, Record
from nanodistil.weights.errors import InputError

Ask = Callable[[list[Fields], int], Iterator[Any]]  # inputs, how many came before -> their answers


class Out(Protocol):
    """Where answers go: results.Results, or rows.Rows."""

    done: int  # how many are there already
    resumable: bool
    whole: bool  # and nothing can be added

    def give(self, record: Record, answer: Any) -> None: ...


def run_task(
    args: argparse.Namespace,
    task: str,
    fields: tuple[list[str], list[str]],
    table: Callable[[Record, Any], str],
    options: Mapping[str, Any],
    input_of: Callable[[Fields], Any] = itemgetter("text"),
) -> int:
    """Run a verb that asks the pipeline of one task; the exit code.

    fields: those an input must have and those it may have, as cli/records.py takes them. table: an answer for a reader.
    options: of the pipeline's call. input_of: what the pipeline is given for an input's fields.
    """
    with results.Results(args, table) as out:
        ask = asking(loading.load(task, args), options, input_of)
        answer(args, chunks(args, *fields), ask, out)
    return 0


def named(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options of a pipeline's call that are called the same on the command line."""
    return {name: getattr(args, name) for name in names}


def asking(pipeline: Any, options: Mapping[str, Any], input_of: Callable[[Fields], Any] = itemgetter("text")) -> Ask:
    """What answers inputs: a pipeline with the options of its call."""
    return lambda inputs, first: pipeline.each([input_of(one) for one in inputs], first, **options)


def answer(args: argparse.Namespace, inputs: Iterable[Chunk], ask: Ask, out: Out) -> None:
    """Give `out` the answers to the inputs that it has none of yet. Raises InputError for one that has none."""
    for _ in ask([], 0):  # options are checked before any input is read
        pass
    if out.whole:
        print(f"nanodistil: {args.output} is there and whole: nothing to do", file=sys.stderr)
        return
    terminal = sys.stderr if args.output is not None or not sys.stdout.isatty() else None
    before = skipped = 0
    with Progress(terminal, out.done) as progress:
        try:
            for records, share in inputs:
                todo = records[max(0, out.done - before) :]
                first = before + len(records) - len(todo)
                if todo:
                    progress.reached(share)
                else:
                    progress.passed(share)
                for record, given in answers(todo, first, ask, args.skip_errors):
                    out.give(record, given)
                    progress.answered()
                    skipped += isinstance(given, InputError)
                before += len(records)
        except KeyboardInterrupt:
            if out.resumable:
                progress.erase()
                print(f"nanodistil: interrupted after {progress.done} answers; --resume goes on", file=sys.stderr)
            raise
    if before < out.done:
        raise InputError(f"{args.output} has {out.done} answers, but there are only {before} inputs: not its output")
    if skipped:
        print(f"nanodistil: {skipped} of {before} inputs could not be answered", file=sys.stderr)


def answers(records: list[Record], first: int, ask: Ask, skip_errors: bool) -> Iterator[tuple[Record, Any]]:
    """Records with their answers, or with skip_errors the InputErrors in their place."""
    at = 0
    while at < len(records):
        readable = list(takewhile(lambda record: record.problem is None, records[at:]))
        problem = None
        try:
            for given in ask([record.fields for record in readable], first + at) if readable else ():
                yield records[at], given
                at += 1
        except InputError as error:
            place = records[at].place
            problem = InputError(f"{place}: {error}") if place else error
        if problem is None and at < len(records):
            problem = records[at].problem
        if problem is not None:
            if not skip_errors:
                raise problem
            yield records[at], problem
            at += 1

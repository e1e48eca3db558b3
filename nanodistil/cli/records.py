"""Inputs from the command line, whatever form they come in: arguments, lines of text, JSON, CSV, TSV, Parquet, Arrow.

A verb names the fields of its inputs and gets records (reading/records.py). They come in chunks of what is there
without waiting for more: many together from a file, from a program that writes a line now and then that line. Nothing
is kept, so a file may be larger than memory and standard input may never end.

Arguments and lines are texts as they stand, empty ones too: the fifth answer belongs to the fifth line. A record that
cannot be read does not end the others: those before it get their answers, and --skip-errors goes on behind it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from nanodistil.reading.forms import TABLES, format_of, records_of
from nanodistil.reading.lines import Lines, lines_of
from nanodistil.reading.records import Record, columns_of
from nanodistil.weights.errors import InputError

FIRST_CHUNK, LAST_CHUNK = 8, 256  # records together: few at first, so that the first answer comes soon


class Chunk(NamedTuple):
    """Records that were there together, and how much of all input has been given with them, if that is known."""

    records: list[Record]
    share: float | None


def add_arguments(parser: argparse.ArgumentParser, fields: Mapping[str, str]) -> None:
    """The arguments that say where inputs come from. fields: name -> what it is; an argument is the first of them."""
    first = next(iter(fields))
    parser.add_argument(
        "inputs", nargs="*", metavar=first.upper(), help=f"{fields[first]}; - reads a line each from standard input"
    )
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="read a file instead, or an address as s3://bucket/file; .gz, .xz, .bz2 and .zst are unpacked",
    )
    parser.add_argument(
        "--format",
        choices=["lines", *TABLES],
        help="of the file or of standard input (default: as the file's name says, else lines of text)",
    )
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="[FIELD=]NAME",
        help=f"where JSONL, CSV or TSV have a field: its name, or a column's number from 1; repeatable "
        f"(default: {', '.join(fields)})",
    )
    parser.add_argument("--no-header", action="store_true", help="the first row of CSV or TSV is an input")


def chunks(args: argparse.Namespace, needed: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Chunk]:
    """The inputs that the arguments name, in order.

    needed: fields of an input that no option gives; an argument or line is the first of them. optional: what JSONL and
    CSV may have beside them. Raises InputError if there is no input, a file cannot be opened, or has no such column.
    """
    sources = args.inputs if args.input is None else [args.input]
    if args.input is not None and args.inputs:
        raise InputError("inputs come from arguments or from --input, not from both")
    if not needed:
        if sources:
            raise InputError("the options say all there is of an input: leave out one of them, or the other inputs")
        yield Chunk([Record("", {})], None)
        return
    if not sources:
        raise InputError(f"nothing to do: give each {needed[0]} as an argument, - for standard input, or --input FILE")
    form = args.format or format_of(args.input or "")
    if form == "lines" and args.column:
        raise InputError("lines have no columns: --column goes with --format jsonl, csv or tsv")
    for source in sources:
        argument = args.input is None and source != "-"
        if len(needed) > 1 and (argument or form == "lines"):
            rest = " and ".join(needed[1:])
            raise InputError(f"a {needed[0]} alone is not enough: give its {rest} too, or use --format jsonl or csv")
        if argument:
            fields = {needed[0]: source}
            yield Chunk([Record("", fields, columns=fields)], None)
        else:
            columns = columns_of(args.column, needed, optional)
            with lines_of(source) as lines:
                yield from _together(records_of(lines, form, columns, args.no_header), lines)


def _together(records: Iterator[Record], lines: Lines) -> Iterator[Chunk]:
    size, there = FIRST_CHUNK, list[Record]()
    try:
        for record in records:
            there.append(record)
            if len(there) == size or lines.would_wait():
                yield Chunk(there, lines.share())
                size, there = min(2 * size, LAST_CHUNK), []
    except InputError:  # the end of the file cannot be read; what stands before it has its answers first
        if there:
            yield Chunk(there, lines.share())
        raise
    if there:
        yield Chunk(there, lines.share())

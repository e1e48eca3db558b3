"""`nanodistil binarize texts.txt.xz --out data`: texts, one a line, to a folder of token ids that training reads."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator

from nanodistil.cli.progress import Progress
from nanodistil.reading.lines import lines_of
from nanodistil.reading.records import texts_in
from nanodistil.weights.errors import InputError

HELP = "turn texts, one a line, into token ids for training"
EXAMPLES = """examples:
  nanodistil binarize wiki.txt.xz books.txt.gz --out data
  zcat dump.gz | nanodistil binarize - --out data --tokenizer distilbert/distilbert-base-cased
"""
LONGEST = 1 << 22  # bytes of a line: longer than War and Peace, and it is held in memory with all its tokens


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="packed or not; - is standard input")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="a new folder for the token ids")
    parser.add_argument(
        "--tokenizer",
        metavar="M",
        default="nanodistil-mini",
        help="folder or hub id (default: the uncased vocabulary inside this package)",
    )
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run with the same files ended")


def run(args: argparse.Namespace) -> int:
    from nanodistil.auto import AutoTokenizer
    from nanodistil.training.binarize import binarize

    for file in args.files:
        if file != "-" and not os.path.exists(file):  # now, and not hours later
            raise InputError(f"{file} cannot be opened: there is no such file")
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    with Progress(sys.stderr, of="tokens", plain=True) as progress:
        lines = _lines(args.files, progress.reached)
        try:
            index = binarize(
                lines, args.out, tokenizer, name=args.tokenizer, resume=args.resume, watch=progress.answered
            )
        except KeyboardInterrupt:
            progress.erase()
            print("nanodistil: interrupted; go on with --resume", file=sys.stderr)
            raise
    print(
        f"{args.out}: {index.tokens:,} tokens in {index.sequences:,} sequences, of {index.lines:,} lines; "
        f"{index.empty:,} without a token were left out"
    )
    return 0


def _lines(files: list[str], reached: Callable[[float | None], None]) -> Iterator[str]:
    """The lines of all files; says how much of them has been read. Raises InputError naming file and line."""
    sizes = [os.path.getsize(file) if os.path.isfile(file) else 0 for file in files]
    known = all(os.path.isfile(file) for file in files) and sum(sizes) > 0
    for number, file in enumerate(files):
        with lines_of(file) as lines:
            lines.longest = LONGEST
            for text in texts_in(lines, file):
                if lines.number % 1000 == 0 and known:
                    share = lines.share() or 0.0
                    reached((sum(sizes[:number]) + share * sizes[number]) / sum(sizes))
                yield text

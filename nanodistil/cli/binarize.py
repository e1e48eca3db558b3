"""`nanodistil binarize texts.txt.xz --out data`: texts, one a line, to a folder of token ids that training reads."""

from __future__ import annotations

import argparse
import sys

from nanodistil.cli import corpus
from nanodistil.cli.progress import Progress

HELP = "turn texts, one a line, into token ids for training"
EXAMPLES = """examples:
  nanodistil binarize wiki.txt.xz books.txt.gz --out data
  zcat dump.gz | nanodistil binarize - --out data --tokenizer distilbert/distilbert-base-cased
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    corpus.add_argument(parser)
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

    corpus.check(args.files)
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    with Progress(sys.stderr, of="tokens", plain=True) as progress:
        lines = corpus.texts(args.files, progress.reached)
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

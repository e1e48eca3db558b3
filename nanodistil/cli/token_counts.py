"""`nanodistil token-counts data --out counts.json`: how often each token occurs in what binarize has made."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from nanodistil.cli.parsing import whole
from nanodistil.weights.errors import InputError

HELP = "count the tokens of a binarized data set, for masking"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="a folder made by nanodistil binarize")
    parser.add_argument("--out", metavar="FILE", required=True, help="a new file: .json (a list) or .npy")
    parser.add_argument(
        "--vocab-size", type=whole(1), metavar="V", help="of the model to be trained (default: the tokenizer's)"
    )


def run(args: argparse.Namespace) -> int:
    from nanodistil.training.token_counts import check_ending, token_counts, write_token_counts

    out = Path(args.out)
    check_ending(out)
    if os.path.lexists(out):
        raise InputError(f"{out} is there already; name another file")
    counts = token_counts(args.data, args.vocab_size)
    write_token_counts(out, counts)
    print(f"{out}: {counts.sum():,} tokens, {(counts > 0).sum():,} of {len(counts):,} different ones")
    return 0

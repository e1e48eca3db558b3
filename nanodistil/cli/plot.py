"""`nanodistil plot RUN`: the curves of a training run as a picture."""

from __future__ import annotations

import argparse

HELP = "draw the curves of training runs: loss terms, learning rate, tokens a second"
EXAMPLES = """examples:
  nanodistil plot ./distilled
  nanodistil plot ./with-teacher ./without --out compared.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a run")
    parser.add_argument("--out", metavar="FILE", help=".png, .svg or .pdf (default: curves.png in the first RUN)")


def run(args: argparse.Namespace) -> int:
    """Write the picture and say where."""
    from pathlib import Path

    from nanodistil.training.plot import plot

    out = args.out or Path(args.runs[0]) / "curves.png"
    plot(args.runs, out)
    print(out)
    return 0

"""`nanodistil page "Hello I'm a [MASK] model." --out page.html`: a model's inside, as a file for a browser."""

from __future__ import annotations

import argparse
import sys

from nanodistil.cli import loading

HELP = "look inside a model on one text, in a browser"
EXAMPLES = """examples:
  nanodistil page "Hello I'm a [MASK] model." --out page.html
  nanodistil page "A film to see twice." --model ./sst2 --out why.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="a text, with a [MASK] if the model fills masks")
    parser.add_argument("--out", metavar="FILE", required=True, help="the page, one file that needs no network")
    loading.add_arguments(parser, default="nanodistil-mini, the embedded one")


def run(args: argparse.Namespace) -> int:
    """Write the page and say how large it is."""
    options = loading.options(args)
    from pathlib import Path
    from time import perf_counter

    from nanodistil.cli.progress import shown
    from nanodistil.page.made import DEFAULT, page

    began = perf_counter()
    with shown(sys.stderr) as told:
        made = page(args.text, args.model or DEFAULT, told=told, **options)
    made.save(args.out)
    first = made.found["targets"][0]
    gap, whole = first["gradient"]["gap"], first["gradient"]["score"] - first["gradient"]["baseline"]
    size = Path(args.out).stat().st_size / 1e6
    print(f"{args.out}: {len(made.found['tokens'])} tokens, {size:.2f} MB, {perf_counter() - began:.1f} s")
    print(f"attribution of {first['name']!r}: {whole:+.4f}, gap {gap:+.1e}", file=sys.stderr)
    return 0

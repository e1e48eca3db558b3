"""`nanodistil tokenize "Hello I'm a [MASK] model."`: what a model is shown of a text."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanodistil.tokenization import Encoding

HELP = "show the pieces of a text, their ids and where each comes from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="+", help="texts to cut up; - reads one a line from standard input")
    parser.add_argument("--pair", metavar="TEXT", help="a second text for each of them")
    parser.add_argument("--model", metavar="M", help="folder, hub id or nanodistil-mini (default: the official model)")
    parser.add_argument("--json", action="store_true", help="one JSON line a text")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.texts import texts
    from nanodistil.tokenization import DistilBertTokenizer
    from nanodistil.weights.hub import resolve_default

    model = args.model
    if model is None:
        model, note = resolve_default(need="tokenizer")
        if note:
            print(f"nanodistil: {note}", file=sys.stderr)
    tokenizer = DistilBertTokenizer.from_pretrained(model)
    for number, text in enumerate(texts(args.text)):
        encoding = tokenizer(text, args.pair)[0]
        if args.json:
            fields = {"tokens": encoding.tokens, "ids": encoding.ids, "offsets": encoding.offsets}
            print(json.dumps({"text": text, **fields}, ensure_ascii=False))
        else:
            print("\n" * bool(number) + table(encoding, text, args.pair))
    return 0


def table(encoding: Encoding, text: str, pair: str | None = None) -> str:
    """One line a token: id, piece, offsets, and the stretch of text it stands for.

    >>> from nanodistil.tokenization import Encoding
    >>> cls, hello = Encoding.inserted(101, "[CLS]"), Encoding.inserted(7592, "hello")
    >>> hello.ranges, hello.offsets = {0: range(1)}, [(0, 5)]
    >>> print(table(cls + hello, "Hello"))
      id  piece  from  to  text
     101  [CLS]
    7592  hello     0   5  'Hello'
    """
    rows = [("id", "piece", "from", "to", "text")]
    for number, token, (start, end), sequence in zip(
        encoding.ids, encoding.tokens, encoding.offsets, encoding.sequence_ids, strict=True
    ):
        if sequence is None:
            rows.append((str(number), token, "", "", ""))
        else:
            source = text if sequence == 0 or pair is None else pair
            rows.append((str(number), token, str(start), str(end), repr(source[start:end])))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        f"{a:>{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}".rstrip()
        for a, b, c, d, e in rows
    )

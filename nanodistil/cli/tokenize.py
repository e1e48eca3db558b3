"""`nanodistil tokenize "Hello I'm a [MASK] model."`: what a model is shown of a text, and with --explain why."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanodistil.tokenization import Encoding
    from nanodistil.tokenization.explain import Explanation

MOST = 12  # changes of one step that are shown

HELP = "show the pieces of a text, their ids and where each comes from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="+", help="texts to cut up; - reads one a line from standard input")
    parser.add_argument("--pair", metavar="TEXT", help="a second text for each of them")
    parser.add_argument("--model", metavar="M", help="folder, hub id or nanodistil-mini (default: the official model)")
    parser.add_argument("--json", action="store_true", help="one JSON line a text")
    parser.add_argument("--explain", action="store_true", help="say what was normalized, and why words were cut so")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.results import escaped
    from nanodistil.reading.lines import texts
    from nanodistil.tokenization import DistilBertTokenizer
    from nanodistil.tokenization.explain import explain
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
            if args.explain:
                fields |= asdict(explain(tokenizer, text))
                if args.pair:
                    fields["pair"] = asdict(explain(tokenizer, args.pair))
            print(json.dumps({"text": text, **fields}, ensure_ascii=escaped(None)))
        else:
            print("\n" * bool(number) + table(encoding, text, args.pair))
            for explained in (text, args.pair) if args.explain else ():
                if explained:
                    print("\n" + told(explain(tokenizer, explained), explained))
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
    rows: list[tuple[str, ...]] = [("id", "piece", "from", "to", "text")]
    for number, token, (start, end), sequence in zip(
        encoding.ids, encoding.tokens, encoding.offsets, encoding.sequence_ids, strict=True
    ):
        if sequence is None:
            rows.append((str(number), token, "", "", ""))
        else:
            source = text if sequence == 0 or pair is None else pair
            rows.append((str(number), token, str(start), str(end), repr(source[start:end])))
    return _aligned(rows, right=(0, 2, 3))


def told(found: Explanation, text: str) -> str:
    """The explanation of a text, for people: what each step changed and left, then a line a word.

    >>> from nanodistil.tokenization.explain import Explanation, Step, Word
    >>> step = Step("clean", [("\\u200b", "")], "hello")
    >>> word = Word("hello", 0, 6, ["hello"], [7592], "in the vocabulary")
    >>> print(told(Explanation([step], [word]), "hel\\u200blo"))
    'helU+200Blo'
      clean: U+200B -> nothing
             gives 'hello'
      hello   0  6  hello  in the vocabulary
    """
    from nanodistil.tokenization.explain import visible

    lines = [f"'{_short(visible(text))}'"]
    for step in found.steps:
        changes = [f"{_one(old)} -> {_one(new) if new else 'nothing'}" for old, new in step.changes[:MOST]]
        more = [f"and {len(step.changes) - MOST} more"] * (len(step.changes) > MOST)
        lines.append(f"  {step.name}: {', '.join(changes + more) or 'marks put in order'}")
        lines.append(f"  {'':{len(step.name)}}  gives '{_short(visible(step.text))}'")
    rows: list[tuple[str, ...]] = [
        (
            "",
            _short(visible(word.text), 40),
            str(word.start),
            str(word.end),
            " ".join(map(visible, word.tokens)),
            word.why,
        )
        for word in found.words
    ]
    return "\n".join([*lines, _aligned(rows, right=(2, 3))] if rows else [*lines, "  no words"])


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _one(text: str) -> str:
    from nanodistil.tokenization.explain import visible

    return f"'{visible(text)}'" if " " in text else visible(text)


def _aligned(rows: list[tuple[str, ...]], right: tuple[int, ...]) -> str:
    """Lines of columns, two spaces apart, those in `right` on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{'>' if i in right else '<'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
        for row in rows
    )

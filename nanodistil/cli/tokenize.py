"""`nanodistil tokenize "Hello I'm a [MASK] model."`: what a model is shown of a text, and with --explain why."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nanodistil.cli import records, results
from nanodistil.cli.columns import aligned
from nanodistil.reading.records import Fields, Record
from nanodistil.weights.errors import InputError

if TYPE_CHECKING:
    from nanodistil.tokenization import Encoding
    from nanodistil.tokenization.explanation import Explanation

MOST = 12  # changes of one step that are shown

HELP = "show the pieces of a text, their ids and where each comes from"
EXAMPLES = """examples:
  nanodistil tokenize "Hello I'm a [MASK] model."
  nanodistil tokenize --explain "naïve 日本 ☃"
  nanodistil tokenize --input reviews.csv --column review --output tokens.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records.add_arguments(parser, {"text": "a text to cut up", "text_pair": "a second text that belongs to it"})
    parser.add_argument("--pair", metavar="TEXT", help="a second text for each of them")
    parser.add_argument("--model", metavar="M", help="folder, hub id or nanodistil-mini (default: the official model)")
    parser.add_argument("--explain", action="store_true", help="say what was normalized, and why words were cut so")
    results.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import answer

    fixed = {} if args.pair is None else {"text_pair": args.pair}
    shown = 0

    def one(fields: Fields, name: str) -> dict[str, Any]:
        text, pair = fields["text"], (fields | fixed).get("text_pair")
        for given in (text, pair):
            if not isinstance(given, str | None):
                raise InputError(f"{name} is not a string but {type(given).__name__}")
        encoding = tokenizer(text, pair)[0]
        found = {"tokens": encoding.tokens, "ids": encoding.ids, "offsets": encoding.offsets}
        if args.explain:
            found |= asdict(explain(tokenizer, text))
            if pair:
                found["pair"] = asdict(explain(tokenizer, pair))
        return found

    def each(inputs: list[Fields], first: int) -> Iterator[dict[str, Any]]:
        for number, fields in enumerate(inputs, start=first + 1):
            yield one(fields, f"input {number}")

    def for_people(record: Record, _: Any) -> str:
        nonlocal shown
        text, pair = record.fields["text"], (record.fields | fixed).get("text_pair")
        parts = [table(tokenizer(text, pair)[0], text, pair)]
        if args.explain:
            parts += [told(explain(tokenizer, explained), explained) for explained in (text, pair) if explained]
        shown += 1
        return "\n" * (shown > 1) + "\n\n".join(parts)

    with results.Results(args, for_people) as out:
        from nanodistil.auto import AutoTokenizer
        from nanodistil.tokenization.explain import explain
        from nanodistil.weights.hub import resolve_default

        model = args.model
        if model is None:
            model, note = resolve_default(need="tokenizer")
            if note:
                print(f"nanodistil: {note}", file=sys.stderr)
        tokenizer = AutoTokenizer.from_pretrained(model)
        answer(args, records.chunks(args, ["text"], [] if fixed else ["text_pair"]), each, out)
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
    return aligned(rows, right=(0, 2, 3))


def told(found: Explanation, text: str) -> str:
    """The explanation of a text, for people: what each step changed and left, then a line a word.

    >>> from nanodistil.tokenization.explanation import Explanation, Step, Word
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
    return "\n".join([*lines, aligned(rows, right=(2, 3))] if rows else [*lines, "  no words"])


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _one(text: str) -> str:
    from nanodistil.tokenization.explain import visible

    return f"'{visible(text)}'" if " " in text else visible(text)

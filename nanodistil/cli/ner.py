"""`nanodistil ner "Sarah lives in London."`: which words are names, and of what?"""

from __future__ import annotations

import argparse
import re
from typing import Any

from nanodistil.cli import loading, records, results
from nanodistil.cli.columns import padded, width
from nanodistil.cli.parsing import whole
from nanodistil.reading.records import Fields, Record
from nanodistil.weights.embedded import INSIDE

HELP = "find the names in texts, or whatever a model labels words with"
EXAMPLES = """examples:
  nanodistil ner --model ./names "Sarah lives in London."
  nanodistil ner --model ./names --aggregation-strategy simple --stride 64 --input news.txt --output names.jsonl
  echo '{"text": ["Sarah", "lives", "here"]}' | nanodistil ner --model ./names --words --format jsonl -
"""
STRATEGIES = ["none", "simple", "first", "average", "max"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records.add_arguments(parser, {"text": "a text to find names in"})
    parser.add_argument("--aggregation-strategy", choices=STRATEGIES, help="how tokens become names (default: not)")
    parser.add_argument("--ignore-labels", nargs="+", metavar="L", help="labels to leave out (default O)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stride", type=whole(), metavar="N", help="read long texts in windows that overlap by N tokens")
    how.add_argument("--truncate", action="store_true", help="cut texts that are longer than the model's positions")
    parser.add_argument("--words", action="store_true", help="texts are split into words: at spaces, or lists in JSONL")
    parser.add_argument(
        "--raw", action="store_true", help="words as transformers glues them together, not as they stand"
    )
    results.add_arguments(parser)
    known = "such as elastic/distilbert-base-cased-finetuned-conll03-english"
    loading.add_arguments(parser, INSIDE.get("token-classification"), known)


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import named, run_task

    options = named(args, "aggregation_strategy", "ignore_labels", "stride")
    options |= {"truncation": args.truncate, "is_split_into_words": args.words}
    options["word"] = "tokens" if args.raw else "original"
    return run_task(args, "token-classification", (["text"], []), table, options, lambda one: text_of(one, args.words))


def text_of(fields: Fields, words: bool) -> Any:
    """The text, or its words.

    >>> text_of({"text": "in New York"}, True), text_of({"text": ["in", "New York"]}, True)
    (['in', 'New', 'York'], ['in', 'New York'])
    """
    text = fields["text"]
    return [word for word in re.split("[ \\t\\r\\n]", text) if word] if words and isinstance(text, str) else text


def table(record: Record, answer: Any) -> str:
    """A text's entities, readable: score, label, word, where it stands."""
    lines = [str(record.fields["text"])]
    labels = [found.get("entity_group") or found.get("entity") for found in answer]
    columns = max(map(width, labels), default=0)
    for label, found in zip(labels, answer, strict=True):
        place = f"{found['start']}-{found['end']}"
        lines.append(f"  {found['score']:7.4f}  {padded(label, columns)}  {place:>9}  {found['word']}")
    return "\n".join(lines)

"""`nanodistil classify "I love it."`: what kind of text is this?"""

from __future__ import annotations

import argparse
from typing import Any

from nanodistil.cli import loading, records, results
from nanodistil.cli.parsing import whole
from nanodistil.reading.records import Record

HELP = "sort texts into the classes of a model: sentiment, topic"
EXAMPLES = """examples:
  nanodistil classify "I love this movie."
  nanodistil classify --top-k all --model ./topics --input reviews.csv --column review --output classes.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records.add_arguments(parser, {"text": "a text to classify", "text_pair": "a second text that belongs to it"})
    parser.add_argument("--text-pair", metavar="TEXT", help="a second text for each of them")
    parser.add_argument(
        "--top-k", type=whole(1, "all"), metavar="K", help="the K best classes, or all (default: the best)"
    )
    parser.add_argument(
        "--function-to-apply",
        choices=["softmax", "sigmoid", "none"],
        help="from logits to scores (default: what the model was trained for)",
    )
    parser.add_argument("--truncate", action="store_true", help="cut texts that are longer than the model's positions")
    results.add_arguments(parser)
    loading.add_arguments(parser, default="distilbert/distilbert-base-uncased-finetuned-sst-2-english, for sentiment")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import run_task

    fixed = {} if args.text_pair is None else {"text_pair": args.text_pair}
    options: dict[str, Any] = {"function_to_apply": args.function_to_apply, "truncation": args.truncate}
    if args.top_k is not None:
        options["top_k"] = None if args.top_k == "all" else args.top_k
    fields = ["text"], [] if fixed else ["text_pair"]
    return run_task(args, "text-classification", fields, table, options, lambda one: one | fixed)


def table(record: Record, answer: Any) -> str:
    """A text's classes, readable: score, label."""
    lines = [record.fields["text"]]
    lines += [f"  {c['score']:7.4f}  {c['label']}" for c in (answer if isinstance(answer, list) else [answer])]
    return "\n".join(lines)

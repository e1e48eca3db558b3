"""`nanodistil zero-shot --labels travel cooking -- "One day I will see the world."`: classes without training."""

from __future__ import annotations

import argparse
from typing import Any

from nanodistil.cli import loading, records, results
from nanodistil.reading.records import Record
from nanodistil.weights.embedded import INSIDE

HELP = "sort texts into classes you name, by entailment or by likeness of meaning"
EXAMPLES = """examples:
  nanodistil zero-shot --labels travel cooking dancing -- "One day I will see the world."
  nanodistil zero-shot --model ./mnli --labels politics sport --multi-label --input news.csv --column title --jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records.add_arguments(parser, {"text": "a text to classify"})
    parser.add_argument("--labels", nargs="+", metavar="L", required=True, help="the classes; put -- before the texts")
    parser.add_argument(
        "--template", metavar="T", help='a sentence with {} for the label (default "This example is {}.")'
    )
    parser.add_argument("--multi-label", action="store_true", help="several may hold: each is scored by itself")
    results.add_arguments(parser)
    known = "such as typeform/distilbert-base-uncased-mnli"
    loading.add_arguments(parser, INSIDE.get("zero-shot-classification"), known)


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import run_task

    labels = args.labels if len(args.labels) > 1 else args.labels[0]  # one with commas is several, as in the pipeline
    options: dict[str, Any] = {"candidate_labels": labels, "multi_label": args.multi_label}
    if args.template is not None:
        options["hypothesis_template"] = args.template
    return run_task(args, "zero-shot-classification", (["text"], []), table, options)


def table(record: Record, answer: Any) -> str:
    """A text's classes, readable: score, label."""
    found = zip(answer["scores"], answer["labels"], strict=True)
    return "\n".join([record.fields["text"], *(f"  {score:7.4f}  {label}" for score, label in found)])

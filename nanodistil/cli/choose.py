"""`nanodistil choose "It rains, so" --choices "I take an umbrella." "I sleep."`: which continuation fits?"""

from __future__ import annotations

import argparse
from typing import Any

from nanodistil.cli import loading, records, results
from nanodistil.reading.records import Record

HELP = "rank choices by how well they go with a prompt"
EXAMPLES = """examples:
  nanodistil choose --model ./swag "It rains, so" --choices "I take an umbrella." "I sleep."
  nanodistil choose --model ./swag --input questions.jsonl --output chosen.jsonl
  nanodistil choose --model ./swag --input swag.csv --column sent1 --column choices=ending0 --column choices=ending1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records.add_arguments(parser, {"prompt": "a text that is to be continued", "choices": "a list of continuations"})
    parser.add_argument("--choices", nargs="+", metavar="TEXT", help="the choices of every prompt; put them last")
    parser.add_argument("--truncate", action="store_true", help="cut prompts that do not fit beside a choice")
    results.add_arguments(parser)
    loading.add_arguments(parser, known="as nanodistil finetune multiple-choice makes it")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import run_task

    options: dict[str, Any] = {
        "choices": args.choices,
        "tokenizer_kwargs": {"truncation": "only_first"} if args.truncate else None,
    }
    needed = ["prompt"] if args.choices else ["prompt", "choices"]
    return run_task(args, "multiple-choice", (needed, []), table, options, dict)


def table(record: Record, answer: Any) -> str:
    """A prompt's choices, readable, best first: score, choice."""
    return "\n".join([record.fields["prompt"], *(f"  {c['score']:7.4f}  {c['choice']}" for c in answer)])

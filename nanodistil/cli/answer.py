"""`nanodistil answer "Where does Sarah live?" --context "Sarah lives in London."`: which words of a text answer?"""

from __future__ import annotations

import argparse
from typing import Any

from nanodistil.cli import loading, records, results
from nanodistil.cli.parsing import whole
from nanodistil.reading.records import Record

HELP = "find the answer to a question in a text"
EXAMPLES = """examples:
  nanodistil answer "Where does Sarah live?" --context "Sarah lives in London."
  nanodistil answer --question "Who signed?" --input letters.txt --output signed.jsonl
  nanodistil answer --input squad.jsonl --top-k 3 --jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    fields = {"question": "a question (with --question, a context)", "context": "the text that may have its answer"}
    records.add_arguments(parser, fields)
    parser.add_argument("--question", metavar="TEXT", help="one question; inputs are contexts")
    parser.add_argument("--context", metavar="TEXT", help="one context; inputs are questions")
    parser.add_argument("--top-k", type=whole(1), metavar="K", help="how many answers (default 1)")
    parser.add_argument("--doc-stride", type=whole(), metavar="N", help="tokens by which windows overlap (default 128)")
    parser.add_argument(
        "--max-answer-len", type=whole(1), metavar="N", help="tokens of the longest answer (default 15)"
    )
    parser.add_argument("--max-seq-len", type=whole(), metavar="N", help="tokens of a window (default 384)")
    parser.add_argument(
        "--max-question-len", type=whole(), metavar="N", help="cut the question to N tokens (default: no)"
    )
    parser.add_argument("--impossible", action="store_true", help="there may be no answer, which is then empty")
    parser.add_argument("--no-align", action="store_true", help="answers may begin and end inside words")
    results.add_arguments(parser)
    loading.add_arguments(parser, default="distilbert/distilbert-base-cased-distilled-squad")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import answer, asking, named

    fixed = {name: value for name in ("question", "context") if (value := getattr(args, name)) is not None}
    options = named(args, "top_k", "doc_stride", "max_answer_len", "max_seq_len", "max_question_len")
    options |= {"handle_impossible_answer": args.impossible, "align_to_words": not args.no_align}

    def shape(found: Any) -> Any:
        """A list wherever several may be wanted, also if there is one: it must not depend on the text."""
        return [found] if isinstance(found, dict) and args.top_k is not None and args.top_k > 1 else found

    with results.Results(args, table) as out:
        ask = asking(loading.load("question-answering", args), options, lambda one: one | fixed)
        inputs = records.chunks(args, [name for name in ("question", "context") if name not in fixed])
        answer(args, inputs, lambda some, first: map(shape, ask(some, first)), out)
    return 0


def table(record: Record, answer: Any) -> str:
    """A question's answers, readable: score, answer, where it stands."""
    lines = ["  ".join(record.fields.values())]
    for found in answer if isinstance(answer, list) else [answer]:
        place = f"{found['start']}-{found['end']}"
        lines.append(f"  {found['score']:7.4f}  {place:>9}  {found['answer'] or 'no answer'}")
    return "\n".join(lines)

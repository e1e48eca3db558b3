"""`nanodistil fill-mask "Hello I'm a [MASK] model."`: the project's face."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nanodistil.cli import loading, records, results
from nanodistil.cli.columns import padded, width
from nanodistil.cli.parsing import whole
from nanodistil.reading.records import Record

if TYPE_CHECKING:
    from nanodistil.pipelines.fill_mask import FillMaskPipeline

HELP = "rank words for the [MASK] of a text"
EXAMPLES = """examples:
  nanodistil fill-mask "Hello I'm a [MASK] model."
  nanodistil fill-mask --joint "The [MASK] [MASK] sat on the mat."
  nanodistil fill-mask --top-k 1 --jsonl - < sentences.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records.add_arguments(parser, {"text": "a text with one or more [MASK]"})
    parser.add_argument("--top-k", type=whole(1), default=5, metavar="K", help="how many words a mask (default 5)")
    parser.add_argument("--targets", nargs="+", metavar="WORD", help="rank only these words; put -- before the texts")
    parser.add_argument("--whole-words", action="store_true", help="score targets with all their pieces")
    parser.add_argument("--joint", action="store_true", help="fill all [MASK]s of a text together, not each by itself")
    parser.add_argument(
        "--beams", type=whole(1), metavar="N", help="joint fillings that are pursued (default 16, at most 1024)"
    )
    parser.add_argument("--truncate", action="store_true", help="cut texts that are longer than the model's positions")
    parser.add_argument("--raw", action="store_true", help="sequences as transformers decodes them: i ' m, not i'm")
    parser.add_argument("--truth", action="store_true", help="compute in float64 too and print the largest difference")
    results.add_arguments(parser)
    loading.add_arguments(parser, default="the official distilbert-base-uncased")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import answer, asking, named

    options = named(args, "top_k", "targets", "whole_words", "joint")
    options["clean_up_tokenization_spaces"] = not args.raw
    if args.beams is not None:
        options["beams"] = args.beams
    with results.Results(args, table) as out:
        fill = loading.load("fill-mask", args)
        if args.truncate:
            options["tokenizer_kwargs"] = cut(fill)
        if args.truth:
            fill = Truth(fill, loading.load("fill-mask", args, "numpy", "float64"))
        answer(args, records.chunks(args, ["text"]), asking(fill, options), out)
    if args.truth:
        print(fill, file=sys.stderr)
    return 0


def cut(fill: FillMaskPipeline) -> dict[str, Any]:
    """The tokenizer's arguments that cut texts to what it and the model both take."""
    limit = min(fill.model.config.max_position_embeddings, fill.tokenizer.model_max_length)
    return {"truncation": True, "max_length": limit}


class Truth:
    """A pipeline that keeps the largest difference of any score from its float64 twin."""

    def __init__(self, fill: FillMaskPipeline, exact: FillMaskPipeline) -> None:
        self.fill, self.exact = fill, exact
        self.largest, self.compared, self.elsewhere = 0.0, 0, 0

    def each(self, texts: list[str], first: int, **options: Any) -> Iterator[Any]:
        """The answers of the first pipeline."""
        return map(self.compare, self.fill.each(texts, first, **options), self.exact.each(texts, first, **options))

    def compare(self, answer: Any, exact: Any) -> Any:
        """The answer, unchanged."""
        for ours, theirs in zip(per_mask(answer), per_mask(exact), strict=True):
            scores = {str(filling["token"]): filling["score"] for filling in theirs}  # as text: it may be a list
            for filling in ours:
                if (token := str(filling["token"])) in scores:
                    self.largest = max(self.largest, abs(filling["score"] - scores[token]))
                    self.compared += 1
                else:
                    self.elsewhere += 1
        return answer

    def __str__(self) -> str:
        note = f"; {self.elsewhere} ranked otherwise" if self.elsewhere else ""
        return f"truth: largest difference of {self.compared} scores from float64: {self.largest:.1e}{note}"


def per_mask(answer: Any) -> list[list[dict[str, Any]]]:
    """One list of fillings a [MASK], whether the text had one (a flat list) or several."""
    return answer if answer and isinstance(answer[0], list) else [answer]


def table(record: Record, answer: Any) -> str:
    """A text's fillings, readable: score, word, sequence."""
    lines = [record.fields["text"]]
    for mask, fillings in enumerate(per_mask(answer), start=1):
        if answer and isinstance(answer[0], list):
            lines.append(f"  [MASK] {mask}")
        words = [f["token_str"] if isinstance(f["token_str"], str) else " ".join(f["token_str"]) for f in fillings]
        columns = max(map(width, words), default=0)
        for word, filling in zip(words, fillings, strict=True):
            lines.append(f"  {filling['score']:7.4f}  {padded(word, columns)}  {filling['sequence']}")
    return "\n".join(lines)

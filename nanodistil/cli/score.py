"""`nanodistil score "The cat sat."`: how likely is a text?

With --whole a file is one text, read in windows in constant memory: an answer a window, and the whole's perplexity at
the end. Answers are those of any verb, so --resume goes on with a file that was interrupted, to the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from nanodistil.cli import loading, records, results
from nanodistil.cli.parsing import whole
from nanodistil.reading.records import Record
from nanodistil.weights.errors import InputError

HELP = "say how likely texts are: perplexity, and each token's probability"
EXAMPLES = """examples:
  nanodistil score "The cat sat on the mat."
  nanodistil score --whole --stride 512 --input book.txt --output windows.jsonl
  nanodistil score --model nanodistil-mini --tokens --jsonl - < sentences.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records.add_arguments(parser, {"text": "a text to score"})
    parser.add_argument("--whole", action="store_true", help="the file is one text, not one a line")
    parser.add_argument(
        "--stride", type=whole(1), default=0, metavar="N",
        help="tokens from one window of a long text to the next (default: half of the model's positions)",
    )  # fmt: skip
    parser.add_argument("--tokens", action="store_true", help="each token's id and log-probability too")
    results.add_arguments(parser)
    loading.add_arguments(parser, default="distilbert/distilgpt2")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.answering import answer, asking

    if args.whole and args.input is None:
        raise InputError("--whole reads a file: name it with --input")
    total = Total()
    with results.Results(args, total.table) as out:
        score = scorer(args)
        options = {"stride": args.stride, "tokens": args.tokens}
        if not args.whole:
            answer(args, records.chunks(args, ["text"]), asking(score, options), out)
            return 0
        if not score.causal:
            raise InputError("--whole is for models that read from left to right; a masked model scores line by line")
        done = out.done
        inputs = windows(args, score, score.settings(args.stride).stride)
        answer(args, inputs, asking(score, options, lambda fields: fields["window"]), Adding(out, total))
    if done:
        total.add_lines(args.output)
    print(f"nanodistil: {total}", file=sys.stderr)
    return 0


def scorer(args: argparse.Namespace) -> Any:
    """The model that was asked for, of either kind, ready to score."""
    from nanodistil.auto import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer
    from nanodistil.pipelines import DEFAULTS
    from nanodistil.pipelines.scoring import ScoringPipeline

    chosen = loading.options(args)
    name = args.model or DEFAULTS["text-generation"]
    kind = AutoModelForCausalLM if AutoConfig.from_pretrained(name).causal else AutoModelForMaskedLM
    model = kind.from_pretrained(name, **chosen)
    if model.initialised:
        raise InputError(f"{name} has no head that gives words probabilities; choose a language model")
    return ScoringPipeline(model, AutoTokenizer.from_pretrained(name))


def windows(args: argparse.Namespace, score: Any, stride: int) -> Iterator[records.Chunk]:
    """The windows of a file as records, in constant memory."""
    import numpy as np

    from nanodistil.pipelines.scoring import in_pieces, windows_of
    from nanodistil.reading.lines import lines_of

    with lines_of(args.input) as lines:

        def blocks() -> Iterator[str]:
            for line in lines:
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError:
                    raise InputError(f"line {lines.number} of {args.input} is not UTF-8 text") from None
                yield ("\n" if lines.number > 1 else "") + text
            if lines.number and not lines.cut_short:
                yield "\n"

        tokens = (
            np.asarray(score.tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"], np.int64)
            for piece in in_pieces(blocks())
        )
        batch: list[Record] = []
        for window in windows_of(tokens, score.model.config.max_tokens, stride):
            where = f"the window at token {window.start} of {args.input}"
            batch.append(Record(where, {"window": window}, columns={"start": window.start}))
            if len(batch) == 8:
                yield records.Chunk(batch, lines.given / lines.size if lines.size and not lines.packed else None)
                batch = []
        if batch:
            yield records.Chunk(batch, None)


class Total:
    """Of all windows."""

    def __init__(self) -> None:
        self.tokens, self.log_prob = 0, 0.0

    def add(self, answer: dict[str, Any]) -> None:
        """One window's."""
        self.tokens += answer["tokens"]
        self.log_prob += answer["log_prob"]

    def add_lines(self, path: str) -> None:
        """Anew, of a file that an earlier run began."""
        self.tokens, self.log_prob = 0, 0.0
        if not path.lower().endswith((".jsonl", ".ndjson")):
            raise InputError(f"{path} is whole; its perplexity is told of a .jsonl alone, if a run went on with it")
        with open(path, encoding="utf-8") as file:
            for line in file:
                self.add(json.loads(line)["result"])

    def __str__(self) -> str:
        from nanodistil.pipelines.scoring import totals

        found = totals(self.tokens, self.log_prob)
        said = f"perplexity {found['perplexity']:.4f}" if self.tokens else "no token counts"
        return f"{said} over {self.tokens} tokens, log-probability {self.log_prob:.3f}"

    @staticmethod
    def table(record: Record, answer: dict[str, Any]) -> str:
        """An answer, readable: perplexity, tokens, text."""
        what = record.fields.get("text", record.place)
        shown = "       -" if answer["perplexity"] is None else f"{answer['perplexity']:8.3f}"
        return f"{shown}  {answer['tokens']:5d}  {what}"


class Adding:
    """An Out that adds up what it is given."""

    def __init__(self, out: results.Results, total: Total) -> None:
        self.out, self.total = out, total
        self.done, self.resumable, self.whole = out.done, out.resumable, out.whole

    def give(self, record: Record, answer: Any) -> None:
        """See Out."""
        if isinstance(answer, dict):
            self.total.add(answer)
        self.out.give(record, answer)
